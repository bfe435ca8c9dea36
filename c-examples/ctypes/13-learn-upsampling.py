"""13 - Learning to upsample: a transposed convolution (4x4, stride 2) learns by gradient descent from random weights, on patches
of a photograph's half: first what bilinear interpolation does, then to come nearer to the photograph itself."""

import struct
import zlib
from pathlib import Path

import numpy as np
from check import check, finish
from convolution import conv2d_transpose, conv2d_transpose_backward_kernel, upsample2d


def read_png(path):
    """Colours of 8 bits, (height, width, 3), from 0 to 1."""
    data, place, packed = path.read_bytes(), 8, b""
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place:place + 8])
        place, packed = place + 12 + length, packed + (data[place + 8:place + 8 + length] if kind == b"IDAT" else b"")
    width, = struct.unpack(">I", data[16:20])
    rows, above = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(-1, 1 + 3 * width), [0] * (3 * width + 3)
    for method, row in zip(rows[:, 0], rows[:, 1:].tolist()):
        line = [0, 0, 0]  # stand before each row
        for x, value in enumerate(row):
            a, b, c = line[x], above[x + 3], above[x]
            near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            line.append((value + (0, a, b, (a + b) // 2, near)[method]) % 256)
        above = line
        yield np.reshape(line[3:], (width, 3)) / 255


photo = np.stack([*read_png(Path(__file__).parent.parent / "images/astronaut.png")]) @ [0.299, 0.587, 0.114]
half = photo.reshape(128, 2, 128, 2).mean(axis=(1, 3))
bilinear = upsample2d(half[None, :, :, None], 2, interpolation="bilinear")[0, :, :, 0]
rng, layer, steps = np.random.default_rng(12), dict(rule="torch", kernel_format="keras", strides=2, padding=1), 800
corners = rng.integers(0, 128 - 16, (32, 2))


def patches(picture, scale):
    cut = [picture[y * scale:(y + 16) * scale, x * scale:(x + 16) * scale] for y, x in corners]
    return (np.stack(cut)[..., None] - half.mean()).astype(np.float32)  # the mean would be all it learns for long


inputs, start = patches(half, 1), rng.uniform(-0.5, 0.5, (4, 4, 1, 1)).astype(np.float32)
inside = np.pad(np.ones((30, 30, 1), np.float32), ((1, 1), (1, 1), (0, 0)))  # at its edge a patch lacks its neighbours
for name, wanted, limit in (("bilinear", patches(bilinear, 2), 1e-8), ("photograph", patches(photo, 2), 2e-3)):
    kernel = start.copy()
    for step in range(steps + 1):
        error = (conv2d_transpose(inputs, kernel, **layer) - wanted) * inside
        kernel -= 8 * 2 / (32 * 30 * 30) * conv2d_transpose_backward_kernel(inputs, error, kernel.shape, **layer)
        if step in (0, 10, 100, steps):
            print(f"{name}, step {step:4}: mean square difference {(loss := (error**2).sum() / (32 * 30 * 30)):.2e}")
    check(f"learnt from {name}: mean square difference below {limit}", loss < limit, True)
    if name == "bilinear":
        check("the kernel learnt from bilinear", kernel[..., 0, 0], np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16, 1e-2)
learnt = conv2d_transpose((half - half.mean())[None, :, :, None], kernel, **layer)[0, :, :, 0] + half.mean()
errors = [np.square(picture - photo)[2:-2, 2:-2].mean() for picture in (bilinear, learnt)]
print(f"mean square difference from the photograph: bilinear {errors[0]:.2e}, learnt {errors[1]:.2e}")
check("the learnt one is nearer", errors[1] < 0.95 * errors[0], True)
finish()
