"""Gradients: the adjoint against the layer's own matrix and the oracle, against central differences and against PyTorch's autograd;
equal bits however a call is made.

The layers are drawn by hypothesis, the same ones on every run.
"""
import itertools
import json
import math
import pathlib

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import convolution
import oracle
from test_properties import SEEDS, assert_same_bits, layers, reals, transposed_layers, whole_numbers

MODES = ("zeros", "reflect", "symmetric", "replicate", "circular")


@st.composite
def any_layers(draw):
    """(verb, shape of x, shape of the kernel in Keras' format, options)."""
    if draw(st.booleans()):
        return ("conv2d", *draw(layers(modes=MODES)))
    return ("conv2d_transpose", *draw(transposed_layers()))


def backward(verb, what):
    return getattr(convolution, f"{verb}_backward_{what}")


def forward(verb):
    return getattr(convolution, verb)


def arrays(layer, seed, numbers, dtype, batch=2):
    verb, shape, kernel_shape, options = layer
    rng = np.random.default_rng(seed)
    x = numbers(rng, (batch, *shape[1:]), dtype)
    kernel = numbers(rng, kernel_shape, dtype)
    gradient = numbers(rng, forward(verb)(x, kernel, **options).shape, dtype)
    return x, kernel, gradient


@given(layer=any_layers(), seed=SEEDS)
def test_input_gradient_is_the_adjoint(isa, layer, seed):
    """<layer(x), g> = <x, backward_input(g)> exactly, on whole numbers."""
    verb, _, _, options = layer
    x, kernel, gradient = arrays(layer, seed, whole_numbers, np.float64)
    y = forward(verb)(x, kernel, isa=isa, **options)
    back = backward(verb, "input")(gradient, kernel, x.shape, isa=isa, **options)
    assert back.shape == x.shape
    assert np.vdot(y, gradient) == np.vdot(x, back)


@given(layer=layers(modes=MODES), seed=SEEDS)
def test_input_gradient_is_the_matrix_transposed(isa, layer, seed):
    shape, kernel_shape, options = layer
    x, kernel, gradient = arrays(("conv2d", *layer), seed, whole_numbers, np.float64, batch=1)
    matrix = convolution.conv2d_matrix(kernel, shape[1:3], **options)
    back = convolution.conv2d_backward_input(gradient, kernel, x.shape, isa=isa, **options)
    np.testing.assert_array_equal(back.ravel(), matrix.T @ gradient.ravel())


@given(layer=any_layers(), seed=SEEDS)
def test_bias_gradient_is_the_sum(isa, data_format, layer, seed):
    verb, shape, kernel_shape, options = layer
    x, _, gradient = arrays(layer, seed, reals, np.float32, batch=3)
    back = backward(verb, "bias")(
        oracle.from_nhwc(gradient, data_format), oracle.from_nhwc(x, data_format).shape, kernel_shape, isa=isa,
        data_format=data_format, **options)
    want, scale = gradient.astype(np.float64).sum((0, 1, 2)), abs(gradient).astype(np.float64).sum((0, 1, 2))
    assert (abs(back - want) <= 2.0**-23 * scale).all()


@given(layer=any_layers(), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_kernel_gradient_is_within_the_bound(isa, data_format, layer, seed, dtype):
    verb, _, kernel_shape, options = layer
    x, _, gradient = arrays(layer, seed, reals, dtype, batch=3)
    x, gradient = (oracle.from_nhwc(array, data_format) for array in (x, gradient))
    got = backward(verb, "kernel")(x, gradient, kernel_shape, isa=isa, data_format=data_format, **options)
    reference = getattr(oracle, f"{verb}_backward_kernel")(x, gradient, kernel_shape[:2], data_format=data_format, **options)
    oracle.assert_within(got, reference, layer)


@given(layer=any_layers(), seed=SEEDS)
def test_kernel_gradient_is_the_derivative(isa, layer, seed):
    """<layer(x; w), g> = <w, backward_kernel(x, g)> exactly, on whole numbers."""
    verb, _, kernel_shape, options = layer
    x, kernel, gradient = arrays(layer, seed, whole_numbers, np.float64)
    y = forward(verb)(x, kernel, isa=isa, **options)
    assert np.vdot(y, gradient) == np.vdot(kernel, backward(verb, "kernel")(x, gradient, kernel_shape, isa=isa, **options))


@given(layer=any_layers(), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_input_gradient_has_the_same_bits_however_it_is_made(isa, layer, seed, dtype):
    verb, _, kernel_shape, options = layer
    x, kernel, gradient = arrays(layer, seed, reals, dtype, batch=3)
    function = backward(verb, "input")
    want = function(gradient, kernel, x.shape, isa=isa, **options)
    assert_same_bits(function(gradient, kernel, x.shape, isa=isa, threads=1, **options), want)
    one = function(gradient[1:2], kernel, (1, *x.shape[1:]), isa=isa, **options)
    assert_same_bits(one[0], want[1])
    # Channels first, in PyTorch's kernel format.
    planes = function(
        oracle.from_nhwc(gradient, "NCHW").copy(), np.transpose(kernel, (3, 2, 0, 1)).copy(),
        oracle.from_nhwc(x, "NCHW").shape, isa=isa, data_format="NCHW", kernel_format="torch", **options)
    assert_same_bits(oracle.to_nhwc(planes, "NCHW"), want)
    # Mirrored views of every second column.
    wide = np.repeat(gradient, 2, axis=2)[:, ::-1, ::2]
    place = np.zeros((*x.shape[:2], 2 * x.shape[2], x.shape[3]), dtype)
    function(wide[:, ::-1], kernel, x.shape, isa=isa, out=place[:, ::-1, 1::2], **options)
    assert_same_bits(place[:, ::-1, 1::2].copy(), want)
    assert (place[:, :, ::2] == 0).all()


@given(layer=any_layers(), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_kernel_gradient_has_the_same_bits_however_it_is_made(isa, layer, seed, dtype):
    verb, _, kernel_shape, options = layer
    x, _, gradient = arrays(layer, seed, reals, dtype, batch=3)
    function = backward(verb, "kernel")
    want = function(x, gradient, kernel_shape, isa=isa, **options)
    assert_same_bits(function(x, gradient, kernel_shape, isa=isa, threads=1, **options), want)
    planes = function(
        oracle.from_nhwc(x, "NCHW").copy(), oracle.from_nhwc(gradient, "NCHW").copy(), [kernel_shape[axis] for axis in (3, 2, 0, 1)],
        isa=isa, data_format="NCHW", kernel_format="torch", **options)
    assert_same_bits(np.transpose(planes, (2, 3, 1, 0)), want)
    views = (np.repeat(array, 2, axis=2)[:, ::-1, ::2][:, ::-1] for array in (x, gradient))
    assert_same_bits(function(*views, kernel_shape, isa=isa, **options), want)


@given(layer=any_layers(), seed=SEEDS)
def test_accumulate_adds_to_the_result(isa, layer, seed):
    verb, _, kernel_shape, options = layer
    x, kernel, gradient = arrays(layer, seed, whole_numbers, np.float64)
    for what, arguments in (("input", (gradient, kernel, x.shape)), ("kernel", (x, gradient, kernel_shape)),
                            ("bias", (gradient, x.shape, kernel_shape))):
        function = backward(verb, what)
        alone = function(*arguments, isa=isa, **options)
        held = whole_numbers(np.random.default_rng(seed), alone.shape)
        np.testing.assert_array_equal(function(*arguments, isa=isa, out=held.copy(), accumulate=True, **options), alone + held)


# ------------------------------------------------------------------------------------------------- operators, upsampling


@st.composite
def upsamplings(draw, widths=st.integers(1, 12), channels=st.integers(1, 4)):
    """(shape of x, options) of an upsample2d."""
    shape = (1, draw(st.integers(1, 7)), draw(widths), draw(channels))
    options = {"interpolation": draw(st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area"])),
               "output_size": (draw(st.integers(1, 12)), draw(widths))}
    if options["interpolation"] not in ("area",):
        options["coordinates"] = draw(st.sampled_from([None, "half_pixel", "align_corners"]))
    if options["interpolation"] in ("bilinear", "bicubic"):
        options["antialias"] = options["coordinates"] != "align_corners" and draw(st.booleans())
    return shape, options


@given(layer=any_layers(), seed=SEEDS)
def test_adjoint_test_finds_rounding_errors_alone(isa, layer, seed):
    verb, shape, kernel_shape, options = layer
    test, kernel = getattr(convolution, f"{verb}_adjoint_test"), reals(np.random.default_rng(seed), kernel_shape, np.float64)
    assert test(kernel, shape, seed=seed, isa=isa, **options) <= 1e-14
    assert test(kernel.astype(np.float32), shape, seed=seed, isa=isa, **options) <= 1e-5
    assert test(kernel, shape, seed=seed, isa=isa, **options) == test(kernel, shape, seed=seed, isa=isa, **options)


def uniform(seed, count):
    """The numbers of the adjoint test: SplitMix64, from -1 to 1."""
    numbers, mask = [], (1 << 64) - 1
    for _ in range(count):
        seed = seed + 0x9E3779B97F4A7C15 & mask
        z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        numbers.append(((z ^ z >> 31) >> 11) / 2**52 - 1)
    return np.array(numbers, np.float32)


def test_adjoint_test_is_the_formula_of_the_header(isa):
    """|<C x, y> - <x, C' y>| / (|C x| |y|) for an x that is much longer than y."""
    shape, kernel = (2, 9, 8, 5), reals(np.random.default_rng(6), (3, 3, 5, 2), np.float32)
    options = {"strides": 3, "isa": isa}
    numbers = uniform(7, 2 * 9 * 8 * 5 + 2 * 3 * 2 * 2)
    x, y = numbers[:720].reshape(shape), numbers[720:].reshape(2, 3, 2, 2)
    image = convolution.conv2d(x, kernel, **options).astype(np.float64)
    back = convolution.conv2d_backward_input(y, kernel, shape, **options).astype(np.float64)
    want = abs(math.fsum((image * y).ravel()) - math.fsum((x * back).ravel())) / (np.linalg.norm(image) * np.linalg.norm(y))
    assert want > 0 and convolution.conv2d_adjoint_test(kernel, shape, seed=7, **options) == pytest.approx(want, rel=1e-3)
    assert convolution.conv2d_adjoint_test(kernel, shape, seed=7, activation="tanh", **options) == pytest.approx(want, rel=1e-3)


@given(upsampling=upsamplings(), seed=SEEDS)
def test_upsampling_gradient_is_the_matrix_transposed(isa, data_format, upsampling, seed):
    shape, options = upsampling
    assert convolution.upsample2d_adjoint_test(shape, seed=seed, isa=isa, **options) <= 1e-14
    rng = np.random.default_rng(seed)
    x = oracle.from_nhwc(reals(rng, (1, *shape[1:]), np.float64), data_format)
    options = {**options, "data_format": data_format, "isa": isa}
    y = convolution.upsample2d(x, **options)
    matrix = convolution.upsample2d_matrix(x.shape, **options)
    np.testing.assert_allclose(matrix @ x.ravel(), y.ravel(), rtol=0, atol=1e-14 * abs(matrix).sum(1).max() * abs(x).max())
    sparse = scipy.sparse.csr_matrix(convolution.upsample2d_matrix(x.shape, sparse=True, **options), shape=matrix.shape)
    np.testing.assert_array_equal(sparse.toarray(), matrix)
    gradient = reals(rng, y.shape, np.float64)
    back = convolution.upsample2d_backward(gradient, x.shape, **options)
    np.testing.assert_allclose(
        back.ravel(), matrix.T @ gradient.ravel(), rtol=0, atol=1e-14 * abs(matrix).sum(0).max() * abs(gradient).max())
    np.testing.assert_array_equal(
        convolution.upsample2d_gram(x, **options), convolution.upsample2d_backward(y, x.shape, **options))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_upsampling_gradient_of_an_element_that_half_of_the_output_reads(dtype, data_format, isa):
    """Output and scale lead far outside: rows of a dense table as long as that of the last element would not fit in memory."""
    length, axis = 60000, {"channels_last": 1, "channels_first": 2}[data_format]
    shape = [2, 3, 3, 3]
    shape[axis] = length
    rng = np.random.default_rng(3)
    gradient = rng.integers(-3, 4, shape).astype(dtype)
    options = {"output_size": (length, 3), "scale": (0.5, 1), "interpolation": "bilinear", "coordinates": "asymmetric",
               "data_format": data_format, "isa": isa}
    want = np.zeros(shape)
    lines, totals = np.moveaxis(gradient, axis, 0).astype(float), np.moveaxis(want, axis, 0)
    totals[::2] = lines[:length // 2]
    totals[-1] = lines[length // 2:].sum(axis=0)
    held = np.ones(shape, dtype)
    np.testing.assert_array_equal(convolution.upsample2d_backward(gradient, tuple(shape), **options), want)
    np.testing.assert_array_equal(
        convolution.upsample2d_backward(gradient, tuple(shape), out=held, accumulate=True, **options), want + 1)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, size, threads", [
    ((2, 14, 14, 20), (7, 7), 1), ((1, 100, 100, 16), (37, 37), 2), ((3, 9, 31, 3), (4, 13), 1), ((1, 300, 90, 40), (200, 11), 2),
    ((2, 5, 6, 1), (1, 1), 1)])
def test_upsampling_gradient_of_what_nearest_leaves_out_is_zero(shape, size, threads, dtype, data_format, isa):
    """Zeros without a sign, and infinities remain what they are; between them lies what is not ours."""
    rng = np.random.default_rng(5)
    gradient = rng.standard_normal((shape[0], *size, shape[3])).astype(dtype)
    gradient[..., 0, 0] = -np.inf
    rows, columns = (np.arange(o) * n // o for n, o in zip(shape[1:3], size))
    want = np.zeros(shape, dtype)
    want[:, rows[:, None], columns] = gradient
    options = {"output_size": size, "preset": "torch", "data_format": data_format, "threads": threads, "isa": isa}
    gradient, want = (oracle.from_nhwc(a, data_format).copy() for a in (gradient, want))
    assert_same_bits(convolution.upsample2d_backward(gradient, want.shape, **options), want)
    for cut in (np.s_[:, :, :, ::2], np.s_[:, :, ::2], np.s_[:, ::2], np.s_[:, ::-1]):
        place = np.full([2 * n for n in want.shape], 7, dtype)[:want.shape[0], :, :, :]
        part = place[cut][tuple(slice(n) for n in want.shape)]
        convolution.upsample2d_backward(gradient, want.shape, out=part, **options)
        assert_same_bits(part.copy(), want)
        part[...] = 7
        assert (place == 7).all()
    held = rng.standard_normal(want.shape).astype(dtype)
    assert_same_bits(
        convolution.upsample2d_backward(gradient, want.shape, out=held.copy(), accumulate=True, **options), want + held)


@given(upsampling=upsamplings(widths=st.sampled_from([2, 6, 19, 50, 110]), channels=st.sampled_from([1, 2, 3, 17, 40])),
       seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_upsampling_gradient_has_the_same_bits_however_it_is_made(isa, upsampling, seed, dtype):
    shape, options = upsampling
    rng = np.random.default_rng(seed)
    shape = (2, *shape[1:])
    gradient = reals(rng, convolution.upsample2d_output_shape(shape, **options), dtype)
    want = convolution.upsample2d_backward(gradient, shape, isa=isa, **options)
    assert_same_bits(convolution.upsample2d_backward(gradient[1:], (1, *shape[1:]), isa=isa, threads=1, **options), want[1:])
    planes = convolution.upsample2d_backward(
        oracle.from_nhwc(gradient, "NCHW").copy(), oracle.from_nhwc(want, "NCHW").shape, isa=isa, data_format="NCHW", **options)
    assert_same_bits(oracle.to_nhwc(planes, "NCHW"), want)
    place = np.zeros((*shape[:2], 2 * shape[2], shape[3]), dtype)
    convolution.upsample2d_backward(gradient, shape, isa=isa, out=place[:, ::-1, 1::2], **options)
    assert_same_bits(place[:, ::-1, 1::2].copy(), want)
    assert (place[:, :, ::2] == 0).all()


@given(upsampling=upsamplings(), seed=SEEDS, dtype=st.sampled_from([np.float32, np.float64]))
def test_upsampling_accumulates(isa, data_format, upsampling, seed, dtype):
    """One addition to what there was, of the bits that a call without it gives; forward, backward and of both."""
    shape, options = upsampling
    options = {**options, "data_format": data_format, "isa": isa}
    rng = np.random.default_rng(seed)
    x = oracle.from_nhwc(reals(rng, (2, *shape[1:]), dtype), data_format).copy()
    y = convolution.upsample2d(x, **options)
    held = reals(rng, y.shape, dtype)
    assert_same_bits(convolution.upsample2d(x, residual=held, **options), y + held)
    place = np.zeros((*y.shape[:3], 2 * y.shape[3]), dtype)
    place[..., ::2], place[..., 1::2] = held, 7
    convolution.upsample2d(x, residual=place[..., ::2], out=place[..., ::2], **options)
    assert_same_bits(place[..., ::2].copy(), y + held)
    assert (place[..., 1::2] == 7).all()
    gradient, held = reals(rng, y.shape, dtype), reals(rng, x.shape, dtype)
    back = convolution.upsample2d_backward(gradient, x.shape, **options)
    assert_same_bits(convolution.upsample2d_backward(gradient, x.shape, out=held.copy(), accumulate=True, **options), back + held)


@given(layer=transposed_layers(), seed=SEEDS)
def test_transposed_matrix(isa, data_format, layer, seed):
    shape, kernel_shape, options = layer
    rng = np.random.default_rng(seed)
    x, kernel = oracle.from_nhwc(whole_numbers(rng, shape), data_format), whole_numbers(rng, kernel_shape)
    options = {**options, "data_format": data_format, "isa": isa}
    y = convolution.conv2d_transpose(x, kernel, **options)
    matrix = convolution.conv2d_transpose_matrix(kernel, shape[1:3], **options)
    np.testing.assert_array_equal(matrix @ x.ravel(), y.ravel())
    sparse = scipy.sparse.csr_matrix(convolution.conv2d_transpose_matrix(kernel, shape[1:3], sparse=True, **options), shape=matrix.shape)
    np.testing.assert_array_equal(sparse.toarray(), matrix)
    assert sparse.has_sorted_indices
    np.testing.assert_array_equal(convolution.conv2d_transpose_gram(x, kernel, **options).ravel(), matrix.T @ (matrix @ x.ravel()))


@given(layer=layers(modes=MODES), seed=SEEDS)
def test_gram_product(isa, layer, seed):
    shape, kernel_shape, options = layer
    rng = np.random.default_rng(seed)
    x, kernel = whole_numbers(rng, (3, *shape[1:])), whole_numbers(rng, kernel_shape)
    matrix = convolution.conv2d_matrix(kernel, shape[1:3], **options)
    got = convolution.conv2d_gram(x, kernel, isa=isa, **options)
    np.testing.assert_array_equal(got.reshape(3, -1), x.reshape(3, -1) @ (matrix.T @ matrix))


# --------------------------------------------------------------------------------------- central differences, PyTorch


def assert_is_gradient(function, point, gradient, rng):
    """function's slope at point in a random direction is gradient's, to 1e-8 of its length."""
    direction = rng.standard_normal(point.shape)
    direction /= np.linalg.norm(direction) or 1
    step = 1e-5
    slope = (function(point + step * direction) - function(point - step * direction)) / (2 * step)
    assert abs(slope - np.vdot(gradient, direction)) <= 1e-8 * max(np.linalg.norm(gradient), 1)


@given(layer=any_layers(), seed=SEEDS)
def test_gradients_against_central_differences(isa, layer, seed):
    """Of sum(sin(layer(x))), whose output gradient is cos(layer(x))."""
    verb, shape, kernel_shape, options = layer
    rng = np.random.default_rng(seed)
    run = forward(verb)
    x, kernel = rng.standard_normal(shape), 0.1 * rng.standard_normal(kernel_shape)
    bias = rng.standard_normal(run(x, kernel, **options).shape[3])
    gradient = np.cos(run(x, kernel, bias, **options))
    total = lambda y: float(np.sin(y).sum(dtype=np.longdouble))  # noqa: E731
    assert_is_gradient(lambda p: total(run(p, kernel, bias, **options)), x,
                       backward(verb, "input")(gradient, kernel, shape, isa=isa, **options), rng)
    assert_is_gradient(lambda p: total(run(x, p, bias, **options)), kernel,
                       backward(verb, "kernel")(x, gradient, kernel_shape, isa=isa, **options), rng)
    assert_is_gradient(lambda p: total(run(x, kernel, p, **options)), bias,
                       backward(verb, "bias")(gradient, shape, kernel_shape, isa=isa, **options), rng)


with np.load(pathlib.Path(__file__).parent / "fixtures" / "gradients.npz") as archive:
    ARRAYS = {name: archive[name] for name in archive.files}
CASES = {case["name"]: case for case in json.loads(ARRAYS.pop("index").tobytes())["cases"]}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_pytorch(isa, data_format, name, dtype):
    """PyTorch's own gradients (see generate_gradients.py): those of convolutions are whole numbers, and exact."""
    case = CASES[name]
    verb, options = case["op"], {**case["options"], "data_format": data_format, "isa": isa}
    # The recorded arrays are channels first.
    image = (lambda array: array) if data_format == "channels_first" else (lambda array: oracle.to_nhwc(array, "NCHW"))
    x, gradient = (image(ARRAYS[f"{name}/{key}"].astype(dtype)) for key in ("x", "gradient"))
    want = image(ARRAYS[f"{name}/x_gradient"])
    if verb == "upsample2d":
        unit = oracle.UNIT_ROUNDOFF[np.dtype(dtype).name]
        # Weights of float32 and of float64 differ by their own rounding.
        np.testing.assert_allclose(
            convolution.upsample2d_backward(gradient, x.shape, **options), want, rtol=0, atol=64 * unit * abs(want).max() + 32 * unit * 9)
        return
    kernel = ARRAYS[f"{name}/kernel"].astype(dtype)
    options["kernel_format"] = "torch"
    np.testing.assert_array_equal(backward(verb, "input")(gradient, kernel, x.shape, **options), want)
    np.testing.assert_array_equal(backward(verb, "kernel")(x, gradient, kernel.shape, **options), ARRAYS[f"{name}/kernel_gradient"])
    np.testing.assert_array_equal(
        backward(verb, "bias")(gradient, x.shape, kernel.shape, **options), ARRAYS[f"{name}/gradient"].sum((0, 2, 3)))


@pytest.mark.parametrize("shape, kernel_shape, options", [
    ((3, 17, 400, 3), (3, 3, 3, 5), {"padding": 1}),  # pieces of rows, several blocks
    ((40, 9, 9, 40), (3, 3, 40, 50), {"padding": 1, "strides": 2}),  # several images to a band
    ((2, 30, 31, 20), (3, 5, 1, 20), {"padding": "same", "groups": 20}),  # depthwise
    ((2, 30, 31, 16), (3, 3, 4, 16), {"padding": "same", "groups": 4, "padding_mode": "reflect"}),
    ((1, 60, 90, 1), (5, 5, 1, 1), {"padding": 2}),
    ((2, 40, 50, 2), (4, 4, 2, 3), {"strides": 3, "dilation_rate": 2}),
    ((1, 24, 24, 130), (1, 1, 130, 5), {"strides": 2}),
    ((1, 24, 24, 5), (1, 1, 5, 130), {}),
    # Whole vectors of channels, which are read where they lie and added up in the result:
    ((2, 9, 9, 20), (3, 3, 20, 32), {"padding": 1}),  # one band, a last tile that repeats channels
    ((1, 40, 40, 20), (3, 2, 20, 32), {"padding": 1, "strides": 2, "flip_kernel": True}),  # several bands
    ((3, 50, 50, 16), (3, 3, 16, 16), {"padding": 1}),  # several blocks
    ((1, 30, 30, 32), (2, 2, 32, 20), {}),  # the image in the vectors
    ((1, 5, 6, 30), (3, 3, 30, 71), {"padding": 1}),  # one band, a last panel that repeats channels
    ((1, 9, 10, 63), (3, 3, 63, 64), {"padding": 1, "flip_kernel": True}),  # tiles of six rows and of five
    ((2, 26, 26, 9), (5, 5, 9, 64), {"strides": 2, "padding": 2}),  # the same, packed, several bands
    ((1, 16, 16, 29), (3, 5, 29, 144), {"padding": "same", "flip_kernel": True}),  # a panel more, for two threads
    ((1, 12, 13, 64), (2, 2, 64, 1024), {}),  # points whole pages apart
    ((1, 5, 6, 8), (3, 3, 4, 142), {"padding": 1, "groups": 2}),
    ((1, 34, 34, 3), (3, 3, 3, 24), {}),  # a partial vector, read beyond each pixel but the last
    ((1, 12, 12, 32), (3, 3, 4, 32), {"padding": 1, "groups": 8}),  # tiles that reach into other groups
    ((2, 2, 3, 24), (5, 5, 24, 48), {"padding": 6, "dilation_rate": 3}),  # taps that are outside for all pixels
    ((1, 20, 20, 32), (3, 3, 16, 32), {"padding": 1, "groups": 2, "padding_mode": "reflect"}),
    # A single pixel, row by row:
    ((1, 1, 1, 71), (1, 1, 71, 150), {}),
    ((1, 2, 3, 210), (1, 1, 105, 46), {"groups": 2, "strides": 3}),  # of an image of several
    # One vector for all taps of a kernel row:
    ((2, 14, 15, 48), (3, 3, 16, 48), {"padding": 1, "groups": 3}),  # taps outside in the first and the last column
    ((1, 20, 41, 40), (2, 3, 40, 16), {"padding": (0, 1), "strides": 2, "flip_kernel": True}),  # several bands
    ((1, 5, 300, 8), (3, 3, 8, 16), {"padding": (1, 2), "dilation_rate": 2}),  # pieces of rows, of which few have taps outside
    ((2, 9, 4, 32), (3, 3, 16, 32), {"padding": (2, 1), "groups": 2, "padding_mode": "circular"}),
    ((3, 1, 3, 8), (3, 3, 8, 16), {"padding": (3, 1)}),  # rows of taps that are outside for all pixels, and one column inside
    # Walks along rows, for groups of up to 8 output channels:
    ((3, 41, 42, 17), (4, 2, 1, 17), {"padding": 1, "groups": 17, "flip_kernel": True}),  # several blocks, a vector that overlaps
    ((2, 30, 31, 13), (3, 3, 1, 13), {"padding": 1, "groups": 13, "strides": 2}),  # fewer channels than lanes
    ((1, 20, 45, 24), (3, 4, 1, 24), {"padding": 4, "groups": 24, "strides": 2, "dilation_rate": (1, 3)}),  # classes of points
    ((1, 40, 60, 20), (2, 3, 1, 20), {"groups": 20, "strides": (3, 5)}),  # points that share no pixels
    ((2, 9, 10, 24), (3, 3, 1, 72), {"padding": 1, "groups": 24}),  # points that are gathered
    ((2, 14, 15, 48), (3, 3, 3, 48), {"padding": 1, "groups": 16, "padding_mode": "circular"}),  # and permuted
    ((1, 20, 21, 80), (3, 2, 40, 10), {"groups": 2}),  # one group's vectors
    ((1, 8, 9, 128), (5, 5, 4, 128), {"padding": 2, "groups": 32}),  # pixels that share sets of the caches
    ((2, 14, 14, 64), (3, 3, 1, 64), {"padding": 1, "groups": 64}),  # the sums in the result itself
    ((2, 3, 2, 24), (5, 5, 1, 24), {"padding": 4, "groups": 24}),  # borders wider than the image, of which bands may have none
    ((2, 30, 31, 20), (3, 3, 1, 20), {"padding": ((-2, 3), (1, -3)), "groups": 20, "strides": 2}),  # cropped
    ((1, 6, 4, 18), (2, 2, 3, 6), {"groups": 6, "strides": (3, 1), "dilation_rate": 2}),  # groups with one output
    # Planes of few channels:
    ((2, 40, 70, 3), (3, 4, 3, 2), {"padding": 2, "dilation_rate": 2, "strides": (2, 1)}),
    ((1, 3, 6000, 1), (2, 7, 1, 1), {"padding": "same", "padding_mode": "circular"}),  # pieces of rows
    ((1, 150, 64, 4), (4, 2, 1, 4), {"groups": 4, "padding": "same", "padding_mode": "reflect"}),  # several bands, no tails
    ((2, 40, 131, 1), (5, 7, 1, 2), {"padding": 4, "flip_kernel": True}),
    ((1, 50, 33, 2), (2, 1, 2, 1), {"dilation_rate": (40, 1)}),  # rows of taps that are packed apart
    ((3, 20, 21, 1), (5, 5, 1, 1), {}),  # rows of one vector and a part
    ((2, 18, 16, 2), (3, 3, 1, 2), {"padding": 1, "groups": 2}),  # of one vector
    ((1, 101, 150, 1), (3, 3, 1, 1), {"padding": 1, "strides": 2}),  # every other column, several chunks
    ((2, 67, 260, 3), (4, 3, 1, 3), {"groups": 3, "padding": ((2, 1), (1, 3)), "strides": (1, 3), "dilation_rate": (2, 2)}),
    ((1, 3, 9000, 1), (2, 5, 1, 1), {"padding": "same", "padding_mode": "circular", "strides": (2, 2), "flip_kernel": True}),
    ((1, 60, 200, 2), (2, 1, 1, 2), {"groups": 2, "padding": (1, 2), "strides": 5, "padding_mode": "reflect"}),  # columns unread
    # All taps side by side:
    ((5, 19, 20, 1), (3, 3, 1, 24), {"padding": 1}),  # several bands
    ((1, 60, 61, 1), (7, 7, 1, 64), {"padding": 3, "strides": 2, "flip_kernel": True}),
    ((2, 40, 41, 2), (3, 3, 2, 72), {"padding": "same", "padding_mode": "reflect", "strides": (3, 1), "dilation_rate": (2, 1)}),
    ((1, 17, 18, 1), (4, 4, 1, 5), {"strides": 2, "padding": 3}),  # in vectors
    ((1, 12, 13, 8), (5, 3, 1, 32), {"groups": 8, "padding": 2, "padding_mode": "constant", "padding_value": 1.5}),
    ((1, 12, 13, 1), (3, 3, 1, 40), {"padding": 1, "dtype": np.float64}),
    # And of points in place of the image:
    ((2, 30, 31, 64), (3, 3, 64, 1), {"padding": 1}),
    ((1, 20, 33, 40), (5, 3, 40, 2), {"padding": ((3, -1), (0, 4)), "dilation_rate": (2, 1), "flip_kernel": True}),
    ((3, 9, 10, 100), (4, 2, 100, 3), {}),
    ((1, 30, 31, 24), (3, 3, 24, 1), {"padding": 1, "padding_mode": "replicate"}),  # not those: there are no zeros outside
    ((2, 12, 13, 33), (3, 3, 33, 1), {"padding": 2, "dtype": np.float64}),
    # Groups with two points per channel:
    ((2, 9, 10, 16), (3, 3, 1, 32), {"padding": 1, "groups": 16}),
    ((1, 9, 10, 48), (3, 3, 1, 96), {"padding": 1, "groups": 48, "strides": 2}),
    # Doubles: planes; outer products, whose sums are written tap by tap or together; walks, permuted and gathered.
    ((2, 40, 37, 3), (3, 4, 3, 2), {"padding": 2, "dilation_rate": 2, "strides": (2, 1), "dtype": np.float64}),
    ((1, 3, 2000, 1), (2, 7, 1, 1), {"padding": "same", "padding_mode": "circular", "dtype": np.float64}),
    ((1, 12, 13, 5), (3, 3, 5, 20), {"padding": 1, "padding_mode": "reflect", "dtype": np.float64}),
    ((2, 12, 13, 32), (3, 3, 32, 20), {"flip_kernel": True, "dtype": np.float64}),
    ((2, 9, 10, 16), (3, 3, 4, 16), {"padding": 1, "groups": 4, "dtype": np.float64}),
    ((2, 9, 10, 24), (3, 3, 1, 72), {"padding": 1, "groups": 24, "dtype": np.float64}),
])
def test_larger_kernel_gradients(isa, data_format, shape, kernel_shape, options):
    rng = np.random.default_rng(0)
    options = {**options, "data_format": data_format}
    dtype = options.pop("dtype", np.float32)
    x = oracle.from_nhwc(reals(rng, shape, dtype), data_format)
    gradient = reals(rng, convolution.conv2d_output_shape(x.shape, kernel_shape, **options), dtype)
    got = convolution.conv2d_backward_kernel(x, gradient, kernel_shape, isa=isa, **options)
    oracle.assert_within(got, oracle.conv2d_backward_kernel(x, gradient, kernel_shape[:2], **options))
    assert_same_bits(convolution.conv2d_backward_kernel(x, gradient, kernel_shape, isa=isa, threads=1, **options), got)
    other = "NCHW" if data_format == "NHWC" else "NHWC"
    x, gradient = (np.ascontiguousarray(oracle.from_nhwc(oracle.to_nhwc(a, data_format), other)) for a in (x, gradient))
    torch = {**options, "data_format": other, "kernel_format": "torch"}
    turned = convolution.conv2d_backward_kernel(x, gradient, [kernel_shape[i] for i in (3, 2, 0, 1)], isa=isa, **torch)
    assert_same_bits(turned.transpose(2, 3, 1, 0), got)


@pytest.mark.parametrize("shape, size, options", [
    ((1, 33, 34, 272), (3, 3), {"padding": 1}),  # an odd number of vectors, the sums in the result itself
    ((2, 26, 25, 260), (3, 3), {"padding": 1, "flip_kernel": True}),  # a vector that overlaps
    ((3, 21, 20, 256), (2, 2), {"padding": ((1, 0), (1, 0)), "strides": 2}),
    ((1, 70, 71, 256), (3, 2), {"padding": "same", "padding_mode": "reflect"}),  # several blocks
    ((1, 17, 18, 1024), (3, 3), {"padding": 2, "strides": 2, "dilation_rate": (1, 2)}),
])
def test_kernel_gradients_of_large_depthwise_images(isa, data_format, shape, size, options):
    """Images that a level-2 cache does not hold, against doubles, which have no kernel for two vectors at once."""
    rng = np.random.default_rng(0)
    options = {**options, "groups": shape[3]}
    kernel_shape = (*size, 1, shape[3])
    x = reals(rng, shape)
    gradient = reals(rng, convolution.conv2d_output_shape(shape, kernel_shape, **options))

    def run(x, gradient, **more):
        return convolution.conv2d_backward_kernel(x, gradient, kernel_shape, isa=isa, **options, **more)

    exact = run(x.astype(np.float64), gradient.astype(np.float64))
    bound = run(np.abs(x).astype(np.float64), np.abs(gradient).astype(np.float64)) * 8 * 2.0**-24
    want = run(x, gradient, threads=1)
    assert (np.abs(want - exact) <= bound).all()
    x, gradient = (np.ascontiguousarray(oracle.from_nhwc(a, data_format)) for a in (x, gradient))
    assert_same_bits(run(x, gradient, data_format=data_format), want)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_kernel_gradients_of_depthwise_borders(isa, data_format, size, strides):
    """Columns outside on either side, and rows so short that few or no points meet the image alone."""
    rng = np.random.default_rng(0)
    for left, right, width in itertools.product(range(-1, size), (0, size - 1), (1, 3, 8)):
        if width + left + right < size:
            continue
        options = {"padding": ((1, 0), (left, right)), "strides": strides, "groups": 35}
        kernel_shape = (min(size, 3), size, 1, 35)
        x = reals(rng, (2, 4, width, 35))
        gradient = reals(rng, convolution.conv2d_output_shape(x.shape, kernel_shape, **options))
        want = oracle.conv2d_backward_kernel(x, gradient, kernel_shape[:2], **options)
        x, gradient = (np.ascontiguousarray(oracle.from_nhwc(a, data_format)) for a in (x, gradient))
        got = convolution.conv2d_backward_kernel(x, gradient, kernel_shape, isa=isa, data_format=data_format, **options)
        oracle.assert_within(got, want)


@pytest.mark.parametrize("shape, kernel_shape, options", [
    ((1, 28, 28, 64), (3, 3, 64, 160), {"padding": "same"}),  # outer products
    ((1, 28, 28, 64), (3, 3, 64, 160), {"padding": "same", "algorithm": "winograd"}),
    ((1, 80, 80, 128), (5, 5, 1, 128), {"groups": 128, "padding": "same"}),  # walks
    ((1, 40, 40, 272), (3, 3, 1, 272), {"groups": 272, "padding": "same"}),  # of two vectors at once
    ((1, 100, 100, 3), (3, 3, 3, 3), {"padding": "same"}),  # planes
    ((1, 100, 100, 1), (3, 3, 1, 32), {"padding": "same"}),  # rows merged
    ((1, 60, 60, 64), (3, 3, 64, 1), {"padding": "same"}),  # image and points exchanged
])
def test_the_least_workspace_of_a_kernel_gradient(isa, shape, kernel_shape, options):
    """It is the same for any number of threads, and suffices for each."""
    rng = np.random.default_rng(0)
    x, gradient = reals(rng, shape), reals(rng, (*shape[:3], kernel_shape[3]))

    def run(**more):
        return convolution.conv2d_backward_kernel(x, gradient, kernel_shape, isa=isa, **options, **more)

    want = run()
    with pytest.raises(ValueError, match="workspace_limit is 1; this kernel gradient needs at least") as raised:
        run(workspace_limit=1)
    least = int(str(raised.value).split("at least ")[1].split()[0])
    for threads in (1, 2, 3, 5, 8):
        for limit in (least, least * 3 // 2, least * 4):
            assert_same_bits(run(threads=threads, workspace_limit=limit), want)
        with pytest.raises(ValueError, match=f"this kernel gradient needs at least {least} bytes"):
            run(threads=threads, workspace_limit=least - 1)


# --------------------------------------------------------------------------------------------------------- edge cases


@pytest.mark.parametrize("channels", [(40, 144), (64, 40)])
def test_products_of_zeros_have_the_same_sign_however_the_pixel_lies(isa, channels):
    """Zeros, as behind a ReLU, by negative gradients, and products too small for a float; with channels apart from each other
    they go another way."""
    inputs, outputs = channels
    rng = np.random.default_rng(0)
    x, gradient = np.maximum(reals(rng, (1, 1, 1, inputs)), 0), reals(rng, (1, 1, 1, outputs))
    kernel_shape = (1, 1, inputs, outputs)
    want = convolution.conv2d_backward_kernel(x, gradient, kernel_shape, isa=isa)
    assert not np.signbit(want[want == 0]).any()
    x[..., ::3] *= np.float32(1e-30)
    gradient *= np.float32(1e-30)
    want = convolution.conv2d_backward_kernel(x, gradient, kernel_shape, isa=isa)
    apart = np.zeros((1, 1, 1, 2 * inputs), np.float32)[..., ::2]
    apart[...] = x
    assert_same_bits(convolution.conv2d_backward_kernel(apart, gradient, kernel_shape, isa=isa), want)
    torch = convolution.conv2d_backward_kernel(x, gradient, (outputs, inputs, 1, 1), isa=isa, kernel_format="torch")
    assert_same_bits(torch.transpose(2, 3, 1, 0), want)


def test_empty_batches_and_outputs():
    kernel = np.ones((2, 2, 3, 4), np.float32)
    assert convolution.conv2d_backward_input(np.ones((0, 4, 4, 4), np.float32), kernel, (0, 5, 5, 3)).shape == (0, 5, 5, 3)
    zeros = convolution.conv2d_backward_kernel(np.ones((0, 5, 5, 3), np.float32), np.ones((0, 4, 4, 4), np.float32), kernel.shape)
    assert (zeros == 0).all() and zeros.shape == kernel.shape
    assert (convolution.conv2d_backward_bias(np.ones((0, 4, 4, 4), np.float32), (0, 5, 5, 3), kernel.shape) == 0).all()
    empty = {"allow_empty_output": True}
    assert (convolution.conv2d_backward_input(np.ones((1, 0, 0, 4), np.float32), kernel, (1, 1, 1, 3), **empty) == 0).all()
    held = np.full(kernel.shape, 3, np.float32)
    convolution.conv2d_backward_kernel(
        np.ones((1, 1, 1, 3), np.float32), np.ones((1, 0, 0, 4), np.float32), kernel.shape, out=held, accumulate=True, **empty)
    assert (held == 3).all()


def test_activation_and_bias_play_no_part():
    rng = np.random.default_rng(0)
    kernel, gradient = reals(rng, (3, 3, 2, 4)), reals(rng, (1, 4, 4, 4))
    assert_same_bits(convolution.conv2d_backward_input(gradient, kernel, (1, 6, 6, 2), activation="tanh"),
                     convolution.conv2d_backward_input(gradient, kernel, (1, 6, 6, 2)))


def test_constant_padding():
    """The kernel's gradient counts the constant as input; the operator functions need linearity."""
    options = {"padding": 1, "padding_mode": "constant", "padding_value": 2.0}
    got = convolution.conv2d_backward_kernel(np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1)), (3, 3, 1, 1), **options)
    np.testing.assert_array_equal(got[:, :, 0, 0], [[2, 2, 2], [2, 1, 2], [2, 2, 2]])
    for function, arguments in ((convolution.conv2d_adjoint_test, (np.ones((3, 3, 1, 1)), (1, 1, 1, 1))),
                                (convolution.conv2d_gram, (np.ones((1, 1, 1, 1)), np.ones((3, 3, 1, 1))))):
        with pytest.raises(NotImplementedError):
            function(*arguments, **options)


def test_not_finite_gradients_reach_their_window_alone():
    kernel = np.ones((3, 3, 1, 1))
    for value in (np.inf, np.nan):
        gradient = np.zeros((1, 9, 9, 1))
        gradient[0, 4, 4, 0] = value
        back = convolution.conv2d_backward_input(gradient, kernel, (1, 9, 9, 1), padding="same")
        assert (np.isfinite(back[0, :, :, 0]) == ((abs(np.arange(9) - 4) > 1)[:, None] | (abs(np.arange(9) - 4) > 1))).all()
        x = np.ones((1, 9, 9, 1))
        assert not np.isfinite(convolution.conv2d_backward_kernel(x, gradient, kernel.shape, padding="same")).any()
        assert np.isinf(convolution.conv2d_backward_bias(np.full((1, 9, 9, 1), np.inf), (1, 9, 9, 1), kernel.shape, padding="same")).all()


@pytest.mark.parametrize("channels", [1, 20, 13])  # planes; walks over what is read in place, and over what is packed
def test_kernel_gradient_meets_infinities_in_their_window_alone(isa, channels):
    x = np.ones((1, 5, 37, channels), np.float32)
    x[0, 2, 36] = np.inf
    gradient = np.ones((1, 5, 35, channels), np.float32)
    got = convolution.conv2d_backward_kernel(x, gradient, (1, 3, 1, channels), isa=isa, groups=channels)[0, :, 0]
    assert (got[:2] == 175).all() and (got[2] == np.inf).all()


@pytest.mark.parametrize("function, arguments, options, status", [
    ("conv2d_backward_input", (np.ones((1, 4, 4, 4)), np.ones((2, 2, 3, 4)), (1, 5, 5, 3)), {"strides": -1}, "STRIDE"),
    ("conv2d_backward_kernel", (np.ones((1, 5, 5, 3)), np.ones((1, 4, 4, 4)), (2, 2, 3, 4)), {"padding": "same_lowest"}, None),
    ("conv2d_backward_kernel", (np.ones((1, 5, 5, 3)), np.ones((1, 4, 4, 3)), (2, 2, 3, 4)), {}, None),
    ("conv2d_backward_input", (np.ones((1, 4, 5, 4)), np.ones((2, 2, 3, 4)), (1, 5, 5, 3)), {}, None),
    ("conv2d_backward_bias", (np.ones((1, 4, 4, 4)), (1, 5, 5, 3), (2, 2, 3, 4)), {"accumulate": True}, None),
    ("upsample2d_backward", (np.ones((1, 4, 4, 4)), (1, 3, 2, 4)), {}, None),
])
def test_bad_input(function, arguments, options, status):
    with pytest.raises(ValueError) as raised:
        getattr(convolution, function)(*arguments, **options)
    if status:
        assert raised.value.status == convolution.constant("CONVOLUTION_ERROR_" + status)
