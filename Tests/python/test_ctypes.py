"""The Python face, c-examples/ctypes/convolution.py: what it adds to the C functions, and that each option reaches them.

Values are compared with textbook loops in float64. Images and kernels are small whole numbers there, whose sums are exact, so
"equal" means equal."""

import gc
import importlib
import inspect
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
CTYPES = ROOT / "c-examples/ctypes"
sys.path.insert(0, str(CTYPES))
convolution = importlib.import_module("convolution")

from convolution import (  # noqa: E402
    Conv2DBackwardInputPlan, Conv2DBackwardKernelPlan, Conv2DPlan, Conv2DTransposeBackwardInputPlan,
    Conv2DTransposeBackwardKernelPlan, Conv2DTransposePlan, Upsample2DBackwardPlan, Upsample2DPlan, constant, conv2d,
    conv2d_backward_input, conv2d_backward_kernel, conv2d_matrix, conv2d_output_shape, conv2d_transpose,
    conv2d_transpose_backward_input, conv2d_transpose_backward_kernel, conv2d_transpose_output_shape, isa, isas, upsample2d,
    upsample2d_backward, upsample2d_output_shape, version)

repeatable = settings(deadline=None, derandomize=True, max_examples=60)


# ------------------------------------------------------------------------------------------------------------ the oracle


def numbers(shape, seed=0, dtype=np.float64):
    return np.random.default_rng([seed, *shape]).integers(-8, 9, shape).astype(dtype)


def correlate(x, kernel, strides=(1, 1), dilation=(1, 1), groups=1):
    """x (N, H, W, C), padded already; kernel (KH, KW, C / groups, O)."""
    (batch, height, width, _), (kernel_height, kernel_width, inner, outer) = x.shape, kernel.shape
    rows = (height - (kernel_height - 1) * dilation[0] - 1) // strides[0] + 1
    columns = (width - (kernel_width - 1) * dilation[1] - 1) // strides[1] + 1
    output = np.zeros((batch, rows, columns, outer))
    for n, y, z, o in itertools.product(range(batch), range(rows), range(columns), range(outer)):
        first = o // (outer // groups) * inner
        for a, b, c in itertools.product(range(kernel_height), range(kernel_width), range(inner)):
            output[n, y, z, o] += (x[n, y * strides[0] + a * dilation[0], z * strides[1] + b * dilation[1], first + c]
                                   * kernel[a, b, c, o])
    return output


def scatter(x, kernel, strides=(1, 1), dilation=(1, 1), groups=1):
    """The natural result of the transposed convolution: x (N, H, W, C), kernel (KH, KW, O / groups, C)."""
    (batch, height, width, channels), (kernel_height, kernel_width, outer, _) = x.shape, kernel.shape
    output = np.zeros((batch, (height - 1) * strides[0] + (kernel_height - 1) * dilation[0] + 1,
                       (width - 1) * strides[1] + (kernel_width - 1) * dilation[1] + 1, outer * groups))
    for n, y, z, c in itertools.product(range(batch), range(height), range(width), range(channels)):
        first = c // (channels // groups) * outer
        for a, b, o in itertools.product(range(kernel_height), range(kernel_width), range(outer)):
            output[n, y * strides[0] + a * dilation[0], z * strides[1] + b * dilation[1], first + o] += (
                x[n, y, z, c] * kernel[a, b, o, c])
    return output


def window(full, starts, sizes):
    """full cut to sizes from starts on, with zeros where full has no elements."""
    output = np.zeros((full.shape[0], *sizes, full.shape[3]))
    for y, z in itertools.product(range(sizes[0]), range(sizes[1])):
        if 0 <= y + starts[0] < full.shape[1] and 0 <= z + starts[1] < full.shape[2]:
            output[:, y, z] = full[:, y + starts[0], z + starts[1]]
    return output


def padded(x, vertical, horizontal, **options):
    return np.pad(x, ((0, 0), vertical, horizontal, (0, 0)), **options)


def first(x):
    """Channels first."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


X, KERNEL, BIAS = numbers((2, 7, 6, 3), 1), numbers((3, 2, 3, 4), 2), numbers((4,), 3)
TRANSPOSE_KERNEL, TRANSPOSE_BIAS = numbers((3, 2, 5, 3), 4), numbers((5,), 5)
VERBS = {
    "conv2d": lambda x, **options: conv2d(x, KERNEL.astype(x.dtype), BIAS.astype(x.dtype), padding="same", **options),
    "conv2d_transpose": lambda x, **options: conv2d_transpose(
        x, TRANSPOSE_KERNEL.astype(x.dtype), TRANSPOSE_BIAS.astype(x.dtype), strides=2, **options),
    "upsample2d": lambda x, **options: upsample2d(x, (2, 3), interpolation="bilinear", **options),
}


# ----------------------------------------------------------------------------------------------------------- the library


STRUCTS = {"conv2d_params": convolution._Conv2DParams, "conv2d_transpose_params": convolution._Conv2DTransposeParams,
           "upsample2d_params": convolution._Upsample2DParams, "conv2d_solve_params": convolution._SolveParams,
           "conv2d_solve_result": convolution._SolveResult, "conv2d_solve_progress": convolution._SolveProgress,
           "conv2d_rank": convolution._Rank}


def test_star_imports_all_that_is_public():
    own = {name for name, value in vars(convolution).items()
           if not name.startswith("_") and getattr(value, "__module__", None) == convolution.__name__}
    assert set(convolution.__all__) == own


def test_structs_have_the_sizes_of_the_library():
    for name, struct in STRUCTS.items():
        if name == "conv2d_solve_progress":  # the library hands it out, nobody makes one
            continue
        size = getattr(convolution._library, name + "_size")
        size.restype = convolution.c_size_t
        assert size() == convolution.ctypes.sizeof(struct), name


def test_structs_have_the_fields_of_the_header():
    header = re.sub(r"/\*.*?\*/", "", (ROOT / "include/convolution.h").read_text(), flags=re.S)
    header = re.sub(r"int32_t \(\*progress\)\([^)]*\)", "callback progress", header)
    kinds = {"size_t": convolution.c_size_t, "int64_t": convolution.c_int64, "int32_t": convolution.c_int32,
             "double": convolution.c_double, "const char *": convolution.c_char_p, "const void *": convolution.c_void_p,
             "void *": convolution.c_void_p, "const uint8_t *": convolution.c_void_p,
             "const double *": convolution.POINTER(convolution.c_double), "callback ": convolution._PROGRESS}
    for name, struct in STRUCTS.items():
        body = re.search(rf"typedef struct {name} {{(.*?)}} {name};", header, re.S)[1]
        fields = []
        for kind, names in re.findall(r"((?:const )?\w+ \*|callback |\w+)\s*([^;]*);", body):
            for field in names.split(","):
                is_array = field.endswith("[4]")
                fields.append((field.strip().removesuffix("[4]"), kinds[kind] * 4 if is_array else kinds[kind]))
        assert fields == list(struct._fields_)


def test_version_is_the_header_s():
    header = (ROOT / "include/convolution.h").read_text()
    parts = (re.search(rf"CONVOLUTION_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH"))
    assert version() == ".".join(parts)


def test_tiers():
    assert isas()[0] == "baseline" and isa() in isas()
    for tier in isas():
        assert np.array_equal(conv2d(X, KERNEL, isa=tier), correlate(X, KERNEL))
        assert np.array_equal(Conv2DPlan(X.shape, KERNEL, isa=tier)(X[:, ::-1]), correlate(X[:, ::-1], KERNEL))
    for call in (lambda: conv2d(X, KERNEL, isa="sse9"), lambda: Conv2DPlan(X.shape, KERNEL, isa="sse9"),
                 lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, isa="sse9"), lambda: upsample2d(X, isa="sse9")):
        with pytest.raises(ValueError, match="sse9") as caught:
            call()
        assert caught.value.status == constant("CONVOLUTION_ERROR_ISA")


def test_tiers_that_the_processor_lacks_are_not_listed(monkeypatch):
    monkeypatch.setattr(convolution, "_isa_supported", lambda name: name == b"baseline")
    assert isas() == ["baseline"]


def test_constant():
    assert constant("CONVOLUTION_PADDING_CAUSAL") == 4
    with pytest.raises(ValueError, match="CONVOLUTION_PADDING_NOTHING"):
        constant("CONVOLUTION_PADDING_NOTHING")


def python(code, folder, **environment):
    environment = {**{k: v for k, v in os.environ.items() if k != "CONVOLUTION_LIBRARY"}, **environment}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_library_is_found_by_variable_then_in_the_tree_then_in_the_system(tmp_path):
    show = "import convolution; print(convolution._library._name)"
    folder = tmp_path / "c-examples/ctypes"
    folder.mkdir(parents=True)
    shutil.copy(CTYPES / "convolution.py", folder)
    built = tmp_path / "build/libconvolution.so"
    original = convolution._library._name
    found = python(show, folder, CONVOLUTION_LIBRARY=original)
    assert found.stdout.strip() == original, found.stderr
    missing = python(show, folder, LD_LIBRARY_PATH=str(tmp_path / "lib"))
    assert "libconvolution.so.0" in missing.stderr or missing.stdout.strip() == "libconvolution.so.0"
    (tmp_path / "lib").mkdir()
    shutil.copy(original, tmp_path / "lib/libconvolution.so.0")
    found = python(show, folder, LD_LIBRARY_PATH=str(tmp_path / "lib"))
    assert found.stdout.strip() == "libconvolution.so.0", found.stderr
    built.parent.mkdir()
    shutil.copy(original, built)
    found = python(show, folder, LD_LIBRARY_PATH=str(tmp_path / "lib"))
    assert found.stdout.strip() == str(built), found.stderr
    wrong = python(show, folder, CONVOLUTION_LIBRARY=str(tmp_path / "none.so"))
    assert wrong.returncode != 0 and "none.so" in wrong.stderr


def test_signatures_have_each_option_once():
    for verb, prepare in ((conv2d, convolution._conv2d_params), (conv2d_transpose, convolution._conv2d_transpose_params),
                          (upsample2d, convolution._upsample2d_params)):
        public, private = ({name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
                           for function in (verb, prepare))
        arrays = [public.pop(name) for name in ("x", "kernel", "bias", "residual", "out") if name in public]
        assert arrays[-1] is None
        assert public == {name: default for name, default in private.items() if not name.endswith("_shape")}


# ------------------------------------------------------------------------------------------------------------------ views


@st.composite
def views(draw, shape):
    """The shape of an array, and a function that takes a view of the given shape out of it: with steps and offsets of its own per
    axis, of either sign, and the axes in any order in memory."""
    order = draw(st.permutations(range(4)))
    slices, lengths = [], []
    for length in shape:
        step, margin = draw(st.sampled_from((1, -1, 2, -2, 3))), draw(st.integers(0, 2))
        last = margin + (length - 1) * abs(step)
        slices.append(slice(margin, last + 1, step) if step > 0 else slice(last, margin - 1 if margin else None, step))
        lengths.append(last + 1 + draw(st.integers(0, 2)))
    return [lengths[axis] for axis in order], lambda base: base.transpose(np.argsort(order))[tuple(slices)]


@pytest.mark.parametrize("verb", VERBS)
@repeatable
@given(data=st.data(), dtype=st.sampled_from((np.float32, np.float64)), channels_first=st.booleans())
def test_views_give_the_bits_of_copies(verb, data, dtype, channels_first):
    options = {"data_format": "channels_first" if channels_first else "channels_last"}
    base_shape, take = data.draw(views((2, 3, 5, 4) if channels_first else (2, 5, 4, 3)))
    view = take(numbers(base_shape, dtype=dtype) / dtype(7))  # sevenths: the sums are rounded
    expected = VERBS[verb](np.ascontiguousarray(view), **options)
    assert expected.any() and same_bits(VERBS[verb](view, **options), expected)

    base_shape, take = data.draw(views(expected.shape))
    base, outside = np.full(base_shape, -77, dtype), np.ones(base_shape, bool)
    out, take(outside)[...] = take(base), False
    assert VERBS[verb](view, out=out, **options) is out
    assert same_bits(np.ascontiguousarray(out), expected)
    assert (base[outside] == -77).all()


def test_views_of_each_kind():
    image = numbers((9, 12, 3))
    expected = correlate(image[None, 1:8, 2:11], KERNEL)
    assert np.array_equal(conv2d(image[None, 1:8, 2:11], KERNEL), expected)
    assert np.array_equal(conv2d(image[None, :, ::-1], KERNEL), correlate(image[None, :, ::-1], KERNEL))
    assert np.array_equal(conv2d(image[None, ::-2, 1::3], KERNEL), correlate(image[None, ::-2, 1::3], KERNEL))
    assert np.array_equal(conv2d(image[None, :, :, ::-1], KERNEL), correlate(image[None, :, :, ::-1], KERNEL))
    assert np.array_equal(conv2d(image.transpose(1, 0, 2)[None], KERNEL), correlate(image.transpose(1, 0, 2)[None], KERNEL))
    green = image[None, :, :, 1:2]
    assert np.array_equal(conv2d(green, KERNEL[:, :, :1]), correlate(green, KERNEL[:, :, :1]))
    assert np.array_equal(conv2d(np.asfortranarray(image)[None], np.asfortranarray(KERNEL)), correlate(image[None], KERNEL))
    turned = KERNEL[::-1, ::-1]
    assert np.array_equal(conv2d(image[None], turned, BIAS[::-1]), correlate(image[None], turned) + BIAS[::-1])


@pytest.mark.parametrize("tier", isas())
@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 8])
def test_rows_of_planes_end_each_for_itself(outputs, tier):
    """Long rows that are no single one, which a tile of some vectors does not divide: stored backwards, or added to."""
    x, kernel = numbers((2, 5, 2, 150), dtype=np.float32), numbers((outputs, 5, 1, 1), dtype=np.float32)
    expected = np.einsum("nchw,oc->nohw", x, kernel[:, :, 0, 0])
    base = np.full((2, outputs, 2, 151), -77, np.float32)
    options = {"data_format": "channels_first", "kernel_format": "oihw", "isa": tier}
    assert np.array_equal(conv2d(x, kernel, out=base[..., 149::-1], **options), expected)
    assert np.array_equal(conv2d(x, kernel, out=base[..., :150], residual=expected, **options), 2 * expected)
    assert (base[..., 150] == -77).all()


def allocated(call):
    """The most bytes that NumPy had in use at once during the call, beyond those before it."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LARGE = np.ones((1, 400, 300, 4), np.float32)  # 1.9 MB
POINTWISE = np.float32([[[[1], [10], [100], [1000]]]])


@pytest.mark.parametrize("view", [
    LARGE[:, ::-1], LARGE[:, :, ::-1], LARGE[..., ::-1], LARGE[:, 1:, :-7], LARGE[:, ::2, ::-1], LARGE.transpose(0, 2, 1, 3),
    LARGE[0][None],
], ids=["rows backwards", "columns backwards", "channels backwards", "crop", "every second row", "transposed", "new axis"])
def test_views_are_not_copied(view):
    out = np.empty((*view.shape[:3], 1), np.float32)
    plan = Conv2DPlan(view.shape, POINTWISE, threads=1)
    assert allocated(lambda: conv2d(view, POINTWISE, threads=1, out=out)) < 20_000
    assert allocated(lambda: plan(view, out=out)) < 20_000
    assert allocated(lambda: conv2d(view, POINTWISE, threads=1, out=out[:, ::-1])) < 20_000
    assert allocated(lambda: conv2d(view.astype(np.int64), POINTWISE, threads=1)) > view.size * 8, "the measurement works"
    assert (out == 1111).all()


def test_what_strides_cannot_say_is_copied():
    small = numbers((1, 1, 6, 3), dtype=np.float32)
    kernel = KERNEL.astype(np.float32)
    repeated = np.broadcast_to(small, (2, 5, 6, 3))
    records = np.zeros((2, 5, 6), [("flag", np.uint8), ("pixel", np.float32, 3)])
    records["pixel"] = repeated
    misaligned = records["pixel"]
    expected = correlate(repeated, kernel)
    assert 0 in repeated.strides and misaligned.strides[2] == 13 and not misaligned.flags.aligned
    for x in (repeated, misaligned, repeated.astype(">f4")):
        result = conv2d(x, kernel)
        assert result.dtype == np.float32 and result.dtype.isnative and np.array_equal(result, expected)
        assert np.array_equal(Conv2DPlan(x.shape, kernel)(x), expected)

    odd = np.frombuffer(bytes(1) + LARGE.tobytes(), np.float32, offset=1).reshape(LARGE.shape)
    assert not odd.flags.aligned and odd.flags.c_contiguous
    assert allocated(lambda: conv2d(odd, POINTWISE, threads=1)) > LARGE.nbytes


def test_axes_of_length_one_may_have_any_stride():
    for strides in ((7, 96, 24, 8), (0, 96, 24, 8), (-8, 96, 24, 8), (1 << 60, 96, 24, 8)):
        x = np.lib.stride_tricks.as_strided(numbers((5, 4, 3)), (1, 5, 4, 3), strides)
        out = np.lib.stride_tricks.as_strided(np.zeros((3, 3, 4)), (1, 3, 3, 4), (strides[0], 96, 32, 8))
        assert np.array_equal(conv2d(x, KERNEL, out=out), correlate(x, KERNEL))
        single = np.lib.stride_tricks.as_strided(numbers((5, 4)), (1, 5, 4, 1), (0, 32, 8, strides[0]))
        assert np.array_equal(conv2d(single, KERNEL[:, :, :1]), correlate(single, KERNEL[:, :, :1]))


def test_arrays_that_only_the_call_holds_stay_alive():
    for _ in range(50):
        assert np.array_equal(conv2d(X.tolist(), KERNEL.tolist(), BIAS.tolist()), correlate(X, KERNEL) + BIAS)


def test_a_view_is_read_when_the_call_is_made():
    base = numbers((1, 9, 8, 3))
    view, plan = base[:, ::-2, 1:], Conv2DPlan((1, 5, 7, 3), KERNEL)
    before = plan(view)
    base += 1
    assert np.array_equal(plan(view), before + KERNEL.sum(axis=(0, 1, 2)))


# ------------------------------------------------------------------------------------------------------------------- out


def test_out_is_refused_where_it_cannot_be_written_as_it_is():
    readonly = np.empty((2, 5, 5, 4))
    readonly.flags.writeable = False
    for out, words in (
            (np.empty((2, 5, 5, 3)), r"out has shape \(2, 5, 5, 3\).*must be an array of shape \(2, 5, 5, 4\)"),
            (np.empty((2, 5, 5, 4), np.float32), "dtype float32.*dtype float64"),
            (np.empty((2, 5, 5, 4), ">f8"), "dtype >f8"),
            ([1], "out is list"),
            (readonly, "writeable False"),
            (np.broadcast_to(np.empty((1, 1, 5, 4)), (2, 5, 5, 4)), "out has strides"),
            (np.lib.stride_tricks.as_strided(np.empty(25), (2, 5, 5, 4), (0, 8, 8, 8)), "own place")):
        with pytest.raises(ValueError, match=words):
            conv2d(X, KERNEL, out=out)
        with pytest.raises(ValueError, match=words):
            Conv2DPlan(X.shape, KERNEL)(X, out=out)


def test_out_that_overlaps_is_refused_by_the_library():
    memory = numbers((3, 7, 6, 3))
    before = memory.copy()
    with pytest.raises(ValueError, match="overlap") as caught:
        conv2d(memory[:2], np.ones((1, 1, 3, 3)), out=memory[1:])
    assert caught.value.status == constant("CONVOLUTION_ERROR_OVERLAP")
    assert np.array_equal(memory, before)
    # Also between the elements that a kernel of one element with a stride reads.
    image = memory[:1, :6]
    for call in (conv2d, lambda x, kernel, strides, out: Conv2DPlan(x.shape, kernel, strides=strides)(x, out=out)):
        with pytest.raises(ValueError, match="output overlaps input"):
            call(image, np.ones((1, 1, 3, 3)), strides=2, out=image.ravel()[21:48].reshape(1, 3, 3, 3))
    assert np.array_equal(memory, before)
    twice = np.lib.stride_tricks.as_strided(np.zeros(2000), (2, 5, 5, 4), (800, 8, 16, 160))
    with pytest.raises(ValueError) as caught:
        conv2d(X, KERNEL, out=twice)
    assert caught.value.status == constant("CONVOLUTION_ERROR_ELEMENT_STRIDES")
    assert not twice.any()


def test_one_channel_of_a_picture_can_be_written_from_the_others():
    picture = numbers((1, 7, 6, 3))
    expected = correlate(picture[..., :2], KERNEL[:1, :1, :2, :1])
    conv2d(picture[..., :2], KERNEL[:1, :1, :2, :1], out=picture[..., 2:])
    assert np.array_equal(picture[..., 2:], expected)


# ----------------------------------------------------------------------------------------------------------------- types


@pytest.mark.parametrize("x, kernel, bias, result", [
    ("float32", "float32", "float32", "float32"), ("float64", "float64", "float64", "float64"),
    ("float32", "float64", None, "float64"), ("float64", "float32", None, "float64"),
    ("float32", "float32", "float64", "float64"),
    ("float16", "float16", None, "float32"), ("float16", "float32", None, "float32"), ("float16", "float64", None, "float64"),
    ("int8", "int8", None, "float64"), ("bool", "bool", None, "float64"), ("uint64", "int64", None, "float64"),
    ("uint8", "float32", None, "float32"), ("int16", "float16", None, "float32"), ("float32", "int64", None, "float64"),
    (">f4", "<f4", None, "float32"),
])
def test_types(x, kernel, bias, result):
    arrays = [np.abs(array).astype(dtype) for array, dtype in ((X, x), (KERNEL, kernel))]
    bias = None if bias is None else np.abs(BIAS).astype(bias)
    output = conv2d(*arrays, bias)
    assert output.dtype == result and output.dtype.isnative
    assert np.array_equal(output, correlate(*map(np.float64, arrays)) + (0 if bias is None else bias))
    transposed = conv2d_transpose(arrays[0], np.abs(TRANSPOSE_KERNEL).astype(kernel))
    assert transposed.dtype == conv2d(arrays[0], arrays[1]).dtype
    assert np.array_equal(transposed, scatter(np.float64(arrays[0]), np.float64(np.abs(TRANSPOSE_KERNEL).astype(kernel))))


@pytest.mark.parametrize("x, result", [("float32", "float32"), ("float64", "float64"), ("float16", "float32"),
                                       ("uint8", "float64"), ("bool", "float64")])
def test_types_of_upsample2d(x, result):
    x = np.abs(X).astype(x)
    output = upsample2d(x)
    assert output.dtype == result and np.array_equal(output, x.repeat(2, 1).repeat(2, 2))


def test_float32_is_computed_in_float32_and_float64_in_float64():
    x, kernel = np.float64([1, 2.0 ** -30]).reshape(1, 1, 2, 1), np.ones((1, 2, 1, 1))
    assert conv2d(x, kernel).item() == 1 + 2.0 ** -30
    assert conv2d(np.float32(x), np.float32(kernel)).item() == 1


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "longdouble", "object", "U3", "datetime64[s]"])
def test_other_types_are_refused(dtype):
    x = np.zeros((1, 5, 5, 3), dtype)
    for call in (lambda: conv2d(x, KERNEL), lambda: upsample2d(x), lambda: conv2d_transpose(x, TRANSPOSE_KERNEL),
                 lambda: conv2d_matrix(np.zeros((1, 1, 1, 1), dtype), (2, 2))):
        with pytest.raises(ValueError, match="dtype.*must be float32, float64"):
            call()


# --------------------------------------------------------------------------------------------------------------- padding


@pytest.mark.parametrize("padding, vertical, horizontal", [
    ("valid", (0, 0), (0, 0)), ("VALID", (0, 0), (0, 0)), ("same", (1, 1), (0, 1)), ("Same", (1, 1), (0, 1)),
    ("same_lower", (1, 1), (1, 0)), ("full", (2, 2), (1, 1)), ("causal", (2, 0), (1, 0)), (0, (0, 0), (0, 0)),
    (2, (2, 2), (2, 2)), ((1, 3), (1, 1), (3, 3)), ([1, 3], (1, 1), (3, 3)), (np.array([1, 3]), (1, 1), (3, 3)),
    (((1, 2), (0, 3)), (1, 2), (0, 3)), ((4, (1, 2)), (4, 4), (1, 2)), (np.int8(2), (2, 2), (2, 2)),
])
def test_padding_forms(padding, vertical, horizontal):
    assert np.array_equal(conv2d(X, KERNEL, padding=padding), correlate(padded(X, vertical, horizontal), KERNEL))


def test_padding_may_crop():
    assert np.array_equal(conv2d(X, KERNEL, padding=((-1, 2), (1, -2))), correlate(padded(X[:, 1:, :-2], (0, 2), (1, 0)), KERNEL))


@pytest.mark.parametrize("padding", ["smae", "explicit", 1.0, None, (1, 2, 3), ((1, 2), (3,)), "", (("1", 2), (3, 4))])
def test_padding_that_is_none(padding):
    with pytest.raises(ValueError, match="padding is"):
        conv2d(X, KERNEL, padding=padding)


@pytest.mark.parametrize("mode, numpy_mode", [("reflect", "reflect"), ("Symmetric", "symmetric"), ("replicate", "edge"),
                                              ("circular", "wrap")])
def test_padding_modes(mode, numpy_mode):
    expected = correlate(padded(X, (3, 1), (2, 4), mode=numpy_mode), KERNEL)
    assert np.array_equal(conv2d(X, KERNEL, padding=((3, 1), (2, 4)), padding_mode=mode), expected)


def test_padding_value():
    expected = correlate(padded(X, (3, 1), (2, 4), constant_values=-5), KERNEL)
    assert np.array_equal(conv2d(X, KERNEL, padding=((3, 1), (2, 4)), padding_mode="constant", padding_value=-5), expected)
    with pytest.raises(ValueError, match="padding_value") as caught:
        conv2d(X, KERNEL, padding=1, padding_value=-5)
    assert caught.value.status == constant("CONVOLUTION_ERROR_PADDING_MODE")


# --------------------------------------------------------------------------------------------------- layouts of the kernel


@pytest.mark.parametrize("data_format, kernel_format, torch", [
    ("channels_last", None, False), ("channels_first", None, False), ("NHWC", None, False), ("NCHW", None, True),
    ("nchw", None, True),
    ("channels_last", "OIHW", True), ("channels_first", "torch", True), ("NHWC", "hwio", False), ("NCHW", "HWIO", False),
    ("NCHW", "Keras", False), ("Channels_First", "oihw", True),
])
def test_kernel_formats_of_conv2d(data_format, kernel_format, torch):
    is_first = data_format.lower() in ("channels_first", "nchw")
    kernel = KERNEL.transpose(3, 2, 0, 1) if torch else KERNEL
    output = conv2d(first(X) if is_first else X, kernel, BIAS, data_format=data_format, kernel_format=kernel_format)
    expected = correlate(X, KERNEL) + BIAS
    assert np.array_equal(output, first(expected) if is_first else expected)


@pytest.mark.parametrize("data_format, rule, kernel_format, torch", [
    ("channels_last", "keras", None, False), ("channels_first", "keras", None, False), ("NCHW", "keras", None, True),
    ("channels_last", "torch", None, True), ("channels_last", "ONNX", None, True), ("channels_last", "jax", None, False),
    ("channels_last", "window", None, False), ("NCHW", "Torch", None, True), ("NCHW", "torch", "keras", False),
    ("channels_last", "torch", "HWOI", False), ("channels_last", "tensorflow", "IOHW", True), ("NHWC", "keras", "torch", True),
])
def test_kernel_formats_of_conv2d_transpose(data_format, rule, kernel_format, torch):
    is_first = data_format == "channels_first" or data_format == "NCHW"
    kernel = TRANSPOSE_KERNEL.transpose(3, 2, 0, 1) if torch else TRANSPOSE_KERNEL
    options = {"padding": 0} if rule == "window" else {}
    output = conv2d_transpose(first(X) if is_first else X, kernel, TRANSPOSE_BIAS, data_format=data_format,
                              kernel_format=kernel_format, rule=rule, **options)
    expected = scatter(X, TRANSPOSE_KERNEL) + TRANSPOSE_BIAS
    assert np.array_equal(output, first(expected) if is_first else expected)


@pytest.mark.parametrize("verb, kernel, wrong", [(conv2d, KERNEL, "HWOI"), (conv2d, KERNEL, "IOHW"),
                                                 (conv2d_transpose, TRANSPOSE_KERNEL, "HWIO"),
                                                 (conv2d_transpose, TRANSPOSE_KERNEL, "OIHW")])
def test_the_other_verb_s_kernel_format_is_refused(verb, kernel, wrong):
    with pytest.raises(ValueError, match=f"kernel_format is '{wrong}'"):
        verb(X, kernel, kernel_format=wrong)


# -------------------------------------------------------------------------------------------------- conv2d, option by option


@repeatable
@given(strides=st.tuples(*[st.integers(1, 3)] * 2), dilation=st.tuples(*[st.integers(1, 3)] * 2), groups=st.integers(1, 3),
       kernel_size=st.tuples(*[st.integers(1, 3)] * 2), inner=st.integers(1, 3), outer=st.integers(1, 3),
       pads=st.tuples(*[st.tuples(*[st.integers(0, 4)] * 2)] * 2), size=st.tuples(st.integers(7, 9), st.integers(7, 9)),
       dtype=st.sampled_from((np.float32, np.float64)), seed=st.integers(0, 99))
def test_conv2d_is_the_textbook_s(strides, dilation, groups, kernel_size, inner, outer, pads, size, dtype, seed):
    x = numbers((1, *size, inner * groups), seed, dtype)
    kernel, bias = numbers((*kernel_size, inner, outer * groups), seed, dtype), numbers((outer * groups,), seed, dtype)
    options = dict(strides=strides, dilation_rate=dilation, groups=groups, padding=pads)
    expected = correlate(padded(x, *pads), kernel, strides, dilation, groups) + bias
    assert np.array_equal(conv2d(x, kernel, bias, **options), expected)
    assert np.array_equal(conv2d(x, kernel[::-1, ::-1], bias, flip_kernel=True, **options), expected)
    assert conv2d_output_shape(x.shape, kernel.shape, **options) == expected.shape


def test_one_number_stands_for_both_axes_and_pairs_are_height_first():
    assert np.array_equal(conv2d(X, KERNEL, strides=2, dilation_rate=2, padding=1),
                          correlate(padded(X, (1, 1), (1, 1)), KERNEL, (2, 2), (2, 2)))
    assert np.array_equal(conv2d(X, KERNEL, strides=[2, 1]), correlate(X, KERNEL, (2, 1)))
    assert np.array_equal(conv2d(X, KERNEL, dilation_rate=np.array([1, 3])), correlate(X, KERNEL, dilation=(1, 3)))


@pytest.mark.parametrize("activation, options, function", [
    (None, {}, lambda z: z), ("linear", {}, lambda z: z), ("ReLU", {}, lambda z: np.maximum(z, 0)),
    ("relu6", {}, lambda z: np.clip(z, 0, 6)),
    ("clamp", {"activation_min": -20, "activation_max": 30}, lambda z: np.clip(z, -20, 30)),
    ("clamp", {"activation_min": -20}, lambda z: np.maximum(z, -20)),
    ("clamp", {"activation_max": 30}, lambda z: np.minimum(z, 30)),
    ("leaky_relu", {}, lambda z: np.where(z >= 0, z, 0.01 * z)),
    ("leaky_relu", {"activation_alpha": 0.25}, lambda z: np.where(z >= 0, z, 0.25 * z)),
    ("sigmoid", {}, lambda z: 1 / (1 + np.exp(-z))), ("tanh", {}, np.tanh),
])
def test_activations(activation, options, function):
    output = conv2d(X, KERNEL / 64, BIAS / 64, activation=activation, **options)
    assert np.allclose(output, function(correlate(X, KERNEL / 64) + BIAS / 64), rtol=1e-13, atol=1e-15)
    output = conv2d(X, KERNEL, BIAS, activation=activation, **options)
    assert np.allclose(output, function(correlate(X, KERNEL) + BIAS), rtol=1e-13, atol=1e-15)
    output = conv2d_transpose(X, TRANSPOSE_KERNEL, TRANSPOSE_BIAS, activation=activation, **options)
    assert np.allclose(output, function(scatter(X, TRANSPOSE_KERNEL) + TRANSPOSE_BIAS), rtol=1e-13, atol=1e-15)


def test_depth_multiplier():
    kernel = numbers((3, 2, 3, 2))  # Keras' depthwise kernel: height, width, channels, multiplier
    expected = np.concatenate([correlate(X[..., c:c + 1], kernel[:, :, c:c + 1]) for c in range(3)], axis=-1)
    assert np.array_equal(conv2d(X, kernel, depth_multiplier=2), expected)
    flat = kernel.reshape(3, 2, 1, 6)
    assert np.array_equal(conv2d(X, flat, depth_multiplier=2), expected) and np.array_equal(conv2d(X, flat, groups=3), expected)
    torch = flat.transpose(3, 2, 0, 1)
    assert np.array_equal(conv2d(first(X), torch, depth_multiplier=2, data_format="NCHW"), first(expected))
    assert np.array_equal(conv2d(X, flat, depth_multiplier=2, groups=3), expected)
    for wrong, options in ((numbers((3, 2, 2, 3)), {}), (numbers((2, 3, 3, 2)), {"kernel_format": "torch"}), (KERNEL, {})):
        with pytest.raises(ValueError, match="kernel has shape.*depth_multiplier 2 it must be"):
            conv2d(X, wrong, depth_multiplier=2, **options)
    with pytest.raises(ValueError) as caught:
        conv2d(X, kernel, depth_multiplier=2, groups=2)
    assert caught.value.status == constant("CONVOLUTION_ERROR_GROUPS")


def test_empty_arrays():
    assert conv2d(X[:0], KERNEL).shape == (0, 5, 5, 4)
    out = np.empty((0, 5, 5, 4))
    assert conv2d(X[:0], KERNEL, out=out) is out
    assert conv2d_transpose(X[:0, ::-1], TRANSPOSE_KERNEL).shape == (0, 9, 7, 5)
    assert upsample2d(X[:0]).shape == (0, 14, 12, 3)
    assert np.array_equal(conv2d(X[..., :0], KERNEL[:, :, :0], BIAS), np.broadcast_to(BIAS, (2, 5, 5, 4)))
    with pytest.raises(ValueError) as caught:
        conv2d(X[:, :2], KERNEL)
    assert caught.value.status == constant("CONVOLUTION_ERROR_EMPTY_OUTPUT")
    assert conv2d(X[:, :2], KERNEL, allow_empty_output=True).shape == (2, 0, 5, 4)


@pytest.mark.parametrize("out_channels", [20, 25, 64])
@pytest.mark.parametrize("in_channels", [200, 1920, 65920])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tier", isas())
def test_one_pixel_has_the_bits_of_several(tier, dtype, in_channels, out_channels):
    """Its sum is made in one call; of so many channels, several blocks might make one chunk there."""
    data = np.random.default_rng(in_channels)
    x = data.uniform(1, 2, (1, 1, 1, in_channels)).astype(dtype)
    kernel = data.uniform(1, 2, (1, 1, in_channels, out_channels)).astype(dtype)
    expected = conv2d(x, kernel, isa=tier)
    for shape in [(3, 1, 1, in_channels), (1, 1, 7, in_channels)]:
        several = conv2d(np.broadcast_to(x, shape), kernel, isa=tier).reshape(-1, out_channels)
        assert all(same_bits(pixel, expected[0, 0, 0]) for pixel in several)


def test_threads_do_not_change_the_bits():
    x, kernel = numbers((3, 40, 33, 5), dtype=np.float32) / 7, numbers((3, 3, 5, 19), dtype=np.float32) / 3
    results = [conv2d(x, kernel, threads=threads, padding="same") for threads in (1, 0, 2, 3)]
    assert all(same_bits(result, results[0]) for result in results)
    bound = 8 * 2.0 ** -24 * conv2d(np.abs(np.float64(x)), np.abs(np.float64(kernel)), padding="same")
    assert (np.abs(results[0] - conv2d(np.float64(x), np.float64(kernel), padding="same")) <= bound).all()


# ----------------------------------------------------------------------------------------------------------- conv2d_transpose


def transpose_window(rule, padding, i, k, s, d, op, o):
    """Output length and start in the natural result, per axis, from the definitions of the frameworks; None if they refuse it."""
    ke = (k - 1) * d + 1
    full = (i - 1) * s + ke
    if rule == "keras":
        if op is not None and op >= s:
            return None
        if padding == "valid":
            return (max(full, i * s) if op is None else full + op), 0
        length = i * s if op is None else (i - 1) * s + ke % 2 + op
        return length, max(full - length, 0) // 2
    if op is not None and op >= max(s, d) and rule != "window":
        return None
    before, after = padding
    if o is None:
        return full - before - after + (op or 0), before
    if rule == "torch":
        return (o, before) if full - before - after <= o < full - before - after + s else None
    if rule == "onnx":
        total = full + (op or 0) - o
        return (o, total - total // 2) if total >= 0 else None
    return o, before


@pytest.mark.parametrize("rule", ["keras", "torch", "onnx", "window"])
@repeatable
@given(data=st.data(), strides=st.tuples(*[st.integers(1, 3)] * 2), dilation=st.tuples(*[st.integers(1, 2)] * 2),
       kernel_size=st.tuples(*[st.integers(1, 4)] * 2), groups=st.integers(1, 2), outer=st.integers(1, 2),
       size=st.tuples(*[st.integers(1, 4)] * 2), seed=st.integers(0, 99))
def test_conv2d_transpose_is_a_window_of_all_products(rule, data, strides, dilation, kernel_size, groups, outer, size, seed):
    if rule == "keras":
        padding = data.draw(st.sampled_from(("valid", "same")))
        per_axis = [padding] * 2
    elif rule == "torch":
        padding = per_axis = data.draw(st.tuples(*[st.integers(0, 2)] * 2))
        per_axis = [(pad, pad) for pad in padding]
    else:
        least = -2 if rule == "window" else 0
        padding = per_axis = data.draw(st.tuples(*[st.tuples(*[st.integers(least, 2)] * 2)] * 2))
    output_padding = data.draw(st.none() | st.tuples(*[st.integers(0, 2)] * 2))
    output_size = None
    if rule != "keras" and output_padding is None:
        output_size = data.draw(st.none() | st.tuples(*[st.integers(1, 12)] * 2))
    windows = [transpose_window(rule, per_axis[axis], size[axis], kernel_size[axis], strides[axis], dilation[axis],
                                output_padding and output_padding[axis], output_size and output_size[axis]) for axis in range(2)]
    assume(None not in windows and all(length >= 1 for length, _ in windows))
    x = numbers((2, *size, 2 * groups), seed)
    kernel, bias = numbers((*kernel_size, outer, 2 * groups), seed), numbers((outer * groups,), seed)
    lengths, starts = zip(*windows)
    expected = window(scatter(x, kernel, strides, dilation, groups), starts, lengths) + bias
    options = dict(rule=rule, strides=strides, dilation_rate=dilation, groups=groups, padding=padding,
                   output_padding=output_padding, output_size=output_size, kernel_format="keras")
    assert np.array_equal(conv2d_transpose(x, kernel, bias, **options), expected)
    assert np.array_equal(conv2d_transpose(x, kernel[::-1, ::-1], bias, flip_kernel=True, **options), expected)
    assert conv2d_transpose_output_shape(x.shape, kernel.shape, **options) == expected.shape


def line(values):
    return np.float64(values).reshape(1, 1, -1, 1)


@pytest.mark.parametrize("options, expected", [
    (dict(padding="same"), [1, 2, 5, 4]), (dict(padding="same", output_padding=0), [2, 5, 4]),
    (dict(), [1, 2, 5, 4, 6]), (dict(output_padding=(0, 1)), [1, 2, 5, 4, 6, 0]),
    (dict(output_size=(1, 6)), [1, 2, 5, 4, 6, 0]),
    (dict(rule="tensorflow", padding="same", output_size=(1, 3)), [2, 5, 4]),
    (dict(rule="torch", padding=(0, 1), output_padding=(0, 1)), [2, 5, 4, 6]),
    (dict(rule="torch", padding=(0, 1), output_size=(1, 4)), [2, 5, 4, 6]),
    (dict(rule="onnx", padding="same"), [1, 2, 5, 4]), (dict(rule="onnx", padding="same_lower"), [2, 5, 4, 6]),
    (dict(rule="onnx", output_size=(1, 4)), [2, 5, 4, 6]),
    (dict(rule="jax"), [1, 2, 5, 4, 6]), (dict(rule="jax", flip_kernel=True), [3, 2, 7, 4, 2]),
    (dict(rule="window", padding=((0, 0), (-1, 2))), [0, 1, 2, 5]),
])
def test_rules_of_conv2d_transpose(options, expected):
    """[1, 2] under [1, 2, 3] with stride 2 (1 along the height): what each framework makes of it."""
    output = conv2d_transpose(line([1, 2]), line([1, 2, 3]).reshape(1, 3, 1, 1), strides=(1, 2), kernel_format="keras", **options)
    assert output.ravel().tolist() == expected


def test_output_padding_none_is_not_0():
    options = dict(strides=2, padding="same")
    assert conv2d_transpose(X, TRANSPOSE_KERNEL[:, :1], **options).shape == (2, 14, 12, 5)
    assert conv2d_transpose(X, TRANSPOSE_KERNEL[:, :1], output_padding=0, **options).shape == (2, 13, 11, 5)


# ----------------------------------------------------------------------------------------------------------------- matrix


@st.composite
def layers(draw):
    """Shape of an image and of a kernel, with options that conv2d, conv2d_matrix and, as its adjoint, conv2d_transpose share."""
    groups, size = draw(st.integers(1, 2)), (draw(st.integers(4, 7)), draw(st.integers(4, 7)))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)))
    options = dict(strides=(draw(st.integers(1, 3)), draw(st.integers(1, 3))), groups=groups, flip_kernel=draw(st.booleans()),
                   dilation_rate=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
                   data_format=draw(st.sampled_from(("channels_last", "channels_first"))),
                   padding=tuple((draw(st.integers(-1, 2)), draw(st.integers(-1, 2))) for _ in range(2)))
    height, width = ((kernel[axis] - 1) * options["dilation_rate"][axis] + 1 for axis in range(2))
    assume(size[0] + sum(options["padding"][0]) >= height and size[1] + sum(options["padding"][1]) >= width)
    channels = kernel[2] * groups
    return size, (1, channels, *size) if options["data_format"] == "channels_first" else (1, *size, channels), kernel, options


@repeatable
@given(layer=layers(), seed=st.integers(0, 99), dtype=st.sampled_from((np.float32, np.float64)))
def test_matrix(layer, seed, dtype):
    size, shape, kernel_shape, options = layer
    x, kernel = numbers(shape, seed, dtype), numbers(kernel_shape, seed, dtype)
    y = conv2d(x, kernel, **options)
    matrix = conv2d_matrix(kernel, size, **options)
    assert matrix.dtype == dtype and matrix.shape == (y.size, x.size)
    assert np.array_equal(matrix @ x.ravel(), y.ravel())

    gradient = numbers(y.shape, seed + 1, dtype)
    back = conv2d_transpose(gradient, kernel, rule="window", output_size=size, **options)
    assert np.array_equal(matrix.T @ gradient.ravel(), back.ravel())

    values, column_indices, row_offsets = conv2d_matrix(kernel, size, sparse=True, **options)
    assert values.dtype == dtype and column_indices.dtype == row_offsets.dtype == np.int64
    assert row_offsets[0] == 0 and row_offsets[-1] == len(values) == len(column_indices) and len(row_offsets) == y.size + 1
    dense = np.zeros_like(matrix)
    for row in range(y.size):
        columns = column_indices[row_offsets[row]:row_offsets[row + 1]]
        assert (np.diff(columns) > 0).all()
        dense[row, columns] = values[row_offsets[row]:row_offsets[row + 1]]
    assert same_bits(dense, matrix)


@repeatable
@given(mode=st.sampled_from(("reflect", "symmetric", "replicate", "circular")), seed=st.integers(0, 99))
def test_matrix_of_padding_modes(mode, seed):
    x, kernel = numbers((1, 4, 5, 3), seed), numbers((3, 2, 3, 2), seed)
    options = dict(padding=((2, 3), (3, 1)), padding_mode=mode)
    matrix = conv2d_matrix(kernel, (4, 5), **options)
    assert np.array_equal(matrix @ x.ravel(), correlate(padded(
        x, *options["padding"], mode={"replicate": "edge", "circular": "wrap"}.get(mode, mode)), kernel).ravel())
    sparse = pytest.importorskip("scipy.sparse")
    triple = conv2d_matrix(kernel, (4, 5), sparse=True, **options)
    assert np.array_equal(sparse.csr_matrix(triple).toarray(), matrix)


def test_matrix_counts_the_channels_of_the_kernel():
    assert conv2d_matrix(KERNEL, (7, 6)).shape == (5 * 5 * 4, 7 * 6 * 3)
    assert conv2d_matrix(KERNEL.transpose(3, 2, 0, 1), (7, 6), data_format="NCHW").shape == (5 * 5 * 4, 7 * 6 * 3)
    assert conv2d_matrix(numbers((3, 2, 1, 6)), (7, 6), groups=3).shape == (5 * 5 * 6, 7 * 6 * 3)
    depthwise = numbers((3, 2, 3, 2))
    matrix = conv2d_matrix(depthwise, (7, 6), depth_multiplier=2)
    assert np.array_equal(matrix @ X[0].ravel(), conv2d(X[:1], depthwise, depth_multiplier=2).ravel())
    assert np.array_equal(conv2d_matrix(depthwise.reshape(3, 2, 1, 6), (7, 6), depth_multiplier=2), matrix)


def test_matrix_stores_zeros_of_the_kernel_but_nothing_for_the_border():
    triple = conv2d_matrix(np.float64([[0, 1]])[..., None, None], (1, 3), padding="same", sparse=True)
    assert [array.tolist() for array in triple] == [[0, 1, 0, 1, 0], [0, 1, 1, 2, 2], [0, 2, 4, 5]]


def test_matrix_that_does_not_exist():
    with pytest.raises(NotImplementedError) as caught:
        conv2d_matrix(KERNEL, (7, 6), padding=1, padding_mode="constant", padding_value=2)
    assert caught.value.status == constant("CONVOLUTION_ERROR_UNSUPPORTED")
    with pytest.raises(ValueError, match="kernel has shape"):
        conv2d_matrix(KERNEL[0], (7, 6))
    with pytest.raises(ValueError, match="input_size is"):
        conv2d_matrix(KERNEL, (7, 6, 3))


# ------------------------------------------------------------------------------------------------------------- upsample2d


def bilinear(x, size):
    """Half-pixel centres, the border repeated."""
    for axis, length in ((1, size[0]), (2, size[1])):
        place = np.clip((np.arange(length) + 0.5) * x.shape[axis] / length - 0.5, 0, x.shape[axis] - 1)
        low = np.minimum(place.astype(int), x.shape[axis] - 1)
        high, shape = np.minimum(low + 1, x.shape[axis] - 1), [-1 if a == axis else 1 for a in range(4)]
        share = (place - low).reshape(shape)
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return x


@repeatable
@given(factors=st.tuples(st.integers(1, 4), st.integers(1, 4)), size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
       dtype=st.sampled_from((np.float32, np.float64)), is_first=st.booleans(), seed=st.integers(0, 99))
def test_upsample2d_factors(factors, size, dtype, is_first, seed):
    x = numbers((2, *size, 3), seed, dtype)
    layout, options = (first, {"data_format": "channels_first"}) if is_first else (np.asarray, {})
    nearest = upsample2d(layout(x), factors, **options)
    assert nearest.dtype == dtype and np.array_equal(nearest, layout(x.repeat(factors[0], 1).repeat(factors[1], 2)))
    assert upsample2d_output_shape(layout(x).shape, factors, **options) == nearest.shape
    smooth = upsample2d(layout(x), factors, interpolation="Bilinear", **options)
    expected = layout(bilinear(np.float64(x), [size[0] * factors[0], size[1] * factors[1]]))
    assert np.allclose(smooth, expected, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("shape", [
    (1, 20, 50, 3), (3, 70, 49, 5), (1, 380, 401, 1), (2, 190, 210, 3), (1, 333, 200, 5), (1, 150, 290, 8)])
def test_upsample2d_doubles(shape, is_first):
    """Outputs in a near cache and beyond it: which way is taken depends on that, and on the processor."""
    x = numbers(shape, 5, np.float32)
    layout, options = (first, {"data_format": "channels_first"}) if is_first else (np.asarray, {})
    assert np.array_equal(upsample2d(layout(x), 2, **options), layout(x.repeat(2, 1).repeat(2, 2)))
    smooth = upsample2d(layout(x), 2, interpolation="bilinear", **options)
    expected = layout(bilinear(np.float64(x), [2 * shape[1], 2 * shape[2]]))
    assert np.allclose(smooth, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options, expected", [
    (dict(), [1, 1, 2, 2, 4, 4]), (dict(size=(1, 3)), [1, 1, 1, 2, 2, 2, 4, 4, 4]),
    (dict(output_size=(1, 5)), [1, 1, 2, 2, 4]), (dict(output_size=(1, 5), coordinates="half_pixel"), [1, 1, 2, 4, 4]),
    (dict(output_size=(1, 2)), [1, 2]), (dict(output_size=(1, 2), coordinates="half_pixel"), [1, 4]),
    (dict(size=(1, 2), interpolation="bilinear"), [1, 1.25, 1.75, 2.5, 3.5, 4]),
    (dict(output_size=(1, 6), interpolation="bilinear", coordinates="align_corners"), [1, 1.4, 1.8, 2.4, 3.2, 4]),
    (dict(scale=(1, 1.7), interpolation="bilinear"), [1, 1.3823529411764706, 1.9705882352941178, 3.1176470588235294, 4]),
    (dict(output_size=(1, 5), interpolation="bilinear"), [1, 1.4, 2, 3.2, 4]),
    (dict(size=(1, 2), interpolation="bilinear", coordinates="asymmetric"), [1, 1.5, 2, 3, 4, 4]),
])
def test_upsample2d_of_a_line(options, expected):
    """[1, 2, 4] enlarged: the numbers are PyTorch's and TensorFlow's."""
    output = upsample2d(line([1, 2, 4]), **options)
    assert np.allclose(output[0, 0, :, 0], expected, rtol=1e-12, atol=0)


def test_upsample2d_numbers():
    assert upsample2d(X, 3).shape == upsample2d(X, output_size=(21, 18)).shape == upsample2d(X, scale=3).shape == (2, 21, 18, 3)
    assert upsample2d(X, scale=0.5).shape == upsample2d_output_shape(X.shape, scale=0.5) == (2, 3, 3, 3)
    with pytest.raises(ValueError) as caught:
        upsample2d(X, scale=2, output_size=(14, 12), interpolation="area")
    assert caught.value.status == constant("CONVOLUTION_ERROR_FACTOR")


@pytest.mark.parametrize("options, expected", [
    (dict(preset="torch"), [0.8945312, 1.15625, 1.5625, 2.5585938, 3.5820312, 4.2109375]),
    (dict(preset="Keras"), [0.9117648, 1.1459854, 1.6412214, 2.5114503, 3.642336, 4.1764708]),
    (dict(cubic_coefficient=-0.5, edge="renormalise"), [0.9117648, 1.1459854, 1.6412214, 2.5114503, 3.642336, 4.1764708]),
])
def test_upsample2d_bicubic_by_preset_and_by_its_parts(options, expected):
    output = upsample2d(line([1, 2, 4]), (1, 2), interpolation="bicubic", **options)
    assert np.allclose(output[0, 0, :, 0], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("call, word, synonyms", [
    (lambda word: conv2d(X, KERNEL, padding=word), "same", ("SAME_UPPER", "same-upper")),
    (lambda word: conv2d(X, KERNEL, padding=word), "same_lower", ("SAME-LOWER",)),
    (lambda word: conv2d(X, KERNEL, padding=1, padding_mode=word), "replicate", ("edge",)),
    (lambda word: conv2d(X, KERNEL, padding=1, padding_mode=word), "circular", ("wrap",)),
    (lambda word: conv2d(X, KERNEL, activation=word), "leaky_relu", ("leaky-relu",)),
    (lambda word: upsample2d(X, interpolation=word), "bilinear", ("linear",)),
    (lambda word: upsample2d(X, interpolation=word), "bicubic", ("cubic",)),
    (lambda word: upsample2d(X, rounding=word, output_size=3, preset="onnx"), "prefer_floor", ("round_prefer_floor",)),
    (lambda word: upsample2d(X, rounding=word, output_size=3, preset="onnx"), "prefer_ceil", ("round_prefer_ceil",)),
])
def test_the_words_of_other_frameworks(call, word, synonyms):
    for synonym in synonyms:
        assert call(synonym).tobytes() == call(word).tobytes()


def test_upsample2d_words_and_numbers_that_do_not_exist():
    for option in ("preset", "rounding", "edge"):
        with pytest.raises(ValueError, match=f"{option} is 'other'"):
            upsample2d(X, **{option: "other"})
    with pytest.raises(ValueError, match="cubic_coefficient is 0"):
        upsample2d(X, interpolation="bicubic", cubic_coefficient=0)
    with pytest.raises(ValueError, match="antialias") as caught:
        upsample2d(X, antialias=True)
    assert caught.value.status == constant("CONVOLUTION_ERROR_INTERPOLATION")


# ------------------------------------------------------------------------------------------------------------------ plans

PLANS = {
    "conv2d": lambda: Conv2DPlan((2, 7, 6, 3), KERNEL / 7, BIAS, strides=(2, 1), padding="same", activation="relu"),
    "conv2d_transpose": lambda: Conv2DTransposePlan(
        (2, 7, 6, 3), TRANSPOSE_KERNEL / 7, TRANSPOSE_BIAS, strides=2, padding="same"),
    "upsample2d": lambda: Upsample2DPlan((2, 7, 6, 3), (2, 3), dtype=np.float64, interpolation="bilinear"),
}
CALLS = {
    "conv2d": lambda x: conv2d(x, KERNEL / 7, BIAS, strides=(2, 1), padding="same", activation="relu"),
    "conv2d_transpose": lambda x: conv2d_transpose(x, TRANSPOSE_KERNEL / 7, TRANSPOSE_BIAS, strides=2, padding="same"),
    "upsample2d": lambda x: upsample2d(x, (2, 3), interpolation="bilinear"),
}


@pytest.mark.parametrize("verb", PLANS)
@repeatable
@given(data=st.data())
def test_plans_give_the_bits_of_plain_calls(verb, data):
    plan = PLANS[verb]()
    assert plan.input_shape == (2, 7, 6, 3) and plan.dtype == np.float64
    for seed in range(2):
        base_shape, take = data.draw(views((2, 7, 6, 3)))
        x = take(numbers(base_shape, seed) / 7)
        expected = CALLS[verb](x)
        assert expected.any() and plan.output_shape == expected.shape
        assert same_bits(plan(x), expected) and same_bits(plan(np.ascontiguousarray(x)), expected)
        base_shape, take = data.draw(views(expected.shape))
        base, outside = np.full(base_shape, -77.0), np.ones(base_shape, bool)
        out, take(outside)[...] = take(base), False
        assert plan(x, out=out) is out and same_bits(np.ascontiguousarray(out), expected)
        assert (base[outside] == -77).all()


def test_plans_keep_what_they_were_made_of():
    kernel, bias = KERNEL.copy(), BIAS.copy()
    plan = Conv2DPlan(X.shape, kernel, bias)
    kernel[:], bias[:] = 0, 0
    assert np.array_equal(plan(X), correlate(X, KERNEL) + BIAS)
    assert np.array_equal(plan(X[:, ::-1]), correlate(X[:, ::-1], KERNEL) + BIAS), "and for views that come later"


def test_plans_convert_without_loss_or_refuse():
    plan = Conv2DPlan(X.shape, KERNEL.astype(np.float32))
    assert plan.dtype == np.float32
    for dtype in (np.int8, np.uint16, np.float16, np.float32, ">f4"):
        x = np.abs(X).astype(dtype)
        assert plan(x).dtype == np.float32 and np.array_equal(plan(x), correlate(np.abs(X), KERNEL))
    for dtype in (np.int64, np.float64, np.complex64):
        with pytest.raises(ValueError, match="plan is made for shape .* and dtype float32"):
            plan(X.astype(dtype))
    with pytest.raises(ValueError, match=r"x has shape \(1, 7, 6, 3\).*made for shape \(2, 7, 6, 3\)"):
        plan(X[:1].astype(np.float32))
    assert Conv2DPlan(X.shape, KERNEL.astype(int)).dtype == np.float64


def test_plans_refuse_what_calls_refuse():
    for make, kernel in ((Conv2DPlan, KERNEL), (Conv2DTransposePlan, TRANSPOSE_KERNEL)):
        with pytest.raises(ValueError, match="stride") as caught:
            make(X.shape, kernel, strides=-1)
        assert caught.value.status == constant("CONVOLUTION_ERROR_STRIDE")
    with pytest.raises(ValueError, match="bias has shape"):
        Conv2DPlan(X.shape, KERNEL, BIAS[:3])
    with pytest.raises(ValueError, match="that framework has no such interpolation"):
        Upsample2DPlan(X.shape, 2, interpolation="area", preset="onnx")
    with pytest.raises(TypeError, match="strode"):
        Conv2DPlan(X.shape, KERNEL, strode=1)


# For each gradient: the plan, the plain call, the shapes of what both read, and how the call is told where to write.
SAME = {"strides": (2, 1), "padding": "same"}
REFLECT = {"padding": 1, "padding_mode": "reflect"}
GRADIENT_PLANS = {
    "conv2d, input": (
        lambda **o: Conv2DBackwardInputPlan(X.shape, KERNEL / 7, **SAME, **o),
        lambda g, **o: conv2d_backward_input(g, KERNEL / 7, X.shape, **SAME, **o), [(2, 4, 6, 4)]),
    "conv2d, input of a border that repeats": (
        lambda **o: Conv2DBackwardInputPlan(X.shape, KERNEL / 7, **REFLECT, **o),
        lambda g, **o: conv2d_backward_input(g, KERNEL / 7, X.shape, **REFLECT, **o), [(2, 7, 7, 4)]),
    "conv2d, kernel": (
        lambda **o: Conv2DBackwardKernelPlan(X.shape, KERNEL.shape, dtype=np.float64, **SAME, **o),
        lambda x, g, **o: conv2d_backward_kernel(x, g, KERNEL.shape, **SAME, **o), [X.shape, (2, 4, 6, 4)]),
    "conv2d_transpose, input": (
        lambda **o: Conv2DTransposeBackwardInputPlan(X.shape, TRANSPOSE_KERNEL / 7, **SAME, **o),
        lambda g, **o: conv2d_transpose_backward_input(g, TRANSPOSE_KERNEL / 7, X.shape, **SAME, **o), [(2, 14, 6, 5)]),
    "conv2d_transpose, kernel": (
        lambda **o: Conv2DTransposeBackwardKernelPlan(X.shape, TRANSPOSE_KERNEL.shape, dtype=np.float64, **SAME, **o),
        lambda x, g, **o: conv2d_transpose_backward_kernel(x, g, TRANSPOSE_KERNEL.shape, **SAME, **o),
        [X.shape, (2, 14, 6, 5)]),
    "upsample2d": (
        lambda **o: Upsample2DBackwardPlan(X.shape, (2, 3), dtype=np.float64, interpolation="bilinear", **o),
        lambda g, **o: upsample2d_backward(g, X.shape, (2, 3), interpolation="bilinear", **o), [(2, 14, 18, 3)]),
}


@pytest.mark.parametrize("gradient", GRADIENT_PLANS)
@repeatable
@given(data=st.data())
def test_gradient_plans_give_the_bits_of_plain_calls(gradient, data):
    make, call, shapes = GRADIENT_PLANS[gradient]
    with make() as plan, make(accumulate=True) as adding:
        assert plan.input_shape == X.shape and plan.output_shape == shapes[-1] and plan.dtype == np.float64
        for seed in range(2):
            arrays = []
            for shape in shapes:
                base_shape, take = data.draw(views(shape))
                arrays.append(take(numbers(base_shape, seed + len(arrays)) / 7))
            expected = call(*arrays)
            assert expected.any() and same_bits(plan(*arrays), expected)
            assert same_bits(plan(*map(np.ascontiguousarray, arrays)), expected)
            is_kernel = len(shapes) == 2
            assert expected.shape == (plan.kernel_shape if is_kernel else plan.input_shape)
            base_shape, take = (expected.shape, lambda base: base) if is_kernel else data.draw(views(expected.shape))
            base, outside = np.full(base_shape, 77.0), np.ones(base_shape, bool)
            out, take(outside)[...] = take(base), False
            assert plan(*arrays, out=out) is out and same_bits(np.ascontiguousarray(out), expected)
            sums = call(*arrays, out=expected.copy(), accumulate=True)
            assert adding(*arrays, out=out) is out and same_bits(np.ascontiguousarray(out), sums)
            assert not np.array_equal(sums, expected) and (base[outside] == 77).all()


@pytest.mark.parametrize("gradient", GRADIENT_PLANS)
def test_gradient_plans_refuse_what_calls_refuse(gradient):
    make, _, shapes = GRADIENT_PLANS[gradient]
    arrays = [np.ones(shape) for shape in shapes]
    with pytest.raises(ValueError, match="threads is -1") as caught:
        make(threads=-1)
    assert caught.value.status == constant("CONVOLUTION_ERROR_THREADS")
    with pytest.raises(ValueError, match="accumulate is True and out is None"):
        make(accumulate=True)(*arrays)
    plan = make()
    with pytest.raises(ValueError, match=r"output_gradient has shape \(1, .*plan is made for shape \(2, "):
        plan(*arrays[:-1], arrays[-1][:1])
    with pytest.raises(ValueError, match="output_gradient has .* complex128; the plan is made for .* float64"):
        plan(*arrays[:-1], arrays[-1].astype(complex))
    with pytest.raises(ValueError, match=r"out has shape \(1,\)"):
        plan(*arrays, out=np.ones(1))
    if len(shapes) == 2:
        with pytest.raises(ValueError, match=r"x has shape \(1, 7, 6, 3\)"):
            plan(arrays[0][:1], arrays[1])
        with pytest.raises(ValueError, match="out has strides .* must be contiguous"):
            plan(*arrays, out=np.ones(plan.kernel_shape[::-1]).T)
    plan.close()
    with pytest.raises(ValueError, match="plan is closed"):
        plan(*arrays)


@pytest.mark.parametrize("verb", PLANS)
def test_plans_are_freed_once(verb, monkeypatch):
    functions, freed = getattr(convolution, "_" + verb.upper()), []
    destroy = functions.plan_destroy
    monkeypatch.setattr(functions, "plan_destroy", lambda pointer: (freed.append(pointer.value), destroy(pointer)))
    with PLANS[verb]() as plan:
        assert plan(X).any() and freed == []
    assert len(freed) == 1 and freed[0]
    plan.close()
    with pytest.raises(ValueError, match="plan is closed"):
        plan(X)
    plan = PLANS[verb]()
    plan(X[:, ::-1])
    del plan
    gc.collect()
    assert len(freed) == 3 and len(set(freed[1:])) == 2 and all(freed), "the packed plan, and that of the mirrored view"


def test_a_plan_runs_in_many_threads_and_may_be_closed_meanwhile():
    plan = Conv2DPlan((1, 60, 50, 8), numbers((3, 3, 8, 16)) / 7, threads=1)
    packed = [numbers((1, 60, 50, 8), seed) for seed in range(4)]
    mirrored = [np.ascontiguousarray(image[:, ::-1])[:, ::-1] for image in packed]
    expected = [plan(image) for image in packed]
    results, failures, started = [], [], threading.Barrier(5)

    def work(index):
        for turn in range(400):
            try:
                results.append(same_bits(plan((packed, mirrored)[turn % 2][index]), expected[index]))
            except ValueError as error:
                failures.append(str(error))
            if turn == 4:
                started.wait(60)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    started.wait(60)
    plan.close()
    for thread in threads:
        thread.join()
    assert len(results) >= 20 and all(results) and set(failures) == {"the plan is closed"}


# ----------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("words, call", [
    (r"x has shape \(7, 6, 3\).*four axes, \(batch, height, width, channels\)", lambda: conv2d(X[0], KERNEL)),
    (r"four axes, \(batch, channels, height, width\)", lambda: conv2d(X[0], KERNEL, data_format="channels_first")),
    (r"kernel has shape \(3, 2\).*\(height, width, in_channels / groups, out_channels\)", lambda: conv2d(X, KERNEL[:, :, 0, 0])),
    (r"\(out_channels, in_channels / groups, height, width\)", lambda: conv2d(X, KERNEL[0], kernel_format="OIHW")),
    (r"kernel has shape \(3, 2, 3, 4\).*takes 3 channels; x has shape \(2, 7, 6, 2\), with data_format 'channels_last' 2",
     lambda: conv2d(X[..., :2], KERNEL)),
    (r"groups 3 it takes 9 channels", lambda: conv2d(X, KERNEL, groups=3)),
    (r"read as \(out_channels, .*takes 2 channels; .*3 channels", lambda: conv2d(first(X), KERNEL, data_format="NCHW")),
    (r"bias has shape \(3,\); it must be \(4,\)", lambda: conv2d(X, KERNEL, BIAS[:3])),
    (r"bias has shape \(1, 4\)", lambda: conv2d(X, KERNEL, BIAS[None])),
    (r"bias has shape \(\)", lambda: conv2d(X, KERNEL, 1.0)),
    (r"x has shape \(7, 6, 3\)", lambda: conv2d_transpose(X[0], TRANSPOSE_KERNEL)),
    (r"kernel has shape \(2, 5, 3\).*\(height, width, out_channels / groups, in_channels\)",
     lambda: conv2d_transpose(X, TRANSPOSE_KERNEL[0])),
    (r"kernel has shape \(3, 2, 5, 3\).*takes 3 channels; x has shape \(2, 7, 6, 2\)",
     lambda: conv2d_transpose(X[..., :2], TRANSPOSE_KERNEL)),
    (r"read as \(in_channels, .*takes 3 channels; .*2 channels",
     lambda: conv2d_transpose(X[..., :2], TRANSPOSE_KERNEL, rule="torch")),
    (r"bias has shape \(4,\); it must be \(5,\)", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, BIAS)),
    (r"bias has shape \(5,\); it must be \(15,\)", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, TRANSPOSE_BIAS, groups=3)),
    (r"x has shape \(42,\)", lambda: upsample2d(X[0, :, :, 0].ravel())),
    (r"x has shape \(1, 2\)", lambda: upsample2d_output_shape((1, 2))),
    ("strides is 0", lambda: conv2d(X, KERNEL, strides=0)),
    ("strides is 0", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, strides=(1, 0))),
    ("dilation_rate is 0", lambda: conv2d(X, KERNEL, dilation_rate=0)), ("groups is 0", lambda: conv2d(X, KERNEL, groups=0)),
    ("groups is 0", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, groups=0)),
    ("depth_multiplier is 0", lambda: conv2d(X, KERNEL, depth_multiplier=0)),
    ("depth_multiplier is -1", lambda: conv2d(X, KERNEL, depth_multiplier=-1)),
    ("output_size is 0", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, output_size=0)), ("size is 0", lambda: upsample2d(X, 0)),
    ("scale is 0", lambda: upsample2d(X, scale=0.0)), ("output_size is 0", lambda: upsample2d(X, output_size=(0, 3))),
    ("activation_alpha is 0", lambda: conv2d(X, KERNEL, activation="leaky_relu", activation_alpha=0.0)),
    (r"padding is \(1, 1, 1, 1\); .* \(\(top, bottom\), \(left, right\)\)", lambda: conv2d(X, KERNEL, padding=(1, 1, 1, 1))),
    (r"strides is \(1, 2, 3\)", lambda: conv2d(X, KERNEL, strides=(1, 2, 3))),
    ("strides is 1.5", lambda: conv2d(X, KERNEL, strides=1.5)), ("strides is '2'", lambda: conv2d(X, KERNEL, strides=("2", 2))),
    ("groups is None", lambda: conv2d(X, KERNEL, groups=None)), ("scale is 'big'", lambda: upsample2d(X, scale=("big", 1))),
    ("strides is 18446744073709551617", lambda: conv2d(X, KERNEL, strides=2 ** 64 + 1)),
    ("threads is 4294967297", lambda: conv2d(X, KERNEL, threads=2 ** 32 + 1)),
    ("out_channels is", lambda: conv2d_transpose_output_shape((1, 2, 2, 3), (1, 1, 2 ** 62, 3), groups=4)),
    ("data_format is 'NWHC'; it must be one of channels_last, channels_first", lambda: conv2d(X, KERNEL, data_format="NWHC")),
    ("data_format is None", lambda: conv2d(X, KERNEL, data_format=None)),
    ("activation is 'gelu'", lambda: conv2d(X, KERNEL, activation="gelu")),
    ("padding_mode is 'mirror'", lambda: conv2d(X, KERNEL, padding_mode="mirror")),
    ("rule is 'caffe'", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, rule="caffe")),
    ("interpolation is 'spline'", lambda: upsample2d(X, interpolation="spline")),
    ("coordinates is 'centre'", lambda: upsample2d(X, coordinates="centre")),
])
def test_errors_of_the_python_side_name_the_argument(words, call):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert not hasattr(caught.value, "status")


@pytest.mark.parametrize("status, words, call", [
    ("STRIDE", "stride_height.*-1", lambda: conv2d(X, KERNEL, strides=(-1, 1))),
    ("DILATION", "dilation_width.*-2", lambda: conv2d(X, KERNEL, dilation_rate=(1, -2))),
    ("THREADS", "threads.*-1", lambda: conv2d(X, KERNEL, threads=-1)),
    ("THREADS", "threads.*1025", lambda: upsample2d(X, threads=1025)),
    ("GROUPS", "groups.*3", lambda: conv2d(X, numbers((3, 2, 1, 4)), groups=3)),
    ("KERNEL_SIZE", "kernel_height.*0", lambda: conv2d(X, KERNEL[:0])),
    ("PADDING", "padding", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, padding="full")),
    ("PADDING", "pad", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, padding=1)),
    ("PADDING", "pad", lambda: conv2d(X, KERNEL, padding=((7, 0), (0, 0)), padding_mode="reflect")),
    ("OUTPUT_PADDING", "output_padding_height.*2", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, strides=2, output_padding=2)),
    ("OUTPUT_SIZE", "output_height.*3", lambda: conv2d_transpose(X, TRANSPOSE_KERNEL, rule="torch", kernel_format="keras",
                                                                 output_size=(3, 7))),
    ("ACTIVATION", "activation_m(in|ax)", lambda: conv2d(X, KERNEL, activation="clamp", activation_min=2, activation_max=1)),
    ("FACTOR", "factor_height.*-2", lambda: upsample2d(X, -2)),
    ("FACTOR", "scale_width.*(?i:nan)", lambda: upsample2d(X, scale=(1, float("nan")))),
    ("IMAGE_SIZE", "height.*-7", lambda: conv2d_output_shape((1, -7, 6, 3), (3, 2, 3, 4))),
    ("OVERFLOW", "2147483648", lambda: conv2d_output_shape((2 ** 31, 2 ** 31, 2 ** 31, 3), (1, 1, 3, 4))),
    ("OUTPUT_SIZE", "output_height.*-3", lambda: upsample2d(X, output_size=(-3, 4))),
])
def test_errors_of_the_library_come_through(status, words, call):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert caught.value.status == constant("CONVOLUTION_ERROR_" + status), caught.value


def test_out_of_memory_is_a_memory_error(monkeypatch):
    """No request is large enough to fail everywhere: the library's answer is put in its place."""
    monkeypatch.setattr(convolution, "_error_message", lambda: b"no room")
    with pytest.raises(MemoryError, match="no room") as caught:
        convolution._raise_failure(constant("CONVOLUTION_ERROR_OUT_OF_MEMORY"), None, ())
    assert caught.value.status == constant("CONVOLUTION_ERROR_OUT_OF_MEMORY")


def test_errors_of_threads_do_not_mix():
    wrong = {}

    def work(stride):
        for _ in range(200):
            try:
                conv2d(X, KERNEL, strides=stride)
            except ValueError as error:
                if str(stride) not in str(error):
                    wrong[stride] = str(error)

    threads = [threading.Thread(target=work, args=(-10 - index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == {}


# --------------------------------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize("script", sorted(CTYPES.glob("[0-9]*.py")), ids=lambda script: script.stem)
def test_examples(script, tmp_path):
    report = tmp_path / "report.tsv"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True,
                         env={**os.environ, "CONVOLUTION_REPORT": str(report)})
    assert run.returncode == 0, run.stdout + run.stderr
    rows = [row.split("\t") for row in report.read_text().splitlines()]
    assert len(rows) >= 4 and len({result for _, result, *_ in rows}) == len(rows)
    for example, _, deviation, limit, verdict in rows:
        assert example == "ctypes/" + script.stem and float(deviation) <= float(limit) and verdict == "ok"


@pytest.mark.parametrize("call, status", [
    ("check('a', [1.0, 2], [1, 2])", 0), ("check('a', [1.0, 2.0000001], [1, 2])", 1),
    ("check('a', [1, 2.000001], [1, 2], RELATIVE)", 0),
    ("check('a', [1, 2.00001], [1, 2], RELATIVE)", 1), ("check('a', [1, float('nan')], [1, 2], RELATIVE)", 1),
    ("check('a', [[1, 2]], [1, 2])", 1), ("pass", 1), ("check('a', 1, 2); check('b', 1, 1)", 1),
])
def test_the_examples_check_can_fail(call, status, tmp_path):
    run = python(f"from check import *; {call}; finish()", CTYPES, CONVOLUTION_REPORT=str(tmp_path / "report"))
    assert run.returncode == status, run.stdout + run.stderr
    if status and "check" in call:
        assert "FAIL" in (tmp_path / "report").read_text()
