"""Engines of `tensorrt`, built over the stand-in: flags, timing caches, what cannot be proved."""

import json

import numpy as np
import pytest

from export.engine import build
from export.engine.build import EngineSpec
from runtime.backends.nvidia import engine_manifest
from runtime.backends.nvidia.engine_manifest import Profile
from runtime.backends.registry import open_session
from runtime.errors import FileNotMadeError
from stand_in_builder import add_builder
from stand_in_gpu import is_right, opened
from stand_in_tensorrt import answer

FOREIGN = {"Name": "{ForeignNode[onnx::MatMul_1...head]}", "LayerType": "Myelin"}
HALF = {"Name": "patches", "LayerType": "Convolution", "Weights": {"Type": "Half", "Count": 90}}


@pytest.fixture
def trt(machine, monkeypatch):
    add_builder(machine.trt, monkeypatch)
    return machine.trt


@pytest.fixture
def make(trt, tmp_path):
    """`make(precision, caches=folder, note=print)`: the path of a built engine."""
    source = tmp_path / "student.fp32.onnx"
    source.write_bytes(b"onnx")

    def build_one(precision="fp32", caches=None, note=lambda line: None):
        spec = EngineSpec("tensorrt", precision, Profile(1, 1, 8), timing_caches=caches)
        return build.build(source, tmp_path / "engines", spec, note=note)

    return build_one


def test_an_engine_that_was_built_here_runs_here(make):
    path = make()
    images = np.random.default_rng(0).normal(size=(37, 3, 4, 4)).astype(np.float32)
    assert np.array_equal(open_session(path, provider="cpu").run(images).embedding, answer(images))
    found = engine_manifest.load(path)
    assert (found.version, found.compute_capability, found.gpu) == ("10.3.0", "8.7", "Stand-in GPU")
    assert (found.weights_found, found.not_proved) == ({"float32": 1.0}, "")


def test_float32_is_computed_in_float32(make, trt):
    path = make()
    assert "TF32" not in trt.built.flags
    assert "trtexec --stronglyTyped --noTF32" in path.with_name(f"{path.name}.sh").read_text()


def test_an_engine_of_rtx_is_built_so_that_it_can_be_captured(machine, monkeypatch, tmp_path):
    add_builder(machine.rtx, monkeypatch)
    source = tmp_path / "student.fp32.onnx"
    source.write_bytes(b"onnx")
    spec = EngineSpec("tensorrt-rtx", "fp32", Profile(1, 1, 8))
    session = opened(build.build(source, tmp_path / "engines", spec))
    for turn in range(5):
        assert is_right(session, 2, turn)
    assert "cudaGraphLaunch" in machine.cuda.calls
    assert "TF32" not in machine.rtx.built.flags


# --- what the inspector does not list -------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(
    ("listed", "weights", "lacks"),
    [
        ([FOREIGN], {}, " of 1 fused regions"),
        ([FOREIGN, HALF, FOREIGN], {"float16": 1.0}, " of 2 fused regions"),
        ([], {}, ""),
    ],
)  # fmt: skip
def test_an_engine_whose_weights_are_not_listed_is_kept_and_not_proved(
    make, trt, precision, listed, weights, lacks
):
    trt.layers = listed
    found = engine_manifest.load(make(precision))
    assert found.weights_found == weights
    assert found.not_proved == f"TensorRT lists no weights{lacks}"


def test_what_is_proved_to_be_wrong_is_refused(make, trt, tmp_path):
    trt.layers = [HALF]
    with pytest.raises(FileNotMadeError, match=r"named fp32 must hold .*: precision was lost"):
        make("fp32")
    assert not list(tmp_path.glob("engines/*.engine"))


# --- timing caches --------------------------------------------------------------------------


def test_times_are_kept_for_the_next_build_by_version_and_gpu(make, trt, tmp_path):
    noted = []
    make(caches=tmp_path, note=noted.append)
    path = tmp_path / "tensorrt-10.3.0-sm87.timing-cache"
    assert json.loads(path.read_bytes()) == [["10.3.0", "Stand-in GPU"], {"conv": 1}]
    kept = json.loads(path.read_bytes())
    path.write_text(json.dumps([kept[0], {"gemm": 2}]))
    engine = make(caches=tmp_path, note=noted.append)
    assert json.loads(path.read_bytes())[1] == {"gemm": 2, "conv": 1}
    assert not [line for line in noted if "stale" in line]
    script = engine.with_name(f"{engine.name}.sh").read_text()
    assert f"--timingCacheFile={path.name}" in script


@pytest.mark.parametrize(
    "stale", [b"no cache at all", json.dumps([["10.2.0", "Other GPU"], {"gemm": 2}]).encode()]
)
def test_stale_times_are_named_and_measured_anew_and_the_engine_is_there(make, tmp_path, stale):
    path, noted = tmp_path / "tensorrt-10.3.0-sm87.timing-cache", []
    path.write_bytes(stale)
    assert make(caches=tmp_path, note=noted.append).is_file()
    assert [line.partition(":")[0] for line in noted if " stale " in line] == [path.name]
    assert json.loads(path.read_bytes()) == [["10.3.0", "Stand-in GPU"], {"conv": 1}]


def test_an_engine_is_there_where_its_times_cannot_be_written(make, trt, tmp_path, monkeypatch):
    """TensorRT has none to give: the engine is worth more than the times of its kernels."""
    monkeypatch.setattr("stand_in_builder.Config.get_timing_cache", lambda config: None)
    assert make(caches=tmp_path).is_file()
    assert not list(tmp_path.glob("*.timing-cache"))
