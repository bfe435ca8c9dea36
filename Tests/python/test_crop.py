"""upsample2d's tf_crop_and_resize: the recorded answers of ONNX's reference evaluator, ONNX Runtime and TensorFlow's
crop_and_resize (see generate_resize_fixtures.py), the oracle, and what must hold of any region."""
import json
import pathlib

import numpy as np
import pytest

import convolution
import oracle
from generate_resize_fixtures import CHANNELS, EXTRAPOLATION, crop_questions, data

CROP = {"coordinates": "tf_crop_and_resize"}
# Places and sums without rounding, if the longer side less one is a power of two.
SIZES = (1, 2, 3, 5, 9, 17)


def recorded():
    with np.load(pathlib.Path(__file__).parent / "fixtures" / "crop.npz") as archive:
        index, answers = json.loads(archive["index"].tobytes()), archive["answers"]
    start = 0
    for mode in index["modes"]:
        questions = []
        for number in mode["questions"]:
            image, size, region = crop_questions()[number]
            count = size[0] * size[1] * CHANNELS
            questions.append((image, size, region, answers[start:start + count].reshape(1, *size, CHANNELS)))
            start += count
        yield mode["parameters"], questions
    assert start == len(answers)


def turned(x, data_format):
    return np.ascontiguousarray(oracle.from_nhwc(x, data_format))


@pytest.mark.parametrize("parameters, questions",
                         [pytest.param(*mode, id=" ".join(map(str, mode[0].values()))) for mode in recorded()])
def test_what_the_frameworks_answered(parameters, questions, data_format, isa):
    assert len(questions) > 40
    tolerance = 0 if parameters["interpolation"] == "nearest" else 1e-2
    outside = 0
    for image, size, region, want in questions:
        for dtype in (np.float32, np.float64):
            x = turned(data(1, *image, CHANNELS).astype(dtype), data_format)
            got = convolution.upsample2d(x, output_size=size, roi=region, extrapolation_value=EXTRAPOLATION,
                                         data_format=data_format, isa=isa, **CROP, **parameters)
            got = oracle.to_nhwc(got, data_format)
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance, err_msg=str((image, size, region)))
            # The reference evaluator interpolates the value on the second axis.
            is_outside = abs(want - EXTRAPOLATION) < 1
            np.testing.assert_array_equal(got == EXTRAPOLATION, is_outside)
        outside += np.count_nonzero(is_outside)
    assert outside > 1000


def drawn(seed, count):
    """Shapes, options and data whose places are exact."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        shape = (int(rng.integers(1, 3)), *(int(rng.choice(SIZES[1:])) for _ in range(2)), int(rng.choice([1, 2, 3, 8, 19, 40])))
        interpolation = str(rng.choice(["nearest", "bilinear", "bicubic"]))
        options = {"output_size": tuple(int(rng.choice(SIZES)) for _ in range(2)), "interpolation": interpolation,
                   "roi": tuple(int(k) / 8 for k in rng.integers(-6, 16, 4)), "extrapolation_value": float(rng.integers(-2, 3))}
        if interpolation == "nearest":
            options["rounding"] = str(rng.choice(["prefer_floor", "prefer_ceil", "floor", "ceil"]))
        if interpolation == "bicubic":
            options.update(edge=str(rng.choice(["clamp", "renormalise"])), cubic_coefficient=float(rng.choice([-0.5, -0.75])))
        yield shape, options, rng.standard_normal(shape)


# With a preset the weights of double elements are in float32, as these frameworks compute them.
@pytest.mark.parametrize("preset, dtype", [(None, np.float32), (None, np.float64), *(
    (preset, np.float32) for preset in ("keras_jax", "onnx", "torch", "opencv"))])
def test_against_the_oracle(preset, dtype, data_format, isa):
    for shape, options, x in drawn(71, 60):
        x = turned(x.astype(dtype), data_format)
        got = convolution.upsample2d(x, preset=preset, data_format=data_format, isa=isa, **CROP, **options)
        want = oracle.crop_and_resize(x, data_format=data_format, **options)
        oracle.assert_within(got, want, f"{shape}, {options}")


def test_however_it_is_called(data_format, isa):
    """A plan, element strides, a sum, threads, fused with a convolution of one tap."""
    for shape, options, x in drawn(72, 40):
        x = turned(x.astype(np.float32), data_format)
        options = {**options, **CROP, "data_format": data_format, "isa": isa}
        want = convolution.upsample2d(x, threads=1, **options)
        assert convolution.Upsample2DPlan(x.shape, **options)(x).tobytes() == want.tobytes()
        apart = np.full(tuple(2 * n for n in want.shape), 99, np.float32)[::2, ::-2, ::2, ::-2]
        wide = np.repeat(np.repeat(x, 2, 1), 2, 3)[:, ::2, :, ::2]
        assert convolution.upsample2d(wide, out=apart, threads=3, **options).tobytes() == want.tobytes()
        residual = np.full_like(want, 0.25)
        np.testing.assert_array_equal(convolution.upsample2d(x, residual=residual, **options), want + residual)
        channels = shape[3]
        kernel = np.eye(channels, dtype=np.float32).reshape(1, 1, channels, channels)
        common = {name: options.pop(name) for name in ("data_format", "isa")}
        if channels < 40:
            np.testing.assert_array_equal(convolution.upsample2d_conv2d(x, kernel, upsampling=options, **common), want)
            two = np.ones((2, 2, 1, channels), np.float32)
            more = dict(padding="full", groups=channels, **common)
            assert (convolution.upsample2d_conv2d(x, two, upsampling=options, **more).tobytes()
                    == convolution.conv2d(want, two, **more).tobytes())


def test_adjoint_and_matrix(data_format, isa):
    """Rows of the matrix are zero outside the image; the adjoint takes no notice of extrapolation_value."""
    for shape, options, _ in drawn(73, 40):
        if shape[3] > 8:
            continue
        value = options.pop("extrapolation_value")
        common = {**options, **CROP, "data_format": data_format, "isa": isa}
        one = tuple(np.zeros((1, *shape[1:])).transpose(0, 3, 1, 2).shape if data_format == "channels_first" else (1, *shape[1:]))
        matrix = convolution.upsample2d_matrix(one, **common)
        x = np.random.default_rng(74).standard_normal(one)
        y = convolution.upsample2d(x, **common)
        np.testing.assert_allclose(matrix @ x.ravel(), y.ravel(), rtol=0, atol=1e-12)
        outside = convolution.upsample2d(x, extrapolation_value=np.inf, **common) == np.inf
        assert not matrix[outside.ravel()].any() and (abs(matrix[~outside.ravel()]).sum(1) > 0).all()
        gradient = np.random.default_rng(75).standard_normal(y.shape)
        back = convolution.upsample2d_backward(gradient, one, extrapolation_value=value, **common)
        np.testing.assert_allclose(back.ravel(), matrix.T @ gradient.ravel(), rtol=0, atol=1e-12)
        assert convolution.upsample2d_adjoint_test(one, **common) < 1e-14
        np.testing.assert_allclose(convolution.upsample2d_gram(x, **common).ravel(), matrix.T @ (matrix @ x.ravel()), atol=1e-12)


def test_what_is_not_linear_is_refused():
    options = {"output_size": 3, "roi": (0, 0, 2, 1), "extrapolation_value": np.nan, **CROP}
    for call in (lambda: convolution.upsample2d_matrix((1, 4, 4, 1), **options), lambda: convolution.upsample2d_gram(
            np.ones((1, 4, 4, 1)), **options), lambda: convolution.upsample2d_adjoint_test((1, 4, 4, 1), **options)):
        with pytest.raises(NotImplementedError, match="extrapolation_value is nan"):
            call()


def test_outside_is_the_value_whatever_the_image_holds():
    x = np.full((1, 4, 4, 3), np.inf, np.float32)
    for interpolation in ("nearest", "bilinear", "bicubic"):
        for residual in (None, np.ones((1, 9, 9, 3), np.float32)):
            got = convolution.upsample2d(x, output_size=9, interpolation=interpolation, roi=(-1, 0, 1, 2), residual=residual,
                                         extrapolation_value=7, **CROP)
            value = 7 if residual is None else 8
            assert (got[0, :4] == value).all() and (got[0, :, 5:] == value).all()
            assert not (abs(got[0, 4:, :5]) < 100).any()
        nothing = convolution.upsample2d(x, output_size=9, interpolation=interpolation, roi=(5, 0, 6, 1), **CROP)
        assert not nothing.any()


def test_whole_image_aligns_the_corners_and_can_be_turned_round(isa):
    for shape, options, x in drawn(76, 30):
        x = x.astype(np.float32)
        options = {name: options[name] for name in ("output_size", "interpolation", "rounding", "edge") if name in options}
        if 1 in options["output_size"]:
            continue
        aligned = convolution.upsample2d(x, coordinates="align_corners", preset="onnx", isa=isa, **options)
        whole = convolution.upsample2d(x, roi=(0, 0, 1, 1), preset="onnx", isa=isa, **CROP, **options)
        assert whole.tobytes() == aligned.tobytes()
        if options["interpolation"] != "nearest":
            back = convolution.upsample2d(x, roi=(1, 1, 0, 0), preset="onnx", isa=isa, **CROP, **options)
            np.testing.assert_allclose(back[:, ::-1, ::-1], aligned, rtol=0, atol=1e-5)


def test_antialias_spreads_as_the_region_shrinks():
    """A crop of 16 of 33 elements to 9 places, two apart: a triangle of four elements' width, by hand."""
    x = np.random.default_rng(77).standard_normal((1, 33, 1, 1))
    got = convolution.upsample2d(x, output_size=(9, 1), interpolation="bilinear", antialias=True, roi=(0.25, 0, 0.75, 0), **CROP)
    line = x.ravel()
    want = [(line[j - 1] + 2 * line[j] + line[j + 1]) / 4 for j in range(8, 25, 2)]
    np.testing.assert_allclose(got.ravel(), want, rtol=0, atol=1e-12)


def test_regions_as_large_as_they_may_be():
    """No trap, no table without end."""
    x = np.ones((1, 3, 5, 1))
    for roi in ((-2.0**48, 0, 2.0**48, 1), (0, 2.0**48, 1, -2.0**48), (2.0**48,) * 4):
        for options in ({}, {"interpolation": "bilinear"}, {"interpolation": "bicubic", "preset": "onnx"},
                        {"interpolation": "bicubic", "antialias": True, "edge": "clamp"}):
            got = convolution.upsample2d(x, output_size=3, roi=roi, **CROP, **options)
            assert (np.isclose(got, 0) | np.isclose(got, 1)).all()
