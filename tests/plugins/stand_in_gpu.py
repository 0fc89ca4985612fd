"""Fixtures: a machine with a stand-in for CUDA and TensorRT, and engines for it."""

import platform
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from runtime.backends.base import SessionOptions
from runtime.backends.nvidia import gpu
from runtime.backends.nvidia.engine_manifest import EngineManifest, Profile
from runtime.backends.trt import TensorRT
from runtime.files import sha256_of
from stand_in_cuda import StandInCuda
from stand_in_tensorrt import StandInTensorRT, answer, engine_text


@pytest.fixture
def machine(monkeypatch):
    """`.cuda`, `.trt`, `.rtx`: what `import cuda.bindings.runtime`, `tensorrt` ... find here."""
    cuda = StandInCuda()
    trt, rtx = StandInTensorRT(cuda), StandInTensorRT(cuda, "tensorrt_rtx", "1.7.1.116")
    bindings = SimpleNamespace(runtime=cuda)
    package = SimpleNamespace(bindings=bindings)
    for name, module in {
        "cuda": package, "cuda.bindings": bindings, "cuda.bindings.runtime": cuda,
        "tensorrt": trt, "tensorrt_rtx": rtx,
    }.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    gpu._look.cache_clear()
    yield SimpleNamespace(cuda=cuda, trt=trt, rtx=rtx)
    gpu._look.cache_clear()


@pytest.fixture
def make_engine(tmp_path):
    """`make_engine(flavour, least=2, most=4)`: the path of an engine with its manifest."""

    def make(flavour="tensorrt", version=None, folder=tmp_path, name="s", **spec):
        path = folder / f"{name}.engine"
        path.write_bytes(engine_text(**spec))
        least, most = spec.get("least", 1), spec.get("most", 8)
        EngineManifest(
            flavour=flavour,
            version=version or {"tensorrt": "10.3.0", "tensorrt-rtx": "1.7.1.116"}[flavour],
            cuda=None,
            compute_capability="8.7",
            gpu=None,
            driver=None,
            os=platform.system(),
            arch=platform.machine(),
            onnx="student.fp32.onnx",
            onnx_sha256="",
            engine_sha256=sha256_of(path),
            profile=Profile(least, least, most),
            precision="fp32",
            weights_found={"float32": 1.0},
            inspected_by="inspector",
        ).save(path)
        return path

    return make


def opened(path):
    """A session of an engine."""
    return TensorRT().open(path, SessionOptions())


def images(count, seed=0, side=4):
    rng = np.random.default_rng([count, seed])
    return rng.normal(size=(count, 3, side, side)).astype(np.float32)


def is_right(session, count, seed=0):
    given = images(count, seed)
    got = session.run(given)
    expected = answer(given)
    return np.array_equal(got.embedding, expected) and np.array_equal(got.logits, expected[:, :2])
