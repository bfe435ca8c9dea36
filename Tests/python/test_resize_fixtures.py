"""upsample2d's presets against the recorded answers of Keras on TensorFlow, JAX, PyTorch, ONNX Runtime and OpenCV
(see generate_resize_fixtures.py): every mode in more than 150 pairs of sizes.

Nearest must pick the same elements. All else may differ by the rounding of weights and sums. The places are computed as the
framework does, rounding for rounding, which the longer lines show; but for JAX, whose compiler fuses the multiplication and the
addition of some lines' places and not of others'.
"""
import json
import pathlib

import numpy as np
import pytest

import convolution
from generate_resize_fixtures import CHANNELS, COLUMNS, NEAREST_ROWS, data, size_pairs

MODES = {}
for path in sorted((pathlib.Path(__file__).parent / "fixtures").glob("resize-*.npz")):
    with np.load(path) as archive:
        index, answers = json.loads(archive["index"].tobytes()), archive["answers"]
    start = 0
    for mode in index["modes"]:
        for question in mode["images"]:
            question["shape"] = tuple(question.get("shape") or (1, *question["output_size"], CHANNELS))
        count = sum(o for _, o in size_pairs()) + sum(int(np.prod(question["shape"])) for question in mode["images"])
        words = " ".join(str(word) for word in mode["parameters"].values())
        MODES[f"{index['framework']} {words}"] = (mode, answers[start:start + count])
        start += count
    assert start == len(answers)


def check(got, want, x, parameters, what):
    assert got.shape == want.shape, what
    if parameters["interpolation"] == "nearest":
        np.testing.assert_array_equal(got, want, err_msg=str(what))
        return
    largest = abs(x).max()
    tolerance = 48 * 2.0**-24 * largest
    if parameters.get("edge") == "renormalise" and parameters.get("coordinates") == "asymmetric":
        tolerance *= 64  # at the end almost all of the kernel lies outside, and little is left to divide by
    if parameters["preset"] == "keras_jax":
        tolerance += 4 * 2.0**-24 * largest * max(x.shape[1:3])
    worst = abs(got.astype(np.float64) - want).max()
    assert worst <= tolerance, f"{what}: {worst:.3g} apart, {worst / (2.0**-24 * largest):.1f} roundings of the largest element"


def test_every_framework_is_there():
    assert {name.split()[0] for name in MODES} == {"keras", "jax", "torch", "onnx", "opencv"}
    assert len(MODES) > 70 and len(size_pairs()) > 150


@pytest.mark.parametrize("name", MODES)
def test_lines(name, isa):
    mode, answers = MODES[name]
    start = 0
    for i, o in size_pairs():
        line = data(i)
        want = answers[start:start + o]
        start += o
        image = np.ascontiguousarray(np.broadcast_to(line.reshape(1, i, 1, 1), (1, i, COLUMNS, CHANNELS)))
        got = convolution.upsample2d(image, output_size=(o, COLUMNS), threads=1, isa=isa, **mode["parameters"])
        check(got[0, :, 4, 1], want, line.reshape(1, i, 1, 1), mode["parameters"], (i, o))
        # Along rows the same.
        turned = np.ascontiguousarray(image.transpose(0, 2, 1, 3))
        got = convolution.upsample2d(turned, output_size=(COLUMNS, o), threads=1, isa=isa, **mode["parameters"])
        check(got[0, 4, :, 1], want, line.reshape(1, i, 1, 1), mode["parameters"], (i, o))


@pytest.mark.parametrize("name", MODES)
def test_images(name, isa):
    mode, answers = MODES[name]
    start = sum(o for _, o in size_pairs())
    for question in mode["images"]:
        x = data(1, *question["image"], CHANNELS)
        size = {key: tuple(question[key]) for key in ("output_size", "scale") if key in question}
        want = answers[start:start + int(np.prod(question["shape"]))].reshape(question["shape"])
        start += want.size
        got = convolution.upsample2d(x, isa=isa, **size, **mode["parameters"])
        check(got, want, x, mode["parameters"], question)
        # float64 data: the same elements; the same places, or more exact ones.
        double = convolution.upsample2d(x.astype(np.float64), isa=isa, **size, **mode["parameters"])
        check(double, want, x, mode["parameters"], question)
        # The other data format: the same bits.
        turned = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        other = convolution.upsample2d(turned, isa=isa, data_format="channels_first", **size, **mode["parameters"])
        assert other.transpose(0, 2, 3, 1).tobytes() == got.tobytes()


def test_both_kernels_of_torch_nearest(isa):
    """For outputs of up to 128 rows and columns together, and for larger ones: floats, doubles, scales beside the sizes."""
    with np.load(pathlib.Path(__file__).parent / "fixtures" / "nearest.npz") as archive:
        questions, answers = json.loads(archive["index"].tobytes())["questions"], archive["answers"].astype(int)
    start = 0
    for question in questions:
        rows, o = question["output_size"]
        want = answers[start:start + o].cumsum()
        start += o
        line = np.arange(question["columns"], dtype=question["dtype"]).reshape(1, 1, -1, 1)
        size = {key: tuple(question[key]) for key in ("output_size", "scale") if key in question}
        options = {"preset": question["preset"], "threads": 1, "isa": isa}
        got = convolution.upsample2d(np.repeat(line, NEAREST_ROWS, 1), **size, **options)
        assert (got[0, :, :, 0] == want).all(), question
        # Along columns the same.
        size = {key: value[::-1] for key, value in size.items()}
        got = convolution.upsample2d(np.repeat(line.transpose(0, 2, 1, 3), NEAREST_ROWS, 2), **size, **options)
        assert (got[0, :, :, 0] == want[:, None]).all(), question
    assert start == len(answers) and len(questions) > 200


def test_where_torch_changes_its_kernel(isa):
    """At 128 rows and columns twice the size is exact repetition, whatever the scale; at 129 the scale counts."""
    image = np.arange(32, dtype=np.float32).reshape(1, 32, 1, 1).repeat(32, 2)
    for columns, want in ((64, np.arange(64) // 2), (65, np.minimum(np.arange(64) / 1.5, 31).astype(int))):
        got = convolution.upsample2d(image, output_size=(64, columns), scale=(1.5, 1.5), preset="torch", isa=isa)
        assert (got[0, :, 0, 0] == want).all()


def test_onnx_computes_the_size_in_float32():
    """0.29 of 100 is 28.999999999999996 in double."""
    for preset, size in (("onnx", 29), ("torch", 28)):
        options = {"scale": (0.29, 0.29), "preset": preset, "interpolation": "bilinear"}
        assert convolution.upsample2d_output_shape((1, 100, 100, 1), **options) == (1, size, size, 1)


def test_torch_bilinear_of_three_channels(isa):
    """PyTorch computes the places of three channels in one rounding, of others in two where the output is large."""
    i, o, scale = 93, 202, 2.1730790607873245
    step = np.float32(1 / scale)
    t = np.arange(o, dtype=np.float32) + np.float32(0.5)
    once = (t.astype(np.float64) * step - 0.5).astype(np.float32)
    twice = t * step - np.float32(0.5)
    zigzag = np.ascontiguousarray(np.broadcast_to((np.arange(i, dtype=np.float32) % 2).reshape(1, 1, i, 1), (1, 2, i, 4)))
    for channels, places in ((1, twice), (2, twice), (3, once), (4, twice)):
        got = convolution.upsample2d(zigzag[..., :channels], scale=(1, scale), interpolation="bilinear", preset="torch", isa=isa)
        assert got.shape == (1, 2, o, channels)
        want = 1 - abs(np.clip(places.astype(np.float64), 0, i - 1) % 2 - 1)
        assert (abs(got[0, 0].T - want) <= 2.0**-23).all(), channels
    assert abs(once.astype(np.float64) - twice).max() > 2.0**-20
