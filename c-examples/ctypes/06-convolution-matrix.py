"""06 - Convolution as a matrix: C @ x convolves, C.T @ y is the transposed convolution. Dense, sparse, and not square."""

import numpy as np
from check import check, finish
from convolution import conv2d, conv2d_matrix, conv2d_transpose

inputs = np.array([[3, 3, 3, 6], [7, 4, 3, 2], [7, 2, 8, 5], [1, 7, 3, 1]])
kernel = np.array([[1, 2, 4], [1, 1, 3], [1, 2, 4]])[:, :, None, None]

check("convolution", conv2d(inputs[None, :, :, None], kernel)[0, :, :, 0], [[84, 84], [87, 60]])

C = conv2d_matrix(kernel, inputs.shape)
row = [1, 2, 4, 0, 1, 1, 3, 0, 1, 2, 4]
check("matrix C", C, [row + [0] * 5, [0] + row + [0] * 4, [0] * 4 + row + [0], [0] * 5 + row])
check("C @ x", C @ inputs.ravel(), [84, 84, 87, 60])

# The document's second input was not kept; it follows from the printed result (corner by corner) that it was this one.
x2 = np.array([[2, 3], [4, 3]])
back = [[2, 7, 14, 12], [6, 16, 31, 21], [6, 14, 29, 21], [4, 11, 22, 12]]
check("C.T @ x2", (C.T @ x2.ravel()).reshape(4, 4), back)
check("transposed convolution of x2", conv2d_transpose(x2[None, :, :, None], kernel)[0, :, :, 0], back)

# The triple is what scipy.sparse.csr_matrix takes; NumPy alone can read it as well.
values, column_indices, row_offsets = conv2d_matrix(kernel, inputs.shape, sparse=True)
check("sparse: row offsets", row_offsets, [0, 9, 18, 27, 36])
dense = np.zeros_like(C)
dense[np.repeat(np.arange(4), np.diff(row_offsets)), column_indices] = values
check("sparse: as dense", dense, C)

# The document's convolution_matrix() counts columns with the number of rows, which fails on images that are not square.
wide = np.arange(20).reshape(4, 5) % 7
C = conv2d_matrix(kernel, wide.shape)
loop = [[(wide[r:r + 3, c:c + 3] * kernel[:, :, 0, 0]).sum() for c in range(3)] for r in range(2)]
check("4x5 image: matrix shape", C.shape, [6, 20])
check("4x5 image: C @ x", (C @ wide.ravel()).reshape(2, 3), loop)
finish()
