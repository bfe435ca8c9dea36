"""What others do with the project: install it and compile against the installed files, depend on it as a Swift package, or type in
the programs of README.md."""
import os
import re
import shutil
import stat
import sys
import textwrap

import pytest

from native import LIBRARY, ROOT, WARNINGS, assert_all_passed, header_functions, header_version, pkg_config, run

VERSION = header_version()
MAJOR = VERSION.split(".")[0]


def install(*arguments):
    run("make", "-s", "install", *arguments, cwd=ROOT)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    path = tmp_path_factory.mktemp("prefix") / "usr"
    install(f"PREFIX={path}")
    return path


def files_below(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if not file.is_dir())


INSTALLED = ["include/convolution.h", "lib/libconvolution.so", f"lib/libconvolution.so.{MAJOR}", f"lib/libconvolution.so.{VERSION}",
             "lib/pkgconfig/convolution.pc"]


def test_installed_files(prefix):
    assert files_below(prefix) == INSTALLED
    real = prefix / f"lib/libconvolution.so.{VERSION}"
    assert not real.is_symlink() and real.read_bytes() == LIBRARY.resolve().read_bytes()
    assert os.readlink(prefix / "lib/libconvolution.so") == f"libconvolution.so.{MAJOR}"
    assert os.readlink(prefix / f"lib/libconvolution.so.{MAJOR}") == f"libconvolution.so.{VERSION}"
    for name in ("include/convolution.h", "lib/pkgconfig/convolution.pc"):
        assert stat.S_IMODE((prefix / name).stat().st_mode) == 0o644
    assert (prefix / "include/convolution.h").read_bytes() == (ROOT / "include/convolution.h").read_bytes()


def test_program_compiled_against_the_installed_files(prefix, tmp_path):
    flags = pkg_config("convolution", prefix)
    assert f"-I{prefix}/include" in flags and "-lconvolution" in flags
    shutil.copy(ROOT / "Tests/c/header.c", tmp_path)  # out of reach of the source tree's header
    run("cc", "-std=c99", *WARNINGS, "header.c", "-o", "header", *flags, cwd=tmp_path)
    output = run(tmp_path / "header", env={"LD_LIBRARY_PATH": str(prefix / "lib")}).stdout
    assert_all_passed(output, at_least=len(header_functions()))


def test_pkg_config_knows_the_version(prefix):
    env = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    assert run("pkg-config", "--modversion", "convolution", env=env).stdout.strip() == VERSION
    assert "-lm" in run("pkg-config", "--libs", "--static", "convolution", env=env).stdout.split()


def test_destdir_comes_before_the_prefix(tmp_path):
    install("PREFIX=/opt/elsewhere", f"DESTDIR={tmp_path}")
    assert files_below(tmp_path) == [f"opt/elsewhere/{name}" for name in INSTALLED]
    pc = (tmp_path / "opt/elsewhere/lib/pkgconfig/convolution.pc").read_text()
    assert "prefix=/opt/elsewhere\n" in pc and str(tmp_path) not in pc


# --------------------------------------------------------------------------------------------------- the Swift package


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository of the files as they are now, committed or not, with the version as its only tag."""
    path = tmp_path_factory.mktemp("repository") / "convolution"
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    git = ["git", "-C", path, "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "core.hooksPath=/dev/null",
           "-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"]
    run(*git, "init", "-q")
    run(*git, "add", "-A")
    run(*git, "commit", "-q", "-m", "The working tree")
    run(*git, "tag", VERSION)
    return path


def built_and_run(package, name):
    """What the executable `name` of a package prints. SwiftPM's cache of repositories stays out of the user's."""
    options = ["--package-path", package, "--cache-path", package.parent / "cache"]
    run("swift", "build", *options, timeout=1800)
    return run(package / ".build/debug" / name).stdout


def test_swift_package_as_a_versioned_dependency(repository, tmp_path):
    """Compiler flags like those of the tiers are refused in dependencies by version, if the tools version of the manifest is old."""
    package = tmp_path / "consumer"
    shutil.copytree(ROOT / "Tests/consumer", package, ignore=shutil.ignore_patterns(".build", "Package.resolved"))
    manifest = (package / "Package.swift").read_text()
    assert manifest.count('"file:///convolution"') == 1
    (package / "Package.swift").write_text(manifest.replace("file:///convolution", repository.as_uri()))
    assert built_and_run(package, "consumer").splitlines() == [
        "conv2d [1, 2, 2, 1] [37.5, 47.5, 67.5, 77.5]",
        "conv2dTranspose [1, 1, 4, 1] [1.0, 2.0, 5.0, 4.0]",
        "upsample2d [1, 2, 6, 1] [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]",
        "true stride_width is -2; it must be at least 1",
    ]
    resolved = (package / "Package.resolved").read_text()
    assert re.search(rf'"version"\s*:\s*"{re.escape(VERSION)}"', resolved)


# ------------------------------------------------------------------------------------------- the programs of README.md

README = (ROOT / "README.md").read_text()


def from_readme(language, number=0):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[number]


def assert_in_readme(output):
    """README shows what a program prints as an indented block."""
    assert output.count("\n") > 2
    assert textwrap.indent(output, "    ") in README


def test_readme_c(prefix, tmp_path):
    (tmp_path / "hello.c").write_text(from_readme("c"))
    run("cc", *WARNINGS, "hello.c", "-o", "hello", *pkg_config("convolution", prefix), cwd=tmp_path)
    assert_in_readme(run(tmp_path / "hello", env={"LD_LIBRARY_PATH": str(prefix / "lib")}).stdout)


def test_readme_python(tmp_path):
    (tmp_path / "hello.py").write_text(from_readme("python"))
    assert_in_readme(run(sys.executable, tmp_path / "hello.py", env={"PYTHONPATH": str(ROOT / "c-examples/ctypes")}).stdout)


def test_readme_swift(repository, tmp_path):
    package = tmp_path / "hello"
    (package / "Sources/hello").mkdir(parents=True)
    (package / "Sources/hello/main.swift").write_text(from_readme("swift", 0))
    (package / "Package.swift").write_text(from_readme("swift", 1).replace("<url>", repository.as_uri()))
    assert_in_readme(built_and_run(package, "hello"))
