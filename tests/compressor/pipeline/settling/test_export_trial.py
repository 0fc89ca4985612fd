"""What cannot be exported is said before an image is decoded."""

import json
import shutil

import numpy as np
import pytest
import torch

from compressor.api import job as jobs
from compressor.events import Message
from compressor.models.encoder import create_student
from compressor.pipeline.settling import export_trial
from compressor.recipe.schema import Student
from export import onnx_file
from export.onnx_file import to_onnx
from export.precision.int8 import Quantiser
from runtime.backends.registry import open_session
from runtime.errors import FileNotMadeError, InputError


@pytest.fixture
def open_with(base, tmp_path, monkeypatch):
    """`open_with(section={...})`: an open job of the shared run's recipe, and its messages."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path / "store"))
    shutil.copytree(base / "images", tmp_path / "images")
    document = json.loads((base / "recipe.yaml").read_text())
    document["data"]["labels"] = "none"
    document["teacher"]["weights"] = str(base / "teacher.safetensors")

    def open_job(**sections):
        (tmp_path / "recipe.yaml").write_text(json.dumps({**document, **sections}))
        said = []

        def observe(event):
            if isinstance(event, Message):
                said.append(event.text)

        return jobs.open_job(tmp_path / "recipe.yaml", [], tmp_path / "run", observe), said

    return open_job


def unexportable(module, size_px):
    raise torch.onnx.OnnxExporterError("see below") from ValueError("an operator\nmore of it")


def test_a_student_that_onnx_cannot_take_is_refused_before_an_image_is_decoded(
    open_with, monkeypatch, opens_no_image
):
    monkeypatch.setattr(onnx_file, "_traced", unexportable)
    job, _ = open_with()
    with pytest.raises(InputError) as caught:
        jobs.complete(job)
    assert str(caught.value).startswith(
        "this student cannot be exported to ONNX at 32 px: ValueError: an operator\n"
    )
    assert "more of it" not in str(caught.value)
    assert not (job.folder / "dataset.json").exists()


def test_a_file_that_answers_otherwise_is_refused(open_with, monkeypatch):
    exported = onnx_file.export

    def spoil(module, *args):
        exported(module, *args)
        with torch.no_grad():
            list(module.student.parameters())[-1].add_(1.0)

    monkeypatch.setattr(onnx_file, "export", spoil)
    with pytest.raises(InputError, match="ONNX file answers other than the student, by "):
        export_trial.try_files(open_with()[0])


def test_a_precision_that_cannot_be_made_is_warned_of_and_the_rest_goes_on(open_with, monkeypatch):
    def refuse(self, calibration, layers):
        raise FileNotMadeError("ONNX Runtime's quantiser refused: KeyError: 'x'\n  more")

    monkeypatch.setattr(Quantiser, "quantised", refuse)
    job, said = open_with()
    export_trial.try_files(job)
    warned = "no int8 file can be made of this student: ONNX Runtime's quantiser refused"
    assert [line for line in said if line.startswith(warned)]
    assert not [line for line in said if "no fp16 file" in line]
    # It is tried once: the next run is told what was found.
    monkeypatch.setattr(export_trial, "_tried", None)
    again, said = open_with()
    export_trial.try_files(again)
    assert [line for line in said if line.startswith(warned)]


def test_another_size_is_tried_anew(open_with, monkeypatch):
    tried = []
    trial = export_trial.ExportTrial({})
    monkeypatch.setattr(export_trial, "_tried", lambda run: tried.append(run) or trial)
    student = json.loads(json.dumps(open_with()[0].plan.recipe.student.model_dump(mode="json")))
    for size in (32, 48, 32):
        args = {**student["args"], "img_size": size}
        export_trial.try_files(open_with(student={**student, "image_size": size, "args": args})[0])
    assert len(tried) == 2


def test_relative_positions_are_exported_after_all(tmp_path):
    """torch cannot decompose their fused attention; timm's plain one is the same function."""
    spec = Student(model="test_vit_relpos", weights="none", image_size=64, args={"depth": 1})
    student = create_student(spec, seed=0)
    path = to_onnx(student, tmp_path / "student.onnx")
    images = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    got = open_session(path, provider="cpu").run(images).embedding
    with torch.inference_mode():
        expected = student.module(torch.from_numpy(images)).numpy()
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()
    fused = [each.fused_attn for each in student.module.modules() if hasattr(each, "fused_attn")]
    assert fused
    assert all(fused)  # the student itself is left as it was
