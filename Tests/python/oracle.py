"""What conv2d, conv2d_transpose and upsample2d mean: textbook loops, one page per function, never optimised.

The functions take the arguments of c-examples/ctypes/convolution.py and return (want, tolerance): the result in a wider type
than the data's (double for float32, long double for float64), and how far a correct library may be from it, element by
element. The loops follow the formulas of include/convolution.h from the other side than a fast implementation would: an index
map per axis for the padding, a scatter for the transposed convolution, a table for the windows of the frameworks.
"""
import fractions
import math

import numpy as np

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}


def pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def side_pads(padding):
    """padding as a number, one number per axis, or (before, after) per axis -> ((top, bottom), (left, right))."""
    return tuple(pair(axis) for axis in pair(padding))


def to_nhwc(array, data_format):
    return np.transpose(array, (0, 2, 3, 1)) if data_format in ("channels_first", "NCHW") else array


def from_nhwc(array, data_format):
    return np.transpose(array, (0, 3, 1, 2)) if data_format in ("channels_first", "NCHW") else array


def widened(array):
    return np.asarray(array).astype(np.longdouble if np.asarray(array).dtype == np.float64 else np.float64)


# ---------------------------------------------------------------------------------------------------------- activation


def activate(z, tolerance, unit, name, alpha, low, high):
    """The activation of z, and the tolerance carried through it: times its steepest slope, plus its own rounding."""
    if name is None or name == "none":
        return z, tolerance
    if name == "relu":
        return np.where(z < 0, 0, z), tolerance
    if name == "relu6":
        return np.where(z < 0, 0, np.where(z > 6, 6, z)), tolerance
    if name == "clamp":
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        return np.where(z < low, low, np.where(z > high, high, z)), tolerance
    if name == "leaky_relu":
        alpha = 0.01 if alpha is None else alpha
        value = np.where(z < 0, alpha * z, z)
        return value, tolerance * max(1.0, abs(alpha)) + 2 * unit * abs(value)
    if name == "sigmoid":
        value = np.exp(-np.logaddexp(0, -z))
        return value, tolerance * value + 8 * unit * value + 2.0**-126
    if name == "tanh":
        value = np.tanh(z)
        return value, tolerance + 8 * unit * abs(value)
    raise ValueError(name)


def finish(total, magnitude, bias, dtype, data_format, activation, alpha, low, high):
    unit = UNIT_ROUNDOFF[np.dtype(dtype).name]
    if bias is not None:
        total, magnitude = total + widened(bias), magnitude + abs(widened(bias))
    value, tolerance = activate(total, 8 * unit * magnitude, unit, activation, alpha, low, high)
    return from_nhwc(value, data_format), from_nhwc(tolerance, data_format)


# -------------------------------------------------------------------------------------------------------------- conv2d


def conv_pads(padding, i, k, s, d):
    """(before, after) of one axis; `padding` is a name or the axis's own pair."""
    ke = (k - 1) * d + 1
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return 0, 0
    if padding == "full":
        return ke - 1, ke - 1
    if padding == "causal":
        return ke - 1, 0
    total = max((-(-i // s) - 1) * s + ke - i, 0)
    smaller = total // 2
    return {"same": (smaller, total - smaller), "same_lower": (total - smaller, smaller)}[padding]


def conv_length(i, k, s, d, before, after):
    return max((i + before + after - ((k - 1) * d + 1)) // s + 1, 0)


def source_index(t, length, padding_mode):
    """The element of a line of `length` that stands at place t, which may lie outside; None where no element does."""
    if 0 <= t < length:
        return t
    if padding_mode in ("zeros", "constant"):
        return None
    if padding_mode == "reflect":
        return -t if t < 0 else 2 * (length - 1) - t
    if padding_mode == "symmetric":
        return -1 - t if t < 0 else 2 * length - 1 - t
    if padding_mode == "replicate":
        return 0 if t < 0 else length - 1
    return t % length  # circular


def conv2d(x, kernel, bias=None, *, strides=1, padding="valid", data_format="channels_last", dilation_rate=1, groups=1,
           kernel_format="HWIO", padding_mode="zeros", padding_value=0.0, flip_kernel=False, depth_multiplier=None,
           activation=None, activation_alpha=None, activation_min=None, activation_max=None):
    image = widened(to_nhwc(x, data_format))
    weights = widened(np.transpose(kernel, (2, 3, 1, 0)) if kernel_format == "OIHW" else kernel)
    if depth_multiplier is not None:
        groups = image.shape[3]
        weights = weights.reshape(weights.shape[:2] + (1, groups * depth_multiplier))
    if flip_kernel:
        weights = weights[::-1, ::-1]
    (n, height, width, _), (kh, kw, group_in, out_channels) = image.shape, weights.shape
    (sh, sw), (dh, dw) = pair(strides), pair(dilation_rate)
    vertical, horizontal = (padding, padding) if isinstance(padding, str) else side_pads(padding)
    top, bottom = conv_pads(vertical, height, kh, sh, dh)
    left, right = conv_pads(horizontal, width, kw, sw, dw)
    shape = (n, conv_length(height, kh, sh, dh, top, bottom), conv_length(width, kw, sw, dw, left, right), out_channels)
    total, magnitude = np.zeros(shape, image.dtype), np.zeros(shape, image.dtype)
    outside = np.full((n, image.shape[3]), padding_value if padding_mode == "constant" else 0.0, image.dtype)
    group_out = out_channels // groups
    for oy in range(shape[1]):
        for ox in range(shape[2]):
            for a in range(kh):
                for b in range(kw):
                    row = source_index(oy * sh + a * dh - top, height, padding_mode)
                    column = source_index(ox * sw + b * dw - left, width, padding_mode)
                    pixel = outside if row is None or column is None else image[:, row, column, :]
                    for g in range(groups):
                        ins, outs = slice(g * group_in, (g + 1) * group_in), slice(g * group_out, (g + 1) * group_out)
                        products = pixel[:, ins, None] * weights[a, b, :, outs]
                        total[:, oy, ox, outs] += products.sum(axis=1)
                        magnitude[:, oy, ox, outs] += abs(products).sum(axis=1)
    return finish(total, magnitude, bias, x.dtype, data_format, activation, activation_alpha, activation_min, activation_max)


# ---------------------------------------------------------------------------------------------------- conv2d_transpose


def transpose_window(rule, padding, i, k, s, d, op=None, wanted=None):
    """(o, c) of one axis: the output shows o places of the natural result, from place c on."""
    ke = (k - 1) * d + 1
    natural = (i - 1) * s + ke
    before, after = (0, 0) if isinstance(padding, str) else padding
    if rule in ("keras", "jax"):
        if wanted is not None:
            o = wanted
        elif padding == "valid":
            o = (i - 1) * s + (max(ke, s) if op is None else ke + op)
        else:
            o = i * s if op is None else (i - 1) * s + ke % 2 + op
        return o, 0 if padding == "valid" else max(natural - o, 0) // 2
    op = op or 0
    if rule == "onnx" and (padding in ("same", "same_lower") or wanted is not None):
        o = i * s if wanted is None else wanted
        total = max(natural + op - o, 0)
        return o, total // 2 if padding == "same" else total - total // 2
    return natural - before - after + op if wanted is None else wanted, before


def conv2d_transpose(x, kernel, bias=None, *, strides=1, padding="valid", data_format="channels_last", dilation_rate=1,
                     groups=1, kernel_format="HWOI", rule="keras", output_padding=None, output_size=None, flip_kernel=False,
                     activation=None, activation_alpha=None, activation_min=None, activation_max=None):
    image = widened(to_nhwc(x, data_format))
    weights = widened(np.transpose(kernel, (2, 3, 1, 0)) if kernel_format == "IOHW" else kernel)
    if flip_kernel:
        weights = weights[::-1, ::-1]
    (n, height, width, in_channels), (kh, kw, group_out, _) = image.shape, weights.shape
    (sh, sw), (dh, dw) = pair(strides), pair(dilation_rate)
    vertical, horizontal = (padding, padding) if isinstance(padding, str) else side_pads(padding)
    op, wanted = pair(output_padding), pair(output_size)
    rows, top = transpose_window(rule, vertical, height, kh, sh, dh, op[0], wanted[0])
    columns, left = transpose_window(rule, horizontal, width, kw, sw, dw, op[1], wanted[1])
    shape = (n, max(rows, 0), max(columns, 0), group_out * groups)
    total, magnitude = np.zeros(shape, image.dtype), np.zeros(shape, image.dtype)
    group_in = in_channels // groups
    for j in range(height):
        for a in range(kh):
            oy = j * sh + a * dh - top
            if not 0 <= oy < shape[1]:
                continue
            for i in range(width):
                for b in range(kw):
                    ox = i * sw + b * dw - left
                    if not 0 <= ox < shape[2]:
                        continue
                    for g in range(groups):
                        ins, outs = slice(g * group_in, (g + 1) * group_in), slice(g * group_out, (g + 1) * group_out)
                        products = image[:, j, i, None, ins] * weights[a, b, :, ins]
                        total[:, oy, ox, outs] += products.sum(axis=2)
                        magnitude[:, oy, ox, outs] += abs(products).sum(axis=2)
    return finish(total, magnitude, bias, x.dtype, data_format, activation, activation_alpha, activation_min, activation_max)


# ---------------------------------------------------------------------------------------------------- kernel gradients


def finish_kernel(total, magnitude, dtype, kernel_format):
    tolerance = 8 * UNIT_ROUNDOFF[np.dtype(dtype).name] * magnitude
    order = (3, 2, 0, 1) if kernel_format in ("OIHW", "IOHW") else (0, 1, 2, 3)
    return np.transpose(total, order), np.transpose(tolerance, order)


def conv2d_backward_kernel(x, gradient, kernel_size, *, strides=1, padding="valid", data_format="channels_last", dilation_rate=1,
                           groups=1, kernel_format="HWIO", padding_mode="zeros", padding_value=0.0, flip_kernel=False):
    """The derivative of the sum of conv2d(x, kernel) * gradient by each kernel element, groups' kernels side by side."""
    image, points = widened(to_nhwc(x, data_format)), widened(to_nhwc(gradient, data_format))
    (_, height, width, in_channels), (kh, kw) = image.shape, kernel_size
    (sh, sw), (dh, dw) = pair(strides), pair(dilation_rate)
    vertical, horizontal = (padding, padding) if isinstance(padding, str) else side_pads(padding)
    top, left = conv_pads(vertical, height, kh, sh, dh)[0], conv_pads(horizontal, width, kw, sw, dw)[0]
    group_in, group_out = in_channels // groups, points.shape[3] // groups
    total = np.zeros((kh, kw, group_in, points.shape[3]), image.dtype)
    magnitude = np.zeros_like(total)
    outside = np.full((len(image), in_channels), padding_value if padding_mode == "constant" else 0.0, image.dtype)
    for a in range(kh):
        for b in range(kw):
            for oy in range(points.shape[1]):
                for ox in range(points.shape[2]):
                    row = source_index(oy * sh + a * dh - top, height, padding_mode)
                    column = source_index(ox * sw + b * dw - left, width, padding_mode)
                    pixel = outside if row is None or column is None else image[:, row, column, :]
                    for g in range(groups):
                        ins, outs = slice(g * group_in, (g + 1) * group_in), slice(g * group_out, (g + 1) * group_out)
                        products = pixel[:, ins, None] * points[:, oy, ox, None, outs]
                        total[a, b, :, outs] += products.sum(axis=0)
                        magnitude[a, b, :, outs] += abs(products).sum(axis=0)
    if flip_kernel:
        total, magnitude = total[::-1, ::-1], magnitude[::-1, ::-1]
    return finish_kernel(total, magnitude, x.dtype, kernel_format)


def conv2d_transpose_backward_kernel(x, gradient, kernel_size, *, strides=1, padding="valid", data_format="channels_last",
                                     dilation_rate=1, groups=1, kernel_format="HWOI", rule="keras", output_padding=None,
                                     output_size=None, flip_kernel=False):
    image, window = widened(to_nhwc(x, data_format)), widened(to_nhwc(gradient, data_format))
    (_, height, width, in_channels), (kh, kw) = image.shape, kernel_size
    (sh, sw), (dh, dw) = pair(strides), pair(dilation_rate)
    vertical, horizontal = (padding, padding) if isinstance(padding, str) else side_pads(padding)
    op, wanted = pair(output_padding), pair(output_size)
    _, top = transpose_window(rule, vertical, height, kh, sh, dh, op[0], wanted[0])
    _, left = transpose_window(rule, horizontal, width, kw, sw, dw, op[1], wanted[1])
    group_in, group_out = in_channels // groups, window.shape[3] // groups
    total = np.zeros((kh, kw, group_out, in_channels), image.dtype)
    magnitude = np.zeros_like(total)
    for j in range(height):
        for a in range(kh):
            for i in range(width):
                for b in range(kw):
                    oy, ox = j * sh + a * dh - top, i * sw + b * dw - left
                    if not (0 <= oy < window.shape[1] and 0 <= ox < window.shape[2]):
                        continue
                    for g in range(groups):
                        ins, outs = slice(g * group_in, (g + 1) * group_in), slice(g * group_out, (g + 1) * group_out)
                        products = window[:, oy, ox, outs, None] * image[:, j, i, None, ins]
                        total[a, b, :, ins] += products.sum(axis=0)
                        magnitude[a, b, :, ins] += abs(products).sum(axis=0)
    if flip_kernel:
        total, magnitude = total[::-1, ::-1], magnitude[::-1, ::-1]
    return finish_kernel(total, magnitude, x.dtype, kernel_format)


# ---------------------------------------------------------------------------------------------------------- upsample2d


def axis_taps(i, factor, output, scale, interpolation, coordinates, rounding, real):
    """For each output element of one axis: its two source elements and the share of the second.

    Arithmetic on coordinates is rounded as in the frameworks, since nearest shows it: nearest in float32 whatever the data, with
    PyTorch's two exact cases; bilinear in `real`, the type of the data.
    """
    if interpolation == "nearest":
        real = np.float32
    if factor is None and output is None and scale is None:
        factor = 1
    o = i * factor if factor is not None else output if output is not None else math.floor(i * scale)
    if o == 0:
        return []
    step = real(1.0 / scale) if scale is not None else real(i) / real(o)
    align = real(i - 1) / real(o - 1) if o > 1 else real(0)
    half = real(0.5)
    if coordinates is None:
        coordinates = "asymmetric" if interpolation == "nearest" else "half_pixel"
    taps = []
    for t in range(o):
        if interpolation == "nearest":
            if factor is not None and coordinates != "align_corners":
                place = t // factor
            elif coordinates == "asymmetric" and o in (i, 2 * i):
                place = t * i // o
            elif coordinates == "asymmetric":
                place = math.floor(real(t) * step)
            elif coordinates == "half_pixel":
                place = math.floor((real(t) + half) * step)
            elif coordinates == "tf_half_pixel_for_nn" and rounding == "simple" and step > 1:
                place = math.ceil((real(t) + half) * step)
            elif coordinates == "tf_half_pixel_for_nn":
                place = math.floor((real(t) + half) * step)
            else:
                place = math.floor(real(t) * align + half)
            place = min(place, i - 1)
            taps.append((place, place, 0.0))
        else:
            if coordinates == "asymmetric":
                place = real(t) * step
            elif coordinates == "half_pixel":
                place = (real(t) + half) * step - half
            else:
                place = real(t) * align
            place = max(place, real(0))
            if o == i and coordinates == "half_pixel":
                place = real(t)  # PyTorch copies, whatever the scale
            first = min(math.floor(place), i - 1)
            taps.append((first, min(first + 1, i - 1), float(place - real(first)) if first < i - 1 else 0.0))
    return taps


def axis_matrix(i, o, scale, interpolation, coefficient, antialias):
    """weights[t, j] of one axis, half-pixel coordinates, in exact arithmetic: the kernel at every element of an endless row whose
    border repeats (cubic) or that ends with the image (Lanczos, antialias)."""
    step = i / o if scale is None else 1 / scale
    weights = np.zeros((o, i))
    for t in range(o):
        if interpolation == "area":
            weights[t] = [max(min((t + 1) * step, j + 1) - max(t * step, j), 0) for j in range(i)]
            weights[t] /= weights[t].sum()
            continue
        stretch = max(step, 1) if antialias else 1
        centre = (t + 0.5) * step - 0.5
        reach = int(5 * stretch) + 2
        for j in range(math.floor(centre) - reach, math.floor(centre) + reach + 1):
            d = abs(j - centre) / stretch
            if interpolation == "bilinear":
                weight = max(1 - d, 0)
            elif interpolation == "bicubic":
                weight = ((coefficient + 2) * d**3 - (coefficient + 3) * d**2 + 1 if d <= 1 else
                          coefficient * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0)
            else:
                radius = int(interpolation[-1])
                weight = np.sinc(d) * np.sinc(d / radius) if d < radius else 0
            repeats = interpolation == "bicubic" and not antialias
            if 0 <= j < i or repeats:
                weights[t, min(max(j, 0), i - 1)] += weight
        weights[t] /= weights[t].sum()
    return weights


def resized(x, output_size, scale, interpolation, cubic_coefficient, antialias, data_format):
    """The kernels that have more than two taps. Places rounded as the data shift each weight a little."""
    image = widened(to_nhwc(x, data_format))
    axes = zip(image.shape[1:3], pair(output_size), pair(scale))
    rows, columns = (axis_matrix(*axis, interpolation, cubic_coefficient, antialias) for axis in axes)
    value = np.einsum("yi,nijc,xj->nyxc", rows, image, columns)
    magnitude = np.einsum("yi,nijc,xj->nyxc", abs(rows), abs(image), abs(columns))
    unit = UNIT_ROUNDOFF[x.dtype.name]
    shift = 16 * unit * (max(image.shape[1:3]) + 4) * abs(image).max(initial=0)
    return from_nhwc(value, data_format), from_nhwc(16 * unit * magnitude + shift + 1e-15, data_format)


def upsample2d(x, size=None, *, output_size=None, scale=None, interpolation="nearest", coordinates=None,
               cubic_coefficient=-0.75, antialias=False, rounding=None, data_format="channels_last", **region):
    if coordinates == "tf_crop_and_resize":
        return crop_and_resize(x, output_size=output_size, interpolation=interpolation, cubic_coefficient=cubic_coefficient,
                               rounding=rounding, data_format=data_format, **region)
    if interpolation not in ("nearest", "bilinear") or antialias:
        return resized(x, output_size, scale, interpolation, cubic_coefficient, antialias, data_format)
    image = widened(to_nhwc(x, data_format))
    n, height, width, channels = image.shape
    factor, wanted, scales = pair(size), pair(output_size), pair(scale)
    rows = axis_taps(height, factor[0], wanted[0], scales[0], interpolation, coordinates, rounding, x.dtype.type)
    columns = axis_taps(width, factor[1], wanted[1], scales[1], interpolation, coordinates, rounding, x.dtype.type)
    value = np.zeros((n, len(rows), len(columns), channels), image.dtype)
    magnitude = np.zeros_like(value)
    for oy, (y0, y1, v) in enumerate(rows):
        for ox, (x0, x1, u) in enumerate(columns):
            if interpolation == "nearest":
                value[:, oy, ox] = image[:, y0, x0]
                continue
            for row, column, weight in ((y0, x0, (1 - v) * (1 - u)), (y0, x1, (1 - v) * u), (y1, x0, v * (1 - u)),
                                        (y1, x1, v * u)):
                value[:, oy, ox] += weight * image[:, row, column]
                magnitude[:, oy, ox] += weight * abs(image[:, row, column])
    tolerance = 8 * UNIT_ROUNDOFF[x.dtype.name] * magnitude
    return from_nhwc(value, data_format), from_nhwc(tolerance, data_format)


def crop_weights(i, o, start, end, interpolation, rounding, edge, coefficient):
    """weights[t, j] of one axis of tf_crop_and_resize, None for each t outside the image: ONNX's formula in exact fractions."""
    start, end = fractions.Fraction(start), fractions.Fraction(end)
    rows = []
    for t in range(o):
        place = start * (i - 1) + t * (end - start) * (i - 1) / (o - 1) if o > 1 else (start + end) * (i - 1) / 2
        if not 0 <= place <= i - 1:
            rows.append(None)
            continue
        weights = np.zeros(i)
        below = math.floor(place)
        if interpolation == "nearest":
            half = fractions.Fraction(1, 2)
            weights[{"floor": below, "ceil": math.ceil(place), "prefer_floor": math.ceil(place - half),
                     "prefer_ceil": math.floor(place + half)}[rounding]] = 1
            rows.append(weights)
            continue
        for j in range(below - 1, below + 3):
            d = abs(float(place - j))
            if interpolation == "bilinear":
                weight = max(1 - d, 0)
            else:
                weight = ((coefficient + 2) * d**3 - (coefficient + 3) * d**2 + 1 if d <= 1 else
                          coefficient * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0)
            if 0 <= j < i or edge == "clamp":
                weights[min(max(j, 0), i - 1)] += weight
        rows.append(weights / weights.sum())
    return rows


def crop_and_resize(x, *, output_size, roi, interpolation, extrapolation_value=0, rounding=None, edge="clamp",
                    cubic_coefficient=-0.75, data_format="channels_last"):
    """upsample2d with coordinates="tf_crop_and_resize", one output pixel after the other."""
    image = widened(to_nhwc(x, data_format))
    n, height, width, channels = image.shape
    top, left, bottom, right = roi
    rows = crop_weights(height, output_size[0], top, bottom, interpolation, rounding, edge, cubic_coefficient)
    columns = crop_weights(width, output_size[1], left, right, interpolation, rounding, edge, cubic_coefficient)
    value = np.full((n, *output_size, channels), extrapolation_value, image.dtype)
    magnitude = np.zeros_like(value)
    for y, down in enumerate(rows):
        for x_, along in enumerate(columns):
            if down is not None and along is not None:
                value[:, y, x_] = np.einsum("i,nijc,j->nc", down, image, along)
                magnitude[:, y, x_] = np.einsum("i,nijc,j->nc", abs(down), abs(image), abs(along))
    tolerance = 0 if interpolation == "nearest" else 64 * UNIT_ROUNDOFF[x.dtype.name]
    return from_nhwc(value, data_format), from_nhwc(tolerance * magnitude, data_format)


# ------------------------------------------------------------------------------------------------------ upsample2d_conv2d


def upsample2d_conv2d(x, kernel, bias=None, *, upsampling=None, data_format="channels_last", **options):
    """In two steps. An upsampled image is rounded to its own type: of it, the bound speaks."""
    upsampling = upsampling or {}
    if not {"size", "output_size", "scale"} & set(upsampling):
        upsampling = {**upsampling, "size": 2}
    image, slack = upsample2d(x, **upsampling, data_format=data_format)
    rounded = image.astype(x.dtype)
    want, tolerance = conv2d(rounded, kernel, bias, data_format=data_format, **options)
    if slack.any():
        tolerance = tolerance + conv2d(slack.astype(x.dtype), abs(kernel), None, data_format=data_format,
                                       **{**options, "activation": None})[0] * 1.01
    return want, tolerance


# ---------------------------------------------------------------------------------------------------------- comparison


def assert_within(got, reference, what=""):
    """got equals the reference within its tolerance; NaN and infinities must stand in the same places."""
    want, tolerance = reference
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    ordinary = np.isfinite(want)
    np.testing.assert_array_equal(got[~ordinary], want[~ordinary].astype(got.dtype), err_msg=str(what))
    assert np.isfinite(got[ordinary]).all(), f"{what}: not finite"
    excess = abs(got[ordinary].astype(want.dtype) - want[ordinary]) - tolerance[ordinary]
    worst = f"{excess.max():.3g} above the tolerance" if excess.size else ""
    assert (excess <= 0).all(), f"{what}: {worst}, in {(excess > 0).sum()} of {excess.size} elements"
