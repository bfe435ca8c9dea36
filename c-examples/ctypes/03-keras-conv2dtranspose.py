"""03 - Keras Conv2DTranspose of the 3x3 identity: stride 1 same and valid, stride 2 valid; how it relates to a convolution."""

import numpy as np
from check import EXACT, RELATIVE, check, finish
from convolution import conv2d, conv2d_transpose

x = np.eye(3, dtype=np.float32)[None, :, :, None]


def layer(verb, x, kernel, **options):
    return verb(x, np.float32(kernel)[:, :, None, None], **options)[0, :, :, 0]


same = [[0.23676872, 0.23019093, -0.04622787], [-0.4418265, 0.11311585, -0.38515693], [0.36979067, 0.2140702, -0.41140068]]
check("stride 1, same", layer(conv2d_transpose, x, same, padding="same"), [
    [0.34988457, -0.154966, -0.04622787], [-0.22775626, -0.06151611, -0.154966],
    [0.36979067, -0.22775626, -0.29828483]], RELATIVE)

valid = [[0.00166929, -0.4668319, -0.45973036], [0.38341302, 0.49846447, -0.33313805], [0.39259535, 0.44750214, -0.43990558]]
full = layer(conv2d_transpose, x, valid)
check("stride 1, valid", full, [
    [0.00166929, -0.46683192, -0.4597304, 0, 0], [0.38341302, 0.50013375, -0.79997, -0.45973036, 0],
    [0.39259535, 0.83091515, 0.06022817, -0.79997, -0.4597304], [0, 0.39259535, 0.83091515, 0.05855885, -0.33313805],
    [0, 0, 0.39259535, 0.44750214, -0.43990558]], RELATIVE)

# With stride 1 the transposed convolution is a true convolution (the kernel turned by 180 degrees), here cropped to the middle.
# The document first tries kernel.T, which is not that turn, then flips both axes, which is.
turned = [[0.50013375, -0.79996994, -0.45973036], [0.83091515, 0.06022817, -0.79996994], [0.39259535, 0.83091515, 0.05855888]]
check("true convolution, padding 1", layer(conv2d, x, valid, padding=1, flip_kernel=True), turned, RELATIVE)
check("the middle of stride 1, valid", full[1:4, 1:4], turned, RELATIVE)
check("correlation, padding 1, is another thing", layer(conv2d, x, valid, padding=1), [
    [0.05855888, 0.83091515, 0.39259535], [-0.79996994, 0.06022817, 0.83091515],
    [-0.45973036, -0.79996994, 0.50013375]], RELATIVE)

strided = [[-0.42253345, 0.34132046, -0.32057053], [-0.3672353, -0.2650267, 0.30951786], [0.26088667, -0.5487001, 0.49119878]]
output = layer(conv2d_transpose, x, strided, strides=2)
check("stride 2, valid", output, [
    [-0.42253345, 0.34132046, -0.32057053, 0, 0, 0, 0], [-0.3672353, -0.2650267, 0.30951786, 0, 0, 0, 0],
    [0.26088667, -0.5487001, 0.06866533, 0.34132046, -0.32057053, 0, 0], [0, 0, -0.3672353, -0.2650267, 0.30951786, 0, 0],
    [0, 0, 0.26088667, -0.5487001, 0.06866533, 0.34132046, -0.32057053], [0, 0, 0, 0, -0.3672353, -0.2650267, 0.30951786],
    [0, 0, 0, 0, 0.26088667, -0.5487001, 0.49119878]], RELATIVE)

# "Upsampling (zeros between the pixels) and Conv2D" gives, to three digits, the slice [1:7, 1:7]. That slice is what PyTorch
# calls padding=1, output_padding=1; Keras' own "same" is [0:6, 0:6].
zeros = np.zeros((1, 6, 6, 1), np.float32)
zeros[:, ::2, ::2] = x
slice_1_7 = [
    [-0.265, 0.31, 0, 0, 0, 0], [-0.549, 0.069, 0.341, -0.321, 0, 0], [0, -0.367, -0.265, 0.31, 0, 0],
    [0, 0.261, -0.549, 0.069, 0.341, -0.321], [0, 0, 0, -0.367, -0.265, 0.31], [0, 0, 0, 0.261, -0.549, 0.491]]
check("zeros inserted, then convolved", layer(conv2d, zeros, strided, padding=1, flip_kernel=True).round(3), slice_1_7, RELATIVE)
torch = layer(conv2d_transpose, x, strided, strides=2, rule="torch", kernel_format="keras", padding=1, output_padding=1)
check("PyTorch padding=1, output_padding=1", torch.round(3), slice_1_7, RELATIVE)
check("PyTorch's is [1:7, 1:7] of valid", torch, output[1:7, 1:7], EXACT)
check("Keras same is [0:6, 0:6] of valid", layer(conv2d_transpose, x, strided, strides=2, padding="same"), output[:6, :6], EXACT)
finish()
