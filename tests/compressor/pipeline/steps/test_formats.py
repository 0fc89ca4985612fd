"""`export.formats`: from a recipe to files for other runtimes in the bundle and in the ledger."""

import importlib.util
import json

import pytest

import runtime
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.recipe import plan as plans
from runtime.bundle import bundle
from runtime.errors import InputError, MissingDependencyError
from runtime.files import sha256_of
from runtime.results.report import load


@pytest.fixture
def job_of(base, tmp_path, monkeypatch):
    """`job_of(export)`: a run beside the finished one, which shares its store."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(base / "store"))

    def job(**export):
        recipe = json.loads((base / "recipe.yaml").read_text()) | {"export": export}
        path = base / f"{tmp_path.name}.yaml"
        path.write_text(json.dumps(recipe))
        return Run(plans.load(path), tmp_path / "run", lambda event: None)

    return job


def test_each_precision_is_made_measured_and_carried(job_of):
    run = job_of(precisions=["fp32", "fp16", "int8"], formats=["ncnn"], calibration_images=12)
    with run.locked():
        runner.run_all(run)
    report, made = load(run.folder), bundle.load(run.folder / "bundle")
    stages = [entry.stage for entry in report.ledger][2:]
    onnx = ["onnx-fp32", "onnx-fp16", "onnx-int8"]
    assert stages == [*onnx, "ncnn-fp32", "ncnn-fp16", "ncnn-int8"]
    for stage, lowest in (("ncnn-fp32", 0.99999), ("ncnn-fp16", 0.999), ("ncnn-int8", 0.8)):
        entry = report.entry(stage)
        assert entry.parity_cosine_min > lowest
        assert entry.provider.startswith("ncnn ")
        assert entry.latency.runs > 0
    assert report.entry("ncnn-int8").runs_in.types["i8"] > 0  # the convolution of this tiny ViT
    by_stage = {each.stage: each for each in made.artifacts}
    for precision in ("fp32", "fp16", "int8"):
        each = by_stage[f"ncnn-{precision}"]
        assert each.path.name == f"student.{precision}.ncnn.param"
        assert [part.name for part in each.parts] == [f"student.{precision}.ncnn.bin"]
        assert each.sha256 == sha256_of(each.path, *each.parts)
    assert by_stage["ncnn-fp16"].size_mb < 0.6 * by_stage["ncnn-fp32"].size_mb
    student = runtime.load(run.folder / "bundle", file="ncnn-fp16")
    assert student.file == "ncnn-fp16"


@pytest.mark.skipif(
    importlib.util.find_spec("litert_torch") is None, reason="litert-torch is not installed"
)
def test_files_of_litert_are_made_measured_and_carried(job_of):
    run = job_of(precisions=["fp32", "fp16", "int8"], formats=["litert"], calibration_images=12)
    with run.locked():
        runner.run_all(run)
    report, made = load(run.folder), bundle.load(run.folder / "bundle")
    stages = [entry.stage for entry in report.ledger][5:8]
    assert stages == ["litert-fp32", "litert-fp16", "litert-int8"]
    for stage, lowest in zip(stages, (0.99999, 0.999, 0.8), strict=True):
        entry = report.entry(stage)
        assert entry.parity_cosine_min > lowest
        assert entry.provider.startswith("LiteRT ")
        assert entry.latency.runs > 0
    assert report.entry("litert-int8").runs_in.types["int8"] > 0.5
    names = [each.path.name for each in made.artifacts][3:]
    assert names == [f"student.{each}.tflite" for each in ("fp32", "fp16", "int8")]
    assert runtime.load(run.folder / "bundle", file="litert-int8").file == "litert-int8"


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("ncnn", "pnnx", "ncnn-export"), ("litert", "litert_torch", "litert-export")],
)
def test_without_its_converter_a_format_is_refused_before_the_long_work(
    job_of, monkeypatch, name, package, extra
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    with pytest.raises(MissingDependencyError, match=rf"edge-compressor\[{extra}\]"):
        runner.refuse_early(job_of(formats=[name]))


def test_a_format_that_there_is_not_or_that_is_named_twice_is_refused(job_of):
    for formats, said in ((["mnn"], "ncnn"), (["ncnn", "ncnn"], "names a value twice")):
        with pytest.raises(InputError, match=said):
            job_of(formats=formats)
