"""04 - torch.nn.ConvTranspose2d and Conv2d on small integers, and the same as matrix products.

The document prints no results; the numbers here are those that its cells give in PyTorch. Its layers have a random bias, which it
removes by rounding; the first of them is repeated below."""

import numpy as np
from check import EXACT, check, finish
from convolution import conv2d, conv2d_matrix, conv2d_transpose, conv2d_transpose_output_shape

x = np.float32([[0, 1], [2, 3]])
kernel = np.float32([[0, 1], [2, 3]])


def layer(verb, x, kernel, bias=None, **options):
    """One (height, width) image and kernel, in PyTorch's layouts (1, 1, height, width)."""
    return verb(x[None, None], kernel[None, None], bias, data_format="NCHW", **options)[0, 0]


stride_1 = [[0, 0, 1], [0, 4, 6], [4, 12, 9]]
check("2x2, stride 1", layer(conv2d_transpose, x, kernel, rule="torch"), stride_1)
biased = layer(conv2d_transpose, x, kernel, np.float32([-0.22758514]), rule="torch")
check("2x2, stride 1, with the hidden bias, rounded", biased.round(), stride_1)
check("2x2, stride 2", layer(conv2d_transpose, x, kernel, rule="torch", strides=2),
      [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]])

# Shapes of 4x4 images under kernels of 2x2 and 2x3, stride 2. (The document means to set the second kernel, but misspells it.)
for size, shape in (((2, 2), [1, 1, 8, 8]), ((2, 3), [1, 1, 8, 9])):
    ours = conv2d_transpose_output_shape((1, 1, 4, 4), (1, 1, *size), data_format="NCHW", rule="torch", strides=2)
    check(f"{size[0]}x{size[1]}, stride 2, of 4x4: output shape", ours, shape)

# A convolution is a matrix product, and its transposed convolution the product with the transposed matrix.
image = np.float32([[4, 3, 2, 1], [1, 4, 3, 2], [2, 1, 4, 3], [3, 2, 1, 4]])
cross = np.float32([[0, 1, 0], [-1, 2, 2], [0, 1, 0]])
row = [0, 1, 0, 0, -1, 2, 2, 0, 0, 1, 0]  # the kernel's rows with the rest of each image row between them
W = conv2d_matrix(cross[None, None], image.shape, data_format="NCHW")
check("matrix W", W, [row + [0] * 5, [0] + row + [0] * 4, [0] * 4 + row + [0], [0] * 5 + row])
convolved, back = [[17, 12], [14, 17]], [[0, 17, 12, 0], [-17, 36, 75, 24], [-14, 28, 74, 34], [0, 14, 17, 0]]
y = layer(conv2d, image, cross)
check("Conv2d", y, convolved)
check("W @ image", (W @ image.ravel()).reshape(2, 2), convolved)
check("ConvTranspose2d", layer(conv2d_transpose, y, cross, rule="torch"), back, EXACT)
check("W.T @ output", (W.T @ y.ravel()).reshape(4, 4), back, EXACT)
finish()
