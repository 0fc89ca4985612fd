"""What this machine is, and whether it is the target."""

import json
import os
import platform

import msgspec
import numpy as np
import psutil
import pytest

from runtime.backends import cores
from runtime.benchmark import machine
from runtime.benchmark.machine import Machine
from runtime.benchmark.machine_load import MachineLoad

JETSON = Machine(
    os="Linux",
    arch="aarch64",
    cpu="ARMv8 Processor rev 1",
    cores=6,
    memory_gb=7.4,
    board="NVIDIA Jetson Orin Nano Developer Kit",
    gpu=None,
    load_1min=0.1,
    cpu_governor="schedutil",
    cpu_mhz=1510.4,
    python="3.10.12",
    libraries={"numpy": "1.26.4"},
)


@pytest.fixture(scope="module")
def here():
    return machine.describe()


def test_describes_this_machine(here):
    assert here.arch == platform.machine()
    assert here.python == platform.python_version()
    assert here.memory_gb > 0
    assert here.load_1min >= 0
    assert here.libraries["numpy"] == np.__version__
    assert "onnxruntime" in here.libraries or "onnxruntime-gpu" in here.libraries


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_are_those_that_this_process_may_use():
    everything = os.sched_getaffinity(0)
    assert cores.cores() == len(everything)
    os.sched_setaffinity(0, {min(everything)})
    try:
        assert cores.cores() == 1
    finally:
        os.sched_setaffinity(0, everything)


def test_a_system_without_affinity_counts_all_cores(monkeypatch):
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    assert cores.cores() == os.cpu_count()


@pytest.mark.parametrize("error", [NotImplementedError, OSError])
def test_a_frequency_that_cannot_be_read_is_none(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(psutil, "cpu_freq", fail)
    assert machine.describe().cpu_mhz is None


def test_what_cannot_be_read_is_none_and_never_empty(here):
    for key in ("cpu", "board", "gpu", "cpu_governor"):
        value = getattr(here, key)
        assert value is None or value.strip()
    assert here.cpu_mhz is None or here.cpu_mhz > 0


def test_the_description_is_json_with_the_load_only_where_something_was_timed(here):
    written = json.loads(msgspec.json.encode(here))
    assert "while_timing" not in written
    assert written["gpu"] == here.gpu  # None stays in the document
    assert msgspec.convert(written, Machine) == here
    load = MachineLoad(0.2, True, None, 41.5, 120.0)
    timed = msgspec.structs.replace(here, while_timing=load)
    written = msgspec.to_builtins(timed)
    assert written["while_timing"]["others_cores"] == 0.2
    assert msgspec.convert(written, Machine) == timed


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
