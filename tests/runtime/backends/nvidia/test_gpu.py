"""What CUDA says of the GPU, and why it sees none, with the way out."""

import sys

import pytest

from runtime.backends.nvidia import gpu
from runtime.backends.nvidia.gpu import Gpu
from runtime.backends.registry import BACKENDS, open_session
from stand_in_cuda import Error


def test_a_gpu_is_found_and_looked_for_once(machine, make_engine):
    machine.cuda.driver = 12060
    machine.cuda.bindings = 12090
    assert gpu.find() == Gpu("Stand-in GPU", "8.7", "12.6", None)
    assert gpu.why_none() == ""
    for name in "ab":
        open_session(make_engine(name=name), provider="cpu")
    assert machine.cuda.calls.count("cudaGetDeviceCount") == 1


def none(machine):
    machine.cuda.devices = 0


def old_driver(machine):
    machine.cuda.driver = 12060


def no_driver(machine):
    machine.cuda.driver = 0


def unloadable_driver(machine):
    def raises():
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    machine.cuda.cudaGetDeviceCount = raises


def no_bindings(machine):
    sys.modules["cuda.bindings"] = None


def other(machine):
    machine.cuda.fail("cudaGetDeviceCount", Error.cudaErrorIllegalAddress)


REASONS = {
    none: "CUDA sees no GPU; look at nvidia-smi",
    old_driver: "the driver is too old: it supports CUDA 12.6, and the installed cuda-bindings "
    "need 13.0; a newer driver, or: pip install 'cuda-bindings<13'",
    no_driver: "no NVIDIA driver is installed",
    unloadable_driver: "no NVIDIA driver can be loaded (Failed to dlopen libcuda.so.1); ",
    no_bindings: "cuda-bindings cannot be imported: ",
    other: "CUDA: cudaErrorIllegalAddress",
}


@pytest.mark.parametrize("reason", REASONS, ids=lambda each: each.__name__)
def test_why_there_is_none_is_told_once_and_is_the_reason_of_every_engine(
    machine, make_engine, monkeypatch, reason
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    reason(machine)
    assert gpu.find() is None
    why = gpu.why_none()
    assert why.startswith(REASONS[reason])
    assert "\n" not in why
    (tensorrt,) = (backend for backend in BACKENDS if backend.name == "TensorRT")
    said = tensorrt.why_not_here(make_engine())
    assert said == f"needs an NVIDIA GPU of compute capability 8.7; {why}"


def test_hidden_gpus_are_named(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    machine.cuda.devices = 0
    assert gpu.why_none() == "CUDA sees no GPU, with CUDA_VISIBLE_DEVICES="


def test_the_real_bindings_say_that_there_is_no_driver(monkeypatch):
    """cuda-bindings come with torch; on a machine with a driver there is nothing to see here."""
    pytest.importorskip("cuda.bindings.runtime")
    gpu._look.cache_clear()
    if gpu.find() is None:
        assert "driver" in gpu.why_none() or "no GPU" in gpu.why_none()
    gpu._look.cache_clear()
