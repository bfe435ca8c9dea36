#!/usr/bin/env python3
"""Ours and theirs side by side: how many times faster than the best peer is each layer of suite.json? See ../README.md.

For each number of threads every library runs in a process of its own. For each layer
  1. every variant of every library (layouts, packed kernels) is checked against an oracle and timed briefly;
  2. our variants and the best variant of the --top fastest peers take turns, in an order that rotates, within seconds of each
     other: the least time of each turn counts;
  3. our ratio to a peer is the median over the turns of its time by ours, and the figure of the layer is the lowest ratio.
"""
import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

from layers import suite
from picture import draw

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ["onednn", "onednn-openmp", "pytorch", "openvino", "onnxruntime", "tensorflow", "litert", "ncnn", "opencv"]
# One layer of each kind.
QUICK = ("rn50_7x7s2 rn50_1x1_64_256 rn50_3x3_128 vgg_3x3_256 mbv2_dw3x3s1_144 deeplab_3x3d2 resnext_g32_3x3_512 img_5x5_3_3 "
         "tiny_3x3 dcgan_4x4s2_256 unet_2x2s2_256 fcn8s_4x4s2 fsrcnn seed_2x2s1_1_4 up_nearest2_3 up_bilinear2_3").split()


class Worker:
    """One library's process, on `threads` processors."""

    def __init__(self, name, threads, home):
        self.name, self.threads, self.home = name, threads, home
        self.start()

    def start(self):
        processors = sorted(os.sched_getaffinity(0))[-self.threads:]
        self.process = subprocess.Popen(
            [f"{self.home}/venv/bin/python", HERE / "worker.py", self.name, str(self.threads), self.home], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment(self.name, self.threads, self.home), preexec_fn=lambda: os.sched_setaffinity(0, processors))

    def answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"failure": f"the process ended with status {self.process.wait()}"}

    def ask(self, **command):
        print(json.dumps(command), file=self.process.stdin, flush=True)
        answer = self.answer()
        if self.process.poll() is not None:  # it may do better with another layer
            self.start()
            self.answer()
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def environment(name, threads, home):
    """Each library with the threads it may have, and an allocator that keeps what is freed: a library that makes a new output on
    every call need not pay for fresh pages every time."""
    count = str(threads)
    variables = {
        **os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count,
        "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34), "MALLOC_TOP_PAD_": str(2**28)}
    if name == "onednn":  # a SYCL build, on the processor
        variables.update({"LD_LIBRARY_PATH": f"{home}/venv/lib", "OCL_ICD_FILENAMES": f"{home}/venv/lib/libintelocl.so",
                          "ONEAPI_DEVICE_SELECTOR": "opencl:cpu", "DPCPP_CPU_NUM_CUS": count})
    return variables


def compare(layer, workers, options):
    """The figures of one layer."""
    limit, best, failures, figures = 2.0, [], {}, {}
    for worker in workers:
        figures[worker.name] = worker.ask(layer=layer.name, budget=options.budget / 5, limit=limit)
        if "failure" in figures[worker.name]:
            failures[worker.name] = figures.pop(worker.name)["failure"]
            continue
        timed = {variant: figure["least"] for variant, figure in figures[worker.name].items() if "least" in figure}
        failures.update({f"{worker.name} {variant}": figure["failure"]
                         for variant, figure in figures[worker.name].items() if "failure" in figure})
        if timed:
            variant = min(timed, key=timed.get)
            # What is four times slower than the best so far is not asked twice.
            limit = min(limit, 4 * timed[variant])
            best.append((timed[variant], worker, variant))
    by_name = {worker.name: worker for worker in workers}
    ours = [variant for variant, figure in figures.get("ours", {}).items() if "least" in figure]
    wrong = [name for name in failures if name.startswith("ours") and failures[name] == "wrong answer"]
    if wrong:
        sys.exit(f"WRONG ANSWER of ours: {layer.name} {wrong}")
    if not ours:
        return {"failures": failures}
    peers = sorted((entry for entry in best if entry[1].name != "ours"), key=lambda entry: entry[0])[:options.top]
    contenders = [(by_name["ours"], variant) for variant in ours] + [(worker, variant) for _, worker, variant in peers]
    turns = {(worker.name, variant): [] for worker, variant in contenders}
    for turn in range(options.turns):
        shift = turn % len(contenders)
        for worker, variant in contenders[shift:] + contenders[:shift]:
            time.sleep(0.02)  # the threads of the one before go to sleep
            turns[worker.name, variant].append(worker.ask(variant=variant, budget=options.budget)["least"])

    def fastest(variants):
        return min(variants, key=lambda variant: statistics.median(turns["ours", variant]), default=None)

    def ratio(theirs, variant):
        return statistics.median(b / a for a, b in zip(turns["ours", variant], turns[theirs]))

    chosen, permitted = fastest([v for v in ours if "-" not in v]), fastest([v for v in ours if "-" in v])
    result = {
        "turns": {" ".join(key): value for key, value in turns.items()}, "ours": chosen, "failures": failures,
        "seconds": statistics.median(turns["ours", chosen]), "examined": figures}
    if peers:
        theirs = min((key for key in turns if key[0] != "ours"), key=lambda key: ratio(key, chosen))
        result.update(ratio=ratio(theirs, chosen), best_peer=" ".join(theirs))
        if permitted:
            result.update(algorithm=permitted, algorithm_ratio=min(ratio(key, permitted) for key in turns if key[0] != "ours"))
    return result


def machine():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def print_means(rows):
    print("\ngroup              threads  layers  geometric mean   least")
    for group, threads in sorted({(row["group"], row["threads"]) for row in rows if "ratio" in row}):
        ratios = [row["ratio"] for row in rows if (row["group"], row["threads"]) == (group, threads) and "ratio" in row]
        print(f"{group:18} {threads:7} {len(ratios):7} {mean(ratios):15.2f} {min(ratios):7.2f}")


def write(document, options):
    """After each layer: a run that is broken off leaves what it has."""
    if options.json:
        options.json.write_text(json.dumps(document, indent=1))
    if options.svg:
        options.svg.write_text(draw(document))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", required=True, help="what setup.sh made: venv, native, models")
    parser.add_argument("--layers", default="", help="only layers whose name contains one of these, separated by commas")
    parser.add_argument("--groups", default="conv2d,conv2d_transpose,upsample2d,tiny", help="only these groups")
    parser.add_argument("--gradients", action="store_true",
                        help="the groups conv2d_backward_input and so on, against the peers that have gradients")
    parser.add_argument("--peers", default=",".join(PEERS), help="these peers; empty: ours alone")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--top", type=int, default=3, help="peers of each layer that take turns with ours")
    parser.add_argument("--budget", type=float, default=0.05, help="seconds of calls a turn")
    parser.add_argument("--quick", action="store_true", help="one layer of each kind, three turns")
    parser.add_argument("--machine", default=machine(), help="what the picture calls this machine")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path)
    options = parser.parse_args()
    if options.gradients:
        options.groups = ",".join(dict.fromkeys(layer.group for layer in suite() if layer.gradient))
        options.peers = "onednn,onednn-openmp,pytorch"
    if options.quick:
        options.turns = 3
        options.layers = options.layers or ",".join(QUICK)
    words = lambda text: [word for word in text.split(",") if word]
    layers = [layer for layer in suite() if layer.group in words(options.groups)]
    layers = [layer for layer in layers if not options.layers or any(word in layer.name for word in words(options.layers))]
    document = {"machine": options.machine, "date": datetime.date.today().isoformat(), "versions": {}, "left_out": {},
                "layers": []}
    start = time.monotonic()
    for threads in map(int, words(options.threads)):
        workers = []
        for worker in [Worker(name, threads, options.home) for name in ["ours", *words(options.peers)]]:
            hello = worker.answer()
            if "version" in hello:
                document["versions"][worker.name] = hello["version"]
                workers.append(worker)
            else:
                document["left_out"][worker.name] = hello["failure"]
                print(f"left out: {worker.name}: {hello['failure']}", flush=True)
        for number, layer in enumerate(layers, 1):
            row = {"name": layer.name, "group": layer.group, "threads": threads, **compare(layer, workers, options)}
            document["layers"].append(row)
            text = f"{row['seconds'] * 1e6:10.1f} us" if "seconds" in row else row["failures"].get("ours", "not done by ours")
            if "ratio" in row:
                text += f"  {row['ratio']:5.2f} x {row['best_peer']}"
            if "algorithm" in row:
                text += f"  ({row['algorithm_ratio']:.2f} x by {row['algorithm']})"
            print(f"[{time.monotonic() - start:4.0f} s] {threads} thread{'s' * (threads > 1):1} {number:3}/{len(layers)} "
                  f"{layer.name:33} {text}", flush=True)
            write(document, options)
        for worker in workers:
            worker.close()
    print_means(document["layers"])


if __name__ == "__main__":
    main()
