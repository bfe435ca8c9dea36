"""Every small combination of sizes, strides, dilations, paddings and rules, on whole numbers, equal to the oracle.

Images of one line go through all combinations, laid along a random axis; then whole images have both axes at random. The newest
tier runs all of it, the others a random part.
"""
import itertools

import numpy as np
import pytest

import convolution
import oracle

FULL_TIER = convolution.isas()[-1]
CHANNELS = [(1, 1), (2, 3), (1, 4), (3, 1)]
SIZES = list(itertools.product(range(9), range(1, 6), range(1, 5), range(1, 4)))  # i, k, s, d


def thinned(combinations, rng, isa):
    """All of them for the newest tier, a random tenth for another."""
    return (combination for combination in combinations if isa == FULL_TIER or rng.random() < 0.1)


def whole_numbers(rng, shape):
    return rng.integers(-9, 10, shape).astype(np.float32)


def check(op, x, kernel, bias, options, isa):
    """The library's answer equals the oracle's in both data formats; an answer without elements is an error by default."""
    want, _ = getattr(oracle, op)(x, kernel, bias, **options)
    for data_format in ("channels_last", "channels_first"):
        image = np.ascontiguousarray(oracle.from_nhwc(x, data_format))
        arguments = {**options, "data_format": data_format, "kernel_format": "keras", "isa": isa, "threads": 1}
        what = f"{op} of {image.shape} by {kernel.shape}, {arguments}"
        if 0 in want.shape[1:3]:
            with pytest.raises(ValueError) as caught:
                getattr(convolution, op)(image, kernel, bias, **arguments)
            assert caught.value.status == convolution.constant("CONVOLUTION_ERROR_EMPTY_OUTPUT"), f"{what}: {caught.value}"
            arguments["allow_empty_output"] = True
        got = getattr(convolution, op)(image, kernel, bias, **arguments)
        np.testing.assert_array_equal(got, oracle.from_nhwc(want, data_format), err_msg=what)


def check_line(op, rng, i, k, options, isa):
    """One line of i pixels by k taps, along a random axis, with random channels. `options` have one value, for that axis."""
    inputs, outputs = CHANNELS[rng.integers(len(CHANNELS))]
    x, kernel = whole_numbers(rng, (1, 1, i, inputs)), whole_numbers(rng, (1, k, inputs, outputs))
    if op == "conv2d_transpose":
        kernel = kernel.swapaxes(2, 3)
    neutral = {"strides": 1, "dilation_rate": 1, "padding": (0, 0), "output_padding": 0, "output_size": 1}
    upright = rng.integers(2) == 1
    if upright:
        x, kernel = x.swapaxes(1, 2), kernel.swapaxes(0, 1)
    for name, value in options.items():
        if name in neutral and not isinstance(value, str):
            options[name] = (value, neutral[name]) if upright else (neutral[name], value)
    check(op, np.ascontiguousarray(x), np.ascontiguousarray(kernel), whole_numbers(rng, (outputs,)), options, isa)


# -------------------------------------------------------------------------------------------------------------- conv2d


def conv2d_lines():
    paddings = ["valid", "same", "same_lower", "full", "causal", (1, 2), (3, 0), (-1, 2), (2, -2), (-1, -1), (-3, 7)]
    for (i, k, s, d), padding in itertools.product(SIZES, paddings):
        if isinstance(padding, str) or i + sum(padding) >= 0:
            yield i, k, {"strides": s, "dilation_rate": d, "padding": padding}


def test_conv2d_lines(isa):
    rng = np.random.default_rng(1)
    for i, k, options in thinned(conv2d_lines(), rng, isa):
        check_line("conv2d", rng, i, k, options, isa)


def border_lines():
    """The border modes, as far as each reaches."""
    reach = {"reflect": -1, "symmetric": 0, "circular": 0, "replicate": 9, "constant": 9}
    for (mode, more), i, k, s in itertools.product(reach.items(), range(1, 6), range(1, 5), (1, 2, 3)):
        for before, after in itertools.product(range(-1, min(i + more, 6) + 1), repeat=2):
            yield i, k, {"strides": s, "dilation_rate": 1 + (before + i) % 2, "padding": (before, after), "padding_mode": mode,
                         "padding_value": -3.0 if mode == "constant" else 0.0}


def test_conv2d_borders(isa):
    rng = np.random.default_rng(2)
    for i, k, options in thinned(border_lines(), rng, isa):
        check_line("conv2d", rng, i, k, options, isa)


def random_axis(rng):
    i, k, s, d = (int(rng.integers(low, high)) for low, high in ((1, 10), (1, 6), (1, 5), (1, 4)))
    return i, k, s, d


def test_conv2d_planes(isa):
    """Both axes at random, with groups, several images, and every named padding."""
    rng = np.random.default_rng(3)
    for _ in range(800 if isa == FULL_TIER else 200):
        (height, kh, sh, dh), (width, kw, sw, dw) = random_axis(rng), random_axis(rng)
        groups = int(rng.choice([1, 1, 2, 3]))
        group_in, group_out = (int(rng.integers(1, 5)) for _ in range(2))
        x = whole_numbers(rng, (int(rng.integers(1, 3)), height, width, groups * group_in))
        kernel = whole_numbers(rng, (kh, kw, group_in, groups * group_out))
        bias = whole_numbers(rng, (groups * group_out,)) if rng.integers(2) else None
        explicit = tuple(tuple(int(rng.integers(-min(i, 3) // 2, 5)) for _ in range(2)) for i in (height, width))
        padding = [explicit, "valid", "same", "same_lower", "full", "causal"][rng.integers(6)]
        options = {"strides": (sh, sw), "dilation_rate": (dh, dw), "padding": padding, "groups": groups,
                   "flip_kernel": bool(rng.integers(2)), "activation": [None, "relu"][rng.integers(2)]}
        check("conv2d", x, kernel, bias, options, isa)


def test_conv2d_batches(isa):
    """Many small images, the tiles of a few of which may stand for those of all, with every border."""
    rng = np.random.default_rng(14)
    for _ in range(300 if isa == FULL_TIER else 60):
        (height, kh, sh, dh), (width, kw, sw, dw) = random_axis(rng), random_axis(rng)
        groups = int(rng.choice([1, 1, 1, 4]))
        x = whole_numbers(rng, (int(rng.choice([4, 6, 7, 16])), height, width, groups * int(rng.integers(1, 5))))
        kernel = whole_numbers(rng, (kh, kw, x.shape[3] // groups, groups * int(rng.integers(1, 5))))
        mode = ["constant", "constant", "reflect", "symmetric", "replicate", "circular"][rng.integers(6)]
        padding = tuple(tuple(int(rng.integers(0, min(i, 5))) for _ in range(2)) for i in (height, width))
        options = {"strides": (sh, sw), "dilation_rate": (dh, dw), "padding": padding, "groups": groups, "padding_mode": mode,
                   "padding_value": float(rng.choice([0, 2])) if mode == "constant" else 0.0}
        check("conv2d", x, kernel, None, options, isa)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_end_in_a_part_of_a_tile(isa, dtype):
    """Of few output channels a tile is some vectors of a row. Where results are added or do not lie side by side the last of a row
    is a part, in some rows of its group of tiles the first."""
    rng = np.random.default_rng(15)
    for channels, width in itertools.product(range(1, 5), rng.integers(30, 200, 6)):
        x = whole_numbers(rng, (1, 40, width, 3)).astype(dtype)
        kernel = whole_numbers(rng, (3, 3, 3, channels)).astype(dtype)
        planes = np.moveaxis(x, 3, 1).copy()
        wanted = convolution.conv2d(planes, kernel, data_format="channels_first", isa=isa)
        residual = np.zeros_like(wanted)
        got = convolution.conv2d(planes, kernel, data_format="channels_first", isa=isa, residual=residual)
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(convolution.conv2d(x, kernel, isa=isa), np.moveaxis(wanted, 1, 3))


# ---------------------------------------------------------------------------------------------------- conv2d_transpose


def transpose_lines(i, k, s, d):
    """All that one axis of these sizes can be asked for: rule, padding, and output_padding or output_size."""
    ke = (k - 1) * d + 1
    natural = (i - 1) * s + ke if i else 0
    for padding in ("valid", "same"):
        yield {"rule": "keras", "padding": padding}
        yield {"rule": "jax", "padding": padding, "flip_kernel": True}
        for op in range(s):
            yield {"rule": "keras", "padding": padding, "output_padding": op}
    for op in range(max(s, d)):
        for pads in ((0, 0), (1, 1), (2, 2)):
            yield {"rule": "torch", "padding": pads, "output_padding": op}
        for pads in ((0, 0), (1, 1), (0, 1), (2, 0)):
            yield {"rule": "onnx", "padding": pads, "output_padding": op}
        for padding in ("same", "same_lower"):
            yield {"rule": "onnx", "padding": padding, "output_padding": op}
    for pads in ((1, 2), (-1, 0), (0, -3), (4, -1)):
        yield {"rule": "window", "padding": pads, "output_padding": s}
    for wanted in (1, i * s, natural + 2):
        if wanted:
            yield {"rule": "window", "padding": (1, 0), "output_size": wanted}
            yield {"rule": "onnx", "padding": (0, 0), "output_size": wanted}
            yield {"rule": "onnx", "padding": "same", "output_size": wanted}
            yield {"rule": "onnx", "padding": "same_lower", "output_size": wanted}
    if i:
        for more in range(s):
            if natural - 2 + more > 0:
                yield {"rule": "torch", "padding": (1, 1), "output_size": natural - 2 + more}
            yield {"rule": "keras", "padding": "valid", "output_size": natural + more}
            yield {"rule": "keras", "padding": "same", "output_size": (i - 1) * s + 1 + more}


def all_transpose_lines():
    for i, k, s, d in SIZES:
        for options in transpose_lines(i, k, s, d):
            yield i, k, {"strides": s, "dilation_rate": d, **options}


def test_conv2d_transpose_lines(isa):
    rng = np.random.default_rng(4)
    for i, k, options in thinned(all_transpose_lines(), rng, isa):
        check_line("conv2d_transpose", rng, i, k, options, isa)


def test_conv2d_transpose_planes(isa):
    """Both axes at random, with groups and several images."""
    rng = np.random.default_rng(5)
    for _ in range(400 if isa == FULL_TIER else 100):
        (height, kh, sh, dh), (width, kw, sw, dw) = random_axis(rng), random_axis(rng)
        groups = int(rng.choice([1, 1, 2, 3]))
        # Half of them with as many input channels as are computed products first.
        group_in, group_out = int(rng.choice([1, 2, 3, 4, 8, 9, 20, 70])), int(rng.integers(1, 5))
        x = whole_numbers(rng, (int(rng.integers(1, 3)), height, width, groups * group_in))
        kernel = whole_numbers(rng, (kh, kw, group_out, groups * group_in))
        bias = whole_numbers(rng, (groups * group_out,)) if rng.integers(2) else None
        pads = tuple(tuple(int(rng.integers(0, 3)) for _ in range(2)) for _ in range(2))
        ranges = {"keras": (sh, sw), "torch": (max(sh, dh), max(sw, dw)), "onnx": (max(sh, dh), max(sw, dw)), "window": (5, 5)}
        rule = str(rng.choice(list(ranges)))
        equal = tuple((before, before) for before, _ in pads)
        paddings = {"keras": ["valid", "same"], "torch": [equal], "onnx": [pads, "same", "same_lower"], "window": [pads]}[rule]
        padding = paddings[rng.integers(len(paddings))]
        given = rng.integers(2)
        options = {"strides": (sh, sw), "dilation_rate": (dh, dw), "padding": padding, "groups": groups, "rule": rule,
                   "output_padding": tuple(int(rng.integers(limit)) for limit in ranges[rule]) if given else None,
                   "flip_kernel": bool(rng.integers(2)), "activation": [None, "relu6"][rng.integers(2)]}
        check("conv2d_transpose", x, kernel, bias, options, isa)


def test_conv2d_transpose_depthwise(isa):
    """Vectors of channels, whole and not, several images, strokes that meet, overlap or leave gaps; threads change nothing."""
    rng = np.random.default_rng(16)
    for _ in range(200 if isa == FULL_TIER else 50):
        (height, kh, sh, dh), (width, kw, sw, dw) = random_axis(rng), random_axis(rng)
        channels = int(rng.choice([2, 3, 4, 7, 8, 16, 17, 33, 40]))
        x = whole_numbers(rng, (int(rng.integers(1, 4)), height, width, channels))
        kernel = whole_numbers(rng, (kh, kw, 1, channels))
        bias = whole_numbers(rng, (channels,)) if rng.integers(2) else None
        pads = tuple(tuple(int(rng.integers(-1, 3)) for _ in range(2)) for _ in range(2))
        options = {"strides": (sh, sw), "dilation_rate": (dh, dw), "padding": pads, "groups": channels, "rule": "window",
                   "output_padding": (int(rng.integers(3)), int(rng.integers(5))), "flip_kernel": bool(rng.integers(2)),
                   "activation": [None, "relu"][rng.integers(2)]}
        if rng.integers(4) == 0:
            kernel[0, 0] = np.inf
        with np.errstate(invalid="ignore"):
            check("conv2d_transpose", x, kernel, bias, options, isa)
        first = np.ascontiguousarray(oracle.from_nhwc(x, "channels_first"))
        options |= {"data_format": "channels_first", "isa": isa, "allow_empty_output": True}
        np.testing.assert_array_equal(convolution.conv2d_transpose(first, kernel, bias, threads=2, **options),
                                      convolution.conv2d_transpose(first, kernel, bias, threads=1, **options))


def test_conv2d_transpose_of_neighbouring_phases(isa):
    """Kernel, stride and crop are multiples of a number: so many neighbouring columns read the same input. Many channels, either order
    of the kernel, turned or not, a residual, and rows that no product reaches."""
    rng = np.random.default_rng(15)
    for number in range(300 if isa == FULL_TIER else 75):
        width, common, times, taps, cropped = (int(rng.integers(low, high)) for low, high in ((1, 9), (2, 5), (1, 3), (1, 4), (0, 2)))
        height, kh, sh = (int(rng.integers(low, high)) for low, high in ((1, 6), (1, 5), (1, 4)))
        inputs, outputs = int(rng.integers(1, 40)), int(rng.choice([1, 2, 3, 5, 8, 12, 16, 21, 32, 40]))
        before, after = (int(common * rng.integers(2)) * cropped for _ in range(2))
        natural = (width - 1) * common * times + common * taps
        if natural <= before + after:
            continue
        x = whole_numbers(rng, (int(rng.integers(1, 3)), height, width, inputs))
        kernel = whole_numbers(rng, (kh, common * taps, outputs, inputs))
        options = {"strides": (sh, common * times), "rule": "window", "padding": ((0, 0), (before, after)),
                   "flip_kernel": bool(rng.integers(2)), "activation": [None, "relu"][rng.integers(2)],
                   "output_padding": (int(rng.integers(3)), int(common * rng.integers(2)))}
        bias = whole_numbers(rng, (outputs,)) if rng.integers(2) else None
        check("conv2d_transpose", x, kernel, bias, options, isa)
        want = convolution.conv2d_transpose(x, kernel, bias, isa=isa, **options)
        turned = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        got = convolution.conv2d_transpose(x, turned, bias, isa=isa, kernel_format="torch", **options)
        np.testing.assert_array_equal(got, want, err_msg=str((x.shape, kernel.shape, options)))
        options["activation"] = None
        residual = whole_numbers(rng, want.shape)
        np.testing.assert_array_equal(
            convolution.conv2d_transpose(x, kernel, bias, isa=isa, residual=residual, **options),
            convolution.conv2d_transpose(x, kernel, bias, isa=isa, **options) + residual, err_msg=str((x.shape, kernel.shape, options)))


# ---------------------------------------------------------------------------------------------------------- upsample2d


def test_upsample2d(isa):
    """Sizes, factors and scales of both axes at random; nearest is compared for equality."""
    rng = np.random.default_rng(6)
    choices = list(itertools.product(("nearest", "bilinear"), (None, "half_pixel", "align_corners", "asymmetric"),
                                     ("size", "output_size", "scale", "both"), (np.float32, np.float64)))
    for number in range(1200 if isa == FULL_TIER else 300):
        interpolation, coordinates, how, dtype = choices[number % len(choices)]
        channels = int(rng.integers(1, 6))
        image = (int(rng.integers(1, 9)), int(rng.integers(1, 9)))
        if how == "size":
            wanted = tuple(int(rng.integers(1, 6)) for _ in range(2))
        elif how == "output_size":
            wanted = tuple(int(rng.integers(1, 20)) for _ in range(2))
        else:
            wanted = tuple(max(round(float(rng.uniform(0.3, 4)), 3), 1.001 / i) for i in image)
        size = {how: wanted}
        if how == "both":
            size = {"scale": wanted, "output_size": tuple(int(rng.integers(1, 20)) for _ in range(2))}
        x = rng.standard_normal((2, *image, channels)).astype(dtype)
        for data_format in ("channels_last", "channels_first"):
            options = {**size, "interpolation": interpolation, "coordinates": coordinates, "data_format": data_format}
            turned = np.ascontiguousarray(oracle.from_nhwc(x, data_format))
            got = convolution.upsample2d(turned, **options, isa=isa, threads=1)
            oracle.assert_within(got, oracle.upsample2d(turned, **options), f"upsample2d of {turned.shape}, {options}")


@pytest.mark.parametrize("shape, size", [
    ((1, 14, 14, 64), (7, 7)), ((2, 16, 16, 17), (14, 14)), ((1, 100, 100, 18), (33, 33)), ((16, 33, 30, 3), (9, 10)),
    ((1, 64, 10, 8), (20, 20)), ((3, 5, 4, 20), (2, 1)), ((1, 40, 64, 20), (13, 16))])
def test_paths_of_nearest(shape, size, isa):
    """Short rows whose elements no window holds: planes and pixels, plans and plain calls copy the same elements."""
    x = np.random.default_rng(27).standard_normal(shape)
    rows, columns = (np.array([int(np.float32(t) * (np.float32(n) / np.float32(o))) for t in range(o)]) for n, o in zip(shape[1:3], size))
    for dtype, data_format, threads in itertools.product((np.float32, np.float64), ("channels_last", "channels_first"), (1, 2)):
        want = x.astype(dtype)[:, rows[:, None], columns]
        options = {"output_size": size, "preset": "torch", "data_format": data_format, "threads": threads, "isa": isa}
        given = oracle.from_nhwc(x.astype(dtype), data_format).copy()
        for got in convolution.upsample2d(given, **options), convolution.Upsample2DPlan(given.shape, dtype=dtype, **options)(given):
            np.testing.assert_array_equal(oracle.to_nhwc(got, data_format), want, err_msg=str(options))


@pytest.mark.parametrize("shape, factors", [
    ((2, 2, 20, 21), (10, 2)), ((2, 20, 24, 4), (4, 2)), ((1, 13, 13, 16), (2, 2)), ((3, 7, 40, 5), (2, 2)), ((2, 33, 17, 2), (3, 2)),
    ((1, 20, 64, 3), (2, 2)), ((2, 5, 49, 1), (2, 2)), ((4, 3, 8, 8), (2, 4)), ((1, 128, 256, 19), (4, 4)), ((1, 300, 301, 37), (1, 2)),
    ((2, 9, 11, 12), (3, 2)), ((1, 40, 7, 9), (2, 5))])
def test_paths_of_repetition(shape, factors, isa):
    """By lines, two by two, past the caches: a plan may go another way than a plain call, and planes another way than pixels."""
    x = np.random.default_rng(26).standard_normal(shape).astype(np.float32)
    want = x.repeat(factors[0], 1).repeat(factors[1], 2)
    for interpolation in ("nearest", "bilinear"):
        for data_format, threads in itertools.product(("channels_last", "channels_first"), (1, 2)):
            options = {"interpolation": interpolation, "data_format": data_format, "threads": threads, "isa": isa}
            given = np.ascontiguousarray(oracle.from_nhwc(x, data_format))
            for got in (convolution.upsample2d(given, factors, **options),
                        convolution.Upsample2DPlan(given.shape, factors, **options)(given)):
                # The bits of the first call are those of all others.
                want = oracle.to_nhwc(got, data_format) if want is None else want
                np.testing.assert_array_equal(oracle.to_nhwc(got, data_format), want, err_msg=str(options))
        want = None


@pytest.mark.parametrize("interpolation, antialias", [("bicubic", False), ("lanczos3", False), ("lanczos5", False), ("area", False),
                                                      ("bilinear", True), ("bicubic", True), ("lanczos3", True), ("lanczos5", True)])
def test_kernels_of_many_taps(interpolation, antialias, isa):
    rng = np.random.default_rng(16)
    for number in range(60 if isa == FULL_TIER else 15):
        shape = (2, int(rng.integers(1, 12)), int(rng.integers(1, 40)), int(rng.choice([1, 2, 3, 5, 8, 17, 40])))
        x = rng.standard_normal(shape).astype((np.float32, np.float64)[number % 2])
        options = {"output_size": (int(rng.integers(1, 20)), int(rng.integers(1, 60))), "interpolation": interpolation,
                   "antialias": antialias}
        if interpolation == "bicubic":
            options["cubic_coefficient"] = (-0.75, -0.5, -1.25)[number % 3]
        got = convolution.upsample2d(x, **options, isa=isa, threads=1)
        oracle.assert_within(got, oracle.upsample2d(x, **options), f"upsample2d of {shape}, {options}")


@pytest.mark.parametrize("coordinates", ["asymmetric", "half_pixel", "align_corners"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_indices(coordinates, dtype, isa):
    """Which element nearest picks, for sizes at which the rounding of the coordinates shows."""
    rng = np.random.default_rng(7)
    pairs = [(2, 82), (2, 41), (1, 5), (640, 1913), (1913, 640), (7, 1)]
    pairs += [(int(rng.integers(1, 40)), int(rng.integers(1, 200))) for _ in range(150)]
    for i, o in pairs:
        x = np.arange(i, dtype=dtype).reshape(1, 1, i, 1)
        taps = oracle.axis_taps(i, None, o, None, "nearest", coordinates, None, dtype)
        got = convolution.upsample2d(x, output_size=(1, o), coordinates=coordinates, isa=isa, threads=1)
        assert got.ravel().tolist() == [first for first, _, _ in taps], (i, o)


def test_bilinear_coordinates_far_from_the_start(isa):
    """640 to 1913: coordinates in another precision than the data's would be off by 1e-4 of a pixel."""
    x = np.random.default_rng(8).standard_normal((1, 1, 640, 2)).astype(np.float32)
    for coordinates in ("half_pixel", "align_corners", "asymmetric"):
        options = {"output_size": (1, 1913), "interpolation": "bilinear", "coordinates": coordinates}
        oracle.assert_within(convolution.upsample2d(x, **options, isa=isa), oracle.upsample2d(x, **options), coordinates)
