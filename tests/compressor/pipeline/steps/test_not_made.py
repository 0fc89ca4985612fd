"""A file that cannot be made costs itself and the exit code, and no other file."""

import json

import pytest

from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.recipe import plan as plans
from export.precision import fp16, int8
from runtime.bundle import bundle
from runtime.cli import exit_code
from runtime.errors import FileNotMadeError
from runtime.report import html_page, markdown
from runtime.results.report import load


def refuse(*args, **options):
    raise FileNotMadeError("ONNX Runtime's quantiser refused: KeyError: 'x'\n  another line")


@pytest.fixture
def run_with(base, tmp_path, monkeypatch):
    """`run_with(precisions)`: a run beside the finished one, whose FP16 and INT8 are refused."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(base / "store"))

    def run(precisions, **export):
        recipe = json.loads((base / "recipe.yaml").read_text())
        recipe["export"] = {"precisions": precisions, "calibration_images": 9} | export
        path = base / f"{tmp_path.name}.yaml"
        path.write_text(json.dumps(recipe))
        events = []
        job = Run(plans.load(path), tmp_path / "run", events.append)
        with job.locked():
            runner.run_all(job)
        texts = [event.text for event in events if getattr(event, "level", "") == "warning"]
        return load(job.folder), bundle.load(job.folder / "bundle"), texts

    return run


def test_int8_that_cannot_be_made_is_named_and_the_run_goes_on(run_with, monkeypatch):
    monkeypatch.setattr(int8, "make", refuse)
    report, made, warnings = run_with(["fp32", "fp16", "int8"])
    why = "ONNX Runtime's quantiser refused: KeyError: 'x' another line"
    assert [entry.stage for entry in report.ledger][2:] == ["onnx-fp32", "onnx-fp16", "onnx-int8"]
    assert report.entry("onnx-int8").not_made == why
    assert [each.path.name for each in made.artifacts] == [
        "student.fp32.onnx", "student.fp16.onnx",
    ]  # fmt: skip
    missed = [each for each in report.verdict.requirements if each.passed is False]
    assert [(each.requirement, each.wanted, each.got) for each in missed] == [
        ("files_not_made", 0, 1)
    ]
    assert exit_code(report) == 1
    assert any(text.startswith(f"no int8 file: {why}") for text in warnings)
    said = "Not made: `onnx-int8`"
    assert said in markdown.text(report)
    assert said in markdown.markdown(report)
    assert "Not made: onnx-int8" in html_page.render(report, None)


@pytest.mark.parametrize("input_", ["float32", "uint8"])
def test_where_no_file_that_is_asked_for_can_be_made_float32_travels_in_its_place(
    run_with, monkeypatch, input_
):
    monkeypatch.setattr(int8, "make", refuse)
    monkeypatch.setattr(fp16, "make", refuse)
    report, made, _ = run_with(["fp16", "int8"], input=input_, calibration_images=10)
    assert [each.precision for each in made.artifacts] == ["fp32"]
    assert report.recommended.stage == "onnx-fp32"
    missed = [each for each in report.verdict.requirements if each.passed is False]
    assert [(each.requirement, each.got) for each in missed] == [("files_not_made", 2)]
    assert exit_code(report) == 1
