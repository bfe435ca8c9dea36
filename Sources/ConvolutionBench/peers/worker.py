"""worker.py NAME THREADS HOME: one library in a process of its own. One JSON command a line on stdin, one JSON answer on stdout.

{"layer": name, "budget": s, "limit": s}                  prepares, checks and briefly times every variant: {variant: {...}}
{"variant": name, "budget": s}                            times one variant of the current layer: {"least": s}
"""
import gc
import json
import os
import sys

# What libraries print themselves must not end up among the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import adapters
from layers import Oracle, suite


def examine(adapter, layer, strict, budget, limit, prepared):
    """Every variant: prepared, checked, timed; `limit` bounds the time of slow ones. strict: by our header's bound, except for
    algorithms that a caller must permit."""
    if layer.gradient and not getattr(adapter, "gradients", False):
        return {}
    arrays, figures = layer.arrays(), {}
    oracle = Oracle(layer, *arrays)
    for variant in adapter.variants(layer):
        try:
            operation = adapter.prepare(layer, variant, *arrays)
            operation.run()
            error = oracle.error(operation.result(), strict and "-" not in variant)
            figures[variant] = {"error": error, "note": operation.note}
            if error <= 1:
                figures[variant]["least"] = least = operation.time(budget, limit)
                limit = min(limit, 4 * least)
                prepared[variant] = operation
            else:
                figures[variant]["failure"] = "wrong answer"
        except Exception as failure:
            figures[variant] = {"failure": f"{type(failure).__name__}: {failure}"[:200]}
    return figures


def main(name, threads, home):
    try:
        adapter = adapters.ADAPTERS[name](int(threads), home)
    except Exception as failure:
        print(json.dumps({"failure": f"{type(failure).__name__}: {failure}"[:200]}), file=answers, flush=True)
        return
    print(json.dumps({"version": str(adapter.version)}), file=answers, flush=True)
    layers, prepared = {layer.name: layer for layer in suite()}, {}
    gc.disable()
    for line in sys.stdin:
        command = json.loads(line)
        if "layer" in command:
            prepared.clear()
            gc.collect()
            answer = examine(adapter, layers[command["layer"]], name == "ours", command["budget"], command["limit"], prepared)
        else:
            answer = {"least": prepared[command["variant"]].time(command["budget"], float("inf"))}
        print(json.dumps(answer), file=answers, flush=True)


main(*sys.argv[1:])
