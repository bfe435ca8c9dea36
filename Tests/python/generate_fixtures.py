"""Runs the layers and functions of Keras (on TensorFlow), TensorFlow and PyTorch and records what they answer.

    python generate_fixtures.py          writes fixtures/frameworks.npz; needs numpy, tensorflow, keras, torch

Each case holds the framework's call in words, the same call in the words of c-examples/ctypes/convolution.py, the data and the
answer. Integer-valued data has exact answers. Random data in float32 is answered by the framework in float64, so that
its own rounding plays no part; where that would change the meaning (coordinates of upsample2d) or is the case's purpose (float64
data), the answer is in the data's own type and the case says so: "own_rounding".
"""
import itertools
import json
import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # with oneDNN, TensorFlow gives the convolution of an empty batch the input's shape

import keras
import numpy as np
import tensorflow as tf
import torch

rng = np.random.default_rng(20260401)
cases = []
pools = {"int16": [], "float32": [], "float64": []}


def store(array):
    """Where the array went: [pool, offset, shape]. Whole numbers need only two bytes."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind == "f" and np.array_equal(array, np.round(array)) and abs(array).max(initial=0) < 2**15:
        array = array.astype(np.int16)
    pool = pools[array.dtype.name]
    offset = sum(part.size for part in pool)
    pool.append(array.ravel())
    return [array.dtype.name, offset, list(array.shape)]


def record(op, call, parameters, x, answer, kernel=None, bias=None, dtype="float32", own_rounding=False):
    arrays = {"x": x, "kernel": kernel, "bias": bias, "answer": answer}
    cases.append({
        "name": f"{len(cases):03d}-{op}", "op": op, "call": call, "parameters": parameters, "dtype": dtype,
        "exact": all(np.array_equal(a, np.round(a)) for a in arrays.values() if a is not None),
        "own_rounding": own_rounding, "arrays": {name: store(a) for name, a in arrays.items() if a is not None}})


def words(function, arguments):
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def integers(*shape):
    return rng.integers(-9, 10, shape).astype(np.float32)


def reals(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def doubles(*shape):
    return rng.standard_normal(shape)


def choose(options):
    return options[rng.integers(len(options))]


def sides(vertical, horizontal):
    return [list(vertical), list(horizontal)]


KERNELS = [(3, 2), (2, 3), (1, 1), (3, 3), (4, 3), (2, 4), (1, 5), (5, 1), (4, 4)]
IMAGES = [(5, 7), (6, 8), (7, 4), (1, 9), (8, 1), (4, 6)]


def bigger(image, kernel, dilation):
    """The image, enlarged where the dilated kernel would not fit in it."""
    return tuple(max(i, (k - 1) * d + 1) for i, k, d in zip(image, kernel, dilation))


# --------------------------------------------------------------------------------------------------------------- Keras

KERAS_ACTIVATIONS = {
    "relu": {"activation": "relu"}, "relu6": {"activation": "relu6"}, "sigmoid": {"activation": "sigmoid"},
    "tanh": {"activation": "tanh"}, "leaky_relu": {"activation": "leaky_relu", "activation_alpha": 0.2}}  # Keras: slope 0.2


def run_keras(layer_type, arguments, x, weights, answer_type):
    layer = layer_type(**arguments, use_bias=len(weights) == 2, dtype=answer_type)
    layer.build((None, *x.shape[1:]))
    layer.set_weights([w.astype(answer_type) for w in weights])
    return keras.ops.convert_to_numpy(layer(x.astype(answer_type)))


def keras_conv2d(make, image, kernel, *, strides=(1, 1), padding="valid", dilation=(1, 1), groups=1, channels=(2, 3), batch=2,
                 bias=True, activation=None):
    x = make(batch, *image, channels[0])
    weights = [make(*kernel, channels[0] // groups, channels[1])] + ([make(channels[1])] if bias else [])
    arguments = {"filters": channels[1], "kernel_size": kernel, "strides": strides, "padding": padding,
                 "dilation_rate": dilation, "groups": groups, "activation": activation}
    answer = run_keras(keras.layers.Conv2D, arguments, x, weights, "float32" if make is integers else "float64")
    parameters = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups,
                  **KERAS_ACTIVATIONS.get(activation, {})}
    record("conv2d", words("keras.layers.Conv2D", arguments), parameters, x, answer, *weights, dtype=x.dtype.name,
           own_rounding=make is doubles)


def keras_depthwise(make, image, kernel, *, strides=(1, 1), padding="valid", dilation=(1, 1), channels=3, multiplier=2):
    x, weights = make(2, *image, channels), [make(*kernel, channels, multiplier), make(channels * multiplier)]
    arguments = {"kernel_size": kernel, "depth_multiplier": multiplier, "strides": strides, "padding": padding,
                 "dilation_rate": dilation}
    answer = run_keras(keras.layers.DepthwiseConv2D, arguments, x, weights, "float32" if make is integers else "float64")
    parameters = {"strides": strides, "padding": padding, "dilation_rate": dilation, "depth_multiplier": multiplier}
    record("conv2d", words("keras.layers.DepthwiseConv2D", arguments), parameters, x, answer, *weights)


def padded_keras_conv2d(make, before, arguments, parameters, image=(5, 6), kernel=(3, 2), strides=(1, 1)):
    """Keras pads or crops in a layer or operation of its own, before a valid convolution."""
    x, weights = make(2, *image, 2), [make(*kernel, 2, 3), make(3)]
    answer_type = "float32" if make is integers else "float64"
    if isinstance(before, str):
        function, inner = before, getattr(keras.layers, before.split(".")[-1])(**arguments)(x.astype(answer_type))
    else:
        function, inner = "keras.ops.pad", before(x.astype(answer_type), **arguments)
    layer_arguments = {"filters": 3, "kernel_size": kernel, "strides": strides}
    answer = run_keras(keras.layers.Conv2D, layer_arguments, np.asarray(inner), weights, answer_type)
    record("conv2d", f"{words('keras.layers.Conv2D', layer_arguments)} after {words(function, arguments)}",
           {"strides": strides, **parameters}, x, answer, *weights)


def all_keras_conv2d():
    for kernel, padding, strides in itertools.product(KERNELS, ("valid", "same"), ((1, 1), (2, 2))):
        image = bigger(choose(IMAGES), kernel, (1, 1))
        keras_conv2d(integers, image, kernel, strides=strides, padding=padding, bias=bool(rng.integers(2)))
    for strides, padding in itertools.product(((1, 2), (3, 1), (3, 3), (4, 5)), ("valid", "same")):  # also stride > kernel
        keras_conv2d(integers, choose([(7, 9), (9, 8), (10, 6)]), choose([(2, 3), (3, 2), (1, 1), (4, 2)]), strides=strides,
                     padding=padding)
    for dilation, padding in itertools.product(((2, 2), (1, 3), (2, 1)), ("valid", "same")):
        keras_conv2d(integers, (7, 8), choose([(3, 2), (2, 3)]), padding=padding, dilation=dilation)
    for groups, channels, padding in ((2, (4, 6), "valid"), (3, (6, 3), "same"), (4, (4, 8), "same"), (2, (2, 2), "valid")):
        keras_conv2d(integers, (5, 6), (3, 2), groups=groups, channels=channels, padding=padding)
        keras_conv2d(reals, (5, 6), (2, 3), groups=groups, channels=channels, padding=padding, strides=(2, 2))
    for channels in ((1, 1), (1, 5), (5, 1), (16, 17), (3, 33)):
        keras_conv2d(integers, (5, 6), (3, 2), channels=channels, padding="same")
        keras_conv2d(reals, (4, 5), (2, 3), channels=channels)
    for activation in KERAS_ACTIVATIONS:
        keras_conv2d(reals, (4, 5), (3, 2), activation=activation, padding="same")
    for activation in ("relu", "relu6"):
        keras_conv2d(integers, (4, 5), (2, 2), activation=activation, channels=(1, 2))
    keras_conv2d(integers, (4, 5), (3, 2), batch=0)
    keras_conv2d(integers, (5, 4), (3, 2), batch=5, strides=(2, 1), padding="same")
    for padding, strides in itertools.product(("valid", "same"), ((1, 1), (2, 3))):
        keras_conv2d(doubles, (5, 7), (3, 2), padding=padding, strides=strides)
        keras_depthwise(integers, (6, 5), (3, 2), padding=padding, strides=(2, 2), multiplier=3)
        keras_depthwise(reals, (6, 5), (2, 3), padding=padding, dilation=(2, 2), multiplier=1)
        keras_depthwise(integers, (4, 7), (4, 3), padding=padding, channels=9, multiplier=2)
    for make, pads in itertools.product((integers, reals), (((1, 2), (0, 3)), ((3, 0), (2, 1)))):
        padded_keras_conv2d(make, "keras.layers.ZeroPadding2D", {"padding": pads}, {"padding": pads}, strides=(2, 1))
    for pads in (((2, 0), (1, 0)), ((4, 0), (3, 0))):
        padded_keras_conv2d(integers, "keras.layers.ZeroPadding2D", {"padding": pads}, {"padding": "causal"},
                            kernel=(pads[0][0] + 1, pads[1][0] + 1))
    for crop in (((1, 0), (0, 2)), ((0, 2), (1, 1))):
        padded_keras_conv2d(integers, "keras.layers.Cropping2D", {"cropping": crop},
                            {"padding": [[-c for c in axis] for axis in crop]})
    for mode, pads in itertools.product(("reflect", "symmetric", "constant"), (((1, 2), (0, 3)), ((2, 0), (2, 2)))):
        arguments = {"pad_width": ((0, 0), *pads, (0, 0)), "mode": mode, **({"constant_values": 7} if mode == "constant" else {})}
        parameters = {"padding": pads, "padding_mode": mode, **({"padding_value": 7.0} if mode == "constant" else {})}
        padded_keras_conv2d(integers, keras.ops.pad, arguments, parameters, strides=choose([(1, 1), (2, 1)]))


def keras_conv2d_transpose(make, image, kernel, *, strides=(1, 1), padding="valid", output_padding=None, channels=(2, 3),
                           bias=True, activation=None, batch=2):
    x = make(batch, *image, channels[0])
    weights = [make(*kernel, channels[1], channels[0])] + ([make(channels[1])] if bias else [])
    arguments = {"filters": channels[1], "kernel_size": kernel, "strides": strides, "padding": padding,
                 "output_padding": output_padding, "activation": activation}
    answer = run_keras(keras.layers.Conv2DTranspose, arguments, x, weights, "float32" if make is integers else "float64")
    parameters = {"strides": strides, "padding": padding, "output_padding": output_padding,
                  **KERAS_ACTIVATIONS.get(activation, {})}
    record("conv2d_transpose", words("keras.layers.Conv2DTranspose", arguments), parameters, x, answer, *weights,
           dtype=x.dtype.name, own_rounding=make is doubles)


def tensorflow_conv2d_transpose(image, kernel, strides, padding, output_size):
    x, weights = integers(1, *image, 2), integers(*kernel, 3, 2)
    answer = tf.nn.conv2d_transpose(x, weights, (1, *output_size, 3), strides, padding.upper()).numpy()
    record("conv2d_transpose", f"tf.nn.conv2d_transpose(x, kernel, (1, {output_size[0]}, {output_size[1]}, 3), {strides}, "
           f"{padding.upper()!r})", {"strides": strides, "padding": padding, "output_size": output_size}, x, answer, weights)


def all_keras_conv2d_transpose():
    for kernel, padding, strides in itertools.product(KERNELS, ("valid", "same"), ((1, 1), (2, 2))):  # also kernel < stride
        keras_conv2d_transpose(integers, choose([(3, 4), (4, 2), (1, 5)]), kernel, strides=strides, padding=padding,
                               bias=bool(rng.integers(2)))
    for strides, padding in itertools.product(((1, 2), (3, 2), (4, 3), (3, 5)), ("valid", "same")):
        keras_conv2d_transpose(integers, (3, 2), choose([(3, 2), (2, 5), (1, 1)]), strides=strides, padding=padding)
    for s in (2, 3, 4):
        for k, padding, op in itertools.product((1, 2, 3, 4, 5), ("valid", "same"), range(s)):
            # TensorFlow takes only outputs that a forward convolution of the same stride would take back to the input's size.
            i = 3
            o = (i - 1) * s + (k + op if padding == "valid" else k % 2 + op)
            taken_back = -(-o // s) if padding == "same" else -(-(o - k + 1) // s)
            if taken_back == i:
                keras_conv2d_transpose(integers, (i, i), (k, k), strides=(s, s), padding=padding, output_padding=(op, op),
                                       channels=(1, 2))
    for channels in ((1, 1), (1, 4), (5, 1), (16, 17)):
        keras_conv2d_transpose(integers, (3, 4), (3, 2), channels=channels, strides=(2, 2), padding="same")
        keras_conv2d_transpose(reals, (3, 2), (2, 4), channels=channels, strides=(2, 1))
    for activation in KERAS_ACTIVATIONS:
        keras_conv2d_transpose(reals, (2, 3), (3, 2), activation=activation, strides=(2, 2), padding="same")
    keras_conv2d_transpose(integers, (3, 2), (3, 2), batch=0, strides=(2, 2))
    for op in (None, (0, 0), (1, 1)):
        keras_conv2d_transpose(integers, (0, 2), (5, 3), strides=(2, 2), output_padding=op)  # an image without rows
    for padding in ("valid", "same"):
        keras_conv2d_transpose(doubles, (3, 4), (3, 2), strides=(2, 3), padding=padding)
        for s in (2, 3):
            for odd in range(s):
                low = 3 * s - s + 1 if padding == "same" else 2 * s + 3
                tensorflow_conv2d_transpose((3, 3), (3, 3), (s, s), padding, (low + odd, low + (odd + 1) % s))


# --------------------------------------------------------------------------------------------------------------- PyTorch

TORCH_ACTIVATIONS = {"relu": torch.nn.ReLU(), "relu6": torch.nn.ReLU6(), "leaky_relu": torch.nn.LeakyReLU(0.01),
                     "sigmoid": torch.nn.Sigmoid(), "tanh": torch.nn.Tanh()}


def run_torch(layer, x, weights, answer_type, *more):
    layer = layer.to(getattr(torch, answer_type))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights[0].astype(answer_type)))
        if len(weights) == 2:
            layer.bias.copy_(torch.from_numpy(weights[1].astype(answer_type)))
        return layer(torch.from_numpy(x.astype(answer_type)), *more).numpy()


def torch_conv2d(make, image, kernel, *, strides=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, channels=(2, 3), batch=2,
                 bias=True, mode="zeros", activation=None):
    x = make(batch, channels[0], *image)
    weights = [make(channels[1], channels[0] // groups, *kernel)] + ([make(channels[1])] if bias else [])
    arguments = {"in_channels": channels[0], "out_channels": channels[1], "kernel_size": kernel, "stride": strides,
                 "padding": padding, "dilation": dilation, "groups": groups, "bias": bias, "padding_mode": mode}
    answer_type = "float32" if make is integers else "float64"
    answer = run_torch(torch.nn.Conv2d(**arguments), x, weights, answer_type)
    call = words("torch.nn.Conv2d", arguments)
    parameters = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups, "padding_mode": mode,
                  "data_format": "channels_first", "kernel_format": "OIHW"}
    if activation:
        answer = TORCH_ACTIVATIONS[activation](torch.from_numpy(answer)).numpy()
        call, parameters["activation"] = f"{call} then {TORCH_ACTIVATIONS[activation]}", activation
    record("conv2d", call, parameters, x, answer, *weights, dtype=x.dtype.name, own_rounding=make is doubles)


def torch_conv2d_flipped(make):
    x, weight = make(1, 2, 5, 6), make(3, 2, 3, 2)
    answer = torch.nn.functional.conv2d(*(torch.from_numpy(a).double() for a in (x, weight[:, :, ::-1, ::-1].copy())))
    record("conv2d", "torch.nn.functional.conv2d(x, torch.flip(weight, (2, 3)))",
           {"flip_kernel": True, "data_format": "channels_first", "kernel_format": "OIHW"}, x, answer.numpy(), weight)


def all_torch_conv2d():
    for kernel, strides, padding in itertools.product(KERNELS, ((1, 1), (2, 2)), ((0, 0), (2, 1))):
        image = bigger(choose(IMAGES), kernel, (1, 1))
        torch_conv2d(integers, image, kernel, strides=strides, padding=padding, bias=bool(rng.integers(2)))
    for dilation, strides in itertools.product(((2, 2), (3, 1), (1, 2)), ((1, 1), (2, 3), (5, 1))):
        torch_conv2d(integers, (8, 9), choose([(3, 2), (2, 3)]), dilation=dilation, strides=strides, padding=(1, 2))
    for kernel, dilation in itertools.product(KERNELS, ((1, 1), (2, 1))):
        torch_conv2d(integers, (6, 7), kernel, dilation=dilation, padding="same", channels=(1, 2), batch=1)
    modes = ("reflect", "replicate", "circular")
    for mode, kernel, padding in itertools.product(modes, ((3, 2), (2, 4)), ((1, 2), (3, 4), "same")):
        torch_conv2d(integers, (4, 5), kernel, mode=mode, padding=padding, channels=(1, 2))
    for mode in modes:
        torch_conv2d(integers, (5, 6), (3, 3), mode=mode, padding=(2, 1), strides=(2, 2), dilation=(2, 1))
        torch_conv2d(reals, (4, 5), (3, 2), mode=mode, padding=(1, 1), groups=2, channels=(4, 2))
    torch_conv2d(integers, (4, 5), (3, 2), mode="circular", padding=(4, 5), channels=(1, 2))  # as far as circular goes
    torch_conv2d(integers, (1, 2), (3, 3), mode="replicate", padding=(4, 5), channels=(1, 2))
    for groups, channels in ((2, (4, 6)), (3, (3, 9)), (5, (5, 5)), (2, (32, 34))):
        torch_conv2d(integers, (5, 6), (3, 2), groups=groups, channels=channels, padding=(1, 0))
        torch_conv2d(reals, (4, 5), (2, 3), groups=groups, channels=channels, strides=(1, 2))
    for activation in TORCH_ACTIVATIONS:
        torch_conv2d(reals, (4, 5), (3, 2), activation=activation, padding=(1, 1))
    torch_conv2d(integers, (3, 4), (2, 3), batch=0)
    for make in (reals, doubles):
        torch_conv2d(make, (5, 6), (3, 2), padding=(2, 1), strides=(2, 1))
    for make in (integers, reals):
        torch_conv2d_flipped(make)


def torch_conv2d_transpose(make, image, kernel, *, strides=(1, 1), padding=(0, 0), output_padding=(0, 0), dilation=(1, 1),
                           groups=1, channels=(2, 3), bias=True, output_size=None):
    x = make(2, channels[0], *image)
    weights = [make(channels[0], channels[1] // groups, *kernel)] + ([make(channels[1])] if bias else [])
    arguments = {"in_channels": channels[0], "out_channels": channels[1], "kernel_size": kernel, "stride": strides,
                 "padding": padding, "output_padding": output_padding, "groups": groups, "bias": bias, "dilation": dilation}
    answer_type = "float32" if make is integers else "float64"
    answer = run_torch(torch.nn.ConvTranspose2d(**arguments), x, weights, answer_type,
                       *([list(output_size)] if output_size else []))
    parameters = {"rule": "torch", "strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups,
                  "data_format": "channels_first", "kernel_format": "IOHW"}
    parameters.update({"output_size": output_size} if output_size else {"output_padding": output_padding})
    record("conv2d_transpose", words("torch.nn.ConvTranspose2d", arguments) + f"(x, output_size={output_size})",
           parameters, x, answer, *weights, dtype=x.dtype.name, own_rounding=make is doubles)


def all_torch_conv2d_transpose():
    for kernel, strides, padding in itertools.product(KERNELS, ((1, 1), (2, 2), (3, 2)), ((0, 0), (1, 1))):
        if (2 * strides[0] + kernel[0] - 2 * padding[0]) > 0 and (3 * strides[1] + kernel[1] - 2 * padding[1]) > 0:
            torch_conv2d_transpose(integers, (3, 4), kernel, strides=strides, padding=padding, bias=bool(rng.integers(2)))
    for s, d in ((2, 1), (3, 1), (1, 2), (2, 3), (1, 3)):
        for op in range(max(s, d)):
            torch_conv2d_transpose(integers, (3, 2), (3, 2), strides=(s, s), dilation=(d, d), padding=(1, 0),
                                   output_padding=(op, max(s, d) - 1 - op), channels=(1, 2))
    for s in (2, 3):
        for extra in range(s):
            rows, columns = 2 * s + 3 - 2, 3 * s + 2
            torch_conv2d_transpose(integers, (3, 4), (3, 2), strides=(s, s), padding=(1, 0), channels=(2, 1),
                                   output_size=(rows + extra, columns + s - 1 - extra))
    for groups, channels in ((2, (4, 6)), (3, (3, 3)), (4, (4, 8)), (2, (32, 34))):
        torch_conv2d_transpose(integers, (3, 4), (3, 2), groups=groups, channels=channels, strides=(2, 2), padding=(1, 0))
        torch_conv2d_transpose(reals, (2, 3), (2, 3), groups=groups, channels=channels, strides=(2, 1))
    for strides, dilation in itertools.product(((1, 1), (2, 3)), ((2, 1), (1, 2), (3, 3))):
        torch_conv2d_transpose(integers, (3, 4), (2, 3), strides=strides, dilation=dilation, padding=(0, 1))
    for make in (reals, doubles):
        torch_conv2d_transpose(make, (3, 4), (4, 3), strides=(2, 2), padding=(1, 1), output_padding=(1, 0))


# -------------------------------------------------------------------------------------------------------------- upsample2d


def keras_upsample(make, image, size, interpolation):
    x = make(2, *image, 3)
    arguments = {"size": size, "interpolation": interpolation}
    answer = keras.ops.convert_to_numpy(keras.layers.UpSampling2D(**arguments, dtype=x.dtype.name)(x))
    record("upsample2d", words("keras.layers.UpSampling2D", arguments), arguments, x, answer, dtype=x.dtype.name,
           own_rounding=True)


def keras_resize(make, image, size, interpolation):
    x = make(1, *image, 2)
    answer = keras.ops.convert_to_numpy(keras.ops.image.resize(x, size, interpolation=interpolation))
    record("upsample2d", f"keras.ops.image.resize(x, {size}, interpolation={interpolation!r})",
           {"output_size": size, "interpolation": interpolation, "coordinates": "half_pixel"}, x, answer, own_rounding=True)


def tensorflow1_resize(make, image, size, interpolation, align):
    function = {"nearest": tf.compat.v1.image.resize_nearest_neighbor, "bilinear": tf.compat.v1.image.resize_bilinear}
    x = make(1, *image, 2)
    answer = function[interpolation](x, size, align_corners=align).numpy()
    record("upsample2d", f"tf.compat.v1.image.{function[interpolation].__name__}(x, {size}, align_corners={align})",
           {"output_size": size, "interpolation": interpolation, "coordinates": "align_corners" if align else "asymmetric"},
           x, answer, own_rounding=True)


def torch_interpolate(make, image, mode, *, align=None, size=None, scale_factor=None, recompute=None):
    x = make(1, 2, *image)
    arguments = {"size": size, "scale_factor": scale_factor, "mode": mode, "align_corners": align,
                 "recompute_scale_factor": recompute}
    answer = torch.nn.functional.interpolate(torch.from_numpy(x), **arguments).numpy()
    coordinates = {"nearest": "asymmetric", "nearest-exact": "half_pixel",
                   "bilinear": "align_corners" if align else "half_pixel"}[mode]
    parameters = {"interpolation": mode.split("-")[0], "coordinates": coordinates, "data_format": "channels_first"}
    if size is not None or recompute:
        parameters["output_size"] = answer.shape[2:]
    else:
        parameters["scale"] = scale_factor
    record("upsample2d", words("torch.nn.functional.interpolate", arguments), parameters, x, answer, dtype=x.dtype.name,
           own_rounding=True)


def all_upsample2d():
    for size, interpolation in itertools.product(((2, 2), (3, 1), (1, 4), (3, 2)), ("nearest", "bilinear")):
        keras_upsample(integers, (3, 4), size, interpolation)
        keras_upsample(reals, (4, 3), size, interpolation)
    keras_upsample(reals, (1, 5), (2, 3), "bilinear")
    sizes = (((3, 4), (5, 6)), ((3, 5), (2, 3)), ((7, 4), (1, 9)), ((2, 3), (7, 2)), ((1, 6), (4, 5)), ((5, 8), (5, 3)))
    for (image, size), interpolation in itertools.product(sizes, ("nearest", "bilinear")):
        keras_resize(reals, image, size, interpolation)
        for align in (False, True):
            tensorflow1_resize(reals, image, size, interpolation, align)
    for (image, size), (mode, align) in itertools.product(
            sizes, (("nearest", None), ("nearest-exact", None), ("bilinear", False), ("bilinear", True))):
        torch_interpolate(reals, image, mode, align=align, size=size)
    for mode, align in (("nearest", None), ("nearest-exact", None), ("bilinear", False)):
        for image, scale in (((3, 5), (1.7, 2.3)), ((4, 6), (0.6, 0.75)), ((5, 4), (2.5, 1.0)), ((7, 9), (0.3, 1.9))):
            torch_interpolate(reals, image, mode, align=align, scale_factor=scale)
            torch_interpolate(reals, image, mode, align=align, scale_factor=scale, recompute=True)
        torch_interpolate(doubles, (3, 4), mode, align=align, size=(5, 7))
        torch_interpolate(integers, (3, 4), mode, align=align, scale_factor=(2.3, 1.2))  # to twice and to once the length
    # Sizes at which float32 coordinates pick another element than exact arithmetic would; also for float64 data.
    torch_interpolate(doubles, (1, 2), "nearest", size=(1, 82))
    torch_interpolate(doubles, (1, 2), "nearest-exact", size=(1, 41))
    torch_interpolate(integers, (1, 2), "nearest", size=(1, 82))
    torch_interpolate(integers, (1, 2), "nearest-exact", size=(1, 41))
    torch_interpolate(integers, (2, 3), "nearest", size=(110, 21))
    keras_resize(integers, (1, 2), (1, 41), "nearest")


def main():
    all_keras_conv2d()
    all_torch_conv2d()
    all_keras_conv2d_transpose()
    all_torch_conv2d_transpose()
    all_upsample2d()
    versions = {module.__name__: module.__version__ for module in (keras, tf, torch, np)}
    index = json.dumps({"versions": versions, "cases": cases})
    path = pathlib.Path(__file__).parent / "fixtures" / "frameworks.npz"
    np.savez_compressed(path, index=np.frombuffer(index.encode(), np.uint8),
                        **{name: np.concatenate(pool) for name, pool in pools.items()})
    print(f"{len(cases)} cases, {sum(case['exact'] for case in cases)} of them exact, {path.stat().st_size} bytes; {versions}")


if __name__ == "__main__":
    main()
