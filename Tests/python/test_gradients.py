"""Gradients: the adjoint against the layer's own matrix and the oracle, against central differences and against PyTorch's autograd;
equal bits however a call is made.

The layers are drawn by hypothesis, the same ones on every run.
"""
import numpy as np
import pytest
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
        oracle.from_nhwc(gradient, data_format), oracle.from_nhwc(x, data_format).shape, kernel_shape, isa=isa, data_format=data_format, **options)
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
    for what, arguments in (("input", (gradient, kernel, x.shape)), ("kernel", (x, gradient, kernel_shape)), ("bias", (gradient, x.shape, kernel_shape))):
        function = backward(verb, what)
        alone = function(*arguments, isa=isa, **options)
        held = whole_numbers(np.random.default_rng(seed), alone.shape)
        np.testing.assert_array_equal(function(*arguments, isa=isa, out=held.copy(), accumulate=True, **options), alone + held)
