"""algorithm="winograd": the errors that the header names, the same bits however a call is made, and where it is not used.

The errors are measured in units of 2^-24 * (sum |x*w| + |bias|) of each element (2^-53 for double). What the algorithm promises
is relative to the largest such sum, since a tile mixes its elements; the figures hold for data that varies alike everywhere.
"""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convolution
import oracle

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = [np.float32, np.float64]
LARGEST_ERROR, ROOT_MEAN_SQUARE = 25, 2
LARGEST_ERROR_OF_STRIDES, ROOT_MEAN_SQUARE_OF_STRIDES = 35, 3

# Enough to take every path: channels that fill vectors and that do not, sizes that fill tiles and that do not, one tile, groups.
LAYERS = [
    ("conv2d", (3, 14, 14, 64), (3, 3, 64, 64), {"padding": "same", "activation": "relu"}),
    ("conv2d", (2, 9, 11, 33), (3, 3, 33, 17), {"padding": "same", "padding_mode": "reflect"}),
    ("conv2d", (2, 10, 7, 80), (3, 3, 80, 23), {"padding": ((0, 2), (3, -1)), "activation": "tanh"}),
    ("conv2d", (3, 6, 6, 16), (3, 3, 16, 16), {}),
    ("conv2d", (2, 12, 17, 64), (3, 3, 32, 128), {"groups": 2, "padding": 1, "padding_mode": "circular", "flip_kernel": True}),
    ("conv2d", (1, 9, 10, 99), (3, 3, 33, 120), {"groups": 3, "padding": 1}),
    ("conv2d", (2, 8, 9, 130), (3, 3, 130, 48), {"padding": "full", "padding_mode": "constant", "padding_value": 1.5}),
    ("conv2d", (1, 40, 45, 32), (3, 3, 32, 96), {"padding": "same_lower", "activation": "relu6"}),
    ("conv2d", (2, 14, 13, 32), (3, 3, 32, 64), {"padding": "same", "padding_mode": "reflect", "dilation_rate": (2, 3)}),
    # Kernels so large that few tiles, but not those of all images, are computed in a way of their own.
    ("conv2d", (3, 7, 6, 345), (3, 3, 345, 340), {"padding": "same", "activation": "relu"}),
    ("conv2d", (3, 8, 5, 496), (3, 3, 248, 472), {"padding": "same", "groups": 2}),
    ("conv2d_transpose", (2, 7, 9, 32), (3, 3, 32, 32), {"padding": "same"}),
    ("conv2d_transpose", (2, 7, 9, 24), (3, 3, 16, 24), {"dilation_rate": (1, 3)}),
    ("conv2d_transpose", (2, 4, 6, 48), (3, 3, 17, 48), {"activation": "leaky_relu"}),
    ("conv2d_transpose", (2, 6, 5, 80), (3, 3, 36, 80), {"groups": 2, "flip_kernel": True}),
    # Phases of 2x2, of 2 and 3 taps, of a group, of a stride on one axis alone, of windows that begin and end within a phase.
    ("conv2d_transpose", (2, 16, 15, 64), (4, 4, 64, 64), {"strides": 2, "padding": "same", "activation": "relu"}),
    ("conv2d_transpose", (2, 13, 15, 70), (5, 5, 67, 70), {"strides": 2, "padding": "same", "activation": "tanh"}),
    ("conv2d_transpose", (1, 15, 15, 128), (6, 4, 64, 128), {"strides": 2, "groups": 2, "flip_kernel": True}),
    ("conv2d_transpose", (2, 14, 15, 64), (3, 8, 80, 64), {"strides": (1, 3)}),
    ("conv2d_transpose", (2, 16, 13, 65), (9, 7, 64, 65), {
        "strides": 3, "rule": "window", "padding": ((1, -3), (2, 4)), "activation": "relu6"}),
]
NAMES = [f"{op}-{'x'.join(map(str, shape))}-{kernel[3]}" for op, shape, kernel, _ in LAYERS]
PLANS = {"conv2d": convolution.Conv2DPlan, "conv2d_transpose": convolution.Conv2DTransposePlan}


def normal(rng, shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def uniform(rng, shape, dtype=np.float32):
    return rng.random(shape).astype(dtype)


class Layer:
    def __init__(self, op, shape, kernel_shape, options, isa, dtype=np.float32, seed=5):
        rng = np.random.default_rng(seed)
        outputs = kernel_shape[3] if op == "conv2d" else kernel_shape[2] * options.get("groups", 1)
        self.op, self.rng = op, rng
        self.x, self.kernel = normal(rng, shape, dtype), normal(rng, kernel_shape, dtype)
        self.bias = normal(rng, (outputs,), dtype)
        self.options = {**options, "isa": isa, "threads": 1, "algorithm": "winograd"}

    def run(self, x=None, **more):
        function = getattr(convolution, self.op)
        return function(self.x if x is None else x, self.kernel, self.bias, **{**self.options, **more})


@pytest.fixture(params=LAYERS, ids=NAMES)
def layer(request, isa):
    return Layer(*request.param, isa)


def assert_same_bits(got, want):
    assert got.dtype == want.dtype and got.shape == want.shape
    assert np.ascontiguousarray(got).tobytes() == np.ascontiguousarray(want).tobytes()


def assert_near(got, reference):
    """Within the largest error, measured by the largest sum."""
    want, tolerance = reference
    assert got.shape == want.shape
    assert abs(got - want).max() <= LARGEST_ERROR / 8 * tolerance.max()


# ------------------------------------------------------------------------------------------------------------ the errors


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", LAYERS, ids=NAMES)
def test_chosen_layers(case, dtype, isa):
    layer = Layer(*case, isa, dtype)
    assert_near(layer.run(), getattr(oracle, layer.op)(layer.x, layer.kernel, layer.bias, **case[3]))


@st.composite
def layers(draw):
    mode = draw(st.sampled_from(["zeros", "constant", "reflect", "symmetric", "replicate", "circular"]))
    sizes = [draw(st.integers(5, 15)) for _ in range(2)]
    pads = [(draw(st.integers(-1, 4)), draw(st.integers(1, 4))) for _ in range(2)]
    groups, dilation = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([1, 1, 2]))
    channels, outputs = (draw(st.integers(16 * groups, 72)) for _ in range(2))
    options = {"padding": tuple(pads), "padding_mode": mode, "groups": groups, "flip_kernel": draw(st.booleans()),
               "dilation_rate": dilation}
    if mode == "constant":
        options["padding_value"] = 0.75
    return (1, *sizes, groups * channels), (3, 3, channels, groups * outputs), options


@given(case=layers(), seed=SEEDS, dtype=st.sampled_from(DTYPES), first=st.booleans(), torch=st.booleans())
def test_any_layer(isa, case, seed, dtype, first, torch):
    (shape, kernel_shape, options), rng = case, np.random.default_rng(seed)
    x, kernel, bias = normal(rng, shape, dtype), normal(rng, kernel_shape, dtype), normal(rng, kernel_shape[3:], dtype)
    want = oracle.conv2d(x, kernel, bias, **options)
    if torch:
        options = {**options, "kernel_format": "OIHW"}
        kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    given_x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if first else x
    got = convolution.conv2d(given_x, kernel, bias, isa=isa, algorithm="winograd", **options,
                             data_format="channels_first" if first else "channels_last")
    assert_near(got.transpose(0, 2, 3, 1) if first else got, want)


@given(sizes=st.tuples(st.integers(2, 9), st.integers(2, 9)), groups=st.sampled_from([1, 2]), inputs=st.integers(16, 48),
       outputs=st.integers(16, 48), padding=st.sampled_from(["valid", "same"]), flip=st.booleans(), seed=SEEDS)
def test_any_transposed_layer(isa, sizes, groups, inputs, outputs, padding, flip, seed):
    rng = np.random.default_rng(seed)
    x, kernel = normal(rng, (1, *sizes, groups * inputs)), normal(rng, (3, 3, outputs, groups * inputs))
    options = {"padding": padding, "flip_kernel": flip, "groups": groups}
    got = convolution.conv2d_transpose(x, kernel, isa=isa, algorithm="winograd", **options)
    assert_near(got, oracle.conv2d_transpose(x, kernel, **options))


@given(sizes=st.tuples(st.integers(8, 17), st.integers(8, 60)), kernel=st.tuples(st.integers(4, 6), st.integers(4, 6)),
       pads=st.tuples(*[st.integers(-2, 3)] * 4), inputs=st.integers(64, 72), outputs=st.integers(64, 72), first=st.booleans(),
       seed=SEEDS)
def test_any_strided_layer(isa, sizes, kernel, pads, inputs, outputs, first, seed):
    rng = np.random.default_rng(seed)
    x, w = normal(rng, (1, *sizes, inputs)), normal(rng, (*kernel, outputs, inputs))
    options = {"strides": 2, "rule": "window", "padding": (pads[:2], pads[2:])}
    want = oracle.conv2d_transpose(x, w, **options)
    given_x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if first else x
    got = convolution.conv2d_transpose(given_x, w, isa=isa, algorithm="winograd", **options,
                                       data_format="channels_first" if first else "channels_last")
    assert_near(got.transpose(0, 2, 3, 1) if first else got, want)


@pytest.mark.parametrize("data", [normal, uniform])
@pytest.mark.parametrize("size, channels", [(4, 64), (5, 256), (6, 512)])
def test_the_errors_of_strides(data, size, channels, isa):
    """Per element, also where a window of the natural result ends and an element has a quarter of its neighbours' products."""
    rng = np.random.default_rng(channels)
    x, kernel, bias = data(rng, (1, 17, 16, channels)), data(rng, (size, size, 64, channels)), data(rng, (64,))
    got = convolution.conv2d_transpose(x, kernel, bias, strides=2, isa=isa, algorithm="winograd")
    want, tolerance = oracle.conv2d_transpose(x, kernel, bias, strides=2)
    error = (got - want) / (tolerance / 8)
    assert abs(error).max() <= LARGEST_ERROR_OF_STRIDES
    assert np.sqrt((error**2).mean()) <= ROOT_MEAN_SQUARE_OF_STRIDES


@pytest.mark.parametrize("data", [normal, uniform])
@pytest.mark.parametrize("channels", [16, 64, 256, 1024])
def test_the_errors_of_the_header(data, channels, isa):
    """Per element and on average, on images padded with zeros: sums at the border have fewer products than their tile's."""
    rng = np.random.default_rng(channels)
    x, kernel, bias = data(rng, (1, 48, 47, channels)), data(rng, (3, 3, channels, 32)), data(rng, (32,))
    got = convolution.conv2d(x, kernel, bias, padding="same", isa=isa, algorithm="winograd")
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    want, magnitude = bias + np.zeros(got.shape), abs(bias) + np.zeros(got.shape)
    for a in range(3):
        for b in range(3):
            window = padded[:, a:a + 48, b:b + 47]
            want += window @ kernel[a, b].astype(np.float64)
            magnitude += abs(window) @ abs(kernel[a, b]).astype(np.float64)
    error = (got - want) / (2.0**-24 * magnitude)
    assert abs(error).max() <= LARGEST_ERROR
    assert np.sqrt((error**2).mean()) <= ROOT_MEAN_SQUARE


@pytest.mark.parametrize("channels", [16, 100])
def test_the_worst_case_of_the_header(channels, isa):
    """One input in thirty is a million times larger: the small sums beside it err with it, but no more than the header says."""
    rng = np.random.default_rng(channels)
    x = normal(rng, (1, 26, 26, channels)) * np.where(rng.random((1, 26, 26, 1)) < 1 / 30, np.float32(1e6), np.float32(1))
    kernel = normal(rng, (3, 3, channels, 16))
    want, _ = oracle.conv2d(x, kernel)
    got = convolution.conv2d(x, kernel, isa=isa, algorithm="winograd")
    for row in range(0, 24, 4):
        for column in range(0, 24, 4):
            tile = abs(x[0, row:row + 6, column:column + 6]).max(axis=(0, 1)) @ abs(kernel).max(axis=(0, 1))
            error = abs(got - want)[0, row:row + 4, column:column + 4].max(axis=(0, 1))
            assert (error <= 50 * 2.0**-24 * tile).all()


# ------------------------------------------------------------------------------------------------------------ equal bits


def test_bits_do_not_depend_on_the_data_format(layer):
    first = np.ascontiguousarray(layer.x.transpose(0, 3, 1, 2))
    assert_same_bits(layer.run(first, data_format="channels_first").transpose(0, 2, 3, 1), layer.run())


def test_bits_do_not_depend_on_the_batch(layer):
    together = layer.run()
    for n in range(len(layer.x)):
        assert_same_bits(together[n:n + 1], layer.run(layer.x[n:n + 1]))


def test_bits_do_not_depend_on_the_threads(layer):
    alone = layer.run()
    for threads in (0, 2, 3, 4, 5, 6, 7, 8):
        assert_same_bits(layer.run(threads=threads), alone)


def test_bits_of_a_large_layer_do_not_depend_on_the_threads(isa):
    layer = Layer("conv2d", (2, 61, 67, 24), (3, 3, 24, 40), {}, isa)
    alone = layer.run()
    for threads in range(2, 9):
        assert_same_bits(layer.run(threads=threads), alone)


def test_bits_of_a_plan_are_those_of_the_plain_call(layer):
    plain = layer.run()
    with PLANS[layer.op](layer.x.shape, layer.kernel, layer.bias, **layer.options) as plan:
        assert_same_bits(plan(layer.x), plain)
        assert_same_bits(plan(layer.x[::-1].copy()), plain[::-1])


def test_bits_do_not_depend_on_the_strides(layer):
    packed = layer.run()
    for view in (np.full([2 * n + 1 for n in layer.x.shape], np.nan, np.float32)[1::2, 1::2, 1::2, 1::2],
                 np.full(layer.x.shape, np.nan, np.float32)[::-1, ::-1, ::-1, ::-1]):
        view[...] = layer.x
        assert_same_bits(layer.run(view), packed)
    for step in (1, 2):
        around = np.full([step * n + 3 for n in packed.shape], np.nan, np.float32)
        out = around[tuple(slice(1, 1 + step * n, step) for n in packed.shape)]
        assert layer.run(out=out) is out
        assert_same_bits(out, packed)
        out[...] = np.nan
        assert np.isnan(around).all()  # nothing was written between and around the elements


SIZES = {"conv2d": convolution.conv2d_workspace_size, "conv2d_transpose": convolution.conv2d_transpose_workspace_size}


def test_bits_do_not_depend_on_the_workspace(layer):
    size = SIZES[layer.op](layer.x.shape, layer.kernel.shape, **layer.options)
    assert 0 < size.least <= size.execution <= 2 << 20 and size.plan > layer.kernel.nbytes
    expected = layer.run()
    for limit in (size.least, (size.least + size.execution) // 2):
        limited = SIZES[layer.op](layer.x.shape, layer.kernel.shape, **layer.options, workspace_limit=limit)
        assert size.least <= limited.execution <= limit
        assert_same_bits(layer.run(workspace_limit=limit), expected)
        assert_same_bits(layer.run(workspace_limit=limit, threads=3), expected)
    with pytest.raises(ValueError, match=f"workspace_limit is {size.least - 1}; this layer needs at least {size.least} bytes"):
        layer.run(workspace_limit=size.least - 1)


@pytest.mark.parametrize("channels, outputs, dtype", [
    (64, 512, np.float32), (128, 128, np.float64), (512, 512, np.float32), (1024, 512, np.float32), (512, 1024, np.float64)])
def test_a_workspace_is_two_mebibytes_or_a_third_of_the_kernel(channels, outputs, dtype, isa):
    shape, kernel_shape = (8, 112, 112, channels), (3, 3, channels, outputs)
    size = convolution.conv2d_workspace_size(shape, kernel_shape, isa=isa, threads=1, algorithm="winograd", dtype=dtype)
    assert size.execution <= max(2 << 20, min(size.plan / 3, 13 << 20))


# -------------------------------------------------------------------------------------- activations, residual, NaN, limits


def test_a_residual_and_its_activation(layer):
    layer.options.pop("activation", None)
    plain = layer.run()
    residual = normal(layer.rng, plain.shape)
    total = plain + residual
    assert_same_bits(layer.run(residual=residual), total)
    assert_same_bits(layer.run(residual=residual, activation="relu"), np.where(total < 0, np.float32(0), total))


def test_nan_and_infinity_stay_in_the_tiles_that_hold_them(isa):
    """They reach every output whose window holds them, and none beyond the 4x4 tiles whose 6x6 inputs do."""
    layer = Layer("conv2d", (1, 14, 19, 20), (3, 3, 20, 18), {}, isa)
    before = layer.run()
    for row, column, channel in [(0, 0, 3), (4, 9, 0), (5, 12, 19), (13, 18, 7)]:
        held = np.zeros(before.shape, bool)
        for tile_row in range(0, 12, 4):
            for tile_column in range(0, 17, 4):
                if tile_row <= row < tile_row + 6 and tile_column <= column < tile_column + 6:
                    held[:, tile_row:tile_row + 4, tile_column:tile_column + 4] = True
        for poison in (np.nan, np.inf):
            x = layer.x.copy()
            x[0, row, column, channel] = poison
            got = layer.run(x)
            assert not np.isfinite(got[:, max(row - 2, 0):row + 1, max(column - 2, 0):column + 1]).any()
            assert_same_bits(got[~held], before[~held])


def unlike_default(op, shape, kernel_shape, options, isa, poison=None):
    layer = Layer(op, shape, kernel_shape, options, isa)
    if poison is not None:
        layer.kernel.flat[17] = poison
    return layer.run().tobytes() != layer.run(algorithm="default").tobytes()


@pytest.mark.parametrize("dilation", [1, 2])
def test_input_gradients_are_within_the_errors(dilation, isa):
    """The adjoint layer by the same algorithm: near the transposed convolution by textbook loops, and not the default's bits."""
    rng = np.random.default_rng(7)
    shape, options = (2, 13, 12, 24), {"padding": "same", "dilation_rate": dilation}
    kernel, gradient = normal(rng, (3, 3, 24, 32)), normal(rng, (2, 13, 12, 32))
    got, default = (convolution.conv2d_backward_input(gradient, kernel, shape, isa=isa, algorithm=algorithm, **options)
                    for algorithm in ("winograd", "default"))
    assert got.tobytes() != default.tobytes()
    assert_near(got, oracle.conv2d_transpose(gradient, kernel, padding="same", dilation_rate=dilation))


def test_input_gradients_of_strides_are_within_the_errors(isa):
    rng = np.random.default_rng(8)
    kernel, gradient = normal(rng, (5, 5, 64, 64)), normal(rng, (1, 14, 14, 64))
    got, default = (convolution.conv2d_backward_input(gradient, kernel, (1, 28, 28, 64), isa=isa, algorithm=algorithm, strides=2,
                                             padding=((2, 1), (2, 1))) for algorithm in ("winograd", "default"))
    assert got.tobytes() != default.tobytes()
    assert_near(got, oracle.conv2d_transpose(gradient, kernel, strides=2, rule="window", padding=2, output_padding=1))


def test_where_it_is_used(isa):
    """Were it never used, all other tests here would pass in vain."""
    for case in LAYERS:
        assert unlike_default(*case, isa), case


def test_groups_of_one_vector_go_without(isa):
    """The transforms would take longer than what they save: 16 channels are one vector of AVX-512, several of the others."""
    assert unlike_default("conv2d", (1, 12, 12, 32), (3, 3, 16, 32), {"groups": 2}, isa) == (isa != "avx512")


@pytest.mark.parametrize("shape, kernel_shape, options, poison", [
    ((1, 12, 12, 32), (3, 3, 32, 32), {"strides": 2}, None),
    ((1, 12, 12, 32), (3, 3, 32, 32), {"dilation_rate": 4, "padding": "same"}, None),
    ((1, 12, 12, 32), (5, 5, 32, 32), {}, None), ((1, 12, 12, 32), (3, 1, 32, 32), {}, None),
    ((1, 32, 32, 64), (2, 2, 64, 64), {}, None), ((1, 32, 32, 64), (2, 3, 64, 64), {}, None),
    ((1, 2, 200, 64), (3, 3, 64, 64), {"padding": "same"}, None),
    ((1, 12, 12, 3), (3, 3, 3, 32), {}, None), ((1, 12, 12, 32), (3, 3, 32, 2), {}, None),
    ((1, 12, 12, 32), (3, 3, 1, 32), {"groups": 32}, None),
    ((1, 12, 12, 32), (3, 3, 32, 32), {}, np.inf), ((1, 12, 12, 32), (3, 3, 32, 32), {}, np.nan)])
@pytest.mark.parametrize("op", ["conv2d", "conv2d_transpose"])
def test_where_it_is_not(op, shape, kernel_shape, options, poison, isa):
    """Other shapes, and kernels that are not finite, have the bits of the default."""
    if op == "conv2d_transpose":
        groups = options.get("groups", 1)
        kernel_shape = (*kernel_shape[:2], kernel_shape[3] // groups, kernel_shape[2] * groups)
    assert not unlike_default(op, shape, kernel_shape, options, isa, poison)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_upsampled_convolutions_are_the_default(interpolation, isa):
    rng = np.random.default_rng(3)
    x, kernel = normal(rng, (2, 14, 13, 32)), normal(rng, (3, 3, 32, 64))
    default, permitted = (convolution.upsample2d_conv2d(
        x, kernel, upsampling={"size": 2, "interpolation": interpolation}, padding="same", algorithm=algorithm, isa=isa)
        for algorithm in ("default", "winograd"))
    assert_same_bits(permitted, default)


def test_the_default_is_the_default(isa):
    layer = Layer(*LAYERS[0], isa)
    default = layer.run(algorithm="default")
    del layer.options["algorithm"]
    assert_same_bits(layer.run(), default)
    with pytest.raises(ValueError, match="algorithm is 'fft'"):
        layer.run(algorithm="fft")


# ------------------------------------------------------------------------------------------------------ kernel gradients

LARGEST_ERROR_OF_GRADIENTS, ROOT_MEAN_SQUARE_OF_GRADIENTS = 20, 2.5

# One chunk of tiles and several, chunks of channels, panels and blocks with and without a rest, groups, one block of chunks and
# several; borders, dilation, and tiles that reach beyond the image.
GRADIENTS = [
    ("conv2d", (2, 14, 14, 64), (3, 3, 64, 64), {"padding": "same"}),
    ("conv2d", (3, 9, 11, 33), (3, 3, 33, 17), {"padding": "same", "padding_mode": "reflect"}),
    ("conv2d", (2, 20, 17, 80), (3, 3, 80, 23), {"padding": ((0, 2), (3, -1))}),
    ("conv2d", (2, 22, 27, 32), (3, 3, 16, 160), {"groups": 2, "padding": 1, "padding_mode": "circular", "flip_kernel": True}),
    ("conv2d", (1, 35, 30, 18), (3, 3, 18, 48), {"padding": "full", "padding_mode": "constant", "padding_value": 1.5}),
    ("conv2d", (2, 14, 17, 32), (3, 3, 32, 64), {"padding": "same", "padding_mode": "symmetric", "dilation_rate": (2, 3)}),
    ("conv2d", (1, 271, 283, 16), (3, 3, 16, 16), {}),
    ("conv2d_transpose", (2, 13, 11, 32), (3, 3, 40, 32), {"padding": "same"}),
    ("conv2d_transpose", (1, 15, 16, 48), (3, 3, 24, 48), {"groups": 2, "flip_kernel": True, "dilation_rate": (1, 2)}),
]
GRADIENT_NAMES = [f"{op}-{'x'.join(map(str, shape))}-{kernel[2]}-{kernel[3]}" for op, shape, kernel, _ in GRADIENTS]


class KernelGradient:
    def __init__(self, op, shape, kernel_shape, options, isa):
        rng = np.random.default_rng(11)
        self.op, self.kernel_shape, self.options = op, kernel_shape, {**options, "isa": isa}
        self.x = normal(rng, shape)
        self.gradient = normal(rng, getattr(convolution, op)(self.x, np.zeros(kernel_shape, np.float32), **self.options).shape)

    def run(self, x=None, gradient=None, algorithm="winograd", kernel_shape=None, **more):
        return getattr(convolution, self.op + "_backward_kernel")(
            self.x if x is None else x, self.gradient if gradient is None else gradient, kernel_shape or self.kernel_shape,
            algorithm=algorithm, **{**self.options, **more})

    def exact(self):
        """The gradient in double by the default's algorithm, which test_gradients compares with textbook loops; and M."""
        x, gradient = self.x.astype(np.float64), self.gradient.astype(np.float64)
        return self.run(x, gradient, "default"), 2.0**-24 * self.run(abs(x), abs(gradient), "default")


@pytest.fixture(params=GRADIENTS, ids=GRADIENT_NAMES)
def kernel_gradient(request, isa):
    return KernelGradient(*request.param, isa)


def assert_errors(got, want, unit):
    error = (got - want) / unit
    assert abs(error).max() <= LARGEST_ERROR_OF_GRADIENTS
    assert np.sqrt((error**2).mean()) <= ROOT_MEAN_SQUARE_OF_GRADIENTS


def test_kernel_gradients_are_within_the_errors(kernel_gradient):
    got = kernel_gradient.run()
    assert_errors(got, *kernel_gradient.exact())
    assert got.tobytes() != kernel_gradient.run(algorithm="default").tobytes()  # or it were not used


@given(sizes=st.tuples(st.integers(13, 19), st.integers(13, 19)), groups=st.sampled_from([1, 1, 2]),
       inputs=st.integers(16, 40), outputs=st.integers(16, 72), dilation=st.sampled_from([1, 1, 2]), flip=st.booleans(),
       pads=st.tuples(*[st.integers(-1, 3)] * 4), mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]), seed=SEEDS)
def test_any_kernel_gradient(isa, sizes, groups, inputs, outputs, dilation, flip, pads, mode, seed):
    rng = np.random.default_rng(seed)
    options = {"padding": (pads[:2], pads[2:]), "padding_mode": mode, "groups": groups, "flip_kernel": flip,
               "dilation_rate": dilation}
    x = normal(rng, (1, *sizes, groups * inputs))
    kernel_shape = (3, 3, inputs, groups * outputs)
    gradient = normal(rng, convolution.conv2d(x, np.zeros(kernel_shape, np.float32), **options).shape)
    got = convolution.conv2d_backward_kernel(x, gradient, kernel_shape, isa=isa, algorithm="winograd", **options)
    want, tolerance = oracle.conv2d_backward_kernel(x, gradient, (3, 3), **options)
    assert abs(got - want).max() <= LARGEST_ERROR_OF_GRADIENTS / 8 * tolerance.max()


@pytest.mark.parametrize("data", [normal, uniform])
@pytest.mark.parametrize("size, batch", [(13, 1), (28, 1), (56, 1), (28, 16)])
def test_the_errors_of_kernel_gradients(data, size, batch, isa):
    layer = KernelGradient("conv2d", (batch, size, size, 32), (3, 3, 32, 32), {"padding": "same"}, isa)
    layer.x, layer.gradient = data(np.random.default_rng(size), layer.x.shape), data(np.random.default_rng(1), layer.x.shape)
    assert_errors(layer.run(), *layer.exact())


def test_bits_of_a_kernel_gradient(kernel_gradient):
    """Whatever the threads, data format, kernel format, element strides and workspace."""
    layer, want = kernel_gradient, kernel_gradient.run()
    for threads in (1, 2, 3, 5, 8):
        assert_same_bits(layer.run(threads=threads), want)
    first = [np.ascontiguousarray(array.transpose(0, 3, 1, 2)) for array in (layer.x, layer.gradient)]
    torch = tuple(layer.kernel_shape[axis] for axis in (3, 2, 0, 1))
    got = layer.run(*first, data_format="channels_first", kernel_format="torch", kernel_shape=torch)
    assert_same_bits(got.transpose(2, 3, 1, 0), want)
    views = (np.repeat(array, 2, axis=2)[:, ::-1, ::2][:, ::-1] for array in (layer.x, layer.gradient))
    assert_same_bits(layer.run(*views), want)
    with pytest.raises(ValueError, match="this kernel gradient needs at least") as raised:
        layer.run(workspace_limit=1)
    least = int(str(raised.value).split("at least ")[1].split()[0])
    assert_same_bits(layer.run(workspace_limit=least, threads=3), want)


@pytest.mark.parametrize("kernel_format", ["keras", "torch"])
def test_a_kernel_gradient_is_added(kernel_gradient, kernel_format):
    layer, shape = kernel_gradient, kernel_gradient.kernel_shape
    if kernel_format == "torch":
        shape = tuple(shape[axis] for axis in (3, 2, 0, 1))
    alone = layer.run(kernel_format=kernel_format, kernel_shape=shape)
    held = normal(np.random.default_rng(2), shape)
    got = layer.run(kernel_format=kernel_format, kernel_shape=shape, out=held.copy(), accumulate=True)
    assert_same_bits(got, held + alone)


def test_nan_and_infinity_in_kernel_gradients(isa):
    """Every element that the default makes so is not finite, and none of another pair of channels."""
    layer = KernelGradient("conv2d", (1, 17, 18, 32), (3, 3, 32, 20), {"padding": 1}, isa)
    before = layer.run()
    for array, axis in ((layer.x, 2), (layer.gradient, 3)):
        for row, column, channel in [(0, 0, 3), (4, 9, 0), (16, 17, 19), (5, 17, 7)]:
            others = np.arange(before.shape[axis]) != channel
            for poison in (np.nan, np.inf):
                kept, array[0, row, column, channel] = array[0, row, column, channel], poison
                got, default = layer.run(), layer.run(algorithm="default")
                array[0, row, column, channel] = kept
                assert not np.isfinite(got[~np.isfinite(default)]).any() and not np.isfinite(default).all()
                assert_same_bits(got.compress(others, axis), before.compress(others, axis))


@pytest.mark.parametrize("shape, kernel_shape, options", [
    ((1, 24, 24, 32), (3, 3, 32, 32), {"strides": 2}), ((1, 24, 24, 32), (5, 5, 32, 32), {}),
    ((1, 24, 24, 15), (3, 3, 15, 32), {}), ((1, 24, 24, 32), (3, 3, 32, 15), {}),
    ((1, 3, 200, 32), (3, 3, 32, 32), {"padding": "same"}), ((1, 7, 7, 64), (3, 3, 64, 64), {"padding": "same"})])
def test_where_kernel_gradients_are_the_default(shape, kernel_shape, options, isa):
    layer = KernelGradient("conv2d", shape, kernel_shape, options, isa)
    assert_same_bits(layer.run(), layer.run(algorithm="default"))


def test_kernel_gradients_of_doubles_are_the_default(isa):
    layer = KernelGradient("conv2d", (1, 24, 24, 32), (3, 3, 32, 32), {}, isa)
    arrays = layer.x.astype(np.float64), layer.gradient.astype(np.float64)
    assert_same_bits(layer.run(*arrays), layer.run(*arrays, algorithm="default"))
