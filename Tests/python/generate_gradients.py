"""Runs PyTorch's autograd on its layers and records the gradients.

    python generate_gradients.py          writes fixtures/gradients.npz; needs numpy, torch

Each case holds the call in the words of c-examples/ctypes/convolution.py, the data in PyTorch's layouts, and the gradients of
sum(layer(x, kernel) * gradient) by x and kernel. Whole numbers, so that the answers of the convolutions are exact; the gradients of
interpolations are computed in float64.
"""
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

rng = np.random.default_rng(20260508)
cases, arrays = [], {}


def whole(*shape):
    return torch.tensor(rng.integers(-9, 10, shape).astype(np.float64), requires_grad=True)


def record(op, options, y, **tensors):
    gradient = torch.tensor(rng.integers(-9, 10, y.shape).astype(np.float64))
    y.backward(gradient)
    name = f"{len(cases):03d}-{op}"
    cases.append({"name": name, "op": op, "options": options})
    arrays[f"{name}/gradient"] = gradient.numpy()
    for key, tensor in tensors.items():
        arrays[f"{name}/{key}"] = tensor.detach().numpy()
        arrays[f"{name}/{key}_gradient"] = tensor.grad.numpy()


def convolution(mode, stride, dilation, groups, pads, size=(7, 9), kernel=(3, 2), channels=(6, 9)):
    (top, bottom), (left, right) = pads
    x, w = whole(2, channels[0], *size), whole(channels[1], channels[0] // groups, *kernel)
    torch_mode = {"zeros": "constant", "constant": "constant"}.get(mode, mode)
    padded = F.pad(x, (left, right, top, bottom), mode=torch_mode, **({"value": 2.0} if mode == "constant" else {}))
    y = F.conv2d(padded, w, stride=stride, dilation=dilation, groups=groups)
    options = {"strides": stride, "dilation_rate": dilation, "groups": groups, "padding": pads, "padding_mode": mode}
    if mode == "constant":
        options["padding_value"] = 2.0
    record("conv2d", options, y, x=x, kernel=w)


for mode in ("zeros", "constant", "reflect", "replicate", "circular"):
    for stride, dilation, groups, pads in (
            ((1, 1), (1, 1), 1, ((1, 1), (1, 1))), ((2, 1), (1, 2), 3, ((2, 0), (1, 3))), ((1, 3), (2, 1), 1, ((0, 3), (2, 2)))):
        convolution(mode, stride, dilation, groups, pads)
convolution("zeros", (1, 1), (1, 1), 6, ((1, 1), (1, 1)), channels=(6, 6))
convolution("zeros", (2, 2), (1, 1), 6, ((0, 1), (1, 0)), channels=(6, 12))
convolution("reflect", (1, 1), (1, 1), 6, ((3, 3), (3, 3)), kernel=(5, 5), channels=(6, 6))
convolution("zeros", (2, 2), (1, 1), 1, ((3, 3), (3, 3)), size=(20, 23), kernel=(7, 7), channels=(3, 20))
convolution("zeros", (1, 1), (1, 1), 1, ((1, 1), (1, 1)), size=(12, 40), kernel=(3, 3), channels=(33, 70))
convolution("zeros", (1, 1), (1, 1), 1, ((2, 2), (2, 2)), size=(40, 300), kernel=(5, 5), channels=(1, 1))

for stride, dilation, groups, padding, extra, channels in (
        ((1, 1), (1, 1), 1, (0, 0), (0, 0), (4, 6)), ((2, 2), (1, 1), 1, (1, 1), (1, 1), (5, 3)),
        ((2, 3), (2, 1), 2, (1, 0), (1, 2), (4, 6)), ((3, 1), (1, 2), 4, (2, 1), (0, 0), (8, 4)),
        ((2, 2), (1, 1), 6, (1, 1), (0, 0), (6, 6)), ((2, 2), (1, 1), 1, (1, 1), (0, 0), (40, 30))):
    kernel = (4, 3) if stride != (3, 1) else (5, 2)
    x, w = whole(2, channels[0], 5, 6), whole(channels[0], channels[1] // groups, *kernel)
    y = F.conv_transpose2d(x, w, stride=stride, dilation=dilation, groups=groups, padding=padding, output_padding=extra)
    record("conv2d_transpose", {"strides": stride, "dilation_rate": dilation, "groups": groups, "padding": padding, "rule": "torch",
                                "output_padding": extra}, y, x=x, kernel=w)

for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
    ours = {"interpolation": mode.split("-")[0], "preset": "torch_exact" if mode == "nearest-exact" else "torch"}
    for size in ((10, 14), (5, 7), (3, 17), (8, 4)):
        for align in ([False, True] if mode in ("bilinear", "bicubic") else [None]):
            for antialias in ([False, True] if mode in ("bilinear", "bicubic") and not align else [False]):
                x = whole(2, 3, 5, 7)
                y = F.interpolate(x, size=size, mode=mode, antialias=antialias, **({} if align is None else {"align_corners": align}))
                options = {**ours, "output_size": size}
                if align:
                    options["coordinates"] = "align_corners"
                if antialias:
                    options["antialias"] = True
                record("upsample2d", options, y, x=x)

index = {"torch": torch.__version__, "numpy": np.__version__, "cases": cases}
small = {name: a.astype(np.int8) if np.array_equal(a, np.round(a)) and abs(a).max() < 128 else a for name, a in arrays.items()}
np.savez_compressed(pathlib.Path(__file__).parent / "fixtures" / "gradients.npz",
                    index=np.frombuffer(json.dumps(index).encode(), np.uint8), **small)
print(len(cases), "cases, PyTorch", torch.__version__)
