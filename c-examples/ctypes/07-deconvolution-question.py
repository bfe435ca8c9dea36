"""07 - "My 7x7x3 image became 3x3 under a 3x3x3 filter. How do I get it back: inverse or transpose?"

Neither: stride 2 made 9 numbers of 147. The transpose has the right shape and connections, and is the gradient; the least-squares
solution is the smallest of all images that give these 9 numbers. The question has no numbers; these are ours."""

import numpy as np
from check import RELATIVE, check, finish
from convolution import conv2d, conv2d_matrix, conv2d_transpose

image = (np.arange(7 * 7 * 3).reshape(1, 7, 7, 3) * 37 % 11).astype(float)
kernel = (np.arange(3 * 3 * 3).reshape(3, 3, 3, 1) * 5 % 7).astype(float) - 2
y = conv2d(image, kernel, strides=2)
check("the forward step: output shape", y.shape, [1, 3, 3, 1])

# The asker's loop, with its two mistakes mended: no transposition of the kernel planes, no bias added once per window.
loop = np.zeros_like(image)
for h in range(3):
    for w in range(3):
        loop[0, 2 * h:2 * h + 3, 2 * w:2 * w + 3] += y[0, h, w, 0] * kernel[..., 0]
back = conv2d_transpose(y, kernel, strides=2)
check("the mended loop is the transposed convolution", back[..., 0], loop[..., 0])
A = conv2d_matrix(kernel, (7, 7), strides=2)
check("and the product with the transposed matrix", back.ravel(), A.T @ y.ravel())

# What can be known: 9 of 147 dimensions. The least-squares image gives the same output, and is not the image.
check("equations, unknowns, rank", [*A.shape, np.linalg.matrix_rank(A)], [9, 147, 9])
smallest = np.linalg.lstsq(A, y.ravel(), rcond=None)[0].reshape(image.shape)
check("the least-squares image gives the same output", conv2d(smallest, kernel, strides=2)[..., 0], y[..., 0], RELATIVE)
error = np.linalg.norm(smallest - image) / np.linalg.norm(image)
print(f"\nrelative distance of the least-squares image from the image: {error:.2f}")
check("but it is not the image (distance above 0.5)", error > 0.5, True)

# The same in one line of pixels: [1, 2, 3] under [1, 1] is [3, 5]; adjoint and smallest solution differ; neither is [1, 2, 3].
pair = np.ones((1, 2, 1, 1))
A = conv2d_matrix(pair, (1, 3))
y = conv2d(np.array([1.0, 2, 3]).reshape(1, 1, 3, 1), pair).ravel()
check("line: convolved", y, [3, 5])
check("line: adjoint", conv2d_transpose(y.reshape(1, 1, 2, 1), pair).ravel(), [3, 8, 5])
check("line: smallest solution", np.linalg.lstsq(A, y, rcond=None)[0], [1 / 3, 8 / 3, 7 / 3], RELATIVE)

# With as many filters as pixels lost (here 27 for stride 2), nothing is lost, and least squares brings the image back.
filters = np.eye(27).reshape(3, 3, 3, 27)
A = conv2d_matrix(filters, (7, 7), strides=2)
y = conv2d(image, filters, strides=2)
check("27 filters: the image itself", np.linalg.lstsq(A, y.ravel(), rcond=None)[0].reshape(7, 7, 3), image[0], RELATIVE)
finish()
