"""What the words mean, by examples small enough to check by hand.

Most are one line of pixels and one line of weights. Each runs along both axes, in both data formats, on every tier. Where two
frameworks answer differently, both answers stand here, each under its own parameters.
"""
import contextlib
import re

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import convolution
from oracle import from_nhwc, to_nhwc

NAN, INF = np.nan, np.inf


class Lines:
    """The three functions on one line of pixels, laid along one axis of an image; the other axis has length 1."""

    def __init__(self, axis, data_format, isa):
        self.axis, self.data_format, self.isa = axis, data_format, isa

    def image(self, values, dtype=np.float32):
        array = np.asarray(values, dtype)
        array = array.reshape(len(values), -1)  # one row for each pixel, one column for each channel
        nhwc = array[None, :, None] if self.axis == 0 else array[None, None]
        return np.ascontiguousarray(from_nhwc(nhwc, self.data_format))

    def kernel(self, values, dtype=np.float32):
        array = np.asarray(values, dtype)
        array = array.reshape(len(values), *(array.shape[1:] or (1, 1)))
        return array[:, None] if self.axis == 0 else array[None]

    def along(self, value, other):
        return (value, other) if self.axis == 0 else (other, value)

    def options(self, options):
        neutral = {"strides": 1, "dilation_rate": 1, "padding": 0, "output_padding": 0, "output_size": 1, "size": 1, "scale": 1.0}
        return {name: self.along(value, neutral[name]) if name in neutral and not isinstance(value, str) else value
                for name, value in options.items()} | {"data_format": self.data_format, "isa": self.isa}

    def values(self, array):
        line = to_nhwc(array, self.data_format)[0]
        line = line[:, 0] if self.axis == 0 else line[0]
        return line[:, 0].tolist() if line.shape[1] == 1 else line.tolist()

    def conv2d(self, x, w, bias=None, dtype=np.float32, **options):
        return self.values(convolution.conv2d(self.image(x, dtype), self.kernel(w, dtype), self.bias(bias, dtype),
                                              kernel_format="keras", **self.options(options)))

    def conv2d_transpose(self, x, w, bias=None, dtype=np.float32, **options):
        return self.values(convolution.conv2d_transpose(self.image(x, dtype), self.kernel(w, dtype), self.bias(bias, dtype),
                                                        kernel_format="keras", **self.options(options)))

    def upsample2d(self, x, dtype=np.float32, **options):
        return self.values(convolution.upsample2d(self.image(x, dtype), **self.options(options)))

    @staticmethod
    def bias(value, dtype):
        return None if value is None else np.asarray(value, dtype).reshape(-1)


@pytest.fixture(params=[0, 1], ids=["along height", "along width"])
def line(request, data_format, isa):
    return Lines(request.param, data_format, isa)


def plane(values):
    return np.array(values, np.float32)[None, :, :, None]


def weights(values):
    return np.array(values, np.float32)[:, :, None, None]


@contextlib.contextmanager
def refused(error, parameter, value):
    """The call fails with that code, and the sentence names the parameter and its value."""
    with pytest.raises(ValueError) as caught:
        yield
    assert caught.value.status == convolution.constant(f"CONVOLUTION_ERROR_{error}"), str(caught.value)
    text = str(caught.value)
    assert re.search(rf"\b{parameter}\b", text), text
    assert re.search(rf"(?<![\w.-]){re.escape(str(value))}(?![\w])", text), text


# ------------------------------------------------------------------------------------------- orientation, centre, padding


def test_conv2d_correlates_unless_the_kernel_is_flipped(line):
    assert line.conv2d([1, 2, 3, 4], [1, 10, 100]) == [321, 432]
    assert line.conv2d([1, 2, 3, 4], [1, 10, 100], flip_kernel=True) == [123, 234]


def test_flip_turns_the_kernel_in_the_plane_and_does_not_transpose_it(isa, data_format):
    kernel = np.array([[3, 4, 5], [1, 0, 2], [-1, 9, 7]], np.float32)
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 2, 2] = 1
    x = np.ascontiguousarray(from_nhwc(x, data_format))
    got = convolution.conv2d(x, kernel[:, :, None, None], data_format=data_format, isa=isa)
    assert got.reshape(3, 3).tolist() == [[7, 9, -1], [2, 0, 1], [5, 4, 3]]  # an impulse shows the kernel turned round
    got = convolution.conv2d(x, kernel[:, :, None, None], data_format=data_format, isa=isa, flip_kernel=True)
    assert got.reshape(3, 3).tolist() == kernel.tolist()


def test_same_pads_an_even_kernel_at_the_end_and_same_lower_at_the_start(line):
    assert line.conv2d([1, 2, 3], [1, 10], padding="same") == [21, 32, 3]
    assert line.conv2d([1, 2, 3], [1, 10], padding="same_lower") == [10, 21, 32]
    assert line.conv2d([1, 2, 3, 4], [1, 10, 100, 1000], padding="same") == [3210, 4321, 432, 43]
    assert line.conv2d([1, 2, 3, 4], [1, 10, 100, 1000], padding="same_lower") == [2100, 3210, 4321, 432]


def test_same_with_a_stride_depends_on_the_length_of_the_input(line):
    assert line.conv2d([1, 2, 3, 4], [1, 1, 1], strides=2, padding="same") == [6, 7]
    assert line.conv2d([1, 2, 3, 4], [1, 1, 1], strides=2, padding=1) == [3, 9]
    assert line.conv2d([1, 2, 3, 4, 5], [1, 1, 1], strides=2, padding="same") == [3, 9, 9]
    assert line.conv2d([1, 2, 3, 4, 5], [1, 1, 1], strides=2, padding=1) == [3, 9, 9]


def test_same_counts_the_gaps_of_a_dilated_kernel(line):
    assert line.conv2d([1, 2, 3, 4], [1, 10], padding="same", dilation_rate=3) == [30, 41, 2, 3]
    assert line.conv2d([1, 2, 3, 4], [1, 10], padding="same_lower", dilation_rate=3) == [20, 30, 41, 2]
    assert line.conv2d([1, 2, 3, 4, 5], [1, 10, 100], padding="same", dilation_rate=2, strides=2) == [310, 531, 53]


def test_full_and_causal(line):
    assert line.conv2d([1, 2, 3], [1, 10], padding="full") == [10, 21, 32, 3]
    assert line.conv2d([1, 2, 3], [1, 10], padding="causal") == [10, 21, 32]
    assert line.conv2d([1, 2, 3], [1, 10], padding="causal", dilation_rate=2) == [10, 20, 31]
    assert line.conv2d([1, 2, 3], [1, 10], padding="full", flip_kernel=True) == np.convolve([1, 2, 3], [1, 10]).tolist()


def test_negative_padding_crops(line):
    assert line.conv2d([1, 2, 3, 4, 5], [1, 10], padding=(-1, -2)) == [32]
    assert line.conv2d([1, 2, 3, 4, 5], [1, 10], padding=(-2, 1)) == [43, 54, 5]


def test_modes_of_scipy_signal(isa):
    """correlate2d centres an even kernel as SAME does, correlate as SAME_LOWER does; convolve2d is the flipped one."""
    image = np.array([[1, 2, 3, 4], [0, 5, -1, 2], [7, 1, 0, 3]], np.float64)
    taps = np.array([[1, 10], [100, -1000]], np.float64)

    def conv(padding, **options):
        x, kernel = image[None, :, :, None], taps[:, :, None, None]
        return convolution.conv2d(x, kernel, padding=padding, isa=isa, **options)[0, :, :, 0]

    np.testing.assert_array_equal(conv("same"), scipy.signal.correlate2d(image, taps, "same"))
    np.testing.assert_array_equal(conv("same_lower"), scipy.signal.correlate(image, taps, "same", method="direct"))
    np.testing.assert_array_equal(conv("full"), scipy.signal.correlate2d(image, taps, "full"))
    np.testing.assert_array_equal(conv("valid"), scipy.signal.correlate2d(image, taps, "valid"))
    np.testing.assert_array_equal(conv("same_lower", flip_kernel=True), scipy.signal.convolve2d(image, taps, "same"))
    np.testing.assert_array_equal(conv("full", flip_kernel=True), scipy.signal.convolve2d(image, taps, "full"))


@pytest.mark.parametrize("mode, border", [("reflect", "symmetric"), ("mirror", "reflect"), ("nearest", "replicate"),
                                          ("wrap", "circular"), ("constant", "zeros")])
@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (1, 3)])
def test_centres_and_origins_of_scipy_ndimage(shape, mode, border, isa):
    """The window of correlate begins (k - 1) / 2 elements before its own, rounded up; that of convolve, which turns the kernel,
    rounded down."""
    image, taps = np.arange(20.0).reshape(4, 5) ** 2, 10.0 ** np.arange(shape[0] * shape[1]).reshape(shape)

    def conv(padding, **options):
        x, kernel = image[None, :, :, None], taps[:, :, None, None]
        return convolution.conv2d(x, kernel, padding=padding, padding_mode=border, isa=isa, **options)[0, :, :, 0]

    np.testing.assert_array_equal(conv("same_lower"), scipy.ndimage.correlate(image, taps, mode=mode))
    np.testing.assert_array_equal(conv("same", flip_kernel=True), scipy.ndimage.convolve(image, taps, mode=mode))
    origin = tuple(-(size // 2) for size in shape)
    after = [(0, size - 1) for size in shape]
    np.testing.assert_array_equal(conv(after), scipy.ndimage.correlate(image, taps, mode=mode, origin=origin))
    before = [((size - 1) // 2 + size // 2, 0) for size in shape]
    np.testing.assert_array_equal(conv(before, flip_kernel=True), scipy.ndimage.convolve(image, taps, mode=mode, origin=origin))


def test_valid_does_not_swap_its_operands(line):
    with refused("EMPTY_OUTPUT", "allow_empty_output", 0):
        line.conv2d([1, 2], [1, 2, 3])


def test_what_stands_outside(line):
    def padded(mode, **options):
        return line.conv2d([1, 2, 3, 4], [1], padding=2, padding_mode=mode, **options)

    assert padded("zeros") == [0, 0, 1, 2, 3, 4, 0, 0]
    assert padded("constant", padding_value=-7.5) == [-7.5, -7.5, 1, 2, 3, 4, -7.5, -7.5]
    assert padded("constant") == [0, 0, 1, 2, 3, 4, 0, 0]
    assert padded("reflect") == [3, 2, 1, 2, 3, 4, 3, 2]
    assert padded("symmetric") == [2, 1, 1, 2, 3, 4, 4, 3]
    assert padded("replicate") == [1, 1, 1, 2, 3, 4, 4, 4]
    assert padded("circular") == [3, 4, 1, 2, 3, 4, 1, 2]


@pytest.mark.parametrize("ours, numpys, ndimages", [
    ("reflect", "reflect", "mirror"), ("symmetric", "symmetric", "reflect"), ("replicate", "edge", "nearest"),
    ("circular", "wrap", "wrap"), ("zeros", "constant", "constant")])
def test_names_of_the_padding_modes_elsewhere(ours, numpys, ndimages, isa):
    image, taps = np.arange(20.0).reshape(4, 5) ** 2, np.array([[1.0, 2, -3, 4], [5, -6, 7, 8], [9, 10, 11, -12]])
    x, kernel = image[None, :, :, None], taps[:, :, None, None]
    got = convolution.conv2d(x, np.ones((1, 1, 1, 1)), padding=((1, 2), (3, 1)), padding_mode=ours, isa=isa)
    np.testing.assert_array_equal(got[0, :, :, 0], np.pad(image, ((1, 2), (3, 1)), mode=numpys))
    # ndimage puts the centre of 4 taps on the third, as SAME_LOWER does.
    got = convolution.conv2d(x, kernel, padding="same_lower", padding_mode=ours, isa=isa)
    np.testing.assert_array_equal(got[0, :, :, 0], scipy.ndimage.correlate(image, taps, mode=ndimages))


def test_weights_meet_the_border_values(line):
    assert line.conv2d([1, 2, 3], [1, 10, 100], padding=1, padding_mode="reflect") == [212, 321, 232]
    assert line.conv2d([1, 2, 3], [1, 10, 100], padding=1, padding_mode="replicate") == [211, 321, 332]
    assert line.conv2d([1, 2, 3], [1, 10, 100], padding=1, padding_mode="circular") == [213, 321, 132]
    assert line.conv2d([1, 2, 3], [1, 10, 100], padding=1, padding_mode="symmetric") == [211, 321, 332]
    assert line.conv2d([1, 2, 3, 4], [1, 10, 100, 1000], padding="same", padding_mode="circular") == [3214, 4321, 1432, 2143]


def test_how_far_the_border_values_reach(line):
    far = {"reflect": 3, "symmetric": 4, "circular": 4}
    for mode, pad in far.items():
        want = np.pad([1, 2, 3, 4], pad, mode={"circular": "wrap"}.get(mode, mode)).tolist()
        assert line.conv2d([1, 2, 3, 4], [1], padding=pad, padding_mode=mode) == want
        for sides, name in (((pad + 1, 0), ("pad_top", "pad_left")), ((0, pad + 1), ("pad_bottom", "pad_right"))):
            with refused("PADDING", name[line.axis], pad + 1):
                line.conv2d([1, 2, 3, 4], [1], padding=sides, padding_mode=mode)
    assert line.conv2d([1, 2], [1], padding=5, padding_mode="replicate") == [1] * 6 + [2] * 6
    with refused("PADDING", ("pad_top", "pad_left")[line.axis], 1):
        line.conv2d([1], [1], padding=(1, 0), padding_mode="reflect")


# ------------------------------------------------------------------------------------------------ transposed convolution


def test_every_rule_shows_a_window_of_one_natural_result(line):
    x, w = [1, 2], [1, 2, 3]  # natural, with stride 2: 1 2 5 4 6
    assert line.conv2d_transpose(x, w, strides=2) == [1, 2, 5, 4, 6]
    assert line.conv2d_transpose(x, w, strides=2, padding="same") == [1, 2, 5, 4]
    assert line.conv2d_transpose(x, w, strides=2, padding="same", output_padding=0) == [2, 5, 4]
    assert line.conv2d_transpose(x, w, strides=2, rule="torch", padding=1, output_padding=1) == [2, 5, 4, 6]
    assert line.conv2d_transpose(x, w, strides=2, rule="onnx", padding="same") == [1, 2, 5, 4]
    assert line.conv2d_transpose(x, w, strides=2, rule="onnx", padding="same_lower") == [2, 5, 4, 6]
    assert line.conv2d_transpose(x, w, strides=2, rule="onnx", output_size=4) == [2, 5, 4, 6]
    # ONNX takes both: the padded output, 1 2 5 4 6 0, is cut to the size. The others refuse that.
    both = dict(strides=2, output_padding=1, output_size=5)
    assert line.conv2d_transpose(x, w, rule="onnx", **both) == [2, 5, 4, 6, 0]
    assert line.conv2d_transpose(x, w, rule="onnx", padding="same_lower", **both) == [2, 5, 4, 6, 0]
    assert line.conv2d_transpose(x, w, rule="onnx", padding="same", **both) == [1, 2, 5, 4, 6]
    with pytest.raises(ValueError, match="give only one of output padding and output size"):
        line.conv2d_transpose(x, w, rule="torch", **both)
    assert line.conv2d_transpose(x, w, strides=2, rule="jax", padding="same") == [1, 2, 5, 4]
    assert line.conv2d_transpose(x, w, strides=2, rule="window", padding=(3, -2)) == [4, 6, 0, 0]
    assert line.conv2d_transpose(x, w, strides=2, rule="window", padding=(-1, 0), output_size=3) == [0, 1, 2]


def test_five_taps_with_stride_2_are_centred_differently(line):
    assert line.conv2d_transpose([1, 2], [1, 2, 3, 4, 5], strides=2, padding="same") == [2, 5, 8, 11]
    assert line.conv2d_transpose([1, 2], [1, 2, 3, 4, 5], strides=2, rule="torch", padding=2, output_padding=1) == [5, 8, 11, 8]


def test_rules_agree_where_kernel_minus_stride_is_even(line):
    assert line.conv2d_transpose([1, 2], [1, 2, 3, 4], strides=2, padding="same") == [2, 5, 8, 6]
    assert line.conv2d_transpose([1, 2], [1, 2, 3, 4], strides=2, rule="torch", padding=1) == [2, 5, 8, 6]
    assert line.conv2d_transpose([1, 2], [1, 2, 3, 4, 5], strides=3, padding="same") == [2, 3, 6, 9, 6, 8]


def test_kernel_shorter_than_the_stride(line):
    assert line.conv2d_transpose([1, 2], [5], strides=2) == [5, 0, 10, 0]
    assert line.conv2d_transpose([1, 2], [5], strides=2, padding="same") == [5, 0, 10, 0]
    assert line.conv2d_transpose([1, 2], [5], strides=2, rule="torch") == [5, 0, 10]
    assert line.conv2d_transpose([1, 2], [5], strides=2, rule="onnx", padding="same") == [5, 0, 10, 0]
    assert line.conv2d_transpose([1, 2], [5], strides=2, rule="onnx", output_size=4) == [5, 0, 10, 0]
    for padding in ("same", "same_lower"):  # ONNX Runtime's auto_pad: no more than the natural result
        assert line.conv2d_transpose([1, 2], [5], strides=2, rule="onnx", padding=padding, output_size=3) == [5, 0, 10]
        assert line.conv2d_transpose([1, 2], [5, 7], strides=3, rule="onnx", padding=padding, output_size=5) == [5, 7, 0, 10, 14]
    assert line.conv2d_transpose([1, 2], [1, 2], strides=3) == [1, 2, 0, 2, 4, 0]
    assert line.conv2d_transpose([1, 2], [1, 2], strides=3, rule="torch") == [1, 2, 0, 2, 4]
    assert line.conv2d_transpose([1, 2], [1, 2], bias=[7], strides=3) == [8, 9, 7, 9, 11, 7]


def test_same_with_an_even_kernel_crops_at_the_end(line):
    assert line.conv2d_transpose([1, 2, 3], [1, 2], padding="same") == [1, 4, 7]
    assert line.conv2d_transpose([1, 2, 3], [1, 2], rule="onnx", padding="same_lower") == [4, 7, 6]


def test_output_padding_uncovers_what_was_cropped_and_only_then_adds_zeros(line):
    assert line.conv2d_transpose([1], [1, 2, 3], strides=2, rule="torch", padding=1, output_padding=1) == [2, 3]
    assert line.conv2d_transpose([1, 2], [1, 2, 3], strides=2, output_padding=1) == [1, 2, 5, 4, 6, 0]
    assert line.conv2d_transpose([1, 2], [1, 2, 3], strides=2, rule="torch", output_padding=1) == [1, 2, 5, 4, 6, 0]


def test_no_output_padding_is_not_output_padding_0(line):
    assert len(line.conv2d_transpose([1, 2, 3], [1, 2, 3], strides=2, padding="same")) == 6
    assert len(line.conv2d_transpose([1, 2, 3], [1, 2, 3], strides=2, padding="same", output_padding=0)) == 5
    assert line.conv2d_transpose([1, 2], [1, 2], strides=3, output_padding=0) == [1, 2, 0, 2, 4]
    assert line.conv2d_transpose([1, 2], [1, 2], strides=3) == [1, 2, 0, 2, 4, 0]


def test_limits_of_output_padding(line):
    name = ("output_padding_height", "output_padding_width")[line.axis]
    with refused("OUTPUT_PADDING", name, 2):
        line.conv2d_transpose([1, 2], [1, 2, 3], strides=2, output_padding=2)
    with refused("OUTPUT_PADDING", name, 3):
        line.conv2d_transpose([1, 2], [1, 2, 3], strides=2, padding="same", output_padding=3)
    with refused("OUTPUT_PADDING", name, -1):
        line.conv2d_transpose([1, 2], [1, 2, 3], strides=2, rule="torch", output_padding=-1)
    x, w = [1, 2], [1, 2, 3]  # a dilation above the stride widens the range, except Keras'
    for rule in ("torch", "onnx"):
        got = line.conv2d_transpose(x, w, strides=2, dilation_rate=3, rule=rule, output_padding=2)
        assert got == [1, 0, 2, 2, 0, 4, 3, 0, 6, 0, 0]
        with refused("OUTPUT_PADDING", name, 3):
            line.conv2d_transpose(x, w, strides=2, dilation_rate=3, rule=rule, output_padding=3)
        assert line.conv2d_transpose(x, w, dilation_rate=2, rule=rule, output_padding=1) == [1, 2, 2, 4, 3, 6, 0]
    with refused("OUTPUT_PADDING", name, 2):
        line.conv2d_transpose(x, w, strides=2, dilation_rate=3, output_padding=2)
    assert line.conv2d_transpose(x, w, strides=2, rule="window", padding=0, output_padding=4) == [1, 2, 5, 4, 6, 0, 0, 0, 0]
    with refused("OUTPUT_PADDING", "output_padding_height", 1):
        line.conv2d_transpose(x, w, strides=2, rule="jax", output_padding=1)


def test_limits_of_the_output_size(line):
    name = ("output_height", "output_width")[line.axis]
    x, w = [1, 2], [1, 2, 3]
    # Keras, TensorFlow: sizes that a convolution of the same stride takes back to 2.
    assert line.conv2d_transpose(x, w, strides=2, output_size=5) == [1, 2, 5, 4, 6]
    assert line.conv2d_transpose(x, w, strides=2, output_size=6) == [1, 2, 5, 4, 6, 0]
    assert line.conv2d_transpose(x, w, strides=2, padding="same", output_size=3) == [2, 5, 4]
    assert line.conv2d_transpose(x, w, strides=2, padding="same", output_size=4) == [1, 2, 5, 4]
    for padding, size in (("valid", 4), ("valid", 7), ("same", 2), ("same", 5)):
        with refused("OUTPUT_SIZE", name, size):
            line.conv2d_transpose(x, w, strides=2, padding=padding, output_size=size)
    # PyTorch: from the size without output padding up to one stride more.
    assert line.conv2d_transpose(x, w, strides=2, rule="torch", padding=1, output_size=3) == [2, 5, 4]
    assert line.conv2d_transpose(x, w, strides=2, rule="torch", padding=1, output_size=4) == [2, 5, 4, 6]
    for size in (2, 5):
        with refused("OUTPUT_SIZE", name, size):
            line.conv2d_transpose(x, w, strides=2, rule="torch", padding=1, output_size=size)
    # ONNX: any size. What is more than the natural result has comes at the end, whatever the padding.
    for padding in ("valid", "same", "same_lower"):
        got = line.conv2d_transpose([1, 2], [1, 2], strides=3, rule="onnx", padding=padding, output_size=7)
        assert got == [1, 2, 0, 2, 4, 0, 0]


def test_dilated_transposed_convolution(line):
    assert line.conv2d_transpose([1, 2], [1, 2, 3], dilation_rate=2) == [1, 2, 2, 4, 3, 6]
    assert line.conv2d_transpose([1, 2], [1, 2, 3], strides=2, dilation_rate=2) == [1, 0, 4, 0, 7, 0, 6]
    assert line.conv2d_transpose([1, 2], [1, 2, 3], strides=2, dilation_rate=2, padding="same") == [0, 4, 0, 7]


def test_one_permutation_takes_keras_kernels_to_torch_kernels(isa):
    rng = np.random.default_rng(21)
    x, kernel = rng.integers(-9, 9, (1, 4, 5, 2)).astype(np.float32), rng.integers(-9, 9, (2, 3, 2, 3)).astype(np.float32)
    torch_kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(convolution.conv2d(x, torch_kernel, kernel_format="OIHW", isa=isa),
                                  convolution.conv2d(x, kernel, kernel_format="HWIO", isa=isa))
    y = rng.integers(-9, 9, (1, 3, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(convolution.conv2d_transpose(y, torch_kernel, kernel_format="IOHW", isa=isa),
                                  convolution.conv2d_transpose(y, kernel, kernel_format="HWOI", isa=isa))


def test_jax_does_not_turn_the_kernel_unless_told(line):
    assert line.conv2d_transpose([1, 2], [1, 2, 3], strides=2, rule="jax", flip_kernel=True) == [3, 2, 7, 4, 2]
    assert line.conv2d_transpose([1, 2], [1, 2, 3], strides=2, rule="jax") == [1, 2, 5, 4, 6]
    assert line.conv2d_transpose([1, 2], [5], strides=2, rule="jax") == [5, 0, 10, 0]


def test_groups_of_a_transposed_convolution(line):
    weight = np.array([[1, 2], [3, 4]], np.float32)  # PyTorch: [in_channels, out_channels / groups]
    assert line.conv2d_transpose([[1, 10]], weight.T[None]) == [[31, 42]]
    assert line.conv2d_transpose([[1, 10]], weight.T[None], groups=2) == [[1, 2, 30, 40]]


def test_order_of_depthwise_outputs(line):
    depthwise = np.array([[[1, 2], [3, 4]]], np.float32)  # Keras: [..., channel, multiplier]
    assert line.conv2d([[1, 10]], depthwise, depth_multiplier=2) == [[1, 2, 30, 40]]
    assert line.conv2d([[1, 10]], depthwise.reshape(1, 1, 4), groups=2) == [[1, 2, 30, 40]]


def test_how_often_each_output_is_covered(line):
    assert line.conv2d_transpose([1, 1, 1], [1, 1, 1], strides=2) == [1, 1, 2, 1, 2, 1, 1]
    assert line.conv2d_transpose([1, 1, 1], [1, 1, 1, 1], strides=2) == [1, 1, 2, 2, 2, 2, 1, 1]


def test_the_bilinear_kernel_equals_bilinear_upsampling_inside_only(line):
    triangle = [.25, .75, .75, .25]
    assert line.conv2d_transpose([1, 2, 4], triangle, strides=2, rule="torch", padding=1) == [.75, 1.25, 1.75, 2.5, 3.5, 3]
    assert line.upsample2d([1, 2, 4], size=2, interpolation="bilinear") == [1, 1.25, 1.75, 2.5, 3.5, 4]


@pytest.mark.parametrize("rule, paddings", [("keras", ["same_lower", "full", "causal", ((0, 0), (1, 0))]),
                                            ("jax", ["same_lower", "full", ((1, 0), (0, 0))]),
                                            ("torch", ["same", "same_lower", "full", ((0, 0), (-1, -1)), ((0, 0), (1, 0))]),
                                            ("onnx", ["full", "causal"]), ("window", ["same", "same_lower", "full"])])
def test_paddings_that_a_rule_does_not_have(rule, paddings, isa):
    for padding in paddings:
        with pytest.raises(ValueError, match="pad") as caught:
            convolution.conv2d_transpose(np.ones((1, 3, 4, 1), np.float32), np.ones((2, 3, 1, 1), np.float32), rule=rule,
                                         padding=padding, kernel_format="HWOI", isa=isa)
        assert caught.value.status == convolution.constant("CONVOLUTION_ERROR_PADDING"), str(caught.value)


# ------------------------------------------------------------------------------------------------------------- upsampling


def near(got, want):
    return len(got) == len(want) and np.allclose(got, want, rtol=2e-7, atol=0)


def test_two_nearests_have_one_name(line):
    x = [1, 2, 4]
    assert line.upsample2d(x, output_size=5) == [1, 1, 2, 2, 4]  # PyTorch nearest
    assert line.upsample2d(x, output_size=5, coordinates="asymmetric") == [1, 1, 2, 2, 4]
    assert line.upsample2d(x, output_size=5, coordinates="half_pixel") == [1, 1, 2, 4, 4]  # nearest-exact, TensorFlow, JAX
    assert line.upsample2d(x, output_size=2) == [1, 2]
    assert line.upsample2d(x, output_size=2, coordinates="half_pixel") == [1, 4]
    assert line.upsample2d(x, output_size=5, coordinates="align_corners") == [1, 2, 2, 4, 4]  # 0, .5, 1, 1.5, 2 rounded up
    assert line.upsample2d(list(range(7)), output_size=1, coordinates="half_pixel") == [3]


def test_a_whole_factor_repeats_exactly(line):
    assert line.upsample2d([1, 2, 4], size=3) == [1, 1, 1, 2, 2, 2, 4, 4, 4]
    assert line.upsample2d([1, 2], size=41) == [1] * 41 + [2] * 41
    assert line.upsample2d([1, 2], size=41, coordinates="half_pixel") == [1] * 41 + [2] * 41


def test_nearest_rounds_its_coordinates_in_float32(line):
    assert line.upsample2d([1, 2], output_size=82) == [1] * 42 + [2] * 40  # 2/82 in float32 times 41 is below 1
    assert line.upsample2d([1, 2], output_size=41, coordinates="half_pixel") == [1] * 21 + [2] * 20
    assert line.upsample2d([1, 2], output_size=82, dtype=np.float64) == [1] * 42 + [2] * 40  # of float64 data too


def test_nearest_with_a_scale_to_once_or_twice_the_length_is_exact(line):
    assert line.upsample2d([1, 2, 4], scale=2.3) == [1, 1, 2, 2, 4, 4]  # as in PyTorch, not floor(t / 2.3)
    assert line.upsample2d([1, 2, 4], scale=1.3) == [1, 2, 4]
    assert line.upsample2d([1, 2, 4], scale=2.3, coordinates="half_pixel") == [1, 1, 2, 2, 2, 4]


def test_align_corners_of_onnx_reference_evaluator(line):
    # Its tests resize_downsample_scales_linear_align_corners and ..._cubic_..., of lines 1, 2, 3, 4: i * scale is not rounded.
    for scale, interpolation, expected in ((0.6, "bilinear", [1, 3.142857]), (0.8, "bicubic", [1, 2.39519159, 3.79038317])):
        got = line.upsample2d([1, 2, 3, 4], output_size=len(expected), scale=(4 * scale - 1) / 3, coordinates="asymmetric",
                              interpolation=interpolation, preset="onnx")
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_half_pixel_symmetric_is_what_mlx_does(line):
    # By mlx.nn.Upsample's formula: t * step - ((o - 1) * step - i + 1) / 2.
    i, scale = 5, 1.7
    o = int(i * scale)
    places = np.clip(np.arange(o) / scale - ((o - 1) / scale - i + 1) / 2, 0, i - 1)
    got = line.upsample2d(np.arange(i), scale=scale, interpolation="linear", coordinates="half_pixel_symmetric")
    np.testing.assert_allclose(got, places, rtol=1e-6, atol=1e-6)


def test_align_corners(line):
    x = [1, 2, 4]
    got = line.upsample2d(x, output_size=6, interpolation="bilinear", coordinates="align_corners")
    assert near(got, [1, 1.4, 1.8, 2.4, 3.2, 4])
    assert line.upsample2d(x, output_size=6, interpolation="bilinear") == [1, 1.25, 1.75, 2.5, 3.5, 4]
    assert near(line.upsample2d(x, output_size=6, interpolation="bilinear", coordinates="asymmetric"), [1, 1.5, 2, 3, 4, 4])
    assert line.upsample2d(x, output_size=1, interpolation="bilinear") == [2]
    assert line.upsample2d(x, output_size=1, interpolation="bilinear", coordinates="align_corners") == [1]


def test_a_scale_is_not_the_ratio_of_the_sizes(line):
    x = [1, 2, 4]
    assert near(line.upsample2d(x, scale=1.7, interpolation="bilinear"), [1, 1.3823529, 1.9705882, 3.1176471, 4])
    assert near(line.upsample2d(x, output_size=5, interpolation="bilinear"), [1, 1.4, 2, 3.2, 4])


def test_a_scale_that_keeps_the_length_copies(line):
    assert line.upsample2d([1, 2, 4], scale=1.3, interpolation="bilinear") == [1, 2, 4]  # as in PyTorch, whatever 1 / scale is


def test_shrinking_does_not_smooth(line):
    assert line.upsample2d([1, 2, 4], output_size=2, interpolation="bilinear") == [1.25, 3.5]


def test_one_axis_left_out_keeps_its_size(isa, data_format):
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
    x = np.ascontiguousarray(from_nhwc(x, data_format))
    got = to_nhwc(convolution.upsample2d(x, (3, 1), data_format=data_format, isa=isa), data_format)
    assert got[0, :, :, 0].tolist() == [[0, 1, 2]] * 3 + [[3, 4, 5]] * 3


def test_bicubic_has_three_answers(line):
    """Keras's UpSampling2D by its backend, TensorFlow, JAX or PyTorch."""
    x = [1, 2, 4]
    twice = [0.9117648, 1.1459854, 1.6412214, 2.5114503, 3.642336, 4.1764708]
    assert near(line.upsample2d(x, size=2, interpolation="bicubic", preset="keras"), twice)
    assert near(line.upsample2d(x, size=2, interpolation="bicubic", preset="keras_jax"), twice)
    torch = [0.8945312, 1.15625, 1.5625, 2.5585938, 3.5820312, 4.2109375]
    for preset in (None, "torch", "torch_exact", "onnx", "opencv"):
        assert near(line.upsample2d(x, size=2, interpolation="bicubic", preset=preset), torch)
    # TensorFlow rounds the place to 1/1024.
    assert near(line.upsample2d(x, size=3, interpolation="bicubic", preset="keras")[:4], [0.8947936, 1, 1.206644, 1.5361086])
    thrice = line.upsample2d(x, size=3, interpolation="bicubic", preset="keras_jax")
    assert np.allclose(thrice[:4], [0.8947368, 1, 1.2068969, 1.5357143], rtol=1e-6, atol=0)


def test_bicubic_by_its_parts_is_the_preset(line):
    parts = line.upsample2d([1, 2, 4], size=2, interpolation="bicubic", cubic_coefficient=-0.5, edge="renormalise")
    assert near(parts, line.upsample2d([1, 2, 4], size=2, interpolation="bicubic", preset="keras"))


def test_roundings_of_nearest(line):
    x = [1, 2, 3, 4]
    assert line.upsample2d(x, output_size=2, preset="onnx") == [1, 3]  # 0.5 and 2.5 half down
    assert line.upsample2d(x, output_size=2, preset="onnx", rounding="prefer_ceil") == [2, 4]
    assert line.upsample2d(x, output_size=2, preset="onnx", rounding="floor") == [1, 3]
    assert line.upsample2d(x, output_size=2, preset="onnx", rounding="ceil") == [2, 4]
    assert line.upsample2d([1, 2, 4], output_size=5, preset="onnx") == [1, 1, 2, 4, 4]
    assert line.upsample2d([1, 2, 4], output_size=5, preset="torch") == [1, 1, 2, 2, 4]
    assert line.upsample2d([1, 2, 4], output_size=5, preset="opencv") == [1, 1, 2, 2, 4]
    for preset in ("torch_exact", "keras", "keras_jax"):
        assert line.upsample2d([1, 2, 4], output_size=5, preset=preset) == [1, 1, 2, 4, 4]
    assert line.upsample2d([1, 2, 3], size=2, coordinates="asymmetric", rounding="ceil") == [1, 2, 2, 3, 3, 3]
    # The place is exactly 3; ONNX Runtime divides by a float32 scale and comes out below.
    assert line.upsample2d(list(range(7)), output_size=1, preset="onnx", coordinates="half_pixel", rounding="floor") == [2]
    # The place is exactly 1, and in float32 too; ONNX Runtime computes it in double, and rounds what is a little less.
    assert line.upsample2d([1, 2, 5], output_size=1, preset="onnx", coordinates="half_pixel_symmetric", rounding="floor") == [1]


def test_pytorch_half_pixel_is_half_pixel_but_for_one_element(line):
    x = [1, 2, 4]
    for interpolation in ("bilinear", "bicubic"):
        assert line.upsample2d(x, output_size=1, interpolation=interpolation, coordinates="pytorch_half_pixel") == [1]
        both = [line.upsample2d(x, output_size=5, interpolation=interpolation, coordinates=coordinates)
                for coordinates in ("pytorch_half_pixel", "half_pixel")]
        assert both[0] == both[1]


def test_half_pixel_symmetric_centres_what_a_scale_leaves_over(line):
    """The numbers are those of ONNX's own tests (2 by 2.94 is 5.88 elements, of which 5 are made)."""
    options = dict(scale=2.94, interpolation="bilinear", coordinates="half_pixel_symmetric")
    for preset in (None, "onnx"):
        assert near(line.upsample2d([1, 2], preset=preset, **options), [1, 1.15986395, 1.5, 1.84013605, 2])
        assert near(line.upsample2d([1, 2, 3, 4], preset=preset, **{**options, "scale": 0.6}), [1.6666667, 3.3333333])
    # The image mirrored gives the result mirrored, which half_pixel does not.
    x = [1, 5, 2, 8, 3]
    for scale in (0.7, 1.3, 2.9):
        for interpolation in ("bilinear", "bicubic", "lanczos3"):
            mode = dict(scale=scale, interpolation=interpolation, coordinates="half_pixel_symmetric")
            np.testing.assert_allclose(line.upsample2d(x[::-1], **mode), line.upsample2d(x, **mode)[::-1], rtol=0, atol=1e-5)
    for size in ({"size": 3}, {"output_size": 7}):
        for interpolation in ("nearest", "bilinear", "bicubic"):
            both = [line.upsample2d(x, interpolation=interpolation, coordinates=coordinates, **size)
                    for coordinates in ("half_pixel_symmetric", "half_pixel")]
            assert both[0] == both[1]


def test_opencv_copies_an_image_that_keeps_its_size(line, isa):
    """Whatever the scale; but not an image of which one side alone keeps its size."""
    x = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    for interpolation in ("nearest", "bilinear", "bicubic", "area"):
        for scale in (0.96, 1.04):
            assert line.upsample2d(x, scale=scale, interpolation=interpolation, preset="opencv") == x
    image = np.repeat(np.array(x, np.float32).reshape(1, 10, 1, 1), 40, axis=2)
    for turned in (False, True):
        view = image.swapaxes(1, 2) if turned else image
        got = convolution.upsample2d(view, scale=1.04, interpolation="bilinear", preset="opencv", isa=isa)
        got = got.swapaxes(1, 2) if turned else got
        assert got.shape == (1, 10, 42, 1) and near(got[0, 9, :, 0].tolist(), [3.7307692] * 42)


@pytest.mark.parametrize("axis", ["height", "width"])
def test_an_axis_without_a_scale_keeps_its_size(axis, isa):
    """Which C permits. What one axis is scaled by decides for both what half_pixel_symmetric means."""
    x = np.array([1, 2], np.float32).reshape((1, 2, 1, 1) if axis == "height" else (1, 1, 2, 1))
    params = convolution._upsample2d_params(
        x.shape, scale=2.94, interpolation="bilinear", coordinates="half_pixel_symmetric", isa=isa)
    setattr(params, "scale_width" if axis == "height" else "scale_height", 0)
    got = convolution._run(convolution._UPSAMPLE2D, params, x, (), x.dtype, None)
    assert got.shape == ((1, 5, 1, 1) if axis == "height" else (1, 1, 5, 1))
    assert near(got.ravel().tolist(), [1, 1.15986395, 1.5, 1.84013605, 2])


def test_output_size_and_scale_together(line):
    """The scale says where elements lie, the size how many there are: places 0, 2, 4, ... and -0.25, 0.25, ... below."""
    x = [1, 2, 3, 5]
    for preset in (None, "torch", "onnx", "keras", "keras_jax", "opencv"):
        both = dict(preset=preset, coordinates="asymmetric", rounding="floor")
        assert line.upsample2d(x, output_size=5, scale=0.5, **both) == [1, 3, 5, 5, 5]
        assert line.upsample2d(x, output_size=3, scale=2, **both) == [1, 1, 2]
        both = dict(preset=preset, interpolation="bilinear")
        assert line.upsample2d(x, output_size=3, scale=2, **both) == [1, 1.25, 1.75]
        assert line.upsample2d(x, output_size=2, scale=0.25, **both) == [2.5, 5]
    for preset in (None, "keras", "keras_jax"):
        outside = dict(preset=preset, output_size=5, scale=0.5, edge="renormalise")
        assert line.upsample2d(x, interpolation="bicubic", **outside)[2:] == [5, 0, 0]
        assert line.upsample2d(x, interpolation="lanczos3", **outside)[3:] == [0, 0]
    # What is left over, 4 - 6 / 2 elements, is cut off at both ends.
    both = dict(output_size=6, scale=2, interpolation="bilinear", coordinates="half_pixel_symmetric")
    assert line.upsample2d(x, **both) == [1.25, 1.75, 2.25, 2.75, 3.5, 4.5]
    # PyTorch's _upsample_bilinear2d_aa: the kernel is wider than the image.
    both = dict(output_size=2, scale=0.2, interpolation="bilinear", preset="torch", antialias=True)
    assert near(line.upsample2d([1, 2, 5], **both), [3, 0])


@pytest.mark.parametrize("interpolation, edge, number", [
    ("bilinear", "clamp", 4.5527344), ("bilinear", "renormalise", 4.465278),
    ("bicubic", "clamp", 4.6079736), ("bicubic", "renormalise", 4.42016)])
def test_antialias_by_a_scale_that_leaves_less_than_one_element(interpolation, edge, number):
    """ONNX Runtime's numbers for sizes 1x11, keep_aspect_ratio_policy not_larger: 2 by 0.25 is rounded up to one column."""
    x = np.array([[1, 2], [3, 5], [8, 4], [2, 9]]).reshape(1, 4, 2, 1)
    options = dict(output_size=1, scale=0.25, preset="onnx", interpolation=interpolation, edge=edge, antialias=True)
    np.testing.assert_allclose(convolution.upsample2d(x, **options), [[[[number]]]], rtol=1e-6)


def test_output_size_and_scale_of_one_axis_each():
    """keep_aspect_ratio_policy not_larger of 2x4 to 6x6: scale is 1.5. Then one axis with both, and one with its size alone."""
    x = np.arange(8.0).reshape(1, 2, 4, 1)
    want = convolution.upsample2d(x, scale=1.5, interpolation="bilinear")
    got = convolution.upsample2d(x, output_size=(3, 6), scale=1.5, interpolation="bilinear")
    np.testing.assert_array_equal(got, want)
    got = convolution.upsample2d(x, output_size=(3, 2), scale=(1.5, 0.5), interpolation="bilinear")
    np.testing.assert_array_equal(got, convolution.upsample2d(x, output_size=(3, 2), interpolation="bilinear"))
    got = convolution.upsample2d(x, output_size=(3, 2), scale=(1.5, 2), interpolation="bilinear", coordinates="asymmetric")
    np.testing.assert_allclose(got[0, :, :, 0], [[0, 0.5], [8 / 3, 19 / 6], [4, 4.5]], rtol=1e-15)


def test_tf_half_pixel_for_nn(line):
    """Places 0.3, 0.9, 1.5, 2.1, 2.7."""
    x, options = [1, 2, 4], dict(output_size=5, coordinates="tf_half_pixel_for_nn")
    for preset in (None, "keras", "keras_jax", "opencv"):
        assert line.upsample2d(x, preset=preset, **options) == [1, 1, 2, 4, 4]
    for rounding, want in {None: [1, 2, 2, 4, 4], "floor": [1, 1, 2, 4, 4], "ceil": [2, 2, 4, 4, 4],
                           "prefer_ceil": [1, 2, 4, 4, 4]}.items():
        assert line.upsample2d(x, preset="onnx", rounding=rounding, **options) == want
    assert near(line.upsample2d(x, interpolation="bilinear", **options), [1.3, 1.9, 3, 4, 4])


@pytest.mark.parametrize("options", [{"rounding": "ceil"}, {"rounding": "prefer_ceil"}, {"rounding": "floor"},
                                     {"interpolation": "bilinear"}, {"interpolation": "bicubic"}])
def test_tf_half_pixel_for_nn_leaves_an_axis_that_keeps_its_size(options, line, isa):
    """resize_op_test.cc of ONNX Runtime: ResizeOpNearest_OneToOneMappingBetweenInputAndOutputDataDims."""
    options = {"coordinates": "tf_half_pixel_for_nn", "preset": "onnx"} | options
    assert line.upsample2d([1, 2, 4], output_size=3, **options) == line.upsample2d([1, 2, 4], scale=1, **options) == [1, 2, 4]
    got = convolution.upsample2d(plane([[1, 2, 3], [4, 5, 6]]), scale=(1, 0.5), isa=isa, **options)[0, :, :, 0]
    if options.get("rounding") == "ceil":
        assert got.tolist() == [[2], [5]]
    assert near(got[1] - got[0], [3])


def test_simple_rounding_is_up_where_an_axis_shrinks(line):
    options = dict(coordinates="asymmetric", rounding="simple")
    for preset in (None, "onnx"):
        assert line.upsample2d([1, 2, 3, 4, 5], output_size=2, preset=preset, **options) == [1, 4]
        assert line.upsample2d([1, 2, 3], output_size=5, preset=preset, **options) == [1, 1, 2, 2, 3]
        assert line.upsample2d([1, 2, 3, 4, 5], scale=0.6, preset=preset, **options) == [1, 3, 5]
        assert line.upsample2d([1, 2, 3, 4, 5], output_size=5, preset=preset, **options) == [1, 2, 3, 4, 5]
    x = np.arange(20.0).reshape(1, 5, 4, 1)
    got = convolution.upsample2d(x, output_size=(2, 6), **options)
    assert got[0, :, :, 0].tolist() == [[0, 0, 1, 2, 2, 3], [12, 12, 13, 14, 14, 15]]


def test_antialias_when_shrinking(line):
    for preset in (None, "keras", "keras_jax", "torch"):
        assert line.upsample2d([1, 2, 4], output_size=2, interpolation="bilinear", preset=preset) == [1.25, 3.5]
        assert near(
            line.upsample2d([1, 2, 4], output_size=2, interpolation="bilinear", preset=preset, antialias=True), [1.375, 3.25])
    # ONNX Runtime's border elements stand for what lies outside, unless exclude_outside is 1.
    onnx = dict(output_size=2, interpolation="bilinear", preset="onnx", antialias=True)
    assert near(line.upsample2d([1, 2, 4], **onnx), [4 / 3, 10 / 3])
    assert near(line.upsample2d([1, 2, 4], edge="renormalise", **onnx), [1.375, 3.25])


def test_antialiased_bicubic_of_pytorch_has_another_coefficient(line):
    x = [0, 1, 5, 2, 8, 3, 9, 1]
    shrunk = dict(output_size=3, interpolation="bicubic", preset="torch", antialias=True)
    assert line.upsample2d(x, **shrunk) == line.upsample2d(x, cubic_coefficient=-0.5, **shrunk)
    assert line.upsample2d(x, **shrunk) != line.upsample2d(x, cubic_coefficient=-0.75, **shrunk)


def test_area(line):
    x = [1, 2, 4]
    assert near(line.upsample2d(x, output_size=2, interpolation="area"), [4 / 3, 10 / 3])  # what each covers
    assert near(line.upsample2d(x, output_size=2, interpolation="area", preset="torch"), [1.5, 3])  # adaptive pooling
    assert near(line.upsample2d([1, 2, 3, 6], output_size=2, interpolation="area", preset="opencv"), [1.5, 4.5])


@pytest.mark.parametrize("options, error, parameter, value", [
    ({"size": (-1, 2)}, "FACTOR", "factor_height", -1), ({"size": (2, -3)}, "FACTOR", "factor_width", -3),
    ({"scale": (-0.5, 1.0)}, "FACTOR", "scale_height", -0.5), ({"scale": (1.0, INF)}, "FACTOR", "scale_width", "inf"),
    ({"output_size": (-4, 3)}, "OUTPUT_SIZE", "output_height", -4),
    ({"output_size": (4, -3)}, "OUTPUT_SIZE", "output_width", -3)])
def test_sizes_that_upsample2d_refuses(options, error, parameter, value, isa):
    with refused(error, parameter, value):
        convolution.upsample2d(np.ones((1, 2, 3, 1), np.float32), isa=isa, **options)


# ------------------------------------------------------------------------------------------------- shapes, empties, values


def test_a_kernel_beyond_the_image_is_an_error_unless_empty_outputs_are_allowed(isa):
    x, kernel = np.ones((1, 2, 5, 1), np.float32), np.ones((3, 3, 1, 2), np.float32)
    with refused("EMPTY_OUTPUT", "allow_empty_output", 0):
        convolution.conv2d(x, kernel, isa=isa)
    assert convolution.conv2d(x, kernel, isa=isa, allow_empty_output=True).shape == (1, 0, 3, 2)
    # Overhanging by more than a stride is empty too: the division rounds down, also below zero.
    far = np.ones((9, 3, 1, 2), np.float32)
    assert convolution.conv2d_output_shape(x.shape, far.shape, strides=2, allow_empty_output=True) == (1, 0, 2, 2)
    with refused("EMPTY_OUTPUT", "allow_empty_output", 0):
        convolution.conv2d(x, far, strides=2, isa=isa)


def test_an_empty_batch_gives_an_empty_batch(isa, data_format):
    shape = (0, 5, 4, 2) if data_format == "channels_last" else (0, 2, 5, 4)
    x, kernel = np.zeros(shape, np.float32), np.ones((3, 2, 2, 3), np.float32)
    options = {"data_format": data_format, "isa": isa}
    assert to_nhwc(convolution.conv2d(x, kernel, **options), data_format).shape == (0, 3, 3, 3)
    kernel = np.ones((3, 2, 3, 2), np.float32)
    assert to_nhwc(convolution.conv2d_transpose(x, kernel, **options), data_format).shape == (0, 7, 5, 3)
    assert to_nhwc(convolution.upsample2d(x, 2, **options), data_format).shape == (0, 10, 8, 2)


def test_no_input_channels_leave_the_activated_bias(isa, data_format):
    shape = (2, 3, 4, 0) if data_format == "channels_last" else (2, 0, 3, 4)
    x, bias = np.zeros(shape, np.float32), np.array([1, -2, 3], np.float32)
    got = convolution.conv2d(x, np.zeros((2, 2, 0, 3), np.float32), bias, activation="relu", data_format=data_format, isa=isa)
    assert to_nhwc(got, data_format).tolist() == np.broadcast_to([1, 0, 3], (2, 2, 3, 3)).tolist()
    got = convolution.conv2d_transpose(x, np.zeros((2, 2, 3, 0), np.float32), bias, data_format=data_format, isa=isa)
    assert to_nhwc(got, data_format).tolist() == np.broadcast_to([1, -2, 3], (2, 4, 5, 3)).tolist()


def test_an_image_without_rows_can_be_padded_to_one_with_rows(isa, data_format):
    shape = (1, 0, 4, 2) if data_format == "channels_last" else (1, 2, 0, 4)
    x, bias = np.zeros(shape, np.float32), np.array([5, -6, 7], np.float32)
    kernel, options = np.ones((3, 2, 2, 3), np.float32), {"padding": ((2, 2), (0, 0)), "data_format": data_format, "isa": isa}
    got = convolution.conv2d(x, kernel, bias, **options)
    assert to_nhwc(got, data_format).tolist() == np.broadcast_to([5, -6, 7], (1, 2, 3, 3)).tolist()
    for mode in ("reflect", "symmetric", "replicate", "circular"):
        with pytest.raises(ValueError) as caught:
            convolution.conv2d(x, kernel, padding_mode=mode, **options)
        assert caught.value.status == convolution.constant("CONVOLUTION_ERROR_PADDING")


def test_zeros_of_the_border_are_multiplied(line):
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(line.conv2d([1, 2], [INF, 1, 1], padding=1, dtype=dtype), [NAN, INF])
        np.testing.assert_array_equal(line.conv2d([1, 2], [INF, 1, 1], padding="same", dtype=dtype), [NAN, INF])


def test_a_transposed_convolution_multiplies_no_invented_zeros(line):
    for dtype in (np.float32, np.float64):
        got = line.conv2d_transpose([INF, 1], [1, 0, 2], strides=2, dtype=dtype)
        np.testing.assert_array_equal(got, [INF, NAN, INF, 0, 2])
        got = line.conv2d_transpose([1, 0], [INF, 1, 1], strides=2, dtype=dtype)
        np.testing.assert_array_equal(got, [INF, 1, NAN, 0, 0])


def test_activations(line):
    z = [-8, -2, -0.5, 0, 0.5, 2, 8]
    assert line.conv2d(z, [1], activation="relu") == [0, 0, 0, 0, .5, 2, 8]
    assert line.conv2d(z, [1], activation="relu6") == [0, 0, 0, 0, .5, 2, 6]
    assert line.conv2d(z, [1], activation="clamp", activation_min=-1, activation_max=1.5) == [-1, -1, -.5, 0, .5, 1.5, 1.5]
    assert line.conv2d(z, [1], activation="clamp", activation_min=-INF, activation_max=INF) == z
    assert line.conv2d(z, [1], activation="leaky_relu", activation_alpha=.25) == [-2, -.5, -.125, 0, .5, 2, 8]
    assert near(line.conv2d([-8, 3], [1], activation="leaky_relu"), [-.08, 3])
    assert near(line.conv2d([0, 1, -1, -20], [1], activation="sigmoid"), [.5, 0.7310585786, 0.2689414214, 2.0611536e-9])
    assert line.conv2d([200, -200], [1], activation="sigmoid") == [1, 0]
    assert near(line.conv2d([0, 1, -1, 0.001], [1], activation="tanh"), [0, 0.7615941560, -0.7615941560, 0.000999999666])
    assert line.conv2d([200, -200], [1], activation="tanh") == [1, -1]
    assert line.conv2d([1, 2], [1], bias=[-1.5], activation="relu") == [0, .5]  # the bias comes first
    assert line.conv2d_transpose([-1, 2], [1, -3], activation="relu") == [0, 5, 0]


@pytest.mark.parametrize("activation, name", [
    (None, "alpha"), ("relu", "alpha"), ("clamp", "alpha"), (None, "min"), ("relu6", "max"), ("leaky_relu", "max")])
def test_numbers_that_an_activation_does_not_read_are_refused(activation, name, line):
    for function in line.conv2d, line.conv2d_transpose:
        with pytest.raises(ValueError, match=f"activation_{name} is 0.25 and activation is [0-4]; only activation "):
            function([1], [1], activation=activation, **{"activation_" + name: 0.25})


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "clamp", "leaky_relu", "sigmoid", "tanh"])
def test_nan_stays_nan_in_every_activation(activation, line):
    got = line.conv2d([1, NAN, 1] * 7, [1], activation=activation, activation_max=1 if activation == "clamp" else None)
    np.testing.assert_array_equal(np.isnan(got), [False, True, False] * 7)


def test_types(isa):
    x, kernel = np.full((1, 3, 4, 1), 1 / 3), np.ones((2, 2, 1, 1))
    assert convolution.conv2d(x, kernel, isa=isa)[0, 0, 0, 0] == pytest.approx(4 / 3, abs=1e-15)
    single = convolution.conv2d(x.astype(np.float32), kernel.astype(np.float32), isa=isa)
    assert single.dtype == np.float32 and single[0, 0, 0, 0] == np.float32(4 / 3)
    large = convolution.conv2d(np.full((1, 2, 2, 1), 2**40), np.ones((2, 2, 1, 1), int), isa=isa)
    assert large.dtype == np.float64 and large.item() == 2**42


def test_gradients_are_calls_of_the_other_function(isa):
    w = np.array([[1, 2], [3, 4]], np.float32)[:, :, None, None]
    x = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    assert convolution.conv2d(x, w, isa=isa)[0, :, :, 0].tolist() == [[37, 47], [67, 77]]
    dy = np.array([[1, 0], [0, 2]], np.float32)[None, :, :, None]
    assert convolution.conv2d_transpose(dy, w, isa=isa)[0, :, :, 0].tolist() == [[1, 2, 0], [3, 6, 4], [0, 6, 8]]
    dy = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    assert convolution.conv2d(dy, w, strides=2, isa=isa)[0, :, :, 0].tolist() == [[34, 54], [114, 134]]


def test_views(isa):
    image = np.arange(36, dtype=np.float32).reshape(6, 6)
    ones = np.ones((2, 2, 1, 1), np.float32)
    got = convolution.conv2d(image[::2, 1::2][None, :, :, None], ones, isa=isa)
    assert got[0, :, :, 0].tolist() == [[32, 40], [80, 88]]
    mirrored = convolution.conv2d(image[::-1, ::-1][None, :, :, None], weights([[1], [0]]), isa=isa)
    assert mirrored[0, :, :, 0].tolist() == image[::-1, ::-1][:5].tolist()


@pytest.mark.parametrize("options, error, parameter, value", [
    ({"strides": (-1, 1)}, "STRIDE", "stride_height", -1), ({"strides": (1, -2)}, "STRIDE", "stride_width", -2),
    ({"dilation_rate": (-3, 1)}, "DILATION", "dilation_height", -3),
    ({"dilation_rate": (1, -1)}, "DILATION", "dilation_width", -1),
    ({"threads": -1}, "THREADS", "threads", -1), ({"threads": 1025}, "THREADS", "threads", 1025)])
def test_parameters_out_of_range(options, error, parameter, value, isa):
    x = np.ones((1, 4, 5, 1), np.float32)
    with refused(error, parameter, value):
        convolution.conv2d(x, np.ones((2, 3, 1, 1), np.float32), isa=isa, **options)
    with refused(error, parameter, value):
        convolution.conv2d_transpose(x, np.ones((2, 3, 1, 1), np.float32), isa=isa, **options)


def test_groups_must_divide_the_channels(isa):
    with refused("GROUPS", "groups", 2):
        convolution.conv2d(np.ones((1, 4, 5, 4), np.float32), np.ones((2, 3, 2, 3), np.float32), groups=2, isa=isa)
    with refused("GROUPS", "groups", 2):
        convolution.conv2d_transpose(np.ones((1, 4, 5, 3), np.float32), np.ones((2, 3, 2, 3), np.float32), groups=2, isa=isa)
    with refused("GROUPS", "groups", -1):
        convolution.conv2d(np.ones((1, 4, 5, 0), np.float32), np.ones((2, 3, 0, 3), np.float32), groups=-1, isa=isa)
    with refused("GROUPS", "groups", -4):
        convolution.conv2d(np.ones((1, 4, 5, 2), np.float32), np.ones((2, 3, 2, 3), np.float32), groups=-4, isa=isa)
    with refused("GROUPS", "groups", -4):
        convolution.conv2d_transpose(np.ones((1, 4, 5, 3), np.float32), np.ones((2, 3, 2, 3), np.float32), groups=-4, isa=isa)


def test_a_kernel_has_at_least_one_element(isa):
    for shape, parameter in (((0, 3, 2, 3), "kernel_height"), ((3, 0, 2, 3), "kernel_width")):
        with refused("KERNEL_SIZE", parameter, 0):
            convolution.conv2d(np.ones((1, 4, 5, 2), np.float32), np.ones(shape, np.float32), isa=isa)
        with refused("KERNEL_SIZE", parameter, 0):
            convolution.conv2d_transpose(np.ones((1, 4, 5, 3), np.float32), np.ones(shape, np.float32), isa=isa)


def test_a_padding_value_needs_its_mode(isa):
    with refused("PADDING_MODE", "padding_value", 2.5):
        convolution.conv2d(plane([[1, 2], [3, 4]]), weights([[1, 2]]), padding="same", padding_value=2.5, isa=isa)


def test_a_tier_that_does_not_exist():
    for function in (convolution.conv2d, convolution.conv2d_transpose):
        with refused("ISA", "isa", "mmx"):
            function(np.ones((1, 4, 5, 1), np.float32), np.ones((2, 3, 1, 1), np.float32), isa="mmx")


def test_a_failing_call_writes_nothing(isa):
    out = np.full((1, 3, 3, 1), 42, np.float32)
    with refused("THREADS", "threads", 2000):
        convolution.conv2d(np.ones((1, 4, 5, 1), np.float32), weights([[1, 2, 3], [4, 5, 6]]), out=out, threads=2000, isa=isa)
    assert (out == 42).all()


# ---------------------------------------------------------------------------------- worked examples of teaching material


def test_strided_convolution_of_a_7_by_7_image(isa):
    image = plane([[2, 3, 7, 4, 6, 2, 9], [6, 6, 9, 8, 7, 4, 3], [3, 4, 8, 3, 8, 9, 7], [7, 8, 3, 6, 6, 3, 4],
                   [4, 2, 1, 8, 3, 4, 6], [3, 2, 4, 1, 9, 8, 3], [0, 1, 3, 9, 2, 1, 4]])
    got = convolution.conv2d(image, weights([[3, 4, 4], [1, 0, 2], [-1, 0, 3]]), strides=2, isa=isa)
    assert got[0, :, :, 0].tolist() == [[91, 100, 88], [69, 91, 117], [44, 72, 74]]


def test_edges_of_a_6_by_6_image(isa):
    image = plane([[3, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3], [0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8],
                   [2, 4, 5, 2, 3, 9]])
    got = convolution.conv2d(image, weights([[1, 0, -1]] * 3), isa=isa)
    assert got[0, :, :, 0].tolist() == [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]


def test_a_convolution_and_its_transpose_share_the_kernel(isa):
    kernel = weights([[0, 1, 0], [-1, 2, 2], [0, 1, 0]])
    y = convolution.conv2d(plane([[4, 3, 2, 1], [1, 4, 3, 2], [2, 1, 4, 3], [3, 2, 1, 4]]), kernel, isa=isa)
    assert y[0, :, :, 0].tolist() == [[17, 12], [14, 17]]
    z = convolution.conv2d_transpose(y, kernel, isa=isa)
    assert z[0, :, :, 0].tolist() == [[0, 17, 12, 0], [-17, 36, 75, 24], [-14, 28, 74, 34], [0, 14, 17, 0]]


def test_a_convolution_as_a_matrix():
    kernel = weights([[1, 2, 4], [1, 1, 3], [1, 2, 4]])
    matrix = convolution.conv2d_matrix(kernel, (4, 4))
    assert matrix.shape == (4, 16)
    assert matrix[1].reshape(4, 4).tolist() == [[0, 1, 2, 4], [0, 1, 1, 3], [0, 1, 2, 4], [0, 0, 0, 0]]
    image = np.array([[3, 3, 3, 6], [7, 4, 3, 2], [7, 2, 8, 5], [1, 7, 3, 1]], np.float32)
    assert (matrix @ image.ravel()).tolist() == [84, 84, 87, 60]
    back = [[2, 7, 14, 12], [6, 16, 31, 21], [6, 14, 29, 21], [4, 11, 22, 12]]
    assert (matrix.T @ np.array([2, 3, 4, 3], np.float32)).reshape(4, 4).tolist() == back
    assert convolution.conv2d_transpose(plane([[2, 3], [4, 3]]), kernel)[0, :, :, 0].tolist() == back


def test_transposed_convolution_of_two_by_two_by_two_by_two(isa):
    square = [[0, 1], [2, 3]]
    got = convolution.conv2d_transpose(plane(square), weights(square), isa=isa)
    assert got[0, :, :, 0].tolist() == [[0, 0, 1], [0, 4, 6], [4, 12, 9]]
    got = convolution.conv2d_transpose(plane(square), weights(square), strides=2, isa=isa)
    assert got[0, :, :, 0].tolist() == [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]


def test_a_matrix_of_a_constant_border_is_not_linear():
    with pytest.raises(NotImplementedError) as caught:
        convolution.conv2d_matrix(weights([[1, 2], [3, 4]]), (3, 4), padding="same", padding_mode="constant", padding_value=1.5)
    assert caught.value.status == convolution.constant("CONVOLUTION_ERROR_UNSUPPORTED")


# --------------------------------------------------------------------------------- cases out of other projects' own tests
# The numbers are theirs; each test names project, file and case.


def counted(*shape, start=0, dtype=np.float32):
    return np.arange(start, start + np.prod(shape), dtype=dtype).reshape(shape)


def test_transposed_convolution_in_the_tests_of_executorch(isa):
    """op_convolution_test.cpp: TransposedNonDefaultParams, InvalidOutputPadding and TransposedWeightNonDefaultDimOrder."""
    x, w = np.full((2, 6, 4, 5), 2, np.float32), np.full((6, 1, 2, 2), 0.5, np.float32)
    layer = dict(strides=3, padding=7, dilation_rate=5, groups=3, rule="torch", data_format="NCHW", isa=isa)
    got = convolution.conv2d_transpose(x, w, np.array([1, 2, 3], np.float32), output_padding=2, **layer)
    hits = np.array([[0, 0, 0, 0, 0, 0], [0, 2, 2, 0, 2, 2], [0, 2, 2, 0, 2, 2]])
    assert got.tolist() == [[(hits + bias).tolist() for bias in (1, 2, 3)]] * 2
    with refused("OUTPUT_PADDING", "output_padding_height", 5):
        convolution.conv2d_transpose(x, w, output_padding=5, **layer)
    w = counted(1, 2, 2, 2, start=1).transpose(1, 0, 2, 3)
    got = convolution.conv2d_transpose(counted(1, 2, 2, 2, start=1), w, rule="torch", data_format="NCHW", isa=isa)
    assert got[0, 0].tolist() == [[26, 64, 40], [76, 184, 112], [58, 136, 80]]


def test_output_shorter_than_stride_times_input_in_the_tests_of_tensorflow_lite(isa):
    """transpose_conv_test.cc: AccuracyTest and RejectsInconsistentSpatialShape."""
    kernel = weights([[9, 5, 6], [9, 8, 5], [3, 1, 4]])
    got = convolution.conv2d_transpose(plane([[323, 521]]), kernel, strides=3, padding="same", output_size=(3, 4), isa=isa)
    assert got[0, :, :, 0].tolist() == [[1615, 1938, 4689, 2605], [2584, 1615, 4689, 4168], [323, 1292, 1563, 521]]
    with refused("OUTPUT_SIZE", "output_height", 3):
        convolution.conv2d_transpose(np.ones((1, 2, 2, 1)), np.ones((1, 1, 1, 1)), padding="same", output_size=(3, 3))


def test_any_output_padding_of_burn_is_a_window(isa):
    """autodiff/conv_transpose1d.rs: padding_out 1 at stride 1, which PyTorch refuses."""
    x, w = counted(2, 2, 1, 4), counted(2, 2, 1, 3)
    got = convolution.conv2d_transpose(x, w, rule="window", padding=((0, 0), (0, -1)), data_format="NCHW", isa=isa)
    assert got[0].tolist() == [[[24, 58, 104, 128, 104, 62, 0]], [[36, 88, 158, 200, 158, 92, 0]]]


@pytest.mark.parametrize("options, dx, dw", [
    ({}, [[116, 243, 313, 383, 177], [374, 700, 800, 900, 386], [674, 1200, 1300, 1400, 586], [258, 407, 437, 467, 159]],
     [[17378, 16250], [11738, 10610]]),
    ({"strides": 2}, [[116, 87, 196, 147, 0], [58, 29, 98, 49, 0], [516, 387, 596, 447, 0], [258, 129, 298, 149, 0]],
     [[5668, 5312], [3888, 3532]]),
    ({"dilation_rate": 2}, [[192, 232, 416, 174, 204], [392, 432, 766, 324, 354], [96, 116, 184, 58, 68],
                            [196, 216, 334, 108, 118]], [[8632, 7636], [3652, 2656]]),
    ({"padding": 1}, [[152, 261, 340, 419, 370], [470, 700, 800, 900, 746], [850, 1200, 1300, 1400, 1126],
                      [911, 1240, 1319, 1398, 1087]], [[18670, 19850], [22550, 23430]]),
    ({"flip_kernel": False}, [[51, 163, 193, 223, 162], [254, 700, 800, 900, 586], [454, 1200, 1300, 1400, 886],
                              [453, 1087, 1157, 1227, 724]], [[12590, 13982], [19550, 20942]])])
def test_gradients_in_the_tests_of_nnlib(options, dx, dw, isa):
    """NNlib.jl, conv.jl: convolutions of 2 axes. Julia's arrays of (width, height, channels, batch) are NCHW here."""
    x, w = counted(1, 1, 4, 5, start=1), counted(1, 1, 2, 2, start=1)
    layer = {"flip_kernel": True, "data_format": "NCHW", "isa": isa} | options
    y = convolution.conv2d(x, w, **layer)
    assert convolution.conv2d_backward_input(y, w, x.shape, **layer)[0, 0].tolist() == dx
    assert convolution.conv2d_backward_kernel(x, y, w.shape, **layer)[0, 0].tolist() == dw


def test_gradients_in_the_tests_of_swift_apis(isa):
    """LayerTests.swift: testDepthwiseConv2DGradient and testTransposedConv2DGradient."""
    layer = dict(padding="same", depth_multiplier=2, isa=isa)
    x, w, ones = counted(2, 1, 2, 2), counted(2, 1, 2, 2), np.ones((2, 1, 2, 4), np.float32)
    assert convolution.conv2d_backward_input(ones, w, x.shape, **layer).tolist() == [[[[1, 5], [1, 5]]]] * 2
    assert convolution.conv2d_backward_kernel(x, ones, w.shape, **layer).tolist() == [[[[12, 12], [16, 16]]], [[[0, 0], [0, 0]]]]
    layer = dict(padding="same", strides=2, isa=isa)
    x, w, ones = counted(2, 2, 2, 4), counted(3, 3, 2, 4), np.ones((2, 4, 4, 2), np.float32)
    assert convolution.conv2d_transpose_backward_input(ones, w, x.shape, **layer)[1].tolist() == [
        [[612, 630, 648, 666], [360, 372, 384, 396]], [[264, 276, 288, 300], [144, 152, 160, 168]]]
    got = convolution.conv2d_transpose_backward_kernel(x, ones, w.shape, **layer)
    assert got[0, :, 0].tolist() == [[112, 120, 128, 136]] * 2 + [[48, 52, 56, 60]]
    assert got[2, :, 1].tolist() == [[40, 44, 48, 52]] * 2 + [[16, 18, 20, 22]]


@pytest.mark.parametrize("options, expected", [
    (dict(interpolation="bilinear", coordinates="asymmetric"), [6, 17, 38, 75]),
    (dict(interpolation="bilinear", coordinates="align_corners"), [17.33333, 24, 44, 50.66667]),
    (dict(coordinates="asymmetric", rounding="floor"), [14, 22, 46, 54]),
    (dict(coordinates="align_corners", rounding="prefer_ceil"), [14, 22, 46, 54])])
def test_gradients_of_resizing_in_the_tests_of_tensorflow_js(options, expected, isa):
    """resize_bilinear_test.ts and resize_nearest_neighbor_test.ts: "greyscale: upscale, same aspect ratio"."""
    gradient = counted(1, 4, 4, 1, start=1)
    got = convolution.upsample2d_backward(gradient, (1, 2, 2, 1), output_size=4, preset="keras", isa=isa, **options)
    assert near(got.ravel(), expected)


@pytest.mark.parametrize("kernel", range(1, 9))
def test_same_pad_in_the_tests_of_flux(kernel, line):
    """layers/conv.jl: SamePad keeps the size with stride 1, and divides or multiplies it by other strides. The larger half comes
    first, also of a negative total, which a kernel shorter than the stride gives."""
    def pads(total):
        return -(-total // 2), total // 2

    x, w, size = [1] * (kernel + 3), list(range(1, kernel + 1)), kernel + 3
    for dilation in {1, max(kernel // 2, 1)}:
        total = (kernel - 1) * dilation
        full = np.convolve(np.pad(x, pads(total)), np.kron(w, [1] + [0] * (dilation - 1)))
        got = line.conv2d(x, w, padding=pads(total), dilation_rate=dilation, flip_kernel=True)
        assert got == full[total:total + size].tolist()
        assert len(line.conv2d_transpose(x, w, rule="window", padding=pads(total), dilation_rate=dilation)) == size
    assert len(line.conv2d(x, w, padding=pads(kernel - 1), strides=3, flip_kernel=True)) == -(-size // 3)
    assert len(line.conv2d_transpose(x, w, rule="window", padding=pads(kernel - 3), strides=3)) == 3 * size


def test_nearest_in_the_tests_of_tensorflow_lite_and_nnapi(isa):
    """resize_nearest_neighbor_test.cc: ThreeDimensionalResizeUInt8, also _AlignCorners and _HalfPixelCenters;
    resize_nearest_neighbor.mod.py: 4 by 0.9, which is 3 elements, that lie by the ratio of the sizes."""
    def rows(side, **options):
        return convolution.upsample2d(plane([[3, 6], [10, 14]]), output_size=side, preset="keras", isa=isa, **options)[0, :, :, 0]

    assert rows(3, coordinates="asymmetric", rounding="floor").tolist() == [[3, 3, 6], [3, 3, 6], [10, 10, 14]]
    assert rows(3, coordinates="align_corners", rounding="prefer_ceil").tolist() == [[3, 6, 6], [10, 14, 14], [10, 14, 14]]
    assert rows(3, coordinates="tf_half_pixel_for_nn").tolist() == [[3, 6, 6], [10, 14, 14], [10, 14, 14]]
    got = convolution.upsample2d(counted(1, 4, 4, 1, start=1), output_size=3, coordinates="asymmetric", rounding="floor",
                                 preset="keras", isa=isa)
    assert got.ravel().tolist() == [1, 2, 3, 5, 6, 7, 9, 10, 11]


def test_nearest_in_the_tests_of_ncnn_and_by_scales_of_paddlepaddle(line):
    """test_interp.cpp: 14 to 2 elements, and 15 by 1.2, which ncnn knows as a float; PaddlePaddle rounds the reciprocal of its
    double. Neither divides by the scale, as ONNX does, which finds places just below whole numbers."""
    def places(size, **options):
        return line.upsample2d(range(size), coordinates="asymmetric", rounding="floor", **options)

    scale = float(np.float32(1.2))
    assert places(14, output_size=2, preset="keras") == [0, 7]
    for number in (1.2, scale):
        assert places(15, output_size=18, scale=number, preset="keras") == [t * 5 // 6 for t in range(18)]
    assert places(72, output_size=165, scale=float(np.float32(2.3)), preset="keras")[69] == 30
    assert places(72, output_size=165, scale=2.3, preset="keras")[69] == 29
    assert places(14, output_size=2, preset="onnx") == [0, 6]


def test_bicubic_of_tensorflow_1_and_mindspore_has_the_coefficient_and_border_of_pytorch(line):
    """ResizeBicubic without half_pixel_centers. Half way the weights are -3/32, 19/32, 19/32, -3/32."""
    options = dict(output_size=8, interpolation="bicubic", preset="keras")
    got = line.upsample2d([1, 2, 4, 8], coordinates="asymmetric", cubic_coefficient=-0.75, edge="clamp", **options)
    assert got == [1, 1.3125, 2, 2.71875, 4, 6.1875, 8, 8.375]
    assert line.upsample2d([1, 2, 4, 8], coordinates="asymmetric", **options) != got  # -1/16, 9/16 and none from outside


def test_a_side_of_one_with_align_corners_in_the_tests_of_mlx(isa):
    """test_nn.py: test_upsample_align_corners_one_dim."""
    def up(*scale, interpolation="bilinear"):
        return convolution.upsample2d(counted(1, 2, 2, 1, start=1), scale=scale, interpolation=interpolation,
                                      coordinates="align_corners", isa=isa)[0, :, :, 0]

    assert up(0.5, 0.5).tolist() == up(0.5, 0.5, interpolation="bicubic").tolist() == [[1]]
    assert up(0.5, 2).shape == (1, 4) and near(up(0.5, 2)[0], [1, 4 / 3, 5 / 3, 2])
    assert up(2, 0.5).shape == (4, 1) and near(up(2, 0.5)[:, 0], [1, 5 / 3, 7 / 3, 3])


def test_sizes_by_a_scale_in_the_tests_of_executorch(isa):
    """op_upsample_nearest2d_test.cpp: ComputedOutputSizeMatchesExpected and ZeroComputedOutputSizeDies."""
    for scale, size in (((9.99999, 9.55), (99, 95)), ((9.99999999, 0.1), (99, 1))):
        got = convolution.upsample2d(np.ones((1, 10, 10, 1), np.float32), scale=scale, preset="torch", isa=isa)
        assert got.shape == (1, *size, 1) and (got == 1).all()
    with pytest.raises(ValueError, match="scale_width is 0.25"):
        convolution.upsample2d(np.ones((1, 1, 2, 1)), scale=(1, 0.25), preset="torch")


def test_bilinear_in_the_tests_of_mxnet(isa):
    """test_operator.py: check_bilinear_resize_align_corners_op."""
    x = np.array([64, 32, 32, 64, 50, 100], np.float32).reshape(1, 1, 3, 2)
    for coordinates, first, fourth in (("half_pixel", [64, 56, 40, 32], [36.5, 45.625, 63.875, 73]),
                                       ("align_corners", [64, 53.333, 42.667, 32], [35.6, 47.467, 59.333, 71.2])):
        got = convolution.upsample2d(x, output_size=(6, 4), interpolation="bilinear", coordinates=coordinates, data_format="NCHW",
                                     isa=isa)
        np.testing.assert_allclose(got[0, 0, [0, 3]], [first, fourth], rtol=0, atol=1e-3)


def test_layers_larger_than_their_image(isa):
    """A window that the image does not fill: stride 100; a dilation of 2^31 - 1, which TensorFlow Lite refuses."""
    ones = np.ones((1, 3, 3, 1), np.float32)
    for padding in ("valid", "same"):
        assert convolution.conv2d(ones, np.ones((2, 2, 1, 1)), strides=100, padding=padding, isa=isa).tolist() == [[[[4]]]]
    for rows, value in ((3, 1), (4, 0)):
        got = convolution.conv2d(ones[:, :1, :1], np.ones((rows, 1, 1, 1)), padding="same", dilation_rate=(2**31 - 1, 1), isa=isa)
        assert got.tolist() == [[[[value]]]]


def test_empty_images_in_the_tests_of_tensorflow(isa):
    """conv_ops_test.py: testConv2dOnlyPaddingReturnsZeros, testConv2DBackpropFilterWithEmptyInput and
    testConv2DBackpropInputDegenerateBackpropInput, whose output has no columns."""
    got = convolution.conv2d(np.ones((1, 0, 2, 1)), np.ones((1, 1, 1, 1)), padding=1, isa=isa)
    assert got.shape == (1, 2, 4, 1) and not got.any()
    got = convolution.conv2d_backward_kernel(np.ones((0, 2, 3, 1)), np.ones((0, 1, 2, 1)), (2, 2, 1, 1), isa=isa)
    assert got.ravel().tolist() == [0] * 4
    got = convolution.conv2d_backward_input(np.ones((3, 1, 0, 3)), np.ones((1, 3, 2, 3)), (3, 1, 1, 2), strides=(1, 2),
                                            allow_empty_output=True, isa=isa)
    assert got.shape == (3, 1, 1, 2) and not got.any()


def test_padding_longer_than_the_kernel_in_the_tests_of_arm_nn(isa):
    """Conv2dTestImpl.cpp: Convolution2dAsymmetricPaddingLargerThanHalfKernelSizeTestCommon."""
    image = plane([[11, 21, 31], [12, 22, 32], [13, 23, 33]])
    got = convolution.conv2d(image, weights([[-11, -21], [-12, -22]]), padding=((2, 4), (1, 3)), isa=isa)
    assert got[0, 1:5, :4, 0].tolist() == [[-242, -594, -934, -372], [-495, -1190, -1850, -725], [-538, -1256, -1916, -748],
                                           [-273, -626, -946, -363]]
    assert got.shape == (1, 8, 6, 1) and np.count_nonzero(got) == 16


def test_window_strides_beside_lhs_dilation_in_the_tests_of_stablehlo(isa):
    """convolution.mlir of the interpreter: every fourth row and column of what lhs_dilation 2 makes; two groups in the last."""
    rows = plane([[1, 2, 5, 6], [3, 4, 7, 8], [10, 11, 14, 15], [12, 13, 16, 17]])
    for pads, want in ((0, [[10, 26], [46, 62]]), (1, [[1, 5], [10, 14]])):
        got = convolution.conv2d_transpose(rows, np.ones((3, 3, 1, 1)), rule="window", strides=2, flip_kernel=True,
                                           padding=2 - pads, isa=isa)
        assert got[0, ::4, ::4, 0].tolist() == want
    got = convolution.conv2d_transpose(rows.transpose(0, 1, 3, 2), np.ones((1, 1, 2, 4)), rule="window", strides=(2, 1), groups=2,
                                       flip_kernel=True, isa=isa)
    assert got[0, ::4, 0].tolist() == [[3, 3, 11, 11], [21, 21, 29, 29]]


def test_dilations_of_both_sides_in_the_tests_of_xla(isa):
    """convolution_variants_test.cc: FlatLhsDilation, window_strides (2, 1) and padding 1 above beside lhs_dilation (3, 2);
    NegativePaddingAndDilation, both dilations 2 along a row, padding -3 and -2; pads are (kernel - 1) * dilation less XLA's."""
    w = weights([[100, 10, 1], [200, 20, 2], [300, 30, 3], [400, 40, 4]])
    got = convolution.conv2d_transpose(counted(1, 3, 4, 1, start=1), w, rule="window", strides=(3, 2), flip_kernel=True,
                                       padding=((3 - 1, 3), 2), isa=isa)
    assert got[0, ::2, :, 0].tolist() == [[204, 40, 406, 60, 608], [1518, 180, 1821, 210, 2124], [4146, 460, 4651, 510, 5156]]
    got = convolution.conv2d_transpose(counted(1, 1, 5, 1, start=1), weights([[10, 1]]), rule="window", strides=(1, 2),
                                       dilation_rate=(1, 2), flip_kernel=True, padding=((0, 0), (2 + 3, 2 + 2)), isa=isa)
    assert got.ravel().tolist() == [0, 34]


@pytest.mark.parametrize("size, options, want", [
    (5, {"coordinates": "align_corners"}, [0, 0.25, 0.5, 0.75, 1]),                       # STRICT_ALIGN_CORNERS
    (5, {"coordinates": "asymmetric"}, [0, 0.4, 0.8, 1, 1]),                              # DEFAULT
    (5, {"coordinates": "tf_crop_and_resize", "roi": (0, 0.1, 0, 0.9)}, [0.1, 0.3, 0.5, 0.7, 0.9]),  # OFFSET_CORNERS
    (5, {}, [0, 0.1, 0.5, 0.9, 1]),                                                       # upsample_bilinear by 2.6
    (6, {"coordinates": "align_corners"}, [0, 0.2, 0.4, 0.6, 0.8, 1])])
def test_sampling_modes_in_the_tests_of_core_ml(size, options, want, isa):
    """coremltools, test_image_resizing.py."""
    got = convolution.upsample2d(plane([[0, 1]]), output_size=(1, size), interpolation="bilinear", isa=isa, **options)
    np.testing.assert_allclose(got.ravel(), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("region, side, want", [
    ((1, 1, 2, 2), 2, [6, 7, 10, 11]), ((1, 1, 2, 2), 1, [8.5]), ((2, 2, 1, 1), 2, [11, 10, 7, 6]),
    ((0, 0, 1, 1), 2, [1, 2, 5, 6])])
def test_crop_resize_in_the_tests_of_core_ml(region, side, want, isa):
    """The same file: regions in elements, so roi is each over the side less one."""
    got = convolution.upsample2d(counted(1, 4, 4, 1, start=1), output_size=side, interpolation="bilinear", isa=isa,
                                 coordinates="tf_crop_and_resize", roi=[place / 3 for place in region])
    assert near(got.ravel(), want)


def test_asymmetric_pads_of_a_transposed_convolution_in_the_tests_of_glow(isa):
    """OperatorTest.cpp: ConvTransposedAsymmetric, pads top 0, left 3, bottom 1, right 2, kernel OHWI."""
    w = 2 * counted(2, 3, 2, 3)
    got = convolution.conv2d_transpose(counted(1, 4, 4, 3), w.transpose(1, 2, 0, 3), rule="window", strides=(1, 2),
                                       padding=((0, 1), (3, 2)), kernel_format="keras", isa=isa)
    assert got[0].reshape(5, -1).tolist() == [
        [100, 532, 46, 802, 172, 928], [632, 2792, 416, 3224, 884, 3692], [2028, 7212, 1542, 7698, 2568, 8724],
        [4188, 13260, 3054, 13098, 4728, 14772], [5096, 12440, 4232, 12224, 5564, 13556]]


def test_shrinking_in_the_tests_of_ggml(isa):
    """test-interpolate.cpp: downscale_bilinear, 4 by 3 to 3 by 2, with and without align_corners."""
    image = plane([[0, -1, -2, 0], [1, 2, 4, 4], [2, 2, 1, 1]])
    for coordinates, want in (("half_pixel", [[1 / 6, -0.375, 0.75], [1.791667, 1.875, 1.75]]),
                              ("align_corners", [[0, -1.5, 0], [2, 1.5, 1]])):
        got = convolution.upsample2d(image, output_size=(2, 3), interpolation="bilinear", coordinates=coordinates, isa=isa)
        np.testing.assert_allclose(got[0, :, :, 0], want, rtol=0, atol=1e-6)
