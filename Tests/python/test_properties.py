"""What must hold between calls: adjoints, matrices, equal bits however a call is made; and the bound on every result.

The examples are drawn by hypothesis, the same ones on every run. Identities are checked on whole numbers, for equality; equal
bits and the bound on random ones.
"""
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import convolution
import oracle

SMALL = st.integers(1, 4)
SEEDS = st.integers(0, 2**32 - 1)


MODES = ("zeros", "reflect", "symmetric", "replicate", "circular")


@st.composite
def layers(draw, modes=("zeros",), channels=6, depthwise=False):
    """A conv2d whose output is not empty: (shape of x, shape of the HWIO kernel, options)."""
    if depthwise:
        groups, group_in, group_out = draw(st.sampled_from([1, 2, 4, 8, 16, 17, 32, 40, 48])), 1, 1
    else:
        groups = draw(st.sampled_from([1, 1, 2, 3]))
        # From 8 input channels on, few output channels are computed products first.
        group_in = draw(st.sampled_from([*range(1, channels + 1), 8, 21]))
        group_out = draw(st.integers(1, channels))
    mode = draw(st.sampled_from(modes))
    axes = []
    for _ in range(2):
        k, s, d = draw(st.integers(1, 9 if depthwise else 5)), draw(SMALL), draw(st.integers(1, 3))
        i = draw(st.integers(1, 20 if depthwise else 11))
        most = {"reflect": i - 1, "symmetric": i, "circular": i}.get(mode, 4)
        pads = [draw(st.integers(-1, min(4, most))) for _ in range(2)]
        missing = (k - 1) * d + 1 - (i + sum(pads))
        axes.append((i + max(missing, 0), k, s, d, tuple(pads)))
    (height, kh, sh, dh, vertical), (width, kw, sw, dw, horizontal) = axes
    options = {"strides": (sh, sw), "dilation_rate": (dh, dw), "padding": (vertical, horizontal), "groups": groups,
               "padding_mode": mode, "flip_kernel": draw(st.booleans())}
    return (1, height, width, groups * group_in), (kh, kw, group_in, groups * group_out), options


@st.composite
def transposed_layers(draw):
    """A conv2d_transpose whose output is not empty: (shape of x, shape of the HWOI kernel, options)."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    # From 8 input channels on, few output channels are computed products first.
    group_in, group_out = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 11, 40])), draw(st.sampled_from([1, 2, 3, 4, 5, 6, 9]))
    kh, kw, sh, sw, dh, dw = (draw(SMALL) for _ in range(6))
    options = {"strides": (sh, sw), "dilation_rate": (dh, dw), "groups": groups,
               "padding": draw(st.sampled_from(["valid", "same"])), "flip_kernel": draw(st.booleans())}
    x = (1, draw(st.integers(1, 8)), draw(st.integers(1, 8)), groups * group_in)
    return x, (kh, kw, group_out, groups * group_in), options


def whole_numbers(rng, shape, dtype=np.float64):
    return rng.integers(-9, 10, shape).astype(dtype)


def reals(rng, shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def assert_same_bits(got, want):
    assert got.dtype == want.dtype and got.shape == want.shape
    assert np.ascontiguousarray(got).tobytes() == np.ascontiguousarray(want).tobytes()


def adjoint_options(options, height, width):
    """The conv2d_transpose whose result is the window that conv2d, padded like this, reads from."""
    transposed = {name: options[name] for name in ("strides", "dilation_rate", "groups", "padding", "flip_kernel")}
    return {**transposed, "rule": "window", "output_size": (height, width), "kernel_format": "HWOI"}


# ---------------------------------------------------------------------------------------------------------- identities


@given(layer=layers(), seed=SEEDS)
def test_conv2d_transpose_is_the_adjoint_of_conv2d(isa, layer, seed):
    """<conv x, y> = <x, conv_transpose y>, with one kernel for both."""
    (shape, kernel_shape, options), rng = layer, np.random.default_rng(seed)
    x, kernel = whole_numbers(rng, shape), whole_numbers(rng, kernel_shape)
    forward = convolution.conv2d(x, kernel, isa=isa, **options)
    y = whole_numbers(rng, forward.shape)
    back = convolution.conv2d_transpose(y, kernel, isa=isa, **adjoint_options(options, *shape[1:3]))
    assert back.shape == x.shape
    assert (forward * y).sum() == (x * back).sum()


@given(layer=layers(), seed=SEEDS)
def test_the_adjoint_identity_of_random_numbers(isa, layer, seed):
    (shape, kernel_shape, options), rng = layer, np.random.default_rng(seed)
    x, kernel = reals(rng, shape, np.float64), reals(rng, kernel_shape, np.float64)
    forward = convolution.conv2d(x, kernel, isa=isa, **options)
    y = reals(rng, forward.shape, np.float64)
    back = convolution.conv2d_transpose(y, kernel, isa=isa, **adjoint_options(options, *shape[1:3]))
    scale = (convolution.conv2d(abs(x), abs(kernel), isa=isa, **options) * abs(y)).sum()
    assert abs((forward * y).sum() - (x * back).sum()) <= 1e-13 * scale


@given(layer=layers(modes=MODES, channels=3), seed=SEEDS,
       data_format=st.sampled_from(["channels_last", "channels_first"]))
def test_the_matrix_of_a_convolution(isa, layer, seed, data_format):
    """The call, the dense matrix and the sparse one agree; the transposed call is the transposed matrix."""
    (shape, kernel_shape, options), rng = layer, np.random.default_rng(seed)
    kernel = whole_numbers(rng, kernel_shape)
    x = np.ascontiguousarray(oracle.from_nhwc(whole_numbers(rng, shape), data_format))
    called = convolution.conv2d(x, kernel, data_format=data_format, isa=isa, **options)
    matrix = convolution.conv2d_matrix(kernel, shape[1:3], data_format=data_format, **options)
    assert matrix.shape == (called.size, x.size)
    np.testing.assert_array_equal(matrix @ x.ravel(), called.ravel())
    values, columns, offsets = convolution.conv2d_matrix(kernel, shape[1:3], data_format=data_format, sparse=True, **options)
    assert offsets[0] == 0 and offsets[-1] == len(values) == len(columns) and len(offsets) == len(matrix) + 1
    for first, last in itertools.pairwise(offsets):
        assert (np.diff(columns[first:last]) > 0).all()
    sparse = scipy.sparse.csr_matrix((values, columns, offsets), shape=matrix.shape)
    np.testing.assert_array_equal(sparse.toarray(), matrix)
    if options["padding_mode"] == "zeros":
        y = whole_numbers(rng, called.shape)
        back = convolution.conv2d_transpose(y, kernel, data_format=data_format, isa=isa, **adjoint_options(options, *shape[1:3]))
        np.testing.assert_array_equal(matrix.T @ y.ravel(), back.ravel())


@given(layer=transposed_layers(), seed=SEEDS)
def test_transposed_convolution_by_zero_insertion(isa, layer, seed):
    """Zeros between the pixels, then a full convolution with the kernel turned round, gives the natural result."""
    (shape, kernel_shape, options), rng = layer, np.random.default_rng(seed)
    x, kernel = whole_numbers(rng, shape), whole_numbers(rng, kernel_shape)
    sh, sw = options["strides"]
    spread = np.zeros((1, (shape[1] - 1) * sh + 1, (shape[2] - 1) * sw + 1, shape[3]))
    spread[:, ::sh, ::sw] = x
    groups, group_out = options["groups"], kernel_shape[2]
    blocks = np.split(kernel, groups, axis=3)  # HWOI of each group, to be HWIO of a convolution from its inputs to its outputs
    swapped = np.concatenate([block.transpose(0, 1, 3, 2) for block in blocks], axis=3)
    assert swapped.shape[3] == groups * group_out
    want = convolution.conv2d(spread, swapped, padding="full", dilation_rate=options["dilation_rate"], groups=groups, isa=isa,
                              flip_kernel=not options["flip_kernel"])
    got = convolution.conv2d_transpose(x, kernel, isa=isa, **{**options, "padding": ((0, 0), (0, 0)), "rule": "window"},
                                       kernel_format="HWOI")
    np.testing.assert_array_equal(got, want)


@given(layer=layers(), seed=SEEDS)
def test_groups_are_convolutions_side_by_side(isa, layer, seed):
    (shape, kernel_shape, options), rng = layer, np.random.default_rng(seed)
    groups = options["groups"]
    x, kernel, bias = whole_numbers(rng, shape), whole_numbers(rng, kernel_shape), whole_numbers(rng, kernel_shape[3:])
    whole = convolution.conv2d(x, kernel, bias, isa=isa, **options)
    parts = zip(np.split(x, groups, 3), np.split(kernel, groups, 3), np.split(bias, groups))
    single = {**options, "groups": 1, "isa": isa}
    np.testing.assert_array_equal(np.concatenate([convolution.conv2d(*part, **single) for part in parts], 3), whole)

    back = adjoint_options(options, *shape[1:3])
    whole_back = convolution.conv2d_transpose(whole, kernel, isa=isa, **back)
    parts = zip(np.split(whole, groups, 3), np.split(kernel, groups, 3))
    single = {**back, "groups": 1, "isa": isa}
    side_by_side = np.concatenate([convolution.conv2d_transpose(*part, **single) for part in parts], 3)
    np.testing.assert_array_equal(side_by_side, whole_back)


def test_upsampling_by_2_is_a_transposed_convolution_with_ones(isa):
    x = whole_numbers(np.random.default_rng(1), (2, 3, 4, 5), np.float32)
    ones = np.ones((2, 2, 1, 1), np.float32)
    want = [convolution.conv2d_transpose(np.ascontiguousarray(x[..., c:c + 1]), ones, strides=2, isa=isa) for c in range(5)]
    np.testing.assert_array_equal(convolution.upsample2d(x, 2, isa=isa), np.concatenate(want, 3))


@given(layer=transposed_layers(), rule=st.sampled_from(["keras", "window"]), crop=st.integers(-2, 3))
def test_the_overlap_is_what_ones_give(isa, layer, rule, crop):
    """One channel of ones under a kernel of ones counts the products of each output pixel."""
    (_, height, width, _), (kh, kw, _, _), options = layer
    options = {name: options[name] for name in ("strides", "dilation_rate", "padding")}
    if rule == "window":
        options.update(rule="window", padding=((crop, 0), (0, crop)), allow_empty_output=True)
    counts = convolution.conv2d_transpose_overlap((3, height, width, 6), (kh, kw, 2, 6), groups=2, **options)
    ones = convolution.conv2d_transpose(np.ones((1, height, width, 1)), np.ones((kh, kw, 1, 1)), isa=isa, **options)
    np.testing.assert_array_equal(counts, ones[0, :, :, 0])
    first = convolution.conv2d_transpose_overlap((3, 6, height, width), (kh, kw, 2, 6), groups=2, data_format="channels_first",
                                                 **options)
    np.testing.assert_array_equal(first, counts)


# ----------------------------------------------------------------------------------------- upsampling and convolution in one


@st.composite
def enlarged_layers(draw, exact):
    """A convolution of an upsampled image: (shape of x, shape of the HWIO kernel, upsampling, options of the convolution). `exact`: the
    upsampled image of whole numbers is one too."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    # From 64 products on there are phases.
    group_in, group_out = draw(st.sampled_from([(1, 2), (3, 1), (8, 17), (20, 8), (33, 3)]))
    height, width, kh, kw, sh, sw = (draw(st.integers(1, most)) for most in (7, 7, 5, 5, 4, 4))
    factors = st.tuples(st.integers(1, 4), st.integers(1, 4))
    upsamplings = [st.fixed_dictionaries({"size": factors}), st.fixed_dictionaries({"scale": st.just(2.0)}),
                   st.fixed_dictionaries({"output_size": st.tuples(st.integers(1, 20), st.integers(1, 20))})]
    if not exact:
        upsamplings += [st.fixed_dictionaries({"size": factors, "interpolation": st.just("bilinear")}),
                        st.fixed_dictionaries({"scale": st.tuples(st.floats(0.4, 3.5), st.floats(0.4, 3.5)),
                                               "interpolation": st.just("bilinear")})]
    upsampling = draw(st.one_of(upsamplings))
    options = {"strides": (sh, sw), "dilation_rate": (draw(st.integers(1, 5)), draw(st.integers(1, 5))), "groups": groups,
               "padding": draw(st.sampled_from(["same", "same_lower", "full", "causal", ((3, -1), (0, 2))])),
               "padding_mode": draw(st.sampled_from(["zeros", "zeros", "constant", "reflect", "symmetric", "replicate", "circular"])),
               "flip_kernel": draw(st.booleans()), "allow_empty_output": True}
    if options["padding_mode"] == "constant":
        options["padding_value"] = 3
    # A scale may leave no row at all; and some paddings are too large for some modes.
    shape, kernel_shape = (2, height, width, groups * group_in), (kh, kw, group_in, groups * group_out)
    try:
        convolution.upsample2d_conv2d_output_shape(shape, kernel_shape, upsampling=upsampling, **options)
    except ValueError:
        options.update(padding="same", padding_mode="zeros")
        options.pop("padding_value", None)
        upsampling = {name: value for name, value in upsampling.items() if name == "interpolation"}
    return shape, kernel_shape, upsampling, options


def in_two_steps(x, kernel, bias, upsampling, options):
    common = {name: options[name] for name in ("data_format", "isa") if name in options}
    return convolution.conv2d(convolution.upsample2d(x, **upsampling, **common), kernel, bias, **options)


@given(layer=enlarged_layers(exact=True), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_fused_is_composed_on_whole_numbers(isa, layer, seed, dtype):
    (shape, kernel_shape, upsampling, options), rng = layer, np.random.default_rng(seed)
    x, kernel, bias = (whole_numbers(rng, size, dtype) for size in (shape, kernel_shape, kernel_shape[3:]))
    got = convolution.upsample2d_conv2d(x, kernel, bias, upsampling=upsampling, isa=isa, **options)
    np.testing.assert_array_equal(got, in_two_steps(x, kernel, bias, upsampling, {**options, "isa": isa}))


@pytest.mark.parametrize("factors", itertools.product(range(1, 5), range(1, 5)), ids=lambda pair: f"{pair[0]}x{pair[1]}")
def test_fused_is_composed_for_every_factor(factors, isa, data_format):
    """All kernels up to 4x4, strides and dilations along with them, few and many channels: phases and bands."""
    rng = np.random.default_rng(3)
    for kh, kw in itertools.product(range(1, 5), range(1, 5)):
        (groups, ins, outs), sizes = [(1, 65, 20), (1, 20, 4), (2, 40, 6), (5, 5, 5)][(kh + kw) % 4], (2, 4, 3)
        x = oracle.from_nhwc(whole_numbers(rng, (*sizes, ins), np.float32), data_format).copy()
        kernel = whole_numbers(rng, (kh, kw, ins // groups, outs), np.float32)
        for strides, dilation in [(1, 1), ((2, 1), (1, 3)), ((3, 4), (2, 1))]:
            options = {"strides": strides, "dilation_rate": dilation, "groups": groups, "padding": "same", "data_format": data_format,
                       "isa": isa}
            got = convolution.upsample2d_conv2d(x, kernel, upsampling={"size": factors}, **options)
            np.testing.assert_array_equal(got, in_two_steps(x, kernel, None, {"size": factors}, options))


@pytest.mark.parametrize("dtype, inputs, columns", [(np.float32, 128, 1026), (np.float64, 16, 130)])
def test_few_long_rows_are_cut_for_threads_and_for_memory(dtype, inputs, columns, isa):
    """Into whole tiles for the threads, and into less where their packed input would take more than it may."""
    rng = np.random.default_rng(6)
    x, kernel = whole_numbers(rng, (1, 3, columns, inputs), dtype), whole_numbers(rng, (3, 3, inputs, 1), dtype)
    want, _ = oracle.conv2d(x, kernel)
    first = oracle.from_nhwc(x, "channels_first").copy()
    options = {"data_format": "channels_first", "kernel_format": "keras", "isa": isa}
    for threads in (2, 5):
        least = convolution.conv2d_workspace_size(first.shape, kernel.shape, dtype=dtype, threads=threads, **options).least
        for limit in (0, least, least * 5 // 4, 2 * least):
            got = convolution.conv2d(first, kernel, threads=threads, workspace_limit=limit, **options)
            np.testing.assert_array_equal(got, oracle.from_nhwc(want, "channels_first"))


@pytest.mark.parametrize("groups", [4, 3])
def test_groups_of_one_vector_are_exact_for_any_number_of_pixels(groups, isa, data_format):
    """Tiles of two groups at once have two heights, which together make up any number of pixels; an odd group has one."""
    rng = np.random.default_rng(5)
    kernel = whole_numbers(rng, (3, 3, 16, 16 * groups), np.float32)
    for rows, columns in [*itertools.product((1, 2, 5, 14), (1, 3, 7, 8, 9, 14)), (16, 17), (1, 56)]:
        x = whole_numbers(rng, (2, rows, columns, 16 * groups), np.float32)
        want, _ = oracle.conv2d(x, kernel, padding="same", groups=groups)
        for threads in (1, 2):
            got = convolution.conv2d(oracle.from_nhwc(x, data_format).copy(), kernel, padding="same", groups=groups, isa=isa,
                                     data_format=data_format, threads=threads)
            np.testing.assert_array_equal(got, oracle.from_nhwc(want, data_format))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outputs", [17, 23, 24, 33, 45, 47, 49, 60, 64, 97, 100, 112, 127, 161])
def test_one_pixel_of_any_number_of_channels(outputs, dtype, isa, data_format):
    """More vectors of the last panel's weights may be read than are used; large kernels have no gaps there."""
    rng = np.random.default_rng(outputs)
    for inputs in (1, 3, 70, 2000) if outputs in (45, 47, 49, 100) else (1, 3, 70):
        x, larger = (oracle.from_nhwc(whole_numbers(rng, (1, *size), dtype), data_format).copy()
                     for size in [(1, 1, inputs), (3, 2, inputs)])
        bias = whole_numbers(rng, outputs, dtype)
        for options in ({}, {"activation": "relu"}, {"activation": "leaky_relu", "activation_alpha": 0.5}):
            options["data_format"] = data_format
            # One output: 1x1, and a kernel as large as the image. One input, each of whose products has a pixel of its own.
            for image, size in ((x, (1, 1)), (larger, (3, 2))):
                kernel = whole_numbers(rng, (*size, inputs, outputs), dtype)
                want, _ = oracle.conv2d(image, kernel, bias, kernel_format="HWIO", **options)
                np.testing.assert_array_equal(
                    convolution.conv2d(image, kernel, bias, kernel_format="HWIO", isa=isa, **options), want)
            kernel = whole_numbers(rng, (2, 3, outputs, inputs), dtype)
            # And pixels that none reaches.
            for strides in (1, 4):
                options["strides"] = strides
                want, _ = oracle.conv2d_transpose(x, kernel, bias, kernel_format="HWOI", **options)
                np.testing.assert_array_equal(
                    convolution.conv2d_transpose(x, kernel, bias, kernel_format="HWOI", threads=2, isa=isa, **options), want)


@pytest.mark.parametrize("outputs", [1, 2, 3, 5, 8, 16])
def test_outputs_of_one_product_each(outputs, isa, data_format):
    """Each element of the one input channel is repeated for its outputs: of rows from less than a vector on, of several images;
    by kernels as large as the stride, smaller, and 1x1, whose one long row is cut for threads."""
    rng = np.random.default_rng(outputs)
    for size, (kernel_size, strides) in itertools.product(
            [(2, 3, 15), (1, 1, 16), (3, 5, 17), (1, 2, 101)], [((1, 1), 1), ((2, 2), 2), ((3, 4), (3, 4)), ((1, 2), (3, 2))]):
        x = oracle.from_nhwc(whole_numbers(rng, (*size, 1), np.float32), data_format).copy()
        kernel, bias = whole_numbers(rng, (*kernel_size, outputs, 1), np.float32), whole_numbers(rng, outputs, np.float32)
        for activation in (None, "relu6"):
            options = {"strides": strides, "activation": activation, "data_format": data_format, "kernel_format": "HWOI"}
            want, _ = oracle.conv2d_transpose(x, kernel, bias, **options)
            for threads in (1, 2, 5):
                got = convolution.conv2d_transpose(x, kernel, bias, threads=threads, isa=isa, **options)
                np.testing.assert_array_equal(got, want)
    x, kernel = whole_numbers(rng, (1, 1, 50001, 1), np.float32), whole_numbers(rng, (1, 1, 1, outputs), np.float32)
    for threads in (1, 2, 5):
        got = convolution.conv2d(oracle.from_nhwc(x, data_format).copy(), kernel, kernel_format="HWIO", data_format=data_format,
                                 threads=threads, isa=isa)
        np.testing.assert_array_equal(oracle.to_nhwc(got, data_format), x * kernel)


@pytest.mark.parametrize("factor", [1, 2])
def test_fused_images_of_one_pixel(factor, isa, data_format):
    """Their channels are neighbours in either format, but not in a band."""
    rng = np.random.default_rng(4)
    for kh, kw, ins, outs in [(2, 1, 8, 16), (3, 3, 16, 16), (1, 4, 3, 5), (1, 1, 8, 8)]:
        x = oracle.from_nhwc(whole_numbers(rng, (2, 1, 1, ins), np.float32), data_format).copy()
        kernel = whole_numbers(rng, (kh, kw, ins, outs), np.float32)
        options = {"padding": "same", "data_format": data_format, "isa": isa}
        got = convolution.upsample2d_conv2d(x, kernel, upsampling={"size": factor}, **options)
        np.testing.assert_array_equal(got, in_two_steps(x, kernel, None, {"size": factor}, options))


def test_weights_are_added_up_for_factors_up_to_8(isa, data_format):
    rng = np.random.default_rng(8)
    kernel = reals(rng, (3, 3, 8, 8), np.float32)
    x = oracle.from_nhwc(reals(rng, (1, 4, 3, 8), np.float32), data_format).copy()
    options = {"padding": "same", "data_format": data_format, "kernel_format": "keras", "isa": isa}
    for factor in ((8, 8), (8, 1), (9, 9), (1, 9), (9, 8)):
        got = convolution.upsample2d_conv2d(x, kernel, upsampling={"size": factor}, **options)
        assert np.array_equal(got, in_two_steps(x, kernel, None, {"size": factor}, options)) == (max(factor) > 8)


@given(layer=enlarged_layers(exact=False), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_fused_within_the_bound_of_composed(isa, layer, seed, dtype):
    """And equal in every bit unless weights were added up."""
    (shape, kernel_shape, upsampling, options), rng = layer, np.random.default_rng(seed)
    x, kernel, bias = (reals(rng, size, dtype) for size in (shape, kernel_shape, kernel_shape[3:]))
    enlarged = convolution.upsample2d(x, isa=isa, **upsampling)
    got = convolution.upsample2d_conv2d(x, kernel, bias, upsampling=upsampling, isa=isa, **options)
    oracle_options = {name: value for name, value in options.items() if name != "allow_empty_output"}
    oracle.assert_within(got, oracle.conv2d(enlarged, kernel, bias, **oracle_options))
    if upsampling.get("interpolation") == "bilinear" or options["padding_mode"] == "reflect":
        assert_same_bits(got, convolution.conv2d(enlarged, kernel, bias, isa=isa, **options))


@given(layer=enlarged_layers(exact=False), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_bits_of_any_fused_layer(isa, layer, seed, dtype):
    (shape, kernel_shape, upsampling, options), rng = layer, np.random.default_rng(seed)
    x, kernel, options = reals(rng, shape, dtype), reals(rng, kernel_shape, dtype), {**options, "upsampling": upsampling, "isa": isa}
    want = convolution.upsample2d_conv2d(x, kernel, threads=1, **options)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    other = convolution.upsample2d_conv2d(first, kernel, threads=2, data_format="channels_first", **options)
    assert_same_bits(other.transpose(0, 2, 3, 1), want)
    assert_same_bits(convolution.upsample2d_conv2d(x[1:], kernel, **options), want[1:])
    assert_same_bits(convolution.Upsample2DConv2DPlan(x.shape, kernel, **options)(x), want)
    assert_same_bits(convolution.upsample2d_conv2d(strided(x, "mirrored"), kernel, **options), want)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_a_fused_layer_within_a_limited_workspace(interpolation, isa):
    """Less memory, the same bits; and a limit that nothing keeps is named."""
    rng = np.random.default_rng(6)
    x, kernel = reals(rng, (2, 30, 25, 12)), reals(rng, (3, 3, 12, 20))
    options = {"upsampling": {"interpolation": interpolation}, "padding": "same", "isa": isa}
    want = convolution.upsample2d_conv2d(x, kernel, **options)
    for limit in (10**6, 10**5, 30000):
        assert_same_bits(convolution.upsample2d_conv2d(x, kernel, workspace_limit=limit, **options), want)
    with pytest.raises(ValueError, match="workspace_limit is 500;") as refusal:
        convolution.upsample2d_conv2d(x, kernel, workspace_limit=500, **options)
    assert refusal.value.status == convolution.constant("CONVOLUTION_ERROR_WORKSPACE")


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_fused_with_nan_and_infinity(poison, isa):
    """In the image, where the weights are of one sign; and in the kernel, where the zeros around the image meet it too."""
    rng = np.random.default_rng(5)
    for where in ("x", "kernel"):
        x, kernel = 1 + abs(whole_numbers(rng, (1, 4, 3, 8), np.float32)), 1 + abs(whole_numbers(rng, (3, 3, 8, 5), np.float32))
        (x[0] if where == "x" else kernel[0])[2, 1, 1] = poison
        options = {"padding": "same", "isa": isa}
        got = convolution.upsample2d_conv2d(x, kernel, **options)
        np.testing.assert_array_equal(got, in_two_steps(x, kernel, None, {"size": 2}, options))


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("groups, outputs", [(1, 2), (2, 3)])
def test_few_outputs_of_a_kernel_that_is_not_finite(poison, groups, outputs, isa):
    """Whatever is computed first where it is finite, zeros around the image meet what is not, in the least workspace too."""
    rng = np.random.default_rng(11)
    x = whole_numbers(rng, (2, 7, 9, 20 * groups), np.float32)
    kernel = whole_numbers(rng, (3, 3, 20, outputs * groups), np.float32)
    want = convolution.conv2d(x, kernel, padding="same", groups=groups, isa=isa)
    kernel[0, 2, 3, 1] = poison
    around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    got = convolution.conv2d(x, kernel, padding="same", groups=groups, isa=isa)
    np.testing.assert_array_equal(got, convolution.conv2d(around, kernel, padding="valid", groups=groups, isa=isa))
    assert np.isnan(got[:, 0, :, 1]).all()
    assert_same_bits(np.delete(got, 1, -1), np.delete(want, 1, -1))
    least = convolution.conv2d_workspace_size(x.shape, kernel.shape, padding="same", groups=groups, isa=isa).least
    np.testing.assert_array_equal(
        convolution.conv2d(x, kernel, padding="same", groups=groups, isa=isa, workspace_limit=least), got)


# ------------------------------------------------------------------------------------------------------------ equal bits

# Enough of each kind to leave no code path of the library out: few and many channels, one channel, odd counts around the widths
# of vectors and tiles, 1x1, large kernels, strides, dilation, groups, depthwise, borders, activations; then the transposed ones.
BIT_LAYERS = [
    ("conv2d", (3, 9, 11, 3), (3, 3, 3, 16), {"padding": "same", "activation": "relu"}),
    ("conv2d", (2, 13, 10, 17), (3, 2, 17, 33), {"strides": (1, 2), "padding": "same"}),
    ("conv2d", (2, 20, 19, 1), (5, 4, 1, 1), {"padding": "same", "padding_mode": "reflect"}),
    ("conv2d", (2, 24, 40, 1), (3, 3, 1, 7), {}),
    ("conv2d", (2, 21, 67, 3), (3, 3, 1, 3), {"groups": 3, "padding": "same", "activation": "relu"}),
    ("conv2d", (2, 23, 41, 4), (4, 5, 1, 4), {"groups": 4, "strides": 2, "padding": "same", "activation": "tanh"}),
    ("conv2d", (2, 18, 50, 2), (3, 2, 1, 6), {"groups": 2, "padding": "same", "padding_mode": "reflect"}),
    ("conv2d", (2, 11, 70, 3), (5, 3, 3, 3), {"padding": "same"}),
    ("conv2d", (2, 7, 9, 64), (1, 1, 64, 48), {"activation": "relu6"}),
    ("conv2d", (3, 41, 50, 70), (2, 3, 70, 8), {"padding": "same"}),
    ("conv2d", (2, 19, 33, 26), (3, 5, 13, 4), {"groups": 2, "padding": "same", "dilation_rate": (2, 1), "activation": "relu"}),
    ("conv2d", (2, 8, 9, 40), (1, 1, 40, 5), {"strides": 2}),
    # Rows and columns that no tap reads are passed over, in twos and threes; pixels that do not fill their last tile.
    ("conv2d", (3, 13, 21, 33), (1, 1, 33, 50), {"strides": (2, 3), "activation": "relu"}),
    ("conv2d", (2, 9, 27, 20), (2, 1, 20, 70), {"strides": (1, 2), "activation": "sigmoid"}),
    ("conv2d", (2, 7, 7, 70), (3, 3, 70, 112), {"padding": "same", "activation": "relu"}),
    ("conv2d", (2, 5, 5, 70), (1, 1, 70, 60), {}),
    ("conv2d", (2, 4, 3, 70), (4, 3, 70, 100), {"activation": "relu"}),
    ("conv2d", (2, 17, 23, 150), (1, 1, 150, 24), {"activation": "relu"}),
    ("conv2d", (3, 1, 200, 24), (1, 1, 12, 30), {"groups": 2, "activation": "tanh"}),
    # Wide tiles, read in place.
    ("conv2d", (2, 29, 23, 10), (1, 1, 10, 3), {"activation": "relu"}),
    # Each element repeated for its outputs.
    ("conv2d", (2, 9, 21, 1), (1, 1, 1, 6), {"activation": "relu"}),
    ("conv2d", (2, 9, 50, 1), (1, 1, 1, 3), {"strides": (2, 1)}),
    ("conv2d_transpose", (2, 5, 19, 1), (2, 2, 4, 1), {"strides": 2, "activation": "relu6"}),
    ("conv2d_transpose", (3, 4, 33, 1), (2, 3, 2, 1), {"strides": (3, 3)}),
    # Planes written past the caches.
    ("conv2d", (1, 256, 256, 1), (3, 2, 1, 65), {"padding": "same", "activation": "relu"}),
    ("conv2d", (2, 12, 14, 21), (3, 3, 1, 21), {"groups": 21, "padding": "same"}),
    ("conv2d", (2, 14, 15, 48), (3, 3, 1, 48), {"groups": 48, "padding": "same", "activation": "relu6"}),
    ("conv2d", (2, 15, 17, 32), (3, 5, 1, 32), {"groups": 32, "padding": "same", "strides": 2, "dilation_rate": (2, 1)}),
    ("conv2d", (2, 13, 16, 20), (11, 9, 1, 20), {"groups": 20, "padding": "same"}),
    ("conv2d", (2, 5, 3, 50), (3, 3, 1, 50), {"groups": 50, "padding": "same"}),
    # Kernel rows outside the image, and no row beside an only one.
    ("conv2d", (2, 5, 16, 40), (11, 4, 1, 40), {"groups": 40, "padding": "same"}),
    ("conv2d", (2, 1, 60, 37), (1, 9, 1, 37), {"groups": 37, "padding": "same", "activation": "relu"}),
    ("conv2d", (2, 9, 21, 40), (3, 3, 1, 40), {"groups": 40, "padding": "same", "strides": 2, "activation": "relu"}),
    # The last vector of channels overlaps the one before; tiles follow each other in one call.
    ("conv2d", (2, 7, 50, 37), (3, 3, 1, 37), {"groups": 37, "padding": "same", "activation": "relu"}),
    ("conv2d", (2, 6, 41, 44), (3, 5, 1, 44), {"groups": 44, "padding": "same", "strides": 2, "activation": "tanh"}),
    ("conv2d", (2, 20, 17, 75), (3, 3, 1, 75), {"groups": 75, "padding": "same", "strides": 3}),
    ("conv2d", (2, 16, 7, 24), (7, 7, 1, 24), {"groups": 24, "padding": "same", "padding_mode": "reflect"}),
    ("conv2d", (2, 30, 70, 6), (7, 6, 1, 12), {"groups": 6, "padding": "same", "strides": (2, 1)}),
    ("conv2d", (1, 3, 113, 40), (3, 19, 1, 40), {"groups": 40, "padding": "same"}),
    ("conv2d", (2, 2, 130, 2), (1, 120, 1, 2), {"groups": 2, "padding": "same"}),
    ("conv2d", (2, 9, 80, 2), (3, 3, 1, 2), {"groups": 2, "strides": 2, "dilation_rate": (2, 1), "activation": "sigmoid"}),
    ("conv2d", (2, 12, 14, 16), (5, 3, 1, 32), {"groups": 16, "strides": (2, 1), "padding": "same_lower"}),
    ("conv2d", (2, 10, 9, 24), (3, 3, 4, 30), {"groups": 6, "padding": 1}),
    # Small enough to be copied with their borders.
    ("conv2d", (2, 9, 16, 6), (3, 3, 6, 20), {"padding": "same", "activation": "relu"}),
    ("conv2d", (3, 6, 8, 10), (5, 3, 5, 32), {"groups": 2, "padding": "same", "padding_mode": "reflect"}),
    ("conv2d", (2, 4, 8, 40), (3, 3, 40, 16), {"padding": "same", "activation": "tanh"}),
    ("conv2d", (2, 5, 24, 3), (3, 4, 3, 40), {"padding": "full", "strides": (1, 3)}),
    ("conv2d_transpose", (2, 5, 8, 16), (4, 4, 16, 16), {"strides": 2, "padding": "same"}),
    # And neighbouring pixels share a vector.
    ("conv2d", (2, 8, 8, 8), (3, 3, 8, 8), {"padding": "same", "activation": "relu"}),
    ("conv2d", (2, 6, 32, 4), (5, 2, 4, 4), {"padding": "same", "padding_mode": "reflect", "activation": "tanh"}),
    ("conv2d", (2, 8, 4, 8), (3, 3, 8, 8), {"padding": "same", "dilation_rate": 2}),
    # Large enough for groups to be packed.
    ("conv2d", (1, 181, 83, 72), (3, 2, 24, 51), {"groups": 3, "padding": "same", "activation": "relu"}),
    ("conv2d", (2, 10, 9, 32), (3, 3, 4, 32), {"groups": 8, "padding": 1, "activation": "relu"}),
    ("conv2d", (2, 10, 9, 30), (3, 3, 15, 32), {"groups": 2, "padding": 1}),  # two groups of a vector
    ("conv2d", (2, 9, 11, 48), (3, 2, 2, 48), {"groups": 24, "strides": 2, "padding": "same", "padding_mode": "reflect"}),
    ("conv2d", (2, 10, 9, 45), (3, 3, 15, 48), {"groups": 3, "padding": 1}),
    ("conv2d", (2, 8, 11, 24), (3, 3, 8, 24), {"groups": 3, "strides": (2, 1), "padding": "same", "activation": "relu"}),
    ("conv2d", (2, 9, 8, 35), (3, 2, 7, 80), {"groups": 5, "padding": 1, "activation": "relu"}),
    ("conv2d_transpose", (2, 5, 6, 64), (3, 3, 8, 64), {"groups": 8, "strides": 2, "padding": "same"}),
    ("conv2d_transpose", (2, 6, 5, 54), (3, 3, 16, 54), {"groups": 3, "strides": 2, "padding": "same"}),
    ("conv2d", (2, 9, 12, 8), (3, 3, 8, 10), {"dilation_rate": (2, 3), "padding": "same", "padding_mode": "circular"}),
    ("conv2d", (2, 6, 7, 130), (3, 3, 130, 20), {"padding": "full", "activation": "tanh"}),
    ("conv2d", (2, 4, 1, 5), (3, 1, 5, 3), {"padding": "causal", "activation": "sigmoid"}),
    ("conv2d_transpose", (2, 5, 6, 12), (4, 4, 3, 12), {"strides": 2, "padding": "same"}),
    ("conv2d_transpose", (2, 6, 5, 32), (2, 2, 20, 32), {"strides": 2}),
    ("conv2d_transpose", (2, 5, 7, 3), (3, 2, 17, 3), {"strides": (2, 3), "activation": "leaky_relu"}),
    ("conv2d_transpose", (2, 9, 8, 16), (3, 3, 1, 16), {"groups": 16, "strides": 2, "padding": "same"}),
    # All phases together; of the outermost pairs of rows and columns one is missing, or none.
    ("conv2d_transpose", (2, 6, 21, 40), (3, 3, 1, 40), {"groups": 40, "strides": 2}),
    ("conv2d_transpose", (2, 7, 19, 37), (4, 4, 1, 37), {"groups": 37, "strides": 2, "padding": "same", "activation": "relu"}),
    ("conv2d_transpose", (2, 6, 6, 8), (5, 5, 8, 8), {"dilation_rate": 2}),
    ("conv2d_transpose", (2, 6, 18, 40), (3, 5, 1, 40), {"groups": 40, "dilation_rate": (2, 1), "activation": "relu"}),
    ("conv2d_transpose", (2, 5, 8, 1), (5, 3, 1, 1), {"strides": (3, 2)}),
    # Zeros between the elements: several chunks, bands, channels that are turned.
    ("conv2d_transpose", (2, 13, 15, 1), (11, 11, 1, 1), {"strides": 2, "padding": "same"}),
    ("conv2d_transpose", (1, 60, 70, 1), (4, 5, 2, 1), {"strides": (2, 3), "activation": "relu"}),
    ("conv2d_transpose", (2, 9, 21, 3), (12, 12, 1, 3), {"groups": 3, "strides": 2, "activation": "tanh"}),
    # Products of planes, with what no tap reaches in between: pairs, and not.
    ("conv2d_transpose", (2, 9, 11, 40), (1, 1, 70, 40), {"strides": 2, "padding": "same", "activation": "sigmoid"}),
    ("conv2d_transpose", (2, 11, 13, 24), (1, 1, 20, 24), {"strides": (1, 3), "groups": 2, "output_padding": (0, 1)}),
    ("conv2d_transpose", (2, 4, 4, 96), (4, 4, 40, 96), {"strides": 2, "padding": "same", "activation": "relu"}),
    ("conv2d", (2, 11, 41, 1), (5, 3, 1, 4), {"padding": "same", "padding_mode": "replicate", "activation": "relu"}),
    ("conv2d_transpose", (2, 13, 70, 2), (2, 3, 3, 2), {"groups": 2}),
    ("conv2d_transpose", (2, 9, 11, 24), (9, 8, 1, 24), {"strides": 3, "padding": "same"}),
    ("conv2d_transpose", (2, 6, 17, 130), (5, 5, 3, 130), {"strides": 2, "padding": "same", "activation": "tanh"}),
    ("conv2d_transpose", (2, 5, 33, 40), (3, 3, 4, 40), {"groups": 2, "dilation_rate": (2, 3), "strides": (2, 4)}),
    ("conv2d", (2, 5, 4, 33), (5, 4, 33, 200), {"activation": "relu"}),
    ("conv2d_transpose", (2, 1, 1, 70), (4, 3, 130, 70), {}),
    ("conv2d_transpose", (2, 1, 1, 9), (4, 4, 96, 9), {"strides": 2, "padding": "same"}),
    # One pixel whose channels come in several blocks; stencils of 2x2.
    ("conv2d_transpose", (2, 1, 1, 300), (3, 3, 20, 300), {"activation": "tanh"}),
    ("conv2d_transpose", (2, 10, 37, 1), (2, 2, 4, 1), {"activation": "relu"}),
    ("conv2d", (2, 9, 20, 3), (2, 2, 1, 3), {"groups": 3, "padding": "same"}),
    ("conv2d_transpose", (2, 6, 7, 40), (4, 4, 12, 40), {"strides": 2, "activation": "tanh"}),
    ("conv2d_transpose", (2, 4, 5, 21), (16, 16, 21, 21), {"strides": 8, "padding": "same"}),
    # Blocks of channels that differ from phase to phase.
    ("conv2d_transpose", (2, 2, 3, 180), (5, 5, 70, 180), {"strides": 2, "padding": "same"}),
    ("upsample2d", (3, 5, 6, 4), None, {"size": 2}),
    ("upsample2d", (2, 5, 6, 19), None, {"size": (2, 3), "interpolation": "bilinear"}),
    ("upsample2d", (2, 7, 33, 1), None, {"output_size": (12, 50), "interpolation": "bilinear", "coordinates": "align_corners"}),
    ("upsample2d", (2, 9, 30, 3), None, {"output_size": (4, 47)}),
    ("upsample2d", (2, 9, 30, 3), None, {"output_size": (20, 47), "interpolation": "bicubic"}),
    ("upsample2d", (2, 30, 21, 19), None, {"output_size": (11, 50), "interpolation": "lanczos3", "antialias": True}),
    ("upsample2d", (2, 12, 33, 2), None, {"output_size": (5, 40), "interpolation": "area"}),
    # Windows of four vectors; planes that are turned into pixels; long rows that are copied twice.
    ("upsample2d", (2, 9, 70, 3), None, {"output_size": (7, 32), "interpolation": "bicubic"}),
    ("upsample2d", (2, 9, 70, 3), None, {"output_size": (7, 6), "interpolation": "bilinear"}),
    ("upsample2d", (2, 30, 210, 5), None, {"output_size": (11, 17), "interpolation": "bicubic"}),
    ("upsample2d", (2, 9, 190, 19), None, {"output_size": (5, 8), "interpolation": "lanczos3"}),
    ("upsample2d", (2, 5, 6, 83), None, {"output_size": (9, 11), "interpolation": "bicubic"}),
    ("upsample2d", (2, 3, 300, 21), None, {"size": (3, 2)}),
    # Twice as wide, two columns at once: the last step of whole vectors, of parts of them; from the first column on.
    ("upsample2d", (2, 5, 49, 1), None, {"size": 2, "interpolation": "bilinear"}),
    ("upsample2d", (2, 6, 50, 3), None, {"output_size": (9, 100), "interpolation": "bilinear"}),
    ("upsample2d", (2, 4, 53, 7), None, {"size": (3, 2), "interpolation": "bilinear", "coordinates": "asymmetric"}),
    ("upsample2d", (1, 3, 48, 19), None, {"size": 2, "interpolation": "bilinear"}),
    # Planes as lines: whole ones, shorter than a window; parts of rows alone; copies.
    ("upsample2d", (2, 5, 5, 20), None, {"output_size": (9, 10), "interpolation": "bilinear"}),
    ("upsample2d", (2, 1, 2, 21), None, {"output_size": (3, 3), "interpolation": "bicubic"}),
    ("upsample2d", (2, 14, 21, 17), None, {"size": 2, "interpolation": "bilinear"}),
    ("upsample2d", (1, 30, 45, 5), None, {"output_size": (36, 70), "interpolation": "bilinear"}),
    ("upsample2d", (2, 30, 45, 17), None, {"output_size": (36, 31), "interpolation": "bicubic"}),
    ("upsample2d", (2, 6, 7, 35), None, {"size": 2}),
    ("upsample2d", (2, 6, 9, 35), None, {"output_size": (11, 13)}),
    ("upsample2d", (2, 9, 30, 3), None, {"output_size": (20, 47), "scale": (1.5, 2.3), "interpolation": "bicubic"}),
    ("upsample2d", (2, 9, 30, 3), None, {"output_size": (20, 21), "coordinates": "tf_half_pixel_for_nn", "rounding": "simple"}),
    ("upsample2d", (2, 9, 30, 3), None, {"output_size": (17, 33), "interpolation": "bicubic", "coordinates": "tf_crop_and_resize",
                                         "roi": (0.875, -0.25, 0.125, 1.25), "extrapolation_value": 2}),
    ("upsample2d", (2, 8, 9, 40), None, {"output_size": (9, 17), "interpolation": "bilinear", "coordinates": "tf_crop_and_resize",
                                         "roi": (-0.25, 0.75, 0.75, -0.375), "extrapolation_value": 2}),
    ("upsample2d_conv2d", (2, 9, 10, 24), (3, 3, 24, 40), {"padding": "same", "activation": "relu"}),
    ("upsample2d_conv2d", (2, 7, 8, 130), (5, 4, 130, 20), {"upsampling": {"size": (2, 3)}, "padding": "same", "strides": (3, 1)}),
    ("upsample2d_conv2d", (2, 16, 20, 3), (5, 5, 3, 1), {"upsampling": {"size": 4}, "padding": "full", "padding_mode": "circular"}),
    ("upsample2d_conv2d", (2, 5, 6, 16), (3, 3, 1, 16), {"groups": 16, "padding": 1, "dilation_rate": (1, 4)}),
    ("upsample2d_conv2d", (2, 9, 11, 8), (3, 3, 8, 17), {"upsampling": {"interpolation": "bilinear"}, "padding": "same",
                                                         "padding_mode": "reflect"}),
    ("upsample2d_conv2d", (2, 30, 20, 3), (3, 5, 3, 4), {"upsampling": {"output_size": (41, 66), "interpolation": "bilinear"},
                                                         "dilation_rate": (9, 2), "padding": "same", "activation": "tanh"}),
]
PLANS = {"conv2d": convolution.Conv2DPlan, "conv2d_transpose": convolution.Conv2DTransposePlan,
         "upsample2d": convolution.Upsample2DPlan, "upsample2d_conv2d": convolution.Upsample2DConv2DPlan}


class Layer:
    def __init__(self, op, shape, kernel_shape, options, isa, dtype):
        rng = np.random.default_rng(7)
        self.op, self.dtype = op, dtype
        self.x = reals(rng, shape, dtype)
        self.constants = []
        if kernel_shape:
            outputs = kernel_shape[2] * options.get("groups", 1) if op == "conv2d_transpose" else kernel_shape[3]
            self.constants = [reals(rng, kernel_shape, dtype), reals(rng, (outputs,), dtype)]
        self.options = {**options, "isa": isa, "threads": 1}

    def run(self, x=None, **more):
        return getattr(convolution, self.op)(self.x if x is None else x, *self.constants, **{**self.options, **more})

    def plan(self, shape=None, **more):
        type_of_images = {} if self.constants else {"dtype": self.dtype}
        return PLANS[self.op](shape or self.x.shape, *self.constants, **type_of_images, **{**self.options, **more})


@pytest.mark.parametrize("outputs", [1, 24, 56, 64])
@pytest.mark.parametrize("low, high", [(-0.5, np.inf), (-np.inf, 0.25), (-0.5, 0.25)])
def test_each_bound_of_an_activation_stands_by_itself(outputs, low, high, isa):
    """Columns; whole vectors of channels, parts and halves of them, finished in registers."""
    layer = Layer("conv2d", (1, 6, 9, 40), (3, 3, 40, outputs), {"padding": "same"}, isa, np.float32)
    plain = layer.run()
    assert plain.min() < -0.5 and plain.max() > 0.25
    assert_same_bits(layer.run(activation="clamp", activation_min=low, activation_max=high), np.clip(plain, low, high))


@pytest.fixture(params=BIT_LAYERS, ids=lambda layer: f"{layer[0]}-{'x'.join(map(str, layer[1]))}")
def bit_layer(request, isa):
    return Layer(*request.param, isa, np.float32)


def test_bits_do_not_depend_on_the_data_format(bit_layer):
    first = np.ascontiguousarray(bit_layer.x.transpose(0, 3, 1, 2))
    expected = bit_layer.run().transpose(0, 3, 1, 2)
    for threads in (1, 2, 5):
        assert_same_bits(bit_layer.run(first, data_format="channels_first", threads=threads), expected)


def test_bits_of_one_column_are_those_of_one_row(isa):
    """With a kernel of one column the terms and their order are the same."""
    layers = [("conv2d", (2, 70, 1, 24), (5, 1, 1, 24), {"groups": 24, "padding": "same"}),
              ("conv2d", (2, 45, 1, 6), (4, 1, 6, 9), {"strides": (2, 1), "activation": "relu"}),
              ("conv2d", (1, 90, 1, 1), (9, 1, 1, 3), {"padding": "same", "padding_mode": "reflect"}),
              ("conv2d", (2, 50, 1, 16), (3, 1, 4, 20), {"groups": 4, "dilation_rate": (3, 1), "activation": "tanh"}),
              ("conv2d", (2, 40, 1, 70), (1, 1, 70, 33), {}),
              ("conv2d_transpose", (2, 19, 1, 30), (4, 1, 3, 30), {"strides": (2, 1), "padding": "same"}),
              ("conv2d_transpose", (2, 9, 1, 40), (5, 1, 24, 40), {"strides": (3, 1)})]
    for op, shape, kernel_shape, options in layers:
        column = Layer(op, shape, kernel_shape, options, isa, np.float32)
        lying = {name: value[::-1] if type(value) is tuple else value for name, value in options.items()}
        row = Layer(op, shape, kernel_shape, lying, isa, np.float32)
        row.constants[0] = column.constants[0].swapaxes(0, 1)
        expected = row.run(column.x.swapaxes(1, 2)).swapaxes(1, 2)
        for threads in (1, 3):
            assert_same_bits(column.run(threads=threads), expected)
            first = np.ascontiguousarray(column.x.transpose(0, 3, 1, 2))
            assert_same_bits(column.run(first, data_format="channels_first", threads=threads).transpose(0, 2, 3, 1), expected)


# Among them kernel columns that no output needs.
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "case", [*(layer for layer in BIT_LAYERS if layer[2]),
             ("conv2d_transpose", (2, 3, 1, 50), (3, 5, 21, 50), {"strides": (1, 4), "rule": "window", "output_size": (5, 2)})],
    ids=lambda layer: f"{layer[0]}-{'x'.join(map(str, layer[1]))}")
def test_bits_do_not_depend_on_the_kernel_format(case, dtype, isa):
    bit_layer = Layer(*case, isa, dtype)
    expected = bit_layer.run()
    kernel, bias = bit_layer.constants
    turned = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    name = "IOHW" if bit_layer.op == "conv2d_transpose" else "OIHW"
    for threads in (1, 3):
        bit_layer.constants = [turned, bias]
        assert_same_bits(bit_layer.run(kernel_format=name, threads=threads), expected)
        bit_layer.constants = [np.ascontiguousarray(turned[:, :, ::-1, ::-1]), bias]
        assert_same_bits(bit_layer.run(kernel_format=name, flip_kernel=True, threads=threads), expected)
        bit_layer.constants = [np.ascontiguousarray(kernel[::-1, ::-1]), bias]
        assert_same_bits(bit_layer.run(flip_kernel=True, threads=threads), expected)


def test_bits_do_not_depend_on_the_batch(bit_layer):
    together = bit_layer.run()
    for n in range(len(bit_layer.x)):
        assert_same_bits(together[n:n + 1], bit_layer.run(bit_layer.x[n:n + 1]))


def test_bits_do_not_depend_on_the_threads(bit_layer):
    alone = bit_layer.run()
    for threads in (0, 2, 3, 4, 5, 6, 7, 8):
        assert_same_bits(bit_layer.run(threads=threads), alone)


def test_bits_of_a_large_layer_do_not_depend_on_the_threads(isa):
    large = [("conv2d", (2, 61, 67, 24), (3, 3, 24, 40)), ("conv2d_transpose", (1, 40, 50, 24), (4, 4, 10, 24)),
             ("conv2d_transpose", (2, 30, 33, 256), (3, 3, 70, 256)),
             ("upsample2d", (2, 150, 130, 7), None), ("upsample2d_conv2d", (1, 61, 40, 24), (3, 3, 24, 24))]
    for op, shape, kernel_shape in large:
        layer = Layer(op, shape, kernel_shape, {"size": 2, "interpolation": "bilinear"} if op == "upsample2d" else {"strides": 2},
                      isa, np.float32)
        alone = layer.run()
        for threads in range(2, 9):
            assert_same_bits(layer.run(threads=threads), alone)
        first = np.ascontiguousarray(layer.x.transpose(0, 3, 1, 2))
        for threads in (1, 2, 3):
            assert_same_bits(layer.run(first, data_format="channels_first", threads=threads).transpose(0, 2, 3, 1), alone)


def test_bits_of_a_plan_are_those_of_the_plain_call(bit_layer):
    plain = bit_layer.run()
    with bit_layer.plan() as plan:
        assert_same_bits(plan(bit_layer.x), plain)
        assert_same_bits(plan(bit_layer.x[::-1].copy()), plain[::-1])
        with ThreadPoolExecutor(4) as pool:
            for got in pool.map(plan, [bit_layer.x] * 8):
                assert_same_bits(got, plain)


SIZES = {"conv2d": convolution.conv2d_workspace_size, "conv2d_transpose": convolution.conv2d_transpose_workspace_size,
         "upsample2d_conv2d": convolution.upsample2d_conv2d_workspace_size}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("case", [layer for layer in BIT_LAYERS if layer[0] in SIZES],
                         ids=lambda layer: f"{layer[0]}-{'x'.join(map(str, layer[1]))}")
def test_bits_do_not_depend_on_the_workspace(case, data_format, isa):
    layer = Layer(*case, isa, np.float32)
    layer.options["data_format"] = data_format
    if data_format == "channels_first":
        layer.x = np.ascontiguousarray(layer.x.transpose(0, 3, 1, 2))
    arrays = layer.x.shape, layer.constants[0].shape
    size = SIZES[layer.op](*arrays, **layer.options)
    assert 0 < size.least <= size.execution <= 2 << 20 and size.plan > layer.constants[0].nbytes
    assert all(SIZES[layer.op](*arrays, **{**layer.options, "threads": threads}).least == size.least for threads in (2, 3, 8))
    expected = layer.run()
    for limit in (size.least, size.least + 64, (size.least + size.execution) // 2, size.execution):
        assert size.least <= SIZES[layer.op](*arrays, **layer.options, workspace_limit=limit).execution <= limit
        assert_same_bits(layer.run(workspace_limit=limit), expected)
        assert_same_bits(layer.run(workspace_limit=limit, threads=3), expected)
    with pytest.raises(ValueError, match=f"workspace_limit is {size.least - 1}; this layer needs at least {size.least} bytes") as caught:
        layer.run(workspace_limit=size.least - 1)
    assert caught.value.status == convolution.constant("CONVOLUTION_ERROR_WORKSPACE")


def test_small_images_with_others_between_them(isa):
    """Of groups of 1x1 kernels, small images of a batch are one image where nothing lies between them, and only there."""
    rng = np.random.default_rng(9)
    x, kernel = reals(rng, (6, 4, 4, 32), np.float32), reals(rng, (1, 1, 1, 32), np.float32)
    want = convolution.conv2d(x, kernel, groups=32, isa=isa)
    assert_same_bits(convolution.conv2d(x[::2], kernel, groups=32, isa=isa), want[::2])
    out = np.full(x.shape, 7, np.float32)
    convolution.conv2d(x[:3], kernel, groups=32, isa=isa, out=out[::2])
    assert_same_bits(out[::2], want[:3])
    assert (out[1::2] == 7).all()


def test_threads_take_memory_where_there_is_work_for_them(isa):
    def executions(side, channels):
        return [convolution.conv2d_workspace_size((1, side, side, channels), (3, 3, channels, channels), threads=threads,
                                                  isa=isa).execution for threads in (1, 2, 1024)]

    alone, two, many = executions(8, 8)
    assert alone == two == many
    alone, two, many = executions(64, 32)
    assert two == 2 * alone < many < 200 * alone


@pytest.mark.parametrize("batch, options", [(0, {}), (2, {"padding": ((-3, -3), (0, 0)), "allow_empty_output": True})])
def test_a_plan_without_output_needs_no_workspace(batch, options):
    kernel, shape = np.ones((3, 3, 20, 4), np.float32), (batch, 6, 5, 20)
    for interpolation in ("nearest", "bicubic"):
        upsampled = {"upsampling": {"size": 2, "interpolation": interpolation}, **options}
        if options:
            upsampled["padding"] = ((-6, -6), (0, 0))
        assert convolution.upsample2d_conv2d_workspace_size(shape, kernel.shape, **upsampled).least == 0
        assert convolution.Upsample2DConv2DPlan(shape, kernel, workspace_limit=1, **upsampled)(np.ones(shape, np.float32)).size == 0
    assert convolution.conv2d_workspace_size(shape, kernel.shape, **options).least == 0
    assert convolution.Conv2DPlan(shape, kernel, workspace_limit=1, **options)(np.ones(shape, np.float32)).size == 0
    if options:
        options = {**options, "rule": "window", "padding": ((4, 4), (0, 0)), "kernel_format": "keras"}
    shape, turned = (batch, 6, 5, 4), kernel
    assert convolution.conv2d_transpose_workspace_size(shape, turned.shape, **options).least == 0
    assert convolution.Conv2DTransposePlan(shape, turned, workspace_limit=1, **options)(np.ones(shape, np.float32)).size == 0


def test_the_workspace_of_a_plan_in_pages_of_its_own():
    """A draft of many phases is long enough to be given back to the system as soon as it is freed: nothing may be read of it then."""
    size = convolution.conv2d_transpose_workspace_size((1, 4, 4, 1), (70, 70, 1, 1), strides=64)
    assert size.plan > 1 << 19 and 0 < size.least <= size.execution


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("height, width, channels, kernel", [
    (20000, 30000, 1, (9, 9, 1, 1)), (4000, 5000, 3, (5, 5, 3, 3)), (2000, 2000, 64, (3, 3, 64, 64)),
    (1000, 9000, 256, (1, 1, 256, 512)), (3000, 3000, 128, (3, 3, 1, 128))])
def test_the_workspace_does_not_grow_with_the_image(height, width, channels, kernel, data_format):
    shape = (1, height, width, channels) if data_format == "channels_last" else (1, channels, height, width)
    size = convolution.conv2d_workspace_size(
        shape, kernel, data_format=data_format, padding="same", groups=channels // kernel[2], threads=4)
    weights = 4 * np.prod(kernel)
    assert size.execution <= 4 * (2 << 20) and size.plan < 2 * weights + 200_000


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("height, width, channels, kernel, strides", [
    (1, 100000, 64, (1, 1, 512, 64), 2), (4, 5000, 64, (1, 1, 1024, 64), 2), (2, 1000000, 2, (1, 1, 2, 2), 2),
    (3000, 3000, 64, (1, 1, 1024, 64), (2, 1)), (1, 10000, 64, (1, 1, 4096, 64), 3), (3000, 5000, 1, (3, 3, 1, 1), 2),
    (500, 200000, 3, (5, 7, 1, 3), 3), (2000, 2000, 64, (4, 4, 64, 64), 2)])
def test_the_workspace_of_transposed_layers_does_not_grow_with_the_image(height, width, channels, kernel, strides, data_format):
    shape = (1, height, width, channels) if data_format == "channels_last" else (1, channels, height, width)
    size = convolution.conv2d_transpose_workspace_size(
        shape, kernel, data_format=data_format, strides=strides, groups=channels // kernel[3], threads=4)
    assert 0 < size.execution <= 4 * (2 << 20)


@pytest.mark.parametrize("shape, kernel, options", [
    ((1, 130, 3, 16), (130, 17, 1, 1), {"strides": 2, "output_padding": (1, 0)}),
    ((2, 64, 3, 64), (64, 12, 1, 1), {"strides": (1, 3), "padding": ((0, 0), (0, -5))}),
    ((1, 128, 3, 7), (128, 3, 1, 1), {"strides": (1, 2), "padding": ((0, -2), (0, 0)), "groups": 2})])
def test_every_limit_from_the_least_on_is_enough(shape, kernel, options, isa):
    """For kernels that are not finite too, which are computed in another way."""
    options = {"data_format": "channels_first", "kernel_format": "iohw", "rule": "window", "threads": 1, "isa": isa, **options}
    size = convolution.conv2d_transpose_workspace_size(shape, kernel, **options)
    assert size.least <= size.execution
    x, weights = np.ones(shape, np.float32), np.ones(kernel, np.float32)
    weights[0, 0] = np.nan
    whole = convolution.conv2d_transpose(x, weights, **options)
    for limit in range(size.least, 60000, 2048):
        assert np.array_equal(
            convolution.conv2d_transpose(x, weights, workspace_limit=limit, **options), whole, equal_nan=True)


@pytest.mark.parametrize("height, width, channels, kernel, strides, dilation", [
    (3, 277191, 552, (5, 5), (3, 25), (2, 1)), (218, 2049, 1061, (3, 3), (2, 2), (210, 1)),
    (278, 442, 55, (7, 5), (1, 2), (62, 3)), (300000, 2, 2876, (15, 1), (1, 1), (188, 1))])
def test_a_band_at_the_border_is_not_the_largest(height, width, channels, kernel, strides, dilation):
    """Of a kernel that reaches far the first rows and columns may read next to nothing of the input, others all that fits."""
    size = convolution.conv2d_transpose_workspace_size(
        (2, channels, height, width), (channels, 1, *kernel), data_format="channels_first", kernel_format="iohw", strides=strides,
        dilation_rate=dilation, groups=channels, rule="window", threads=4)
    assert 0 < size.execution <= 4 * (2 << 20)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("batch, height, width, kernel", [
    (16, 154, 154, (3, 3, 64, 128)), (5, 40, 175, (3, 3, 128, 128)), (9, 21, 21, (3, 3, 1280, 1024))])
def test_the_workspace_does_not_grow_with_the_batch(batch, height, width, kernel, data_format):
    """Bands of rows run on from image to image; none holds a whole image that is large."""
    channels = kernel[2]
    shape = (batch, height, width, channels) if data_format == "channels_last" else (batch, channels, height, width)
    assert convolution.conv2d_workspace_size(shape, kernel, data_format=data_format, threads=1).execution <= 2 << 20


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("height, width, kernel, options", [
    (65536, 65536, (3, 3, 1, 64), {}), (1 << 24, 3, (5, 2, 64, 3), {"strides": (3, 2)}),
    (3, 1 << 30, (2, 2, 3, 3), {"strides": (1, 3), "dilation_rate": (100, 3)})])
def test_the_workspace_of_a_huge_layer_is_known_at_once(height, width, kernel, options, data_format):
    """Bands and rows of outputs are not gone through, nor noted."""
    channels = kernel[3]
    shape = (1, height, width, channels) if data_format == "channels_last" else (1, channels, height, width)
    start = time.monotonic()
    size = convolution.conv2d_transpose_workspace_size(
        shape, kernel, data_format=data_format, kernel_format="keras", threads=1, **options)
    assert time.monotonic() - start < 3 and 0 < size.least <= size.execution <= 2 << 20


def strided(array, kind):
    """The same elements at other places of memory."""
    if kind == "spread":
        spread = np.full([2 * length + 1 for length in array.shape], np.nan, array.dtype)
        view = spread[1::2, 1::2, 1::2, 1::2]
    elif kind == "mirrored":
        view = np.full(array.shape, np.nan, array.dtype)[::-1, ::-1, ::-1, ::-1]
    elif kind == "cropped":
        view = np.full([length + 3 for length in array.shape], np.nan, array.dtype)[1:-2, 2:-1, 1:-2, 2:-1]
    else:
        view = np.full(array.shape[::-1], np.nan, array.dtype).transpose(3, 2, 1, 0)
    view[...] = array
    return view


@pytest.mark.parametrize("kind", ["spread", "mirrored", "cropped", "turned"])
def test_bits_do_not_depend_on_the_strides(bit_layer, kind):
    packed = bit_layer.run()
    view = strided(bit_layer.x, kind)
    assert view.strides != bit_layer.x.strides
    assert_same_bits(bit_layer.run(view), packed)
    out = strided(np.full_like(packed, 5), kind)
    surroundings = out.base
    around = np.isnan(surroundings).sum()
    assert bit_layer.run(view, out=out) is out
    assert_same_bits(out, packed)
    assert np.isnan(surroundings).sum() == around  # between the elements nothing was written


@pytest.mark.parametrize("channels", [3, 5, 7])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_a_few_pixels_of_a_wider_image_resized(interpolation, channels, isa):
    """Less than a vector at the right end of a row, of pixels that do not follow each other."""
    pixels = np.random.default_rng(channels).standard_normal((1, 7, 40, channels + 1)).astype(np.float32)[..., :channels]
    for width, options in ((7, {"output_size": (1, 1)}), (40, {"output_size": (5, 4), "roi": (.5, .995, .6, .9999)}),
                           (7, {"output_size": (2, 7000)})):
        image = pixels[:, :, :width]
        if "roi" in options:
            options = {**options, "coordinates": "tf_crop_and_resize"}
        want = convolution.upsample2d(np.ascontiguousarray(image), None, interpolation=interpolation, isa=isa, **options)
        assert_same_bits(convolution.upsample2d(image, None, interpolation=interpolation, isa=isa, **options), want)


def check_bits_of_any_layer(verb, plan, isa, layer, seed, dtype):
    """Format, batch, threads, plan and strides at once, on layers nobody chose."""
    (shape, kernel_shape, options), rng = layer, np.random.default_rng(seed)
    x, kernel = reals(rng, (3, *shape[1:]), dtype), reals(rng, kernel_shape, dtype)
    want = verb(x, kernel, isa=isa, threads=1, **options)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    other = verb(first, kernel, isa=isa, threads=2, data_format="channels_first", **options)
    assert_same_bits(other.transpose(0, 2, 3, 1), want)
    assert_same_bits(verb(x[1:2], kernel, isa=isa, **options), want[1:2])
    assert_same_bits(plan(x.shape, kernel, isa=isa, **options)(x), want)
    assert_same_bits(verb(strided(x, "mirrored"), kernel, isa=isa, **options), want)


@given(layer=st.one_of(layers(modes=MODES, channels=20), layers(modes=MODES, depthwise=True)), seed=SEEDS,
       dtype=st.sampled_from([np.float32, np.float64]))
def test_bits_of_any_layer(isa, layer, seed, dtype):
    check_bits_of_any_layer(convolution.conv2d, convolution.Conv2DPlan, isa, layer, seed, dtype)


@given(layer=transposed_layers(), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_bits_of_any_transposed_layer(isa, layer, seed, dtype):
    check_bits_of_any_layer(convolution.conv2d_transpose, convolution.Conv2DTransposePlan, isa, layer, seed, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_single_taps_of_any_width(isa, dtype):
    """Long rows are cut into tiles, the last of which begins early: a product of matrices for each width, whatever the division."""
    rng = np.random.default_rng(1)
    kernel = whole_numbers(rng, (1, 1, 11, 13), dtype)
    for width in (*range(1, 135), 383, 384, 385, 1000):
        for height in (1, 2):
            x = whole_numbers(rng, (2, height, width, 11), dtype)
            wanted = x @ kernel[0, 0]
            for threads in (1, 2):
                options = {"isa": isa, "threads": threads}
                np.testing.assert_array_equal(convolution.conv2d(x, kernel, **options), wanted)
                planes = np.moveaxis(x, 3, 1).copy()
                got = convolution.conv2d(planes, kernel, data_format="channels_first", **options)
                np.testing.assert_array_equal(got, np.moveaxis(wanted, 3, 1))
                residual = np.moveaxis(wanted, 3, 1).copy()
                got = convolution.conv2d(planes, kernel, data_format="channels_first", residual=residual, **options)
                np.testing.assert_array_equal(got, 2 * residual)


# --------------------------------------------------------------------------------------------------------- the residual


def assert_residual_is_added(op, rng, x, kernel, options, dtype):
    """Bit by bit what adding it afterwards gives, whatever the way of computing the layer; and before the activation."""
    plain = op(x, kernel, **options)
    residual = reals(rng, plain.shape, dtype)
    # An infinite residual meets an infinite sum in some tests.
    with np.errstate(invalid="ignore"):
        total = plain + residual
    assert_same_bits(op(x, kernel, residual=residual, **options), total)
    assert_same_bits(op(x, kernel, residual=residual, activation="leaky_relu", activation_alpha=0.25, **options),
                     np.where(total < 0, total * dtype(0.25), total).astype(dtype))


@given(layer=st.one_of(layers(modes=MODES, channels=20), layers(modes=MODES, depthwise=True)), seed=SEEDS,
       dtype=st.sampled_from([np.float32, np.float64]),
       data_format=st.sampled_from(["channels_last", "channels_first"]))
def test_the_residual_of_a_convolution(isa, layer, seed, dtype, data_format):
    shape, kernel_shape, options = layer
    rng = np.random.default_rng(seed)
    x, kernel, bias = reals(rng, shape, dtype), reals(rng, kernel_shape, dtype), reals(rng, kernel_shape[3:], dtype)
    options = {**options, "data_format": data_format, "isa": isa, "bias": bias}
    x = np.moveaxis(x, 3, 1).copy() if data_format == "channels_first" else x
    assert_residual_is_added(convolution.conv2d, rng, x, kernel, options, dtype)


@given(layer=transposed_layers(), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]), infinite=st.booleans())
def test_the_residual_of_a_transposed_convolution(isa, layer, seed, dtype, infinite):
    """Strides beyond the kernel leave elements that no product reaches; an infinite weight has the border computed apart."""
    shape, kernel_shape, options = layer
    rng = np.random.default_rng(seed)
    x, kernel = reals(rng, shape, dtype), reals(rng, kernel_shape, dtype)
    if infinite:
        kernel.flat[seed % kernel.size] = np.inf
    assert_residual_is_added(convolution.conv2d_transpose, rng, x, kernel, {**options, "isa": isa}, dtype)


def test_a_residual_is_added_once_where_threads_divide_rows(isa):
    """Rows so long that threads share them: what one writes, no other does."""
    for shape, kernel_shape in (((1, 40, 64, 64), (1, 1, 64, 80)), ((1, 1, 2000, 32), (1, 3, 32, 48)),
                                ((2, 2, 900, 24), (1, 5, 24, 40)), ((1, 1, 3000, 64), (1, 4, 64, 3))):
        rng = np.random.default_rng(3)
        x, kernel = reals(rng, shape), reals(rng, kernel_shape)
        for data_format in ("channels_last", "channels_first"):
            image = np.moveaxis(x, 3, 1).copy() if data_format == "channels_first" else x
            for threads in (2, 3, 8):
                assert_residual_is_added(convolution.conv2d, rng, image, kernel, {
                    "data_format": data_format, "isa": isa, "threads": threads}, np.float32)


def test_a_residual_of_another_shape_is_refused():
    x, kernel = np.ones((1, 5, 5, 1), np.float32), np.ones((3, 3, 1, 2), np.float32)
    with pytest.raises(ValueError, match=r"residual has shape \(1, 3, 3, 1\); it must be that of the result, \(1, 3, 3, 2\)"):
        convolution.conv2d(x, kernel, residual=np.ones((1, 3, 3, 1), np.float32))


# ----------------------------------------------------------------------------------------------- NaN, infinity, the bound


def reach(op, shape, kernel_shape, options, place):
    """Which outputs one element of x joins: those that change sums of ones when that element alone is 1."""
    x = np.zeros(shape)
    x[place] = 1
    return getattr(oracle, op)(x, np.ones(kernel_shape), **options)[0] > 0


@pytest.mark.parametrize("op, shape, kernel_shape, options", [layer for layer in BIT_LAYERS if not layer[0].startswith("upsample2d")],
                         ids=lambda value: value if isinstance(value, str) else None)
def test_nan_and_infinity_reach_the_outputs_whose_window_holds_them(op, shape, kernel_shape, options, isa):
    """And no others: those keep their bits."""
    rng = np.random.default_rng(11)
    options = {name: value for name, value in options.items() if name != "activation"}
    shape = (1, *shape[1:])
    x, kernel = reals(rng, shape), abs(reals(rng, kernel_shape)) + np.float32(0.5)
    before = getattr(convolution, op)(x, kernel, isa=isa, **options)
    for _ in range(3):
        place = tuple(int(rng.integers(length)) for length in shape)
        reached = reach(op, shape, kernel_shape, options, place)
        for poison in (np.nan, np.inf):
            poisoned = x.copy()
            poisoned[place] = poison
            got = getattr(convolution, op)(poisoned, kernel, isa=isa, **options)
            np.testing.assert_array_equal(got[reached], poison)
            assert_same_bits(got[~reached], before[~reached])


RESIZES = [{"interpolation": interpolation, "preset": preset, "antialias": antialias}
           for interpolation in ("bilinear", "bicubic", "lanczos3", "lanczos5", "area")
           for preset in (None, "keras", "keras_jax", "torch", "torch_exact", "onnx", "opencv")
           for antialias in (False, True)
           if not (antialias and (interpolation == "area" or preset == "opencv"))
           and not (interpolation == "area" and preset in ("keras_jax", "onnx"))
           and not (interpolation.startswith("lanczos") and preset in ("torch", "torch_exact", "onnx", "opencv"))]


@pytest.mark.parametrize("options", RESIZES, ids=lambda options: "-".join(str(value) for value in options.values()))
def test_resizing_keeps_a_constant_image(options, isa):
    """The weights of every element add up to one."""
    for channels, size in ((1, (13, 5)), (3, (2, 31)), (40, (9, 17))):
        got = convolution.upsample2d(np.full((1, 6, 9, channels), 3, np.float32), output_size=size, isa=isa, **options)
        np.testing.assert_allclose(got, 3, rtol=1e-5)


@pytest.mark.parametrize("options", [o for o in RESIZES if o["interpolation"] in ("bilinear", "bicubic")],
                         ids=lambda options: "-".join(str(value) for value in options.values()))
def test_resizing_keeps_a_ramp_inside(options, isa):
    """Linear kernels, and cubic ones of coefficient -0.5, reproduce a ramp where nothing of them lies outside; TensorFlow's table of
    places to 1/2048 of a step."""
    if options["interpolation"] == "bicubic":
        options = {**options, "cubic_coefficient": -0.5}
    i, o = 24, 61
    ramp = np.arange(i, dtype=np.float32).reshape(1, 1, i, 1)
    got = convolution.upsample2d(np.repeat(ramp, 2, 3), output_size=(1, o), isa=isa, **options)[0, 0, :, 1]
    want = (np.arange(o) + 0.5) * i / o - 0.5
    inside = (want >= 2) & (want <= i - 3)
    tolerance = 2.0**-11 + 1e-5 if options["preset"] == "keras" and options["interpolation"] == "bicubic" else 2e-5
    np.testing.assert_allclose(got[inside], want[inside], rtol=0, atol=tolerance)


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 16, 33])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos5", "area"])
def test_resizing_is_separable(interpolation, channels, isa):
    """Both axes at once, or one after the other; in images whose channels fill no vector, a vector, or more."""
    x = reals(np.random.default_rng(31), (1, 14, 19, channels))
    for size in ((29, 40), (6, 8), (14, 55), (3, 19)):
        both = convolution.upsample2d(x, output_size=size, interpolation=interpolation, isa=isa)
        first = convolution.upsample2d(x, output_size=(14, size[1]), interpolation=interpolation, isa=isa)
        second = convolution.upsample2d(first, output_size=(size[0], size[1]), interpolation=interpolation, isa=isa)
        np.testing.assert_allclose(both, second, rtol=0, atol=2e-5)
        # Through strided views, where rows are copied first and pixels afterwards: the same bits.
        wide = np.zeros((1, 14, 38, channels + 2), np.float32)
        wide[:, :, ::2, :channels] = x
        out = np.full((1, size[0], size[1], channels + 1), 7, np.float32)
        convolution.upsample2d(wide[:, :, ::2, :channels], output_size=size, interpolation=interpolation, isa=isa, out=out[..., :channels])
        assert_same_bits(np.ascontiguousarray(out[..., :channels]), both)
        assert (out[..., channels:] == 7).all()


def test_nan_reaches_the_neighbours_of_upsampling_only(isa):
    for channels in (1, 3, 17):
        x = reals(np.random.default_rng(12), (1, 4, 5, channels))
        x[0, 1, 3, channels - 1] = np.nan
        nearest = np.isnan(convolution.upsample2d(x, 3, isa=isa))
        want = np.zeros((1, 12, 15, channels), bool)
        want[0, 3:6, 9:12, channels - 1] = True
        np.testing.assert_array_equal(nearest, want)


@given(layer=st.one_of(layers(modes=MODES, channels=9), layers(modes=MODES, depthwise=True)), seed=SEEDS,
       dtype=st.sampled_from([np.float32, np.float64]))
def test_the_bound(isa, layer, seed, dtype):
    (shape, kernel_shape, options), rng = layer, np.random.default_rng(seed)
    x, kernel, bias = reals(rng, shape, dtype), reals(rng, kernel_shape, dtype), reals(rng, kernel_shape[3:], dtype)
    oracle.assert_within(convolution.conv2d(x, kernel, bias, isa=isa, **options), oracle.conv2d(x, kernel, bias, **options))


@st.composite
def image_filters(draw, whole):
    """A filter that is a column times a row for each channel, as conv2d: (shape of x, kernel, options)."""
    rng = np.random.default_rng(draw(SEEDS))
    channels, kh, kw = draw(st.integers(1, 5)), draw(st.integers(4, 17)), draw(st.integers(4, 17))
    height, width = draw(st.integers(1, 30)), draw(st.sampled_from([1, 7, 16, 33, 70, 130]))
    u, v = [rng.integers(-3, 4, (n, channels)) if whole else rng.random((n, channels)) for n in (kh, kw)]
    if draw(st.booleans()):
        v[draw(st.integers(0, kw - 1))] = 0
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    kernel = (u[:, None] * v).astype(dtype)[:, :, None]
    if draw(st.integers(0, 3)) == 0:
        kernel[0, 0] += 1  # and one that is not
    mode = draw(st.sampled_from(MODES + ("constant",)))
    most = {"reflect": (height - 1, width - 1), "symmetric": (height, width), "circular": (height, width)}.get(mode, (20, 20))
    pads = [[min((k - 1) // 2, limit), min(k - 1 - (k - 1) // 2, limit)] for k, limit in zip((kh, kw), most)]
    pads = [(before, after + max(0, k - n - before - after)) for (before, after), k, n in zip(pads, (kh, kw), (height, width))]
    if mode in ("reflect", "symmetric", "circular") and any(max(pad) > limit for pad, limit in zip(pads, most)):
        mode = "replicate"
    options = {"padding": tuple(pads), "groups": channels, "padding_mode": mode}
    if mode == "constant":
        options["padding_value"] = 3.0
    return (2, height, width, channels), kernel, options


@given(layer=image_filters(whole=True), seed=SEEDS)
def test_image_filters_of_whole_numbers_are_exact(isa, layer, seed):
    (shape, kernel, options), rng = layer, np.random.default_rng(seed)
    x = whole_numbers(rng, shape, kernel.dtype)
    got = convolution.conv2d(x, kernel, isa=isa, **options)
    np.testing.assert_array_equal(got, conv2d_by_shifts(x, kernel, options)[0])


@given(layer=image_filters(whole=False), seed=SEEDS, sign=st.booleans())
def test_bits_and_the_bound_of_image_filters(isa, layer, seed, sign):
    """Two passes where the kernel permits, but always the same ones."""
    (shape, kernel, options), rng = layer, np.random.default_rng(seed)
    x = (reals(rng, shape) if sign else rng.random(shape)).astype(kernel.dtype)
    bias = reals(rng, kernel.shape[3:], kernel.dtype)
    want = convolution.conv2d(x, kernel, bias, isa=isa, threads=1, **options)
    oracle.assert_within(want, conv2d_by_shifts(x, kernel, options, bias))
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    other = convolution.conv2d(first, kernel, bias, isa=isa, threads=2, data_format="channels_first", **options)
    assert_same_bits(other.transpose(0, 2, 3, 1), want)
    assert_same_bits(convolution.conv2d(x[1:2], kernel, bias, isa=isa, **options), want[1:2])
    assert_same_bits(convolution.Conv2DPlan(x.shape, kernel, bias, isa=isa, **options)(x), want)
    assert_same_bits(convolution.conv2d(strided(x, "mirrored"), kernel, bias, isa=isa, **options), want)
    # An infinity reaches the outputs whose window holds it, and NaN comes of it where the weight is 0 alone.
    place = tuple(int(rng.integers(length)) for length in shape)
    x[place] = np.inf
    with np.errstate(invalid="ignore"):
        poisoned = conv2d_by_shifts(x, kernel, options, bias)[0]
    got = convolution.conv2d(x, kernel, bias, isa=isa, **options)
    finite = np.isfinite(poisoned)
    np.testing.assert_array_equal(got[~finite], poisoned[~finite])
    assert_same_bits(got[finite], want[finite])


def conv2d_by_shifts(x, kernel, options, bias=None):
    """oracle.conv2d of a depthwise layer of stride 1, a shifted image at a time: (want, tolerance)."""
    mode = {"zeros": "constant", "replicate": "edge", "circular": "wrap"}.get(options["padding_mode"], options["padding_mode"])
    values = {"constant_values": options.get("padding_value", 0.0)} if mode == "constant" else {}
    padded = np.pad(oracle.widened(x), ((0, 0), *options["padding"], (0, 0)), mode, **values)
    kh, kw = kernel.shape[:2]
    height, width = padded.shape[1] - kh + 1, padded.shape[2] - kw + 1
    total = magnitude = 0
    for a, b in itertools.product(range(kh), range(kw)):
        product = padded[:, a:a + height, b:b + width] * oracle.widened(kernel[a, b, 0])
        total, magnitude = total + product, magnitude + abs(product)
    return oracle.finish(total, magnitude, bias, x.dtype, "channels_last", None, None, None, None)


def test_large_images_are_written_past_the_caches_alike(isa):
    """The rows of a large output, aligned or not, are those of a small one."""
    rng = np.random.default_rng(5)
    x = reals(rng, (1, 2200, 2000, 1))
    for kernel in (reals(rng, (3, 3, 1, 1)), np.outer(*rng.random((2, 5))).astype(np.float32)[:, :, None, None]):
        reach = kernel.shape[0] // 2
        want = convolution.conv2d(x[:, :40], kernel, isa=isa, padding="same")[:, :40 - reach]
        for offset in (0, 1, 4):
            out = np.full(offset + x.size, 7, np.float32)[offset:].reshape(x.shape)
            convolution.conv2d(x, kernel, isa=isa, padding="same", out=out)
            assert_same_bits(out[:, :40 - reach], want)
            assert_same_bits(out[:, 40 - reach:], convolution.conv2d(x[:, 40 - 2 * reach:], kernel, isa=isa, padding="same")[:, reach:])


@pytest.mark.parametrize("kernel_shape, factor, groups", [((2, 3, 8, 32), 1, 1), ((4, 2, 32, 8), 2, 1), ((3, 3, 1, 32), 1, 32)],
                         ids=["conv2d", "conv2d_transpose", "depthwise"])
def test_large_outputs_of_many_channels_are_written_past_the_caches_alike(kernel_shape, factor, groups, isa):
    """Vectors of channels, aligned or not, and an output that is a part of a larger one."""
    rng = np.random.default_rng(6)
    op, options = (convolution.conv2d, {"padding": "same"}) if factor == 1 else (convolution.conv2d_transpose, {"strides": 2})
    x, kernel, bias = reals(rng, (1, 520 // factor, 256 // factor, max(8, groups))), reals(rng, kernel_shape), reals(rng, (32,))
    options |= {"bias": bias, "isa": isa, "activation": "relu", "groups": groups}
    small = op(x[:, :40], kernel, **options)[:, :36]
    shape = (1, 520 if factor == 1 else 522, 256, 32)
    for threads, offset in itertools.product((1, 2), (0, 1, 4, 8)):
        out = np.full(offset + np.prod(shape), 7, np.float32)[offset:].reshape(shape)
        op(x, kernel, out=out, threads=threads, **options)
        assert_same_bits(out[:, :36], small)
        spread = np.full((*shape[:2], 257, 36), 7, np.float32)
        op(x, kernel, out=spread[:, :, 1:, 4:], threads=threads, **options)
        assert_same_bits(spread[:, :, 1:, 4:], out)
        assert (spread[:, :, 0] == 7).all() and (spread[:, :, :, :4] == 7).all()


@given(layer=layers(modes=MODES, depthwise=True), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]),
       data_format=st.sampled_from(["channels_last", "channels_first"]))
def test_whole_numbers_of_depthwise_layers_are_exact(isa, layer, seed, dtype, data_format):
    (shape, kernel_shape, options), rng = layer, np.random.default_rng(seed)
    x = np.ascontiguousarray(oracle.from_nhwc(whole_numbers(rng, shape, dtype), data_format))
    kernel = whole_numbers(rng, kernel_shape, dtype)
    got = convolution.conv2d(x, kernel, data_format=data_format, isa=isa, **options)
    np.testing.assert_array_equal(got, oracle.conv2d(x, kernel, data_format=data_format, **options)[0])


@given(layer=transposed_layers(), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_the_bound_of_transposed_convolution(isa, layer, seed, dtype):
    (shape, kernel_shape, options), rng = layer, np.random.default_rng(seed)
    bias_shape = (kernel_shape[2] * options["groups"],)
    x, kernel, bias = reals(rng, shape, dtype), reals(rng, kernel_shape, dtype), reals(rng, bias_shape, dtype)
    got = convolution.conv2d_transpose(x, kernel, bias, isa=isa, **options)
    oracle.assert_within(got, oracle.conv2d_transpose(x, kernel, bias, **options))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", BIT_LAYERS, ids=lambda layer: f"{layer[0]}-{'x'.join(map(str, layer[1]))}")
def test_the_bound_of_chosen_layers(case, dtype, isa):
    layer = Layer(*case, isa, dtype)
    want = getattr(oracle, layer.op)(layer.x, *layer.constants, **case[3])
    oracle.assert_within(layer.run(), want, case)


def fraction_of_ones(rng, shape, dtype):
    """Positive numbers with all bits in use, so that sums grow steadily and each addition rounds."""
    return (rng.random(shape) + 0.5).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op, shape, kernel_shape, options", [
    ("conv2d", (1, 4, 5, 512), (3, 3, 512, 8), {}), ("conv2d", (1, 2, 3, 4608), (1, 1, 4608, 5), {}),
    ("conv2d", (1, 31, 33, 1), (31, 31, 1, 1), {}), ("conv2d", (1, 33, 32, 4), (31, 31, 1, 4), {"groups": 4}),
    ("conv2d", (1, 17, 16, 16), (15, 15, 16, 3), {}), ("conv2d_transpose", (1, 3, 3, 512), (3, 3, 8, 512), {}),
    ("conv2d_transpose", (1, 2, 3, 2048), (2, 2, 3, 2048), {"strides": 2})])
def test_the_bound_of_long_sums(op, shape, kernel_shape, options, dtype, isa):
    """Thousands of positive products per output: one running sum would drift out of the bound."""
    rng = np.random.default_rng(13)
    x, kernel = fraction_of_ones(rng, shape, dtype), fraction_of_ones(rng, kernel_shape, dtype)
    oracle.assert_within(getattr(convolution, op)(x, kernel, isa=isa, **options), getattr(oracle, op)(x, kernel, **options))


@pytest.mark.parametrize("terms", [16, 32, 33, 48, 64, 96, 128, 512])
def test_the_bound_over_many_elements(terms, isa):
    """The rarest of 160,000 sums of numbers between 0 and 1, of the lengths at which a sum is cut into few or no chunks."""
    rng = np.random.default_rng(terms)
    x, kernel = rng.random((1, 100, 100, terms), np.float32), rng.random((1, 1, terms, 16), np.float32)
    want = x.reshape(-1, terms).astype(np.float64) @ kernel.reshape(terms, 16).astype(np.float64)
    got = convolution.conv2d(x, kernel, isa=isa).reshape(-1, 16)
    assert (np.abs(got - want) / (2.0**-24 * want)).max() <= 8


@pytest.mark.parametrize("channels, chunk", [(64, 32), (576, 128), (4608, 288)])
def test_the_worst_case_of_flat_data(channels, chunk, isa):
    """Equal terms round alike, so their errors add up: the header's second bound, with the chunks it names."""
    rng = np.random.default_rng(7)
    for x, w in rng.random((40, 2), np.float32):
        got = convolution.conv2d(np.full((1, 1, 1, channels), x), np.full((1, 1, channels, 1), w), isa=isa)[0, 0, 0, 0]
        want = channels * float(x) * float(w)
        assert abs(float(got) - want) <= (chunk + 2 * channels / chunk + 2) * 2.0**-24 * want


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [(3, 1), (1, 3), (8, 5), (16, 33)])
@pytest.mark.parametrize("isa", convolution.isas())
def test_what_no_tap_reaches_is_added_to(isa, channels, data_format):
    """Rows and columns between the strokes of a short kernel hold the bias alone; of an accumulating layer, what was there too."""
    inputs, outputs = channels
    shape = (2, 3, 4, inputs) if data_format == "channels_last" else (2, inputs, 3, 4)
    x = np.ones(shape, np.float32)
    kernel = np.ones((inputs, outputs, 1, 2), np.float32)
    options = dict(strides=(3, 4), data_format=data_format, kernel_format="iohw", rule="window", isa=isa,
                   bias=np.arange(outputs, dtype=np.float32))
    alone = convolution.conv2d_transpose(x, kernel, **options)
    held = np.arange(alone.size, dtype=np.float32).reshape(alone.shape) % 64 - 20
    assert_same_bits(convolution.conv2d_transpose(x, kernel, residual=held, **options), alone + held)


@pytest.mark.parametrize("dtype", (np.float32, np.float64), ids=lambda t: t.__name__)
@pytest.mark.parametrize("data_format, kernel_format", itertools.product(("channels_last", "channels_first"), ("HWIO", "OIHW")))
@pytest.mark.parametrize("shape, strides, inputs, outputs", (
    ((1, 1, 1), 1, 300, 64), ((1, 1, 1), 1, 96, 1001), ((5, 1, 1), 3, 130, 70), ((2, 2, 3), 1, 70, 200), ((1, 3, 3), 2, 64, 130),
    ((8, 1, 1), 1, 33, 140), ((1, 1, 7), 1, 1030, 56), ((3, 1, 1), 1, 1, 5000)))
def test_plain_call_of_few_pixels_gives_the_bits_of_a_plan(shape, strides, inputs, outputs, data_format, kernel_format, dtype):
    # A single call leaves such a kernel where it is and packs the pixels.
    rng = np.random.default_rng(inputs)
    batch, height, width = shape
    x = rng.standard_normal((batch, height, width, inputs)).astype(dtype)
    kernel = rng.standard_normal((1, 1, inputs, outputs)).astype(dtype)
    bias = rng.standard_normal(outputs).astype(dtype)
    want = np.einsum("nhwc,co->nhwo", x[:, ::strides, ::strides].astype(float), kernel[0, 0].astype(float))
    size = np.einsum("nhwc,co->nhwo", abs(x[:, ::strides, ::strides]).astype(float), abs(kernel[0, 0]).astype(float))
    if kernel_format == "OIHW":
        kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    views = [x, x[::-1], np.repeat(x, 2, axis=3)[..., ::2], np.repeat(x, 2, axis=2)[:, :, ::2]]
    if data_format == "channels_first":
        views = [view.transpose(0, 3, 1, 2) for view in views] + [np.ascontiguousarray(x.transpose(0, 3, 1, 2))]
        want, size = want.transpose(0, 3, 1, 2), size.transpose(0, 3, 1, 2)
    options = {"strides": strides, "data_format": data_format, "kernel_format": kernel_format}
    plain = convolution.conv2d(views[0], kernel, **options)
    assert (abs(plain - want) <= 8 * np.finfo(dtype).eps * size).all()
    residual = rng.standard_normal(want.shape).astype(dtype)
    for more in ({}, {"bias": bias}, {"bias": bias, "activation": "relu"}, {"residual": residual, "activation": "tanh"},
                 {"bias": bias, "residual": residual}, {"bias": bias, "threads": 2},
                 {"bias": -0.0 * bias, "workspace_limit": 1 << 20}):
        options_of_plan = {name: value for name, value in more.items() if name != "residual"}
        for view in views:
            plan = convolution.Conv2DPlan(view.shape, kernel, **options, **options_of_plan)
            result = convolution.conv2d(view, kernel, **options, **more)
            if "residual" not in more:
                assert result.tobytes() == plan(view).tobytes()
            else:
                # Plans of a residual have none here; the layer of the whole image, its kernel packed, does.
                wide = convolution.conv2d(
                    np.concatenate([view] * 64), kernel, **options, **{**more, "residual": np.concatenate([residual] * 64)})
                assert result.tobytes() == wide[:batch].tobytes()


@pytest.mark.parametrize("kernel_format", ("HWIO", "OIHW"))
def test_plain_call_of_few_pixels_keeps_what_is_not_finite_in_its_place(kernel_format):
    rng = np.random.default_rng(3)
    x, kernel = rng.standard_normal((2, 1, 1, 80), np.float32), rng.standard_normal((1, 1, 80, 90), np.float32)
    x[1, 0, 0, 7], kernel[0, 0, 5, 11], kernel[0, 0, 70, 40] = np.inf, np.nan, -np.inf
    given = kernel if kernel_format == "HWIO" else np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    bias = np.ones(90, np.float32)
    result = convolution.conv2d(x, given, bias, kernel_format=kernel_format)
    assert result.tobytes() == convolution.Conv2DPlan(x.shape, given, bias, kernel_format=kernel_format)(x).tobytes()
    assert np.isfinite(result[0, 0, 0, np.delete(np.arange(90), [11, 40])]).all() and not np.isfinite(result[1]).any()


@pytest.mark.parametrize("inputs, outputs, height, width, strides", (
    (32, 64, 28, 28, 2), (16, 16, 20, 20, 2), (64, 24, 30, 31, 3)))
def test_strided_1x1_of_planes_leaves_gaps_between_output_rows_alone(inputs, outputs, height, width, strides):
    # Rows that follow each other are computed as one long row; these do not.
    rng = np.random.default_rng(inputs)
    x = rng.standard_normal((2, inputs, height, width), np.float32)
    kernel = rng.standard_normal((outputs, inputs, 1, 1), np.float32)
    options = {"strides": strides, "data_format": "channels_first", "kernel_format": "OIHW"}
    want = convolution.conv2d(x, kernel, **options)
    wide = np.full((*want.shape[:3], want.shape[3] + 3), 7, np.float32)
    convolution.conv2d(x, kernel, **options, out=wide[..., :-3])
    assert np.array_equal(wide[..., :-3], want) and (wide[..., -3:] == 7).all()


@pytest.mark.parametrize("axis", (0, 1))
def test_padding_far_larger_than_a_depthwise_image(axis):
    # Rows that no tap reaches were once counted through to the image, each by itself: minutes.
    x, kernel = np.random.default_rng(1).standard_normal((2, 1, 4, 4, 16), np.float32)
    few, many = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
    few[axis], many[axis] = (4, 4), (1_600_000, 4)
    kernel = np.ascontiguousarray(kernel[:, :2, :2].transpose(1, 2, 0, 3))
    want, result = (convolution.conv2d(x, kernel, groups=16, padding=p) for p in (few, many))
    kept = result.shape[axis + 1] - want.shape[axis + 1]
    assert np.array_equal(np.take(result, range(kept, result.shape[axis + 1]), axis + 1), want)
    assert not np.take(result, range(0, kept), axis + 1).any()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("shape, size, data_format", [
    ((1, 128, 75, 75), (225, 225), "channels_first"),   # rows that fill no vectors, the last alone in its group of four
    ((1, 200, 75, 75), (149, 223), "channels_first"),
    ((8, 64, 60, 60), (120, 120), "channels_first"),    # half vectors
    ((60, 75, 75, 3), (225, 161), "channels_last"),
    ((12, 75, 75, 24), (161, 150), "channels_last"),
    ((3, 75, 75, 100), (161, 150), "channels_last"),
])
def test_what_is_resampled_past_the_caches_has_the_bits_of_its_parts(shape, size, data_format, interpolation, isa):
    """Outputs of 24 MiB and more, and image by image or some planes at a time."""
    x = np.random.default_rng(12).standard_normal(shape, np.float32)
    options = dict(output_size=size, data_format=data_format, interpolation=interpolation, isa=isa)
    result = convolution.upsample2d(x, **options)
    assert result.nbytes >= 24 << 20
    axis = 1 if data_format == "channels_first" else 0
    parts = np.array_split(x, shape[axis] // 16 if axis else len(x), axis)
    assert_same_bits(result, np.concatenate([convolution.upsample2d(np.ascontiguousarray(part), **options) for part in parts], axis))
    odd = np.empty(result.size + 3, np.float32)[3:].reshape(result.shape)
    assert_same_bits(convolution.upsample2d(x, out=odd, **options), result)
