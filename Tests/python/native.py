"""Compiling and running C programs against a build of the library, here or under an emulator."""
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
INCLUDE = ROOT / "include"
HEADER = INCLUDE / "convolution.h"
LIBRARY = pathlib.Path(os.environ.get("CONVOLUTION_LIBRARY", BUILD / "libconvolution.so")).resolve().parent / "libconvolution.so"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def run(*command, env=None, timeout=600, check=True, **options):
    """The finished process; a failure shows the command and all it said, unless check is False."""
    done = subprocess.run(
        [str(word) for word in command], env={**os.environ, **(env or {})}, timeout=timeout, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0 or not check, f"{' '.join(map(str, command))} -> {done.returncode}\n{done.stdout[-6000:]}"
    return done


def compile_c(source, program, library=LIBRARY, compiler="cc", flags=()):
    run(compiler, "-std=c99", "-D_GNU_SOURCE", "-O2", *WARNINGS, "-I", INCLUDE, source, "-o", program, library,
        f"-Wl,-rpath,{library.parent}", "-lpthread", "-lm", *flags)
    return program


def pkg_config(name, prefix=None):
    """The flags for a library of the system, or for one that is installed below `prefix`."""
    env = {"PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig"} if prefix else None
    return run("pkg-config", "--cflags", "--libs", name, env=env).stdout.split()


def assert_all_passed(output, at_least=1):
    """The last line of a test program is "N passed, N failed"."""
    match = re.search(r"^(\d+) passed, (\d+) failed$", output, re.MULTILINE)
    assert match, output[-3000:]
    assert int(match[2]) == 0, output[-3000:]
    assert int(match[1]) >= at_least, output[-3000:]


def header_code():
    """The header without comments and preprocessor lines."""
    code = re.sub(r"/\*.*?\*/", " ", HEADER.read_text(), flags=re.DOTALL)
    code = code.replace("\\\n", " ")
    return re.sub(r"^\s*#.*$", "", code, flags=re.MULTILINE)


def header_functions():
    # "int32_t (*progress)(...)" is a pointer.
    return set(re.findall(r"\b([a-z]\w*)\s*\((?!\*)", header_code()))


def header_constants():
    """The names of all enumerators, in the header's order."""
    return [name for body in re.findall(r"\benum\s*\{([^}]*)\}", header_code()) for name in re.findall(r"\b([A-Z]\w*)\b", body)
            if not re.search(rf"=\s*{name}\b", body)]


def header_version():
    numbers = [re.search(rf"#define CONVOLUTION_VERSION_{part} (\d+)", HEADER.read_text())[1] for part in ("MAJOR", "MINOR", "PATCH")]
    return ".".join(numbers)


def have(*programs):
    return all(shutil.which(program) for program in programs)
