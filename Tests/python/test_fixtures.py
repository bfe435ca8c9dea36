"""The recorded answers of Keras, TensorFlow and PyTorch (see generate_fixtures.py), against the oracle and every tier.

Whole-number cases must agree bit for bit. The others must lie within the bound of the header around the answer, or twice that
far where the answer was rounded in the data's own type.
"""
import functools
import json
import pathlib

import numpy as np
import pytest

import convolution
import oracle

with np.load(pathlib.Path(__file__).parent / "fixtures" / "frameworks.npz") as archive:
    POOLS = {name: archive[name] for name in archive.files}
CASES = {case["name"]: case for case in json.loads(POOLS.pop("index").tobytes())["cases"]}
PLANS = {"conv2d": convolution.Conv2DPlan, "conv2d_transpose": convolution.Conv2DTransposePlan,
         "upsample2d": convolution.Upsample2DPlan}


def array(case, name):
    if name not in case["arrays"]:
        return None
    pool, offset, shape = case["arrays"][name]
    stored = POOLS[pool][offset:offset + int(np.prod(shape))].reshape(shape)
    return stored if name == "answer" else stored.astype(case["dtype"])


def arguments(case):
    """x, and for the convolutions kernel and bias."""
    names = ["x"] if case["op"] == "upsample2d" else ["x", "kernel", "bias"]
    return [array(case, name) for name in names]


@functools.cache
def reference(name):
    """What the library must give: the framework's answer, with the tolerance that the oracle derives from the data."""
    case = CASES[name]
    answer = array(case, "answer")
    _, tolerance = getattr(oracle, case["op"])(*arguments(case), **case["parameters"])
    if case["exact"]:
        tolerance = np.zeros_like(tolerance)
    return answer.astype(tolerance.dtype), tolerance * (2 if case["own_rounding"] else 1)


@pytest.mark.parametrize("name", CASES)
def test_oracle(name):
    case = CASES[name]
    want, _ = getattr(oracle, case["op"])(*arguments(case), **case["parameters"])
    oracle.assert_within(want, reference(name), case["call"])


@pytest.mark.parametrize("name", CASES)
def test_library(name, isa):
    case = CASES[name]
    got = getattr(convolution, case["op"])(*arguments(case), isa=isa, **case["parameters"])
    assert got.dtype == case["dtype"]
    oracle.assert_within(got, reference(name), case["call"])


@pytest.mark.parametrize("name", CASES)
def test_plan_and_the_other_data_format(name, isa):
    """Bit for bit the plain call's result: from a plan, and with the axes in the other order."""
    case = CASES[name]
    x, *constants = arguments(case)
    parameters = {"kernel_format": "keras", **case["parameters"]} if constants else dict(case["parameters"])
    plain = getattr(convolution, case["op"])(x, *constants, isa=isa, **parameters)
    plan = PLANS[case["op"]](x.shape, *constants, isa=isa, **({} if constants else {"dtype": x.dtype}), **parameters)
    assert plan(x).tobytes() == plain.tobytes(), case["call"]
    if parameters.get("data_format") == "channels_first":
        other, there, back = "channels_last", (0, 2, 3, 1), (0, 3, 1, 2)
    else:
        other, there, back = "channels_first", (0, 3, 1, 2), (0, 2, 3, 1)
    turned = np.ascontiguousarray(x.transpose(there))
    got = getattr(convolution, case["op"])(turned, *constants, isa=isa, **{**parameters, "data_format": other})
    assert got.transpose(back).tobytes() == plain.tobytes(), case["call"]
