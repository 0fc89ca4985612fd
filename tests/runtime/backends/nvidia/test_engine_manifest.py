"""Planted engines: cut short, changed, of another GPU, version or machine; none is loaded."""

import json
from dataclasses import replace

import msgspec
import pytest

from runtime.backends.nvidia import engine_manifest
from runtime.backends.nvidia.engine_manifest import EngineManifest, LocalMachine, Profile
from runtime.backends.nvidia.gpu import Gpu
from runtime.backends.registry import open_session
from runtime.errors import InputError
from runtime.files import sha256_of

ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9", "13.0", "580.65")
HERE = LocalMachine(ADA, "1.7.1.116", "Linux", "x86_64")


@pytest.fixture
def engine(tmp_path):
    """An engine in its bundle, for an RTX 4090; its bytes are none."""
    bundle = tmp_path / "bundle"
    (bundle / "engines").mkdir(parents=True)
    (bundle / "student.fp16.onnx").write_bytes(b"onnx" * 50)
    path = bundle / "engines" / "student.fp16.tensorrt-rtx-sm89.engine"
    path.write_bytes(b"plan" * 100)
    EngineManifest(
        flavour="tensorrt-rtx",
        version="1.7.1.116",
        cuda="13",
        compute_capability="8.9",
        gpu=None,
        driver=None,
        os="Linux",
        arch="x86_64",
        onnx="student.fp16.onnx",
        onnx_sha256=sha256_of(bundle / "student.fp16.onnx"),
        engine_sha256=sha256_of(path),
        profile=Profile(1, 1, 8),
        precision="fp16",
        weights_found={"float16": 1.0},
        inspected_by="builder",
    ).save(path)
    return path


def test_one_that_belongs_here(engine):
    assert engine_manifest.verify(engine, HERE) == engine_manifest.load(engine)


def refusal(engine, here=HERE):
    with pytest.raises(InputError) as caught:
        engine_manifest.verify(engine, here)
    said = str(caught.value)
    assert said.startswith(f"{engine}: not loaded")
    assert f"compressor engine {engine.parent.parent} --flavour tensorrt-rtx" in said
    return said


def test_truncated(engine):
    engine.write_bytes(engine.read_bytes()[:-7])
    assert "its 393 bytes are not those of its manifest: it was cut short" in refusal(engine)
    engine.unlink()
    assert "there is no such file" in refusal(engine)


def test_its_onnx_was_made_anew(engine):
    (engine.parent.parent / "student.fp16.onnx").write_bytes(b"other")
    assert "student.fp16.onnx was changed since the engine was built from it" in refusal(engine)


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (replace(HERE, gpu=replace(ADA, name="RTX 3090", compute_capability="8.6")),
         "built for compute capability 8.9, this GPU (RTX 3090) has 8.6"),
        (replace(HERE, gpu=None), "needs an NVIDIA GPU of compute capability 8.9"),
        (replace(HERE, version="1.6.1.120"),
         "built with tensorrt-rtx 1.7.1.116, here is 1.6.1.120"),
        (replace(HERE, version=None), "tensorrt-rtx 1.7.1.116, which is not installed here"),
        (replace(HERE, arch="aarch64"), "built for processors of x86_64, this one is aarch64"),
    ],
)  # fmt: skip
def test_a_manifest_of_another_machine(engine, here, said):
    assert said in refusal(engine, here)


def test_the_command_names_the_gpu_of_here(engine):
    here = replace(HERE, gpu=replace(ADA, compute_capability="8.6"))
    assert "--compute-capability 8.6" in refusal(engine, here)


def test_portable_between_systems_only_where_the_flavour_is(engine):
    found = engine_manifest.load(engine)
    on_windows = replace(HERE, os="Windows")
    assert engine_manifest.machine_problems(found, on_windows) == []
    of_tensorrt = msgspec.structs.replace(found, flavour="tensorrt")
    problems = engine_manifest.machine_problems(of_tensorrt, on_windows)
    assert problems == ["built on Linux, this is Windows"]


def test_all_reasons_are_told_at_once(engine):
    engine.write_bytes(b"")
    said = refusal(engine, replace(HERE, gpu=None, version=None))
    assert said.count("\n  ") == 4


def test_without_a_manifest(engine):
    path = engine_manifest.path_of(engine)
    document = json.loads(path.read_text(encoding="utf-8"))
    del document["profile"]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=r"engine\.json: profile: missing"):
        engine_manifest.load(engine)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="does not describe a TensorRT engine"):
        engine_manifest.load(engine)
    path.unlink()
    with pytest.raises(InputError, match=r"has no manifest .*\n.*compressor engine"):
        open_session(engine, provider="cpu")


def test_nothing_is_deserialised_before_the_manifest_was_checked(engine, monkeypatch):
    """Whatever this machine is, it has no GPU whose capability is 0.0."""
    path = engine_manifest.path_of(engine)
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document | {"compute_capability": "0.0"}), encoding="utf-8")
    touched = []
    monkeypatch.setattr("runtime.backends.nvidia.loaded_engine.import_flavour", touched.append)
    with pytest.raises(InputError, match="not loaded"):
        open_session(engine, provider="cpu")
    assert touched == []


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 9, 8), (4, 2, 8)])
def test_a_profile_rises(wrong):
    with pytest.raises(ValueError, match="a profile rises from 1 or more"):
        Profile(*wrong)
