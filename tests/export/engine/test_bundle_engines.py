"""Engines added to a bundle, over the stand-in: it is whole whatever happens to the next one."""

import shutil

import pytest

from export.engine import bundle_engines
from export.engine.bundle_engines import EngineRequest
from runtime.bundle import bundle
from runtime.errors import FileNotMadeError
from runtime.files import sha256_of
from stand_in_builder import add_builder


@pytest.fixture
def folder(machine, monkeypatch, sound_bundle, change_json, seal, tmp_path):
    """A bundle with a file in fp32 and one in fp16, of which the stand-in builds the first."""
    add_builder(machine.trt, monkeypatch)
    folder = tmp_path / "bundle"
    shutil.copytree(sound_bundle, folder)
    (first,) = bundle.load(folder).document.artifacts
    shutil.copyfile(folder / first.file, folder / "student.fp16.onnx")
    entries = [
        {"stage": stage, "file": name, "precision": name.split(".")[1], "sha256": digest}
        for stage, name in (("onnx-fp32", "student.fp32.onnx"), ("onnx-fp16", "student.fp16.onnx"))
        for digest in [sha256_of(folder / first.file)]
    ]
    (folder / first.file).rename(folder / "student.fp32.onnx")
    change_json(folder / "bundle.json", artifacts=entries)
    seal(folder)
    return folder


def test_an_engine_that_cannot_be_built_leaves_a_whole_bundle_with_those_before_it(folder):
    with pytest.raises(FileNotMadeError, match="precision was lost"):
        bundle_engines.add(folder, EngineRequest(flavours=["tensorrt"]))
    stages = [each.stage for each in bundle.load(folder).document.artifacts]
    assert stages == ["onnx-fp32", "onnx-fp16", "tensorrt-fp32-sm87"]
    (again,) = bundle_engines.add(folder, EngineRequest(flavours=["tensorrt"], precisions=["fp32"]))
    assert again.is_file()
    assert [each.stage for each in bundle.load(folder).document.artifacts] == stages
