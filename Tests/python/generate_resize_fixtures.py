"""Runs the resize functions of one framework and records what they answer, for upsample2d's presets.

    python generate_resize_fixtures.py keras|jax|torch|onnx|opencv      writes fixtures/resize-<framework>.npz
    python generate_resize_fixtures.py crop                             writes fixtures/crop.npz
    python generate_resize_fixtures.py nearest                          writes fixtures/nearest.npz

Each needs numpy and its own framework: tensorflow and keras; jax; torch; onnx and onnxruntime; opencv-python; crop needs
tensorflow, onnx and onnxruntime; nearest needs torch. The files hold, for every mode, the parameters in the words of
c-examples/ctypes/convolution.py and the answers to four kinds of questions:

lines   images of nine equal columns whose height changes, in many pairs of sizes; one column of the answer is kept
images  a few images of which both axes change; the whole answer is kept
crops   regions of images, in ONNX's Resize and TensorFlow's crop_and_resize; the whole answer is kept
nearest which columns PyTorch's two kernels of nearest pick, for floats and doubles, where they do not agree

The data are whole numbers from a fixed rule (`data`), so they need not be stored.
"""
import itertools
import json
import os
import pathlib
import sys

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

COLUMNS = 9
CHANNELS = 3


def data(*shape):
    """Numbers from -100 to 100 without pattern, the same on every machine."""
    index = np.arange(int(np.prod(shape)), dtype=np.int64)
    return ((index * index * 7919 + index * 104729 + 12345) % 65521 % 201 - 100).astype(np.float32).reshape(shape)


def size_pairs():
    """Places at which rounding shows, lengths that stay, then 150 without pattern."""
    pairs = [(2, 82), (2, 41), (1, 5), (5, 1), (7, 1), (3, 5), (5, 3), (4, 10), (4, 2), (8, 8), (26, 135), (30, 47), (23, 82),
             (213, 71), (300, 150), (150, 75), (640, 191)]
    numbers = data(2, 150).astype(int) + 100
    return pairs + [(int(a) % 39 + 1, int(b) % 61 + 1) for a, b in numbers.T]


IMAGES = [((3, 4), (5, 7)), ((7, 5), (3, 9)), ((8, 9), (4, 3)), ((1, 6), (4, 6))]
SCALES = [((3, 5), (1.7, 2.3)), ((4, 6), (0.6, 0.75)), ((7, 9), (1.088, 1.9))]


def torch_modes():
    import torch

    def mode(name, interpolation, preset, antialias=False, align=None, scales=True):
        def run(x, size=None, scale=None):
            arguments = {"size": size, "scale_factor": scale, "mode": name}
            if interpolation in ("bilinear", "bicubic"):
                arguments.update(align_corners=align, antialias=antialias)
            turned = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
            return torch.nn.functional.interpolate(turned, **arguments).numpy().transpose(0, 2, 3, 1)
        parameters = {"interpolation": interpolation, "preset": preset}
        if align:
            parameters["coordinates"] = "align_corners"
        if antialias:
            parameters["antialias"] = True
        return run, parameters, scales
    yield mode("nearest", "nearest", "torch")
    yield mode("nearest-exact", "nearest", "torch_exact")
    for interpolation, antialias, align in itertools.product(("bilinear", "bicubic"), (False, True), (False, True)):
        yield mode(interpolation, interpolation, "torch", antialias, align, scales=not align)
    yield mode("area", "area", "torch", scales=False)
    yield torch.__version__


def keras_modes():
    import keras
    import tensorflow as tf
    assert keras.backend.backend() == "tensorflow"

    def mode(interpolation, antialias):
        def run(x, size):
            return keras.ops.image.resize(x, size, interpolation=interpolation, antialias=antialias).numpy()
        return run, {"interpolation": interpolation, "preset": "keras", **({"antialias": True} if antialias else {})}, False

    def area(x, size):
        return tf.image.resize(x, size, method="area").numpy()

    def first(interpolation, align):
        function = {"nearest": tf.compat.v1.image.resize_nearest_neighbor, "bilinear": tf.compat.v1.image.resize_bilinear,
                    "bicubic": tf.compat.v1.image.resize_bicubic}[interpolation]
        parameters = {"interpolation": interpolation, "preset": "keras", "coordinates": "align_corners" if align else "asymmetric"}
        if interpolation == "bicubic":
            parameters.update(cubic_coefficient=-0.75, edge="clamp")
        return (lambda x, size: function(x, size, align_corners=align).numpy()), parameters, False
    for interpolation, antialias in itertools.product(("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"), (False, True)):
        yield mode(interpolation, antialias)
    yield area, {"interpolation": "area", "preset": "keras"}, False
    for interpolation, align in itertools.product(("nearest", "bilinear", "bicubic"), (False, True)):
        yield first(interpolation, align)
    yield f"keras {keras.__version__}, tensorflow {tf.__version__}"


def jax_modes():
    import jax

    def mode(interpolation, antialias):
        def run(x, size):
            method = "cubic" if interpolation == "bicubic" else interpolation
            return np.asarray(jax.image.resize(x, (x.shape[0], *size, x.shape[3]), method, antialias=antialias))
        return run, {"interpolation": interpolation, "preset": "keras_jax", **({"antialias": True} if antialias else {})}, False
    yield mode("nearest", False)
    for interpolation, antialias in itertools.product(("bilinear", "bicubic", "lanczos3", "lanczos5"), (False, True)):
        yield mode(interpolation, antialias)
    yield jax.__version__


def onnx_modes():
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    def session(by_scale, attributes):
        node = helper.make_node("Resize", ["x", "", "wanted"] if by_scale else ["x", "", "", "wanted"], ["y"], **attributes)
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 4),
                  helper.make_tensor_value_info("wanted", TensorProto.FLOAT if by_scale else TensorProto.INT64, [4])]
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)]
        model = helper.make_model(helper.make_graph([node], "resize", inputs, outputs), ir_version=9,
                                  opset_imports=[helper.make_opsetid("", 19)])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(model.SerializeToString(), options)

    def mode(parameters, **attributes):
        sessions = [session(by_scale, attributes) for by_scale in (False, True)]

        def run(x, size=None, scale=None):
            wanted = np.array([1, CHANNELS, *size], np.int64) if scale is None else np.array([1, 1, *scale], np.float32)
            turned = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
            return sessions[scale is not None].run(None, {"x": turned, "wanted": wanted})[0].transpose(0, 2, 3, 1)
        return run, {"preset": "onnx", **parameters}, attributes["coordinate_transformation_mode"] == "half_pixel"
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        for rounding in ("prefer_floor", "prefer_ceil", "floor", "ceil"):
            yield mode({"interpolation": "nearest", "coordinates": coordinates, "rounding": rounding}, mode="nearest",
                       coordinate_transformation_mode=coordinates,
                       nearest_mode="round_" + rounding if "prefer" in rounding else rounding)
        for kind, exclude, antialias in (("linear", 0, 0), ("cubic", 0, 0), ("cubic", 1, 0), ("linear", 0, 1), ("linear", 1, 1),
                                         ("cubic", 0, 1), ("cubic", 1, 1)):
            if antialias and coordinates == "pytorch_half_pixel":
                continue
            parameters = {"interpolation": "bi" + kind, "coordinates": coordinates}
            if exclude:
                parameters["edge"] = "renormalise"
            if antialias:
                parameters["antialias"] = True
            yield mode(parameters, mode=kind, coordinate_transformation_mode=coordinates, exclude_outside=exclude, antialias=antialias)
    yield f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}"


def opencv_modes():
    import cv2

    def mode(interpolation, flag):
        def run(x, size=None, scale=None):
            if scale is None:
                return cv2.resize(x[0], size[::-1], interpolation=flag)[None]
            return cv2.resize(x[0], None, fx=scale[1], fy=scale[0], interpolation=flag)[None]
        return run, {"interpolation": interpolation, "preset": "opencv"}, True
    yield mode("nearest", cv2.INTER_NEAREST)
    yield mode("bilinear", cv2.INTER_LINEAR)
    yield mode("bicubic", cv2.INTER_CUBIC)
    yield mode("area", cv2.INTER_AREA)
    yield cv2.__version__


# Sizes change on both axes: ONNX Runtime takes no notice of the region where one does not.
CROP_SIZES = [((6, 7), (4, 9)), ((7, 5), (9, 3)), ((1, 6), (3, 4)), ((5, 9), (1, 1)), ((9, 4), (13, 17)), ((3, 3), (8, 2))]
REGIONS = [(0, 0, 1, 1), (0.4, 0.6, 0.6, 0.8), (0.4, 0.6, 1.2, 1.7), (-0.35, 0.15, 0.45, 0.85), (0.9, 0.2, 0.1, 0.7),
           (-0.7, -0.2, 1.6, 1.1), (0.3, 0.95, 0.3, 0.05), (1.1, 0, 1.7, 1)]
EXTRAPOLATION = 700


def crop_questions():
    return [(image, size, region) for image, size in CROP_SIZES for region in REGIONS]


def crop_modes():
    """(answer, parameters); an answer is None where ONNX Runtime's and the reference evaluator's are far from each other: at
    places that rounding moves over the image's border, or to another element."""
    import onnx
    import onnx.reference
    import onnxruntime
    import tensorflow as tf

    def resize(parameters, **attributes):
        attributes["coordinate_transformation_mode"] = "tf_crop_and_resize"
        attributes["extrapolation_value"] = float(EXTRAPOLATION)
        node = onnx.helper.make_node("Resize", ["x", "roi", "", "sizes"], ["y"], **attributes)
        inputs = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None] * 4),
                  onnx.helper.make_tensor_value_info("roi", onnx.TensorProto.FLOAT, [8]),
                  onnx.helper.make_tensor_value_info("sizes", onnx.TensorProto.INT64, [4])]
        outputs = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * 4)]
        model = onnx.helper.make_model(onnx.helper.make_graph([node], "crop", inputs, outputs), ir_version=9,
                                       opset_imports=[onnx.helper.make_opsetid("", 19)])
        reference = onnx.reference.ReferenceEvaluator(model)
        session = onnxruntime.InferenceSession(model.SerializeToString())

        def run(x, size, region):
            feeds = {"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2)), "sizes": np.array([1, CHANNELS, *size], np.int64),
                     "roi": np.array([0, 0, *region[:2], 1, 1, *region[2:]], np.float32)}
            first, second = (runner.run(None, feeds)[0] for runner in (reference, session))
            return first.transpose(0, 2, 3, 1) if abs(first - second).max() < 1e-2 else None
        return run, {"preset": "onnx", **parameters}
    for rounding in ("prefer_floor", "prefer_ceil", "floor", "ceil"):
        yield resize({"interpolation": "nearest", "rounding": rounding}, mode="nearest",
                     nearest_mode="round_" + rounding if "prefer" in rounding else rounding)
    for kind, exclude, antialias in (("linear", 0, 0), ("cubic", 0, 0), ("cubic", 1, 0), ("linear", 0, 1), ("linear", 1, 1),
                                     ("cubic", 0, 1), ("cubic", 1, 1)):
        parameters = {"interpolation": "bi" + kind, "edge": "renormalise" if exclude else "clamp"}
        yield resize({**parameters, "antialias": True} if antialias else parameters, mode=kind, exclude_outside=exclude,
                     antialias=antialias)
    yield resize({"interpolation": "bicubic", "cubic_coefficient": -0.5}, mode="cubic", cubic_coeff_a=-0.5)

    def boxes(interpolation, method):
        def run(x, size, region):
            return tf.image.crop_and_resize(x, [region], [0], size, method=method, extrapolation_value=EXTRAPOLATION).numpy()
        return run, {"preset": "keras", "interpolation": interpolation}
    yield boxes("nearest", "nearest")
    yield boxes("bilinear", "bilinear")
    yield f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, tensorflow {tf.__version__}"


def crops():
    *modes, version = crop_modes()
    index, answers = [], []
    for run, parameters in modes:
        asked = []
        for number, (image, size, region) in enumerate(crop_questions()):
            answer = run(data(1, *image, CHANNELS), size, region)
            if answer is not None:
                asked.append(number)
                answers.append(answer.ravel())
        index.append({"parameters": parameters, "questions": asked})
    save("crop", {"version": version, "modes": index}, answers)
    print(f"{version}: {[len(mode['questions']) for mode in index]} of {len(crop_questions())} questions")


NEAREST_ROWS = 4


def nearest():
    import torch
    numbers = data(3, 2000).astype(int) + 100
    sizes = [(int(a) + 1, int(b) + int(c) + 1, None) for a, b, c in numbers.T]
    # Scales beside the ratio of sizes: PyTorch's kernel for small outputs then copies or repeats, the other does not.
    scales = [(i, int(i * scale), scale) for i, scale in (
        (int(a) + 1, 1 + int(b) % 2 + 0.9 * (int(c) + 1) / 202 / (int(a) + 1)) for a, b, c in numbers.T[:40])]
    questions, answers, kept = [], [], [0, 0]
    for i, o, scale in sizes + scales:
        found = []
        for mode, dtype, rows in itertools.product(("nearest", "nearest-exact"), ("float32", "float64"), (1, 200)):
            x = torch.arange(i, dtype=getattr(torch, dtype)).expand(1, 1, NEAREST_ROWS, i).contiguous()
            wanted = {"size": (rows, o)} if scale is None else {"scale_factor": (rows / NEAREST_ROWS, scale)}
            answer = torch.nn.functional.interpolate(x, mode=mode, **wanted).numpy()
            assert answer.shape == (1, 1, rows, o)
            found.append((mode, dtype, rows, answer[0, 0, 0].astype(int)))
        if any((one[3] != other[3]).any() for one, other in itertools.combinations(found, 2) if one[0] == other[0]):
            kept[scale is not None] += 1
            for mode, dtype, rows, answer in found:
                questions.append({"preset": "torch" if mode == "nearest" else "torch_exact", "dtype": dtype, "columns": i,
                                  "output_size": (rows, o), **({"scale": (rows / NEAREST_ROWS, scale)} if scale else {})})
                answers.append(np.diff(answer, prepend=0))
    save("nearest", {"version": torch.__version__, "questions": questions}, answers)
    print(f"torch {torch.__version__}: {kept} sizes and scales at which the kernels differ")


def save(name, index, answers):
    path = pathlib.Path(__file__).parent / "fixtures" / f"{name}.npz"
    index = np.frombuffer(json.dumps(index).encode(), np.uint8)
    np.savez_compressed(path, index=index, answers=np.concatenate(answers).astype(np.float32))
    print(f"{path}: {path.stat().st_size} bytes")


def main(framework):
    *modes, version = globals()[framework + "_modes"]()
    pairs = size_pairs()
    index, answers = [], []
    for run, parameters, takes_scales in modes:
        images = []
        for i, o in pairs:
            line = np.broadcast_to(data(i).reshape(1, i, 1, 1), (1, i, COLUMNS, CHANNELS))
            answer = run(np.ascontiguousarray(line), (o, COLUMNS))
            assert answer.shape == (1, o, COLUMNS, CHANNELS)
            answers.append(answer[0, :, 4, 1])
        for image, size in IMAGES:
            answers.append(run(data(1, *image, CHANNELS), size).ravel())
            images.append({"image": image, "output_size": size})
        for image, scale in SCALES if takes_scales else ():
            answer = run(data(1, *image, CHANNELS), scale=scale)
            answers.append(answer.ravel())
            images.append({"image": image, "scale": scale, "shape": answer.shape})
        index.append({"parameters": parameters, "images": images})
    save(f"resize-{framework}", {"framework": framework, "version": version, "modes": index}, answers)
    print(f"{framework} {version}: {len(modes)} modes, {len(pairs)} pairs of sizes each")


if __name__ == "__main__":
    {"crop": crops, "nearest": nearest}.get(sys.argv[1], lambda: main(sys.argv[1]))()
