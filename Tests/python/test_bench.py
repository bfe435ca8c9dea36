"""The benchmark times right answers and refuses to time wrong ones."""
import json
import sys
import xml.etree.ElementTree as tree

import numpy as np
import pytest

from native import BUILD, LIBRARY, ROOT, compile_c, run

PEERS = ROOT / "Sources/ConvolutionBench/peers"
sys.path.insert(0, str(PEERS))
import layers
import oracle
import picture

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
    done = bench("--layers", "tiny,fcn8s_4x4s2,up_nearest2_3", "--groups", "conv2d_transpose,upsample2d,tiny", *QUICK,
                 "--json", report)
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
    # A packed kernel is as large as the kernel, at least; upsample2d has none.
    assert document["layers"][0]["plan_bytes"] >= 4 * 4 * 4 * 21 * 21 and "plan_bytes" not in document["layers"][2]


def test_gradients(tmp_path):
    report = tmp_path / "report.json"
    done = bench("--layers", "mbv2_dw3x3s2,dcgan_4x4s2_128", *QUICK, "--json", report)
    assert done.returncode == 0, done.stdout
    rows = {row["name"]: row for row in json.loads(report.read_text())["layers"]}
    for name, group in (("mbv2_dw3x3s2_144_56", "conv2d"), ("dcgan_4x4s2_128_3_32", "conv2d_transpose")):
        for which in ("input", "kernel"):
            row = rows[f"{name}/{which}"]
            assert set(row["least"]) == {"nhwc_plan", "nhwc_plain", "nchw_plan", "nchw_plain"}
            assert row["group"] == f"{group}_backward_{which}" and 0 < row["error"] <= 1
            assert row["operations"] == rows[name]["operations"] and row["bytes"] == rows[name]["bytes"]


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
    assert f"WRONG ANSWER: {layer}, nhwc plan, 1 threads: element [0, " in done.stdout
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


# --------------------------------------------------------------------------------------------------------- make bench-peers


@pytest.fixture
def home(tmp_path):
    """What setup.sh makes, without any peer."""
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -B "$@"\n')
    python.chmod(0o755)
    (tmp_path / "native").mkdir()
    compile_c(PEERS / "ours.c", tmp_path / "native/ours.so", flags=["-shared", "-fPIC"])
    return tmp_path


def bench_peers(home, *options):
    return run(sys.executable, "-B", PEERS / "bench_peers.py", "--home", home, "--budget", "0.001", "--turns", "1",
               "--threads", "1", "--json", home / "report.json", *options, check=False)


def test_ours_without_peers(home):
    done = bench_peers(home, "--peers", "onednn", "--layers", "tiny,fcn8s_4x4s2,up_nearest2_3")
    assert done.returncode == 0, done.stdout
    document = json.loads((home / "report.json").read_text())
    assert list(document["left_out"]) == ["onednn"] and list(document["versions"]) == ["ours"]
    assert [row["name"] for row in document["layers"]] == ["fcn8s_4x4s2_21_34", "up_nearest2_3_512", "tiny_3x3_8_8"]
    for row in document["layers"]:
        assert row["failures"] == {} and row["ours"] in ("nhwc", "nchw") and 0 < row["seconds"] < 10
        assert all(0 <= row["examined"]["ours"][variant]["error"] <= 1 for variant in ("nhwc", "nchw"))


def test_a_wrong_answer_of_ours_ends_the_comparison(home):
    source = (PEERS / "ours.c").read_text()
    broken = source.replace(".stride_height = (l)->stride,", ".stride_height = (l)->stride, .flip_kernel = 1,", 1)
    assert broken != source
    (home / "ours.c").write_text(broken)
    compile_c(home / "ours.c", home / "native/ours.so", flags=["-shared", "-fPIC", "-I", PEERS])
    done = bench_peers(home, "--peers", "", "--layers", "tiny")
    assert done.returncode != 0 and "WRONG ANSWER of ours: tiny_3x3_8_8" in done.stdout


SMALL = [
    {"operation": "conv2d", "batch": 2, "input": [4, 5, 6], "output_channels": 6, "kernel": 3, "stride": 2, "dilation": 2,
     "groups": 2, "padding": 2},
    {"operation": "conv2d_transpose", "batch": 2, "input": [4, 3, 4], "output_channels": 6, "kernel": 3, "stride": 2, "groups": 2,
     "padding": 1, "output_padding": 1},
    {"operation": "upsample2d", "input": [2, 4, 5], "output_size": 8, "interpolation": "nearest"},
    {"operation": "upsample2d", "input": [2, 4, 5], "output_size": 9, "interpolation": "bilinear"},
]


def answer(layer, x, kernel):
    """The oracle's answer."""
    if layer.operation == "upsample2d":
        return oracle.upsample2d(x, output_size=layer.out_height, interpolation=layer.interpolation, data_format="NCHW")[0]
    options = dict(strides=layer.stride, padding=layer.padding, groups=layer.groups, data_format="NCHW")
    if layer.operation == "conv2d":
        return oracle.conv2d(x, kernel, dilation_rate=layer.dilation, kernel_format="OIHW", **options)[0]
    return oracle.conv2d_transpose(
        x, kernel, output_padding=layer.output_padding, kernel_format="IOHW", rule="torch", **options)[0]


@pytest.mark.parametrize("entry", SMALL)
def test_the_sampled_oracle_is_the_oracle(entry):
    layer = layers.Layer({"name": "small", **entry})
    x, kernel, _ = layer.arrays()
    want = answer(layer, x, kernel)
    assert want.shape == layer.output_shape
    sample = layers.Oracle(layer, x, kernel)
    np.testing.assert_allclose(sample.value, want[tuple(sample.places)], rtol=0, atol=1e-12)
    assert sample.error(want.astype(np.float32), strict=True) <= 1
    want[tuple(place[0] for place in sample.places)] += 0.1
    assert sample.error(want.astype(np.float32), strict=True) > 1
    assert sample.error(want.astype(np.float32), strict=False) > 1


@pytest.mark.parametrize("which", ["input", "kernel"])
@pytest.mark.parametrize("entry", SMALL[:2])
def test_the_sampled_gradients_are_the_oracles(entry, which):
    # The answer is linear in input and kernel: an element's gradient is what a 1 there adds, times the output's gradient.
    layer = layers.Layer({"name": "small", **entry}).gradient_of(which)
    x, kernel, gradient = layer.arrays()
    sample = layers.Oracle(layer, x, kernel, gradient, count=30)
    for place, value in zip(zip(*sample.places), sample.value):
        unit = np.zeros(layer.result_shape, np.float32)
        unit[place] = 1
        result = answer(layer, unit, kernel) if which == "input" else answer(layer, x, unit)
        assert (result * gradient).sum() == pytest.approx(value, abs=1e-12)


def test_picture():
    rows = [{"name": "a_layer", "group": "conv2d", "threads": threads, "ratio": ratio, "best_peer": "p <q>"}
            for threads, ratio in ((1, 2.0), (2, 0.5))]
    document = {"machine": "a machine", "date": "2001-02-03", "versions": {"ours": "1", "p": "2"}, "layers": rows}
    root = tree.fromstring(picture.draw(document))
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"a_layer", "2.00 p <q>", "0.50 p <q>", "conv2d", "Peers: p 2 "} <= set(words)
    bars = [element for element in root.iter() if element.tag.endswith("rect")][-2:]
    one = picture.place(1)
    assert float(bars[0].get("x")) == pytest.approx(one, abs=0.1)
    assert float(bars[1].get("x")) + float(bars[1].get("width")) == pytest.approx(one, abs=0.1)
    assert float(bars[0].get("width")) == pytest.approx(float(bars[1].get("width")), abs=0.1)
