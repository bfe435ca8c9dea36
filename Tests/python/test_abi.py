"""The shared object as others see it: its symbols, what it needs, where wide instructions stand; and the C programs of Tests/c and
c-examples against it, on every tier, under emulated processors that lack the wide ones, and on arm64."""
import collections
import ctypes
import os
import platform
import re
import subprocess
from pathlib import Path

import pytest

from native import (BUILD, HEADER, INCLUDE, LIBRARY, ROOT, WARNINGS, assert_all_passed, compile_c, have, header_constants,
                    header_functions, header_version, pkg_config, run)

on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 only")


# ------------------------------------------------------------------------------------------------------------ the file


def symbols(path, *options):
    """(type letter, name) of each symbol."""
    lines = run("nm", *options, path).stdout.splitlines()
    return [tuple(line.split()[-2:]) for line in lines if len(line.split()) >= 2]


def dynamic(tag):
    return re.findall(rf"\({tag}\).*?\[?([^\[\]\s]+)\]?$", run("readelf", "-W", "-d", LIBRARY).stdout, re.MULTILINE)


def test_header_is_understood():
    functions = header_functions()
    assert {"conv2d", "conv2d_plan_destroy", "convolution_version", "upsample2d_output_shape"} <= functions
    assert len(functions) >= 28
    assert {"CONVOLUTION_OK", "CONVOLUTION_KERNEL_IOHW", "UPSAMPLE2D_COORDINATES_ASYMMETRIC"} <= set(header_constants())


def test_exports_are_the_functions_of_the_header():
    exported = symbols(LIBRARY, "-D", "--defined-only")
    assert {name for _, name in exported} == header_functions()
    assert {kind for kind, _ in exported} == {"T"}


def test_soname_and_version():
    major = header_version().split(".")[0]
    assert dynamic("SONAME") == [f"libconvolution.so.{major}"]
    assert LIBRARY.resolve().name == f"libconvolution.so.{header_version()}"
    assert (LIBRARY.parent / f"libconvolution.so.{major}").resolve() == LIBRARY.resolve()


def test_needs_libc_and_libm_alone():
    # The dynamic loader is named where libm or thread-local storage refer to it.
    assert {name for name in dynamic("NEEDED") if not name.startswith("ld-linux")} <= {"libc.so.6", "libm.so.6"}
    assert "libc.so.6" in dynamic("NEEDED")


def test_no_path_to_search_is_built_in():
    assert dynamic("RPATH") == [] and dynamic("RUNPATH") == []


def test_is_small():
    assert LIBRARY.stat().st_size < 1 << 20


def test_stack_is_not_executable():
    line = re.search(r"GNU_STACK.*", run("readelf", "-W", "-l", LIBRARY).stdout)[0]
    assert re.search(r"\bRW\b", line) and "E" not in line.split("GNU_STACK")[1].replace("0x", ""), line


def test_no_segment_is_writable_and_executable():
    for flags in re.findall(r"LOAD\s+(?:0x\w+\s+){5}([RWE ]+?)\s+0x", run("readelf", "-W", "-l", LIBRARY).stdout):
        assert not ("W" in flags and "E" in flags)


def test_no_text_relocations():
    assert "TEXTREL" not in run("readelf", "-W", "-d", LIBRARY).stdout


def test_relocations_are_read_only_after_loading():
    assert "GNU_RELRO" in run("readelf", "-W", "-l", LIBRARY).stdout
    assert re.search(r"BIND_NOW|NOW", run("readelf", "-W", "-d", LIBRARY).stdout)


def test_does_not_print_or_exit():
    """Whatever the library calls in libc, nothing that prints or ends the process is among it, but for the compiler's guards."""
    used = {name.split("@")[0] for _, name in symbols(LIBRARY, "-D", "--undefined-only")}
    assert "posix_memalign" in used or "malloc" in used
    assert not used & {"abort", "exit", "_exit", "printf", "puts", "putchar", "fprintf", "fputs", "fwrite", "write", "perror", "raise",
                       "signal", "setenv", "putenv"}


# ---------------------------------------------------------------------------------------------- instructions of the tiers

BASELINE_OBJECTS = ["ConvolutionKernels.o", "Convolution.o"]
TIER_OBJECTS = ["ConvolutionAVX2.o", "ConvolutionAVX512.o"]

# What x86-64-v3 and -v4 may use and baseline processors lack: everything with a VEX or EVEX prefix (v...), operations on mask
# registers (k...), and these. tzcnt is not listed, for compilers write it as a faster bsf where the difference does not matter.
NEW_SCALAR = {"andn", "bextr", "blsi", "blsmsk", "blsr", "bzhi", "lzcnt", "movbe", "mulx", "pdep", "pext", "rorx", "sarx", "shlx", "shrx"}
SYSTEM = {"verr", "verw"}


def is_new(mnemonic):
    return (mnemonic.startswith("v") and mnemonic not in SYSTEM) or re.match(r"k(mov|and|or|xor|not|test|shift|unpck|add)", mnemonic) \
        or re.sub(r"[lqw]$", "", mnemonic) in NEW_SCALAR or mnemonic in NEW_SCALAR


def functions_with_new_instructions(path):
    """{function: first such instruction}, and how many functions there are."""
    found, function, count = {}, None, 0
    for line in run("objdump", "-d", "--no-show-raw-insn", path).stdout.splitlines():
        if match := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            function, count = match[1], count + 1
        elif match := re.match(r"\s+[0-9a-f]+:\t(?:(?:lock|rep|repz|repnz|data16|cs|ds) )*(\S+)(.*)", line):
            if is_new(match[1]):
                found.setdefault(function, match[1] + match[2])
    return found, count


@on_x86_64
@pytest.mark.parametrize("name", BASELINE_OBJECTS)
def test_baseline_objects_are_baseline(name):
    found, count = functions_with_new_instructions(BUILD / name)
    assert count > 0
    assert found == {}


@on_x86_64
def test_tier_objects_are_what_their_names_say():
    avx2 = run("objdump", "-d", "--no-show-raw-insn", BUILD / "ConvolutionAVX2.o").stdout
    avx512 = run("objdump", "-d", "--no-show-raw-insn", BUILD / "ConvolutionAVX512.o").stdout
    assert re.search(r"vfmadd\S*ps .*%ymm", avx2) and "%zmm" not in avx2
    assert re.search(r"vfmadd\S*ps .*%zmm", avx512)


@on_x86_64
def test_no_function_of_a_tier_stands_in_for_a_baseline_one(tmp_path):
    """Swift's runtime in miniature is a weak copy in every object. The linker keeps one; it must be a baseline one. To see which, the
    library is linked again in the Makefile's order, with its symbols."""
    lines = run("make", "-s", "-n", "-B", "build/libconvolution.so", cwd=ROOT).stdout.splitlines()
    link = [line for line in lines if " -shared " in line]
    assert len(link) == 1, lines
    command = link[0].split()
    command[command.index("-o") + 1] = str(tmp_path / "with-symbols.so")
    run(*(word for word in command if word != "-s"), cwd=ROOT)

    shared_names = {name for o in BASELINE_OBJECTS for kind, name in symbols(BUILD / o, "--defined-only") if kind in "TWVDBRu"}
    assert "conv2d" in shared_names
    found, count = functions_with_new_instructions(tmp_path / "with-symbols.so")
    assert count > 30 and found
    assert {name: what for name, what in found.items() if name in shared_names} == {}

    # What is left belongs to one tier object each, or is local to its object.
    in_tiers = collections.Counter(name for o in TIER_OBJECTS for name in {n for _, n in symbols(BUILD / o, "--defined-only")})
    assert {name for name in found if in_tiers[name] == 0} == set()
    shared_by_tiers = {name for o in TIER_OBJECTS for kind, name in symbols(BUILD / o, "--defined-only") if kind in "TWVu"}
    assert {name for name in found if in_tiers[name] == 2 and name in shared_by_tiers} == set()


# ---------------------------------------------------------------------------------------------------------- the header


@pytest.mark.parametrize("language", [["cc", "-std=c99"], ["cc", "-std=c11"], ["c++", "-x", "c++", "-std=c++11"],
                                      ["c++", "-x", "c++", "-std=c++17"]], ids=lambda language: language[-1])
def test_header_stands_alone(language, tmp_path):
    source = ROOT / "Tests/c/header.c"
    run(*language, *WARNINGS, "-pedantic", "-I", INCLUDE, "-c", source, "-o", tmp_path / "header.o")
    run(language[0], tmp_path / "header.o", "-o", tmp_path / "header", LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}")
    assert_all_passed(run(tmp_path / "header").stdout, at_least=len(header_functions()))
    assert set(re.findall(r"\(function\)(\w+)", source.read_text())) == header_functions()


def test_header_is_ascii_and_needs_no_other():
    text = HEADER.read_bytes().decode("ascii")
    assert set(re.findall(r"#include (\S+)", text)) == {"<stddef.h>", "<stdint.h>"}


@pytest.fixture(scope="module")
def library():
    lib = ctypes.CDLL(str(LIBRARY))
    lib.convolution_status_name.restype = lib.convolution_isa.restype = ctypes.c_char_p
    return lib


@pytest.fixture(scope="module")
def constants(tmp_path_factory):
    """{name: value} as the compiler sees them."""
    path = tmp_path_factory.mktemp("constants")
    lines = "\n".join(f'    printf("{name} %d\\n", (int){name});' for name in header_constants())
    (path / "constants.c").write_text(f"#include <stdio.h>\n#include \"convolution.h\"\nint main(void) {{\n{lines}\n    return 0;\n}}\n")
    output = run(compile_c(path / "constants.c", path / "constants")).stdout
    return {name: int(value) for name, value in (line.split() for line in output.splitlines())}


def test_every_constant_is_known_by_name(library, constants):
    assert len(constants) > 70
    value = ctypes.c_int32()
    for name, expected in constants.items():
        value.value = -12345
        assert library.convolution_constant(name.encode(), ctypes.byref(value)) == 0, name
        assert value.value == expected, name


def test_every_status_has_its_name(library, constants):
    statuses = {name: value for name, value in constants.items() if name == "CONVOLUTION_OK" or name.startswith("CONVOLUTION_ERROR_")}
    assert sorted(statuses.values()) == list(range(len(statuses)))
    for name, value in statuses.items():
        assert library.convolution_status_name(value) == name.encode()
    for value in (-1, len(statuses), 2**31 - 1, -2**31):
        assert library.convolution_status_name(value) == b"CONVOLUTION_ERROR_UNKNOWN"


def test_version_is_that_of_the_header(library):
    major, minor, patch = map(int, header_version().split("."))
    assert library.convolution_version() == major * 10000 + minor * 100 + patch


# ------------------------------------------------------------------------------------------- the C programs, everywhere

# name -> arguments here, and under an emulator, which is 10 to 50 times slower
TEST_PROGRAMS = {
    "bad-input": ([], []),
    "fuzz": (["200000"], ["6000"]),
    "guard-pages": (["400"], ["40"]),
    "out-of-memory": ([], ["1"]),
    "extremes": ([], []),
    "gradients": (["300"], ["8"]),
    "concurrent": ([], ["4", "0"]),
}
EXAMPLES = sorted(path.stem for path in (ROOT / "c-examples").glob("[0-9]*.c") if not path.stem.endswith("-picture"))


def tiers():
    lib = ctypes.CDLL(str(LIBRARY))
    lib.convolution_isa_name.restype = ctypes.c_char_p
    names, index = [], 0
    while name := lib.convolution_isa_name(index):
        names.append(name.decode())
        index += 1
    return [name for name in names if lib.convolution_isa_supported(name.encode())]


def compiled(directory, library=LIBRARY, compiler="cc"):
    programs = {}
    for name in TEST_PROGRAMS:
        programs[name] = compile_c(ROOT / f"Tests/c/{name}.c", directory / name, library, compiler)
    (directory / "isa.c").write_text('#include <stdio.h>\n#include "convolution.h"\n'
                                     'int main(void) { return puts(convolution_isa() ? convolution_isa() : "none") < 0; }\n')
    programs["isa"] = compile_c(directory / "isa.c", directory / "isa", library, compiler)
    return programs


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("programs")
    built = compiled(directory)
    for name in EXAMPLES:
        extra = [*pkg_config("libffi"), "-ldl"] if "libffi" in name else []
        built[name] = compile_c(ROOT / f"c-examples/{name}.c", directory / name, flags=extra)
    return built


def chosen_tier(programs, *emulator, env=None):
    """What convolution_isa says. The emulator may say before it what else it lacks."""
    return run(*emulator, programs["isa"], env=env).stdout.splitlines()[-1]


def check_program(name, program, *, emulator=(), env=None):
    arguments = TEST_PROGRAMS.get(name, ([], []))[1 if emulator else 0]
    env = {"CONVOLUTION_LIBRARY": str(LIBRARY), "CONVOLUTION_REPORT": "", **(env or {})}
    output = run(*emulator, program, *arguments, env=env).stdout
    if name in TEST_PROGRAMS:
        assert_all_passed(output, at_least=20)
    else:
        assert output.strip()


def test_all_examples_are_there():
    assert [name[:2] for name in EXAMPLES] == ["01", "02", "03", "04", "05", "06", "07", "09", "11"]


@pytest.mark.parametrize("tier", ["", *tiers()], ids=lambda tier: tier or "default")
@pytest.mark.parametrize("name", [*TEST_PROGRAMS, *EXAMPLES])
def test_program(name, tier, programs):
    env = {"CONVOLUTION_ISA": tier} if tier else {}
    if tier:
        assert chosen_tier(programs, env=env) == tier
    check_program(name, programs[name], env=env)


def test_threads_come_stay_and_go(tmp_path):
    """Natively alone: an emulator has threads of its own."""
    program = compile_c(ROOT / "Tests/c/threads.c", tmp_path / "threads", flags=["-ldl"])
    assert_all_passed(run(program, LIBRARY).stdout, at_least=100)


# The emulator knows AVX2 and no AVX-512.
@on_x86_64
@pytest.mark.skipif(not have("qemu-x86_64"), reason="qemu-x86_64 is not installed")
@pytest.mark.parametrize("processor, tier", [("Nehalem", "baseline"), ("Haswell", "avx2")])
@pytest.mark.parametrize("name", [*TEST_PROGRAMS, *EXAMPLES])
def test_program_on_an_emulated_processor(name, processor, tier, programs):
    emulator = ["qemu-x86_64", "-cpu", processor]
    assert chosen_tier(programs, *emulator) == tier
    check_program(name, programs[name], emulator=emulator)


def processor_lines(program, *arguments, tier, emulator=()):
    """What `processors` prints: (layer, hash), and the sizes that go with them."""
    lines = run(*emulator, program, *arguments, env={"CONVOLUTION_ISA": tier}).stdout.splitlines()
    lines = [line.rsplit(" ", 2) for line in lines if not line.startswith("qemu")]
    return [line[0] for line in lines], [line[1:] for line in lines]


@on_x86_64
@pytest.mark.skipif(not have("qemu-x86_64"), reason="qemu-x86_64 is not installed")
def test_bits_do_not_depend_on_the_maker_of_the_processor(tmp_path):
    program = compile_c(ROOT / "Tests/c/processors.c", tmp_path / "processors")
    intel, _ = processor_lines(program, tier="avx2", emulator=["qemu-x86_64", "-cpu", "Haswell"])
    assert len(intel) == 10
    assert processor_lines(program, tier="avx2", emulator=["qemu-x86_64", "-cpu", "EPYC"])[0] == intel
    if "avx2" in tiers():
        assert processor_lines(program, tier="avx2")[0] == intel


def taking_this_processor_for_another_makers(directory):
    """A copy of the library that knows Intel's processors by another name: where this is one, it takes it for another maker's,
    else for Intel's."""
    maker = next(line.split()[-1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("vendor_id"))
    assert len(maker) == 12
    code = LIBRARY.read_bytes()
    for part in range(0, 12, 4):
        known = b"GenuineIntel"[part : part + 4]
        assert code.count(known) == 1, "how the library asks for the maker is not what this test changes"
        code = code.replace(known, b"none" if maker == "GenuineIntel" else maker[part : part + 4].encode())
    library = directory / Path(os.readlink(LIBRARY)).name
    library.write_bytes(code)
    return library


@on_x86_64
@pytest.mark.parametrize("tier", tiers())
def test_bits_do_not_depend_on_what_maker_the_library_finds(tier, tmp_path):
    """As above, but natively: so that the ways of both makers are gone on each tier, whoever's processor this is."""
    here, other = LIBRARY, taking_this_processor_for_another_makers(tmp_path)
    lines = [processor_lines(compile_c(ROOT / "Tests/c/processors.c", tmp_path / f"processors-{i}", library), 2000, tier=tier)
             for i, library in enumerate([here, other])]
    assert len(lines[0][0]) == 2010
    assert lines[0][0] == lines[1][0]
    assert lines[0][1] != lines[1][1], "no plan is another: the library has not taken the processor for another maker's"


@on_x86_64
@pytest.mark.skipif(not have("qemu-x86_64"), reason="qemu-x86_64 is not installed")
def test_a_tier_that_the_processor_lacks_is_refused(programs):
    for tier in ("avx2", "avx512"):
        env = {"CONVOLUTION_ISA": tier}
        assert chosen_tier(programs, "qemu-x86_64", "-cpu", "Nehalem", env=env) == "none"
        example = subprocess.run(["qemu-x86_64", "-cpu", "Nehalem", programs[EXAMPLES[0]]], env={**env, "PATH": "/usr/bin"},
                                 text=True, capture_output=True)
        assert example.returncode == 1, example
        assert "isa" in (example.stdout + example.stderr).lower()


ARM64 = BUILD / "arm64"
ARM64_EMULATOR = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]
needs_arm64 = pytest.mark.skipif(not have("aarch64-linux-gnu-gcc", "qemu-aarch64"), reason="no arm64 cross compiler and emulator")


@pytest.fixture(scope="session")
def arm64_programs(tmp_path_factory):
    run("make", "-s", "arm64", cwd=ROOT)
    directory = tmp_path_factory.mktemp("arm64")
    return compiled(directory, ARM64 / "libconvolution.so", "aarch64-linux-gnu-gcc")


@needs_arm64
@pytest.mark.parametrize("name", [*TEST_PROGRAMS])
def test_program_on_arm64(name, arm64_programs):
    assert chosen_tier(arm64_programs, *ARM64_EMULATOR) == "baseline"
    check_program(name, arm64_programs[name], emulator=ARM64_EMULATOR)


@needs_arm64
@pytest.mark.parametrize("name", [name for name in EXAMPLES if "libffi" not in name])
def test_example_on_arm64(name, arm64_programs):
    check_program(name, ARM64 / name, emulator=ARM64_EMULATOR)


@needs_arm64
def test_arm64_library_exports_the_functions_of_the_header(arm64_programs):
    exported = symbols(ARM64 / "libconvolution.so", "-D", "--defined-only")
    assert {name for _, name in exported} == header_functions()
