"""What all tests share: the Python face of the library, every tier of this processor, both data formats.

The library under test is build/libconvolution.so, or the one that the environment variable CONVOLUTION_LIBRARY names.
"""
import pathlib
import sys

import hypothesis
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "c-examples" / "ctypes"))

import convolution

# Derandomised: the same examples on every run and machine. No deadline: the machines of continuous integration stall.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=40)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session", params=convolution.isas())
def isa(request):
    """Each instruction-set tier that this processor can run."""
    return request.param


@pytest.fixture(scope="session", params=["channels_last", "channels_first"])
def data_format(request):
    return request.param
