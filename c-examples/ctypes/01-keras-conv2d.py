"""01 - Keras Conv2D: valid padding, stride 2, two filters, two images.

The images are diagonal matrices, 5 * identity and identity. Of those, output[y][x] sees one diagonal of the kernel alone: 5 times
the sum of kernel[a][b] with b - a = stride * (y - x). The document does not print all kernels, but their outputs give these sums,
and any kernel with the same sums has the same output."""

import numpy as np
from check import RELATIVE, check, finish
from convolution import conv2d, conv2d_output_shape

images = np.stack([np.diag([5.0] * 5), np.diag([1.0] * 5)])[..., None].astype(np.float32)  # (2, 5, 5, 1)


def kernel_with(sums):
    """A 3x3 kernel whose diagonals b - a = -2 ... 2 have these sums. What stands before the last of a diagonal is free: 0.25."""
    kernel = np.zeros((3, 3), np.float32)
    for offset, total in zip(range(-2, 3), sums):
        length = 3 - abs(offset)
        kernel += np.diag([0.25] * (length - 1) + [total - 0.25 * (length - 1)], offset).astype(np.float32)
    return kernel


# Two filters on both images; the kernels were not printed. The document shows image 0, filter 0.
basic = np.array([[-0.15143076, 2.094208, 1.0140396], [-2.0393534, -0.15143037, 2.094208], [0.16954947, -2.0393534, -0.15143076]])
first = kernel_with(np.array([basic[0, 2], basic[0, 1], basic[0, 0], basic[1, 0], basic[2, 0]]) / 5)
kernels = np.stack([first, -2 * first], axis=-1)[:, :, None]  # (3, 3, 1, 2): a multiple shows mixed-up filters
check("Conv2D valid: output shape", conv2d_output_shape(images.shape, kernels.shape), [2, 3, 3, 2])
output = conv2d(images, kernels)
check("Conv2D valid: image 0, filter 0", output[0, :, :, 0], basic, RELATIVE)
check("Conv2D valid: image 1, filter 0", output[1, :, :, 0], basic / 5, RELATIVE)
check("Conv2D valid: image 0, filter 1", output[0, :, :, 1], -2 * basic, RELATIVE)

# Stride 2. Kernel 0 is printed; of kernel 1 only the output. The document also shows an array [[2.61574216, 0], [0, 0]]: that is
# an earlier state of its notebook, which a later cell corrects.
printed = np.array([[0.37873605, -0.21734086, 0.10111681], [0.39398727, 0.38138524, -0.14542866],
                    [-0.13162675, 0.29388335, -0.23697285]], np.float32)
strided = np.array([[[2.6157422, -0.65813375], [0.505584, 2.6157422]], [[-2.3453603, 1.3147254], [1.076426, -2.3453603]]])
second = kernel_with(np.array([strided[1, 0, 1], 0, strided[1, 0, 0], 0, strided[1, 1, 0]]) / 5)
kernels = np.stack([printed, second], axis=-1)[:, :, None]
output = conv2d(images, kernels, strides=2)
check("Conv2D stride 2: output shape", output.shape, [2, 2, 2, 2])
check("Conv2D stride 2: image 0, filter 0", output[0, :, :, 0], strided[0], RELATIVE)
check("Conv2D stride 2: image 0, filter 1", output[0, :, :, 1], strided[1], RELATIVE)
finish()
