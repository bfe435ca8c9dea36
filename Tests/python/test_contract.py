"""Promises of the header that show best from outside C: structs as mere bytes, texts per thread, the environment, and a build of the
library that traps where the small one would go on."""
import ctypes
import os
import pathlib
import re
import struct
import subprocess
import sys
import threading
import time

import pytest

from native import LIBRARY, ROOT, assert_all_passed, compile_c, run

OK, NULL_POINTER, STRUCT_SIZE, ISA, STRIDE = 0, 1, 2, 8, 12


@pytest.fixture(scope="module")
def library():
    lib = ctypes.CDLL(str(LIBRARY))
    for name in ("convolution_error_message", "convolution_isa", "convolution_isa_name", "convolution_status_name"):
        getattr(lib, name).restype = ctypes.c_char_p
    for name in ("conv2d_params_size", "conv2d_transpose_params_size", "upsample2d_params_size"):
        getattr(lib, name).restype = ctypes.c_size_t
    return lib


def message(library):
    return library.convolution_error_message().decode("ascii")


# --------------------------------------------------------------------------------------------- structs as mere bytes

LAYER = ["batch", "height", "width", "in_channels", "out_channels", "kernel_height", "kernel_width", "stride_height", "stride_width",
         "dilation_height", "dilation_width", "groups", "depth_multiplier", "pad_top", "pad_bottom", "pad_left", "pad_right"]
STRIDES = [f"{array}_strides{i}" for array in ("input", "output") for i in range(4)]
FIELDS = {
    "conv2d": [
        *((name, "q") for name in LAYER + STRIDES),
        *((name, "d") for name in ("padding_value", "activation_alpha", "activation_min", "activation_max")), ("isa", "Q"),
        *((name, "i") for name in ("dtype", "data_format", "kernel_format", "padding", "padding_mode", "flip_kernel", "activation",
                                   "threads", "allow_empty_output", "algorithm")), ("workspace_limit", "q"), ("accumulate", "i"), ("reserved", "i")],
    "conv2d_transpose": [
        *((name, "q") for name in LAYER + ["output_padding_height", "output_padding_width", "output_height", "output_width"] + STRIDES),
        *((name, "d") for name in ("activation_alpha", "activation_min", "activation_max")), ("isa", "Q"),
        *((name, "i") for name in ("dtype", "data_format", "kernel_format", "rule", "padding", "output_padding_given", "flip_kernel",
                                   "activation", "threads", "allow_empty_output")), ("workspace_limit", "q"), ("algorithm", "i"), ("accumulate", "i")],
    "upsample2d": [
        *((name, "q") for name in ["batch", "height", "width", "channels", "factor_height", "factor_width", "output_height",
                                   "output_width"] + STRIDES),
        *((name, "d") for name in ("scale_height", "scale_width", "cubic_coefficient")), ("isa", "Q"),
        *((name, "i") for name in ("dtype", "data_format", "interpolation", "coordinates", "antialias", "threads", "preset", "rounding",
                                   "edge", "accumulate")),
        *((f"roi[{i}]", "d") for i in range(4)), ("extrapolation_value", "d")],
}
SMALL = {
    "conv2d": dict(batch=1, height=5, width=7, in_channels=2, out_channels=3, kernel_height=3, kernel_width=2),
    "conv2d_transpose": dict(batch=1, height=5, width=7, in_channels=2, out_channels=3, kernel_height=3, kernel_width=2),
    "upsample2d": dict(batch=1, height=5, width=7, channels=3, factor_height=2, factor_width=3),
}
SHAPES = {"conv2d": [1, 3, 6, 3], "conv2d_transpose": [1, 7, 8, 3], "upsample2d": [1, 10, 21, 3]}


def params(verb, struct_size=None, tail=b"", **fields):
    """The bytes of a params struct, in the header's order."""
    values = {**SMALL[verb], **fields}
    names = [name for name, _ in FIELDS[verb]]
    assert set(values) <= set(names)
    layout = "<Q" + "".join(kind for _, kind in FIELDS[verb])
    size = struct.calcsize(layout) + len(tail) if struct_size is None else struct_size
    return struct.pack(layout, size, *(values.get(name, 0) for name in names)) + tail


def shape_of(library, verb, data):
    buffer = ctypes.create_string_buffer(data, len(data))
    shape = (ctypes.c_int64 * 4)(-1, -2, -3, -4)
    status = getattr(library, verb + "_output_shape")(buffer, shape)
    assert buffer.raw == data, "params are read-only"
    return status, list(shape)


@pytest.mark.parametrize("verb", FIELDS)
def test_struct_is_laid_out_as_the_header_says(library, verb):
    """Every field, written at the place where the header's order puts it, is the field of that name for the library: a bad value
    there brings a text with that name."""
    assert len(params(verb)) == getattr(library, verb + "_params_size")()
    assert shape_of(library, verb, params(verb)) == (OK, SHAPES[verb])
    bad = {"q": -9, "i": -9, "d": float("nan")}
    # What makes a field that is read only beside another one be read.
    needs = {"activation_alpha": dict(activation=4), "activation_min": dict(activation=3), "activation_max": dict(activation=3),
             "output_padding_height": dict(output_padding_given=1), "output_padding_width": dict(output_padding_given=1)}
    if verb == "upsample2d":
        no_factor = dict(factor_height=0, factor_width=0)
        needs = {"output_height": no_factor, "output_width": no_factor, "scale_height": no_factor, "scale_width": no_factor}
    for name, kind in FIELDS[verb]:
        if kind == "Q" or "_strides" in name:
            continue
        status, shape = shape_of(library, verb, params(verb, **needs.get(name, {}), **{name: bad[kind]}))
        assert status != OK, name
        assert name in message(library), (name, message(library))
        assert ("nan" if kind == "d" else "-9") in message(library).lower(), (name, message(library))
        assert shape == [-1, -2, -3, -4], "a failing call writes nothing"


@pytest.mark.parametrize("verb", FIELDS)
@pytest.mark.parametrize("array", ["input_strides", "output_strides"])
def test_strides_stand_where_the_header_says(library, verb, array):
    for i in range(4):
        status, _ = shape_of(library, verb, params(verb, batch=2, **{f"{array}{i}": 2**62}))
        assert status != OK and array in message(library) and str(2**62) in message(library)


@pytest.mark.parametrize("verb", FIELDS)
def test_longer_struct_with_a_zero_tail_is_accepted(library, verb):
    for tail in (1, 3, 8, 64, 640):
        assert shape_of(library, verb, params(verb, tail=bytes(tail))) == (OK, SHAPES[verb])


@pytest.mark.parametrize("verb", FIELDS)
def test_longer_struct_with_another_tail_is_refused(library, verb):
    for tail in (b"\1", bytes(7) + b"\x80", b"\0\1" + bytes(100)):
        status, _ = shape_of(library, verb, params(verb, tail=tail))
        assert status == STRUCT_SIZE
        assert "struct_size" in message(library) and str(len(params(verb)) + len(tail)) in message(library)


@pytest.mark.parametrize("verb, first", [("conv2d", 288), ("conv2d_transpose", 312), ("upsample2d", 192),
                                         ("upsample2d", 208)])
def test_struct_of_an_earlier_release_is_accepted(library, verb, first):
    """Its missing fields count as 0, whatever lies behind it in memory."""
    data = params(verb, struct_size=first)[:first] + b"\xff" * 64
    assert shape_of(library, verb, data) == (OK, SHAPES[verb])


@pytest.mark.parametrize("verb", FIELDS)
def test_shorter_struct_is_refused(library, verb):
    known = len(params(verb))
    for size in (0, 1, 8, 100, known - 8, known - 1):
        status, _ = shape_of(library, verb, params(verb, struct_size=size))
        assert status == STRUCT_SIZE
        assert "struct_size" in message(library) and f" {size};" in message(library) + ";", message(library)


def test_an_array_without_elements_may_be_null(library):
    """What an empty vector's data() is in C++, and an empty array's baseAddress in Swift."""
    array, none, zero = ctypes.create_string_buffer(4096), None, ctypes.c_int64(0)
    empty = params("conv2d", batch=0)
    assert library.conv2d(empty, none, array, none, none) == OK
    assert library.conv2d_backward_input(empty, none, array, none) == OK
    assert library.conv2d_backward_kernel(empty, none, none, array) == OK
    assert library.conv2d_backward_bias(empty, none, array) == OK
    assert library.conv2d_gram(empty, array, none, none) == OK
    assert library.conv2d_solve(empty, none, array, none, none, none, none) == OK
    channelless = params("conv2d", in_channels=0)
    assert library.conv2d(channelless, none, none, none, array) == OK
    assert library.conv2d_backward_kernel(channelless, none, array, none) == OK
    assert library.conv2d_matrix(channelless, none, none, zero) == OK
    assert library.conv2d_matrix_csr(channelless, none, array, none, none, zero) == OK
    assert library.conv2d_transpose(params("conv2d_transpose", out_channels=0), array, none, none, none) == OK
    for function in library.upsample2d, library.upsample2d_gram, library.upsample2d_backward:
        assert function(params("upsample2d", channels=0), none, none) == OK
    assert library.conv2d(params("conv2d"), array, none, none, ctypes.create_string_buffer(4096)) == NULL_POINTER
    assert message(library) == "kernel is NULL; it must point to 36 elements"


# ----------------------------------------------------------------------------------------------------- texts of errors


def fail_with(library, stride):
    status, _ = shape_of(library, "conv2d", params("conv2d", stride_width=stride))
    assert status == STRIDE


def test_text_is_that_of_this_threads_last_failure(library):
    fail_with(library, -11)
    seen, may_look = {}, threading.Event()

    def other():
        seen["at first"] = message(library)
        fail_with(library, -22)
        seen["own"] = message(library)
        may_look.wait(20)
        seen["later"] = message(library)

    thread = threading.Thread(target=other)
    thread.start()
    while "own" not in seen and thread.is_alive():
        thread.join(0.01)
    assert "-11" in message(library)
    fail_with(library, -33)
    may_look.set()
    thread.join()
    assert seen["at first"] == ""
    assert "-22" in seen["own"] and seen["later"] == seen["own"]
    assert "-33" in message(library)


def test_success_leaves_the_text(library):
    fail_with(library, -44)
    before = message(library)
    assert shape_of(library, "conv2d", params("conv2d"))[0] == OK
    assert message(library) == before and "-44" in before


def test_text_is_bounded_whatever_the_caller_wrote(library):
    name = ctypes.create_string_buffer(b"x" * 100000)
    status, _ = shape_of(library, "conv2d", params("conv2d", isa=ctypes.addressof(name)))
    assert status == ISA
    assert "isa" in message(library) and "xxx" in message(library) and len(message(library)) < 5000


# ------------------------------------------------------------------------------------------------ instruction-set tiers


def tier_names(library):
    names = []
    while (name := library.convolution_isa_name(len(names))) is not None:
        names.append(name.decode())
    return names


def test_tiers(library):
    names = tier_names(library)
    assert names[0] == "baseline" and len(set(names)) == len(names)
    assert names == [name for name in ("baseline", "avx2", "avx512") if name in names], "from the oldest to the newest"
    supported = [name for name in names if library.convolution_isa_supported(name.encode())]
    assert supported[0] == "baseline"
    if "CONVOLUTION_ISA" not in os.environ:
        assert library.convolution_isa().decode() == supported[-1], "the best"
    for name in (None, b"", b"BASELINE", b"baseline ", b"sse2"):
        assert library.convolution_isa_supported(name) == 0
    for index in (-1, len(names), 2**31 - 1, -2**31):
        assert library.convolution_isa_name(index) is None


def in_fresh_process(code, **environment):
    """What `code` prints, with the library as `library` and this file's names."""
    script = f"import test_contract as t; library = t.library.__wrapped__()\n{code}"
    env = {**os.environ, **environment, "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", script], env=env, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_environment_names_the_tier(library):
    for name in tier_names(library):
        if library.convolution_isa_supported(name.encode()):
            assert in_fresh_process("print(library.convolution_isa())", CONVOLUTION_ISA=name) == f"b'{name}'\n"


def test_empty_environment_names_none(library):
    best = [name for name in tier_names(library) if library.convolution_isa_supported(name.encode())][-1]
    assert in_fresh_process("print(library.convolution_isa())", CONVOLUTION_ISA="") == f"b'{best}'\n"


def test_environment_with_an_unknown_tier_fails_every_call_that_names_none():
    code = """
print(library.convolution_isa())
for verb in t.FIELDS:
    status, _ = t.shape_of(library, verb, t.params(verb))
    print(status, t.message(library))
name = t.ctypes.create_string_buffer(b"baseline")
for verb in t.FIELDS:
    print(*t.shape_of(library, verb, t.params(verb, isa=t.ctypes.addressof(name))))
"""
    lines = in_fresh_process(code, CONVOLUTION_ISA="warp9").splitlines()
    assert lines[0] == "None"
    for line in lines[1:4]:
        assert line.startswith(f"{ISA} ") and "CONVOLUTION_ISA" in line and "warp9" in line
    assert lines[4:] == [f"{OK} {SHAPES[verb]}" for verb in FIELDS]


def test_environment_is_read_once():
    code = """
import os
before = library.convolution_isa()
os.environ["CONVOLUTION_ISA"] = "warp9"
print(before == library.convolution_isa(), t.shape_of(library, "conv2d", t.params("conv2d"))[0])
"""
    assert in_fresh_process(code, CONVOLUTION_ISA="baseline") == "True 0\n"


# ------------------------------------------------------------------------------------------------- the build that traps


@pytest.fixture(scope="module", params=["debug", "release"])
def swift_library(request):
    """The same sources as a normal Swift package. In debug, overflows, wrong indices and failed conversions end the process; in release
    functions are inlined across files, each of which has its own copy of what a header of static functions holds."""
    build = ["swift", "build", "-c", request.param]
    run(*build, "-q", "--product", "ConvolutionC", cwd=ROOT, timeout=1800)
    path = pathlib.Path(run(*build, "--show-bin-path", cwd=ROOT).stdout.strip()) / "libConvolutionC.so"
    assert path.exists()
    return path


@pytest.mark.parametrize("name, arguments", [
    ("bad-input", []), ("extremes", []), ("fuzz", ["20000"]), ("guard-pages", ["6"]), ("gradients", ["6"]), ("concurrent", ["1", "2"])])
def test_swift_build_keeps_the_contract(name, arguments, swift_library, tmp_path):
    program = compile_c(ROOT / f"Tests/c/{name}.c", tmp_path / name, swift_library)
    assert_all_passed(run(program, *arguments).stdout, at_least=20)


# ------------------------------------------------------------------------------------------- each field beyond all measure

WHOLE = [0, 1, -1, 2, -2, 2**31 - 1, -2**31, 2**31, 2**32 + 1, 2**40, 2**48 - 1, 2**48, 2**48 + 1, -2**48, -2**48 - 1, 2**62, -2**62,
         2**63 - 1, -2**63]
REAL = [0, -0.0, 1, -1, 0.5, 5e-324, -5e-324, 1e-300, 1e-40, 2.0**31, -2.0**31, 2.0**48, 2.0**62, 1e38, 1e300, 1.7e308, float("inf"),
        float("-inf"), float("nan")]
MORE = {
    "conv2d": [dict(padding=5, pad_top=1, pad_left=2, groups=2, in_channels=4, out_channels=2, stride_height=2)],
    "conv2d_transpose": [dict(rule=rule, padding=padding, stride_height=2, dilation_width=2, groups=1)
                         for rule, padding in ((0, 1), (1, 5), (2, 2), (3, 0), (4, 5))],
    "upsample2d": [dict(factor_height=0, factor_width=0, **options) for options in (
        dict(scale_height=1.5, scale_width=0.7, interpolation=1), dict(output_height=3, output_width=9, interpolation=4, antialias=1),
        dict(scale_height=2, scale_width=2, output_height=4, output_width=4, interpolation=2),
        dict(output_height=3, output_width=9, interpolation=5),
        {"output_height": 7, "output_width": 9, "coordinates": 6, "roi[2]": 0.9, "roi[3]": 0.5})],
}
QUERIES = {"conv2d": ["output_shape", "workspace_size", "matrix_size"], "conv2d_transpose": ["output_shape", "workspace_size", "matrix_size"],
           "upsample2d": ["output_shape", "matrix_size"]}


@pytest.mark.parametrize("verb", FIELDS)
def test_no_number_is_too_strange(library, verb):
    """Each field with each extreme number, alone: the sizes are known or refused at once, the sentence names the field, and where it
    is refused nothing is written."""
    limits = {"q": 2**63, "i": 2**31}
    for options in [{}, *MORE[verb]]:
        for field, kind in FIELDS[verb]:
            if field == "isa":
                continue
            for number in REAL if kind == "d" else [whole for whole in WHOLE if -limits[kind] <= whole < limits[kind]]:
                data = params(verb, **{**options, field: number})
                for query in QUERIES[verb]:
                    results = [(ctypes.c_int64 * 4)(-7, -7, -7, -7) for _ in range(3)]
                    start = time.monotonic()
                    status = getattr(library, f"{verb}_{query}")(data, *results[:1 if query == "output_shape" else 3])
                    told = f"{verb}_{query} with {field} = {number}: {message(library) if status else ''}"
                    assert time.monotonic() - start < 5, told
                    if status == OK:
                        continue
                    assert all(list(result) == [-7] * 4 for result in results), told
                    words = {*re.split("[^a-z]", field), "memory"}  # or what a product of sizes exceeds
                    assert words & set(re.split("[^a-z]", message(library).lower())), told
