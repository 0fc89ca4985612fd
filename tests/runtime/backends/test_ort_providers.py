"""ONNX Runtime's providers on a GPU over a stand-in: sessions on the CPU that say otherwise."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime as real
import pytest

from runtime.backends import ort_providers
from runtime.backends.base import SessionOptions
from runtime.backends.nvidia import gpu
from runtime.backends.ort import OrtSession
from runtime.backends.ort_nodes import nodes_by_provider
from runtime.backends.ort_providers import starting_providers
from runtime.backends.registry import backend_of, open_session
from runtime.bundle import bundle, golden
from runtime.errors import InputError, MissingDependencyError
from runtime.evaluation import check as checks
from runtime.results.scores import to_json

NAMES = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def ort(monkeypatch):
    """`.opened`: what sessions were asked for; `.broken`: providers that raise; `.absent`: that ORT
    leaves out without a word, as it does where a library is missing."""
    state = SimpleNamespace(opened=[], broken={}, absent=set(), preloads=0, compiled=NAMES)
    session_class = real.InferenceSession

    def preload():
        state.preloads += 1
        print("Failed to load libcudart.so.13")  # noqa: T201 (it does so)

    def session(content, options, providers=None, provider_options=None, enable_fallback=1):
        (wanted,) = providers
        given = (provider_options or [{}])[0]
        state.opened.append((wanted, given, enable_fallback))
        if wanted in state.broken:
            raise state.broken[wanted]
        opened = session_class(content, options, providers=["CPUExecutionProvider"])
        started = "CPUExecutionProvider" if wanted in state.absent else wanted
        opened.get_providers = lambda: [started, "CPUExecutionProvider"]
        return opened

    monkeypatch.setattr(real, "InferenceSession", session)
    monkeypatch.setattr(real, "get_available_providers", lambda: state.compiled)
    monkeypatch.setattr(real, "preload_dlls", preload, raising=False)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "")
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    for cached in (ort_providers.load_libraries, gpu._look):
        cached.cache_clear()
    yield state
    for cached in (ort_providers.load_libraries, gpu._look):
        cached.cache_clear()


def options_given(ort, provider):
    (found,) = (given for wanted, given, _ in ort.opened if wanted == provider)
    return found


# --- options --------------------------------------------------------------------------------


def test_cuda_computes_float32_in_float32_after_its_libraries_were_loaded(student_onnx, ort, capfd):
    session = open_session(student_onnx, provider="cuda")
    images = np.zeros((2, 3, 8, 8), np.float32)
    assert session.run(images).embedding.shape == (2, 3)
    assert options_given(ort, "CUDAExecutionProvider") == {"use_tf32": "0"}
    open_session(student_onnx, provider="cuda")
    assert ort.preloads == 1
    assert capfd.readouterr().out == ""  # what the loading prints would break --json
    assert all(fallback == 0 for _, _, fallback in ort.opened)


def test_on_a_cpu_nothing_is_loaded(student_onnx, ort):
    open_session(student_onnx, provider="cpu")
    assert ort.preloads == 0
    assert options_given(ort, "CPUExecutionProvider") == {}


def test_a_tensorrt_engine_is_built_once_for_every_batch_and_outside_of_the_bundle(
    student_onnx, ort
):
    before = sorted(student_onnx.parent.iterdir())
    open_session(student_onnx, provider="tensorrt", batches=(1, 8))
    given = options_given(ort, "TensorrtExecutionProvider")
    shapes = {name: value for name, value in given.items() if "profile" in name}
    assert shapes == {
        "trt_profile_min_shapes": "images:1x3x8x8",
        "trt_profile_opt_shapes": "images:1x3x8x8",
        "trt_profile_max_shapes": "images:32x3x8x8",  # what a check sends
    }
    assert given["trt_engine_cache_enable"] == given["trt_timing_cache_enable"] == "1"
    kept = Path(given["trt_engine_cache_path"])
    assert kept.is_dir()
    assert kept.is_relative_to(os.environ["EDGE_COMPRESSOR_CACHE"])
    assert sorted(student_onnx.parent.iterdir()) == before
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    ort.opened.clear()
    open_session(student_onnx, provider="tensorrt", batches=(4, 64))
    given = options_given(ort, "TensorrtExecutionProvider")
    assert given["trt_profile_opt_shapes"].startswith("images:4x")
    assert given["trt_profile_max_shapes"].startswith("images:64x")
    assert given["trt_engine_cache_path"] != str(kept)


def test_without_caches_no_engine_is_kept(student_onnx, ort, monkeypatch):
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "0")
    open_session(student_onnx, provider="tensorrt")
    assert "trt_engine_cache_enable" not in options_given(ort, "TensorrtExecutionProvider")


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        (None, {}),
        ("fp16", {"trt_fp16_enable": "1"}),
        ("int8", {"trt_int8_enable": "1"}),
    ],
)
def test_tensorrt_is_told_the_precision_of_the_file(student_onnx, ort, tmp_path, precision, flags):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(student_onnx)
    if precision:
        onnx.helper.set_model_props(model, {"precision": precision})
    path = tmp_path / "student.onnx"
    onnx.save(model, path)
    open_session(path, provider="tensorrt")
    given = options_given(ort, "TensorrtExecutionProvider")
    assert {
        name: value for name, value in given.items() if "int8" in name or "fp16" in name
    } == flags


# --- why a provider did not start -----------------------------------------------------------


def refusal(path, provider):
    with pytest.raises(MissingDependencyError) as told:
        open_session(path, provider=provider)
    assert told.value.exit_code == 3
    said = str(told.value)
    assert "set `provider: cpu` in the target file" in said
    return said


def test_a_provider_that_is_left_out_is_told_with_what_was_not_found(student_onnx, ort, machine):
    ort.absent.add("CUDAExecutionProvider")
    said = refusal(student_onnx, "cuda")
    assert "should use CUDAExecutionProvider but started CPUExecutionProvider" in said
    assert "Failed to load libcudart.so.13" in said
    assert "pip install 'edge-compressor[gpu]'" in said


def test_a_provider_that_fails_is_told_in_its_words(student_onnx, ort, machine, capfd):
    ort.broken["CUDAExecutionProvider"] = RuntimeError("CUDA_PATH is set but cuDNN is not\nmore")
    said = refusal(student_onnx, "cuda")
    assert "It says: CUDA_PATH is set but cuDNN is not" in said
    assert capfd.readouterr().out == ""


def test_without_cuda_bindings_a_gpu_is_asked_for(student_onnx, ort, machine, monkeypatch):
    """ONNX Runtime does not need them."""
    ort.absent.add("CUDAExecutionProvider")
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert "Is a GPU visible (nvidia-smi)?" in refusal(student_onnx, "cuda")


def test_the_drivers_age_is_the_reason_where_it_is(student_onnx, ort, machine):
    ort.absent.add("CUDAExecutionProvider")
    machine.cuda.driver = 12060
    assert "The driver is too old: it supports CUDA 12.6" in refusal(student_onnx, "cuda")


@pytest.mark.parametrize(
    ("version", "said"),
    [("11.4.0", "takes TensorRT 10, here is 11.4.0: pip install 'tensorrt>=10.3,<11'"),
     ("10.13.2", "TensorRT 10.13.2 is installed, of the major version that this provider takes")],
)  # fmt: skip
def test_the_tensorrt_provider_takes_tensorrt_10(student_onnx, ort, machine, version, said):
    machine.trt.__version__ = version
    ort.absent.add("TensorrtExecutionProvider")
    assert said in refusal(student_onnx, "tensorrt")


def test_an_onnx_runtime_made_for_cpus_says_what_to_install(student_onnx, ort, machine):
    ort.compiled = ["CPUExecutionProvider"]
    ort.broken["CUDAExecutionProvider"] = ValueError("unknown provider")
    assert "is made without it. x86-64: pip uninstall onnxruntime" in refusal(student_onnx, "cuda")


def test_a_file_that_no_provider_opens_is_the_files_fault(tmp_path, ort):
    path = tmp_path / "student.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot load this file"):
        open_session(path, provider="cuda")


def test_a_full_gpu_is_told_with_the_way_out(student_onnx, ort):
    session = OrtSession(student_onnx, SessionOptions("cuda"))
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    def full(*arguments):
        raise RuntimeException("CUDA failure 2: out of memory ; GPU=0 ; hostname=x")

    session._session.run = full
    with pytest.raises(MissingDependencyError, match=r"memory is full .*\n?.*nvidia-smi"):
        session.run(np.zeros((1, 3, 8, 8), np.float32))


def test_only_providers_that_start_are_listed(ort, machine, capfd):
    ort.broken["TensorrtExecutionProvider"] = RuntimeError("libnvinfer.so.10")
    ort.absent.add("CUDAExecutionProvider")
    assert starting_providers() == {"cpu": True, "cuda": False, "tensorrt": False}
    assert capfd.readouterr().out == ""


# --- nodes by provider ----------------------------------------------------------------------


def test_nodes_are_counted_from_a_real_profile(student_onnx):
    nodes = nodes_by_provider(student_onnx, SessionOptions(threads=1))
    onnx = pytest.importorskip("onnx")
    assert nodes == {"CPU": len(onnx.load(student_onnx).graph.node)}


def test_a_report_says_where_nodes_run_if_not_on_a_cpu(make_bundle, ort):
    folder = make_bundle()
    loaded = bundle.load(folder)
    path = loaded.artifacts[0].path
    backend = backend_of(path)
    assert backend.proof(path, SessionOptions("cpu")) is None
    found = backend.proof(path, SessionOptions("cuda"))
    assert found.read_from == "a profile of ONNX Runtime"
    assert sum(found.nodes.values()) > 0
    report = to_json(checks.check(loaded, golden.load(folder / "golden")))
    assert "runs_in" not in report["ledger"][2]
