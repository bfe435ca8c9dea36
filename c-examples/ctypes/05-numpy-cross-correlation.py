"""05 - Cross-correlation by hand: edge filters, strides, three channels; and what turning the kernel means."""

import numpy as np
from check import check, finish
from convolution import conv2d


def filtered(image, kernel, **options):
    return conv2d(np.asarray(image)[None, :, :, None], np.asarray(kernel)[:, :, None, None], **options)[0, :, :, 0]


vertical = np.array([[1, 0, -1]] * 3)
random = [[5, 0, 3, 3, 7, 9], [3, 5, 2, 4, 7, 6], [8, 8, 1, 6, 7, 7], [8, 1, 5, 9, 8, 9], [4, 3, 0, 3, 5, 0], [2, 3, 8, 1, 3, 3]]
edges = [[10, 0, -15, -9], [11, -5, -14, -3], [14, -6, -14, 2], [1, -6, -3, 1]]
check("vertical edges of random numbers", filtered(random, vertical), edges)
# The document gets the same from a true convolution with the negated kernel. That works because turning this kernel negates it.
check("true convolution, kernel negated", filtered(random, -vertical, flip_kernel=True), edges)
example = [[3, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3], [0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8], [2, 4, 5, 2, 3, 9]]
check("vertical edges of the example", filtered(example, vertical),
      [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]])

half = np.zeros((6, 6))
half[:, :3] = 10
check("vertical edges of two halves", filtered(half, vertical), [[0, 30, 30, 0]] * 4)
quarters = np.kron([[10, 0], [0, 10]], np.ones((3, 3)))
check("horizontal edges of four quarters", filtered(quarters, vertical.T),
      [[0, 0, 0, 0], [30, 10, -10, -30], [30, 10, -10, -30], [0, 0, 0, 0]])
check("vertical edges of four quarters", filtered(quarters, vertical),
      [[0, 30, 30, 0], [0, 10, 10, 0], [0, -10, -10, 0], [0, -30, -30, 0]])

image = [[2, 3, 7, 4, 6, 2, 9], [6, 6, 9, 8, 7, 4, 3], [3, 4, 8, 3, 8, 9, 7], [7, 8, 3, 6, 6, 3, 4], [4, 2, 1, 8, 3, 4, 6],
         [3, 2, 4, 1, 9, 8, 3], [0, 1, 3, 9, 2, 1, 4]]
check("stride 2", filtered(image, [[3, 4, 4], [1, 0, 2], [-1, 0, 3]], strides=2), [[91, 100, 88], [69, 91, 117], [44, 72, 74]])

# Correlating a single 1 turns the kernel by 180 degrees; a true convolution leaves it. The document's mirror() returns the turned
# kernel transposed.
one = np.zeros((3, 3))
one[1, 1] = 1
kernel = [[3, 4, 5], [1, 0, 2], [-1, 9, 7]]
check("kernel turned", filtered(one, kernel, padding="same").T, [[7, 2, 5], [9, 0, 4], [-1, 1, 3]])
check("kernel as it is", filtered(one, kernel, padding="same", flip_kernel=True), kernel)

# Three channels are summed. The random numbers of the document's image are lost, so its loop runs here over others.
image, kernel = np.arange(6 * 6 * 3).reshape(6, 6, 3) * 7 % 10, np.arange(3 * 3 * 3).reshape(3, 3, 3) * 5 % 9 + 1
loop = [[(image[i:i + 3, j:j + 3] * kernel).sum() for j in range(4)] for i in range(4)]
check("three channels", conv2d(image[None], kernel[..., None])[0, :, :, 0], loop)
finish()
