"""The benchmark times right answers and refuses to time wrong ones."""
import json

import pytest

from native import BUILD, LIBRARY, compile_c, run

PROGRAM = BUILD / "convolution-bench"
QUICK = ["--budget", "2", "--turns", "1", "--threads", "1,2"]

# Adds 1e-3 to the last element that the real function has written.
BROKEN = """
#include <convolution.h>
#include <dlfcn.h>

int32_t %(function)s(%(plan)s *plan, const void *input, void *output);
int32_t %(function)s(%(plan)s *plan, const void *input, void *output) {
    int32_t (*real)(%(plan)s *, const void *, void *);
    *(void **)&real = dlsym(RTLD_NEXT, "%(function)s");
    int32_t status = real(plan, input, output);
    ((float *)output)[%(count)d - 1] += 1e-3f;
    return status;
}
"""


def bench(*options, **environment):
    return run(PROGRAM, *options, env={"LD_LIBRARY_PATH": str(LIBRARY.parent), **environment}, check=False)


def test_figures(tmp_path):
    report = tmp_path / "report.json"
    done = bench("--layers", "tiny,fcn8s_4x4s2,up_nearest2_3", *QUICK, "--json", report)
    assert done.returncode == 0, done.stdout
    document = json.loads(report.read_text())
    assert [(row["name"], row["threads"]) for row in document["layers"]] == [
        (name, threads) for name in ("fcn8s_4x4s2_21_34", "up_nearest2_3_512", "tiny_3x3_8_8") for threads in (1, 2)]
    for row in document["layers"]:
        assert set(row["least"]) == set(row["median"]) == {"nhwc_plan", "nhwc_plain", "nchw_plan", "nchw_plain"}
        assert all(0 < row["least"][key] <= row["median"][key] < 10 for key in row["least"])
        best = min(row["least"]["nhwc_plan"], row["least"]["nchw_plan"])
        assert row["operation_rate"] == pytest.approx(row["operations"] / best)
        assert row["byte_rate"] == pytest.approx(row["bytes"] / best)
        fastest = document["machine"]["multiply_adds"][str(row["threads"])]
        assert row["share_of_multiply_adds"] == pytest.approx(row["operation_rate"] / fastest)
        assert row["share_of_copy"] > 0
        assert row["name"] in done.stdout
    # Useful products alone: a 3x3 kernel over 8 lines reads 8 + 2 * 7 of them, in both directions; 64 pairs of channels.
    assert document["layers"][4]["operations"] == 2 * 22 * 22 * 64
    # 34 * 34 elements, 4 * 4 taps, 21 * 21 pairs: nothing is cut off.
    assert document["layers"][0]["operations"] == 2 * 34 * 34 * 16 * 21 * 21
    # Nearest is exact, sums are rounded.
    assert [row["error"] > 0 for row in document["layers"]] == [True, True, False, False, True, True]
    assert max(row["error"] for row in document["layers"]) <= 1


@pytest.mark.parametrize("layer, function, plan, count", [
    ("tiny_3x3_8_8", "conv2d_plan_execute", "const conv2d_plan", 8 * 8 * 8),
    ("fcn8s_4x4s2_21_34", "conv2d_transpose_plan_execute", "const conv2d_transpose_plan", 70 * 70 * 21),
    ("up_nearest2_3_512", "upsample2d_plan_execute", "const upsample2d_plan", 1024 * 1024 * 3),
])
def test_a_wrong_answer_is_not_timed(tmp_path, layer, function, plan, count):
    source, library, report = tmp_path / "broken.c", tmp_path / "broken.so", tmp_path / "report.json"
    source.write_text(BROKEN % {"function": function, "plan": plan, "count": count})
    compile_c(source, library, flags=["-shared", "-fPIC"])
    done = bench("--layers", layer, *QUICK, "--json", report, LD_PRELOAD=str(library))
    assert done.returncode == 1
    assert f"WRONG ANSWER: {layer}, nhwc plan, 1 threads: image 0" in done.stdout
    assert not report.exists()


@pytest.mark.parametrize("options, sentence", [
    (["--layers", "no such layer"], "no layer of that name"),
    (["--isa", "mmx"], "'mmx' is no tier"),
    (["--threads", "0"], "--threads 0: a whole number"),
    (["--fast", "1"], "--fast: unknown"),
])
def test_bad_options(options, sentence):
    done = bench(*options)
    assert done.returncode == 2
    assert sentence in done.stdout and "usage:" in done.stdout
