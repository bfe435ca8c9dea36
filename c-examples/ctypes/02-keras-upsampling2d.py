"""02 - Keras UpSampling2D: every pixel repeated 2x2 times, and 3x1 times."""

import numpy as np
from check import check, finish
from convolution import upsample2d

diagonal = np.diag([5.0] * 5).astype(np.float32)[None, :, :, None]  # (1, 5, 5, 1)
document = [
    [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],
    [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 5, 5, 0, 0, 0, 0, 0, 0],
    [0, 0, 5, 5, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 5, 5, 0, 0, 0, 0],
    [0, 0, 0, 0, 5, 5, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 5, 5, 0, 0],
    [0, 0, 0, 0, 0, 0, 5, 5, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 5, 5],
    [0, 0, 0, 0, 0, 0, 0, 0, 5, 5],
]
output = upsample2d(diagonal, (2, 2))
check("UpSampling2D (2, 2): output shape", output.shape, [1, 10, 10, 1])
check("UpSampling2D (2, 2)", output[0, :, :, 0], document)

x1 = np.array([[1, 2, 3], [4, 5, 6]]).reshape(1, 2, 3, 1)
output = upsample2d(x1, (3, 1))
check("UpSampling2D (3, 1): output shape", output.shape, [1, 6, 3, 1])
check("UpSampling2D (3, 1)", output[0, :, :, 0], [[1, 2, 3], [1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6], [4, 5, 6]])
finish()
