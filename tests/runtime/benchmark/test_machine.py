"""What this machine is, and whether it is the target."""

import json
import os
import platform

import numpy as np
import pytest

from runtime.benchmark import machine

JETSON = {
    "arch": "aarch64",
    "cpu": "ARMv8 Processor rev 1",
    "board": "NVIDIA Jetson Orin Nano Developer Kit",
    "gpu": None,
    "cores": 6,
}


@pytest.fixture(scope="module")
def here():
    return machine.describe()


def test_describes_this_machine(here):
    assert here["arch"] == platform.machine()
    assert here["python"] == platform.python_version()
    assert here["cores"] == len(os.sched_getaffinity(0))
    assert here["memory_gb"] > 0
    assert here["load_1min"] >= 0
    assert here["libraries"]["numpy"] == np.__version__
    assert "onnxruntime" in here["libraries"] or "onnxruntime-gpu" in here["libraries"]


def test_what_cannot_be_read_is_none_and_never_empty(here):
    for key in ("cpu", "board", "gpu", "cpu_governor"):
        assert here[key] is None or here[key].strip()
    assert here["cpu_mhz"] is None or here["cpu_mhz"] > 0


def test_the_description_is_json(here):
    assert json.loads(json.dumps(here, allow_nan=False)) == here


def test_names_only_what_is_installed():
    assert machine.version_of("numpy") == np.__version__
    assert machine.version_of("no-such-distribution") is None


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({}, True),
        ({"board": "Jetson Orin Nano"}, True),
        ({"board": "jetson orin (nano|nx)"}, True),
        ({"arch": "aarch64", "board": "Orin"}, True),
        ({"arch": "x86_64", "board": "Orin"}, False),
        ({"board": "^Orin"}, False),
        ({"gpu": "RTX"}, False),
        ({"unknown": "."}, False),
    ],
)
def test_matches(pattern, expected):
    assert machine.matches(JETSON, pattern) is expected


def test_this_machine_matches_itself_and_no_other(here):
    assert machine.matches(here, {"arch": f"^{platform.machine()}$"})
    assert not machine.matches(here, {"arch": "^no such processor$"})
