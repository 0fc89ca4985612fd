"""A recipe that asks for every precision and for engines, through the real command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX comes for x86-64 only")

STAGES = ("onnx-fp32", "onnx-fp16", "onnx-int8")
ENGINES = [f"tensorrt-rtx-{precision}-sm89" for precision in ("fp16", "fp32", "int8")]


def compressor(*words, cwd, module="compressor"):
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600)


@pytest.fixture(scope="module")
def place(tmp_path_factory, folder_of_images, tiny_teacher):
    from ruamel.yaml import YAML

    place = tmp_path_factory.mktemp("precision")
    document = {
        "name": "tiny",
        "data": {"images": str(folder_of_images), "labels": "folders", "holdout": 0.25},
        "teacher": dict(tiny_teacher),
        "student": {
            "model": "mobilenetv3_small_050",
            "weights": "none",
            "image_size": 32,
            "embedding": 16,
        },
        "distill": {"epochs": 1, "batch": 8, "views": 1, "workers": 1, "device": "cpu"},
        "export": {
            "precisions": ["fp32", "fp16", "int8"],
            "engines": ["tensorrt", "tensorrt-rtx"],
            "input": "uint8",
            "batches": [1, 2, 8],
            "calibration_images": 8,
            "qat_epochs": 1,
        },
        "require": {"similarity_correlation": 0.99},
        "target": "target.yaml",
    }
    target = {"description": "test", "provider": "cpu", "compute_capability": "8.9"}
    for name, content in (("recipe", document), ("target", target)):
        YAML(typ="safe", pure=True).dump(content, place / f"{name}.yaml")
    done = compressor("run", "recipe.yaml", "--json", cwd=place)
    assert done.returncode == 1, done.stderr  # the gate is missed
    assert "Traceback" not in done.stderr, done.stderr
    (place / "out.json").write_text(done.stdout, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def report(place):
    return json.loads((place / "out.json").read_text(encoding="utf-8"))


@pytest.mark.timeout(600)
def test_every_file_stands_in_the_ledger_measured_or_with_the_reason_why_not(report):
    stages = [entry["stage"] for entry in report["ledger"]]
    pending = [f"tensorrt-{precision}" for precision in ("fp32", "fp16", "int8")]
    assert stages == ["teacher", "student", *STAGES, *ENGINES, *pending]
    for entry in report["ledger"][2:5]:
        assert entry["latency"]["runs"] >= 20
        assert "size_mb" in entry
        assert "parity_cosine_min" in entry
        assert entry["file"] == f"student.{entry['precision']}.onnx"
    for entry in report["ledger"][5:8]:
        assert "needs an NVIDIA GPU of compute capability 8.9" in entry["not_run"]
    for entry in report["ledger"][8:]:
        assert "compressor engine bundle --flavour tensorrt" in entry["not_run"]
    assert report["recommended"]["stage"] in STAGES


def test_the_report_says_how_they_came_to_be(place, report):
    page = (place / "runs/tiny/report.md").read_text(encoding="utf-8")
    assert "## Precision" in page
    assert "FP16: Nothing had to stay float32" in page
    assert "INT8: calibrated on " in page
    assert "Not run here: `tensorrt-rtx-fp16-sm89`" in page
    assert report["precision"]["fp16"]["proof"]["weights"]["float16"] > 0.9
    decision = report["precision"]["int8"]
    tried = {(each["images"], each["method"]) for each in decision["calibrations_tried"]}
    assert len(tried) == (3 if decision["qat"]["kept"] else 6)
    assert decision["qat"]["missed"] == ["similarity_correlation"]
    assert "epochs of quantisation-aware distillation were tried: agreement" in page


def test_engines_travel_in_the_bundle_with_what_lies_beside_them(place):
    bundle = place / "runs/tiny/bundle"
    names = {each.relative_to(bundle).as_posix() for each in bundle.rglob("*") if each.is_file()}
    stem = "engines/student.fp16.tensorrt-rtx-sm89.engine"
    assert {stem, f"{stem}.json", f"{stem}.layers.json", f"{stem}.sh"} <= names


def test_nothing_is_made_twice(place, report):
    again = compressor("run", "recipe.yaml", cwd=place)
    assert again.stderr.count("unchanged, skipped") == len(report["timings_s"])
    assert {"fp16", "int8", "camera", "engines"} <= report["timings_s"].keys()


@pytest.fixture
def copied(place, tmp_path):
    return Path(shutil.copytree(place / "runs/tiny/bundle", tmp_path / "bundle"))


def test_engines_for_other_gpus_are_added_to_a_bundle_that_the_device_still_checks(
    copied, tmp_path
):
    words = ("--flavour", "tensorrt-rtx", "--precision", "fp16")
    words += ("--compute-capability", "8.6", "--compute-capability", "12.0")
    done = compressor("engine", copied, *words, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    assert [each["compute_capability"] for each in built.values()] == ["8.6", "12.0"]
    assert "Building engine" in done.stderr
    checked = compressor("check", copied, "--json", cwd=tmp_path, module="runtime")
    stages = [entry["stage"] for entry in json.loads(checked.stdout)["ledger"]]
    assert {"tensorrt-rtx-fp16-sm86", "tensorrt-rtx-fp16-sm120", *ENGINES} <= set(stages)


def test_a_truncated_engine_stops_the_check(copied, tmp_path):
    engine = copied / "engines/student.fp16.tensorrt-rtx-sm89.engine"
    engine.write_bytes(engine.read_bytes()[:1000])
    refused = compressor("check", copied, cwd=tmp_path, module="runtime")
    assert refused.returncode == 2
    assert "altered: engines/student.fp16.tensorrt-rtx-sm89.engine" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--flavour", "tensorrt"), 3, "tensorrt cannot be imported"),
        (("--compute-capability", "8.7", "--flavour", "tensorrt-rtx"), 2, "not for SM87"),
        (("--flavour", "tensorrt-rtx", "--batches", "4", "2", "8"), 2, "a profile rises"),
    ],
)
def test_mistakes(copied, tmp_path, words, code, said):
    pytest.importorskip("tensorrt_rtx")
    done = compressor("engine", copied, *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_benchmark(place, tmp_path):
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "precision.py"
    words = [place / "runs/tiny", "--seeds", 1, "--images", 8, "--out", tmp_path / "out"]
    command = [sys.executable, str(script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=230)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out/precision.json").read_text())["runs"]["tiny"]
    assert {(row["images"], row["method"]) for row in found["calibrations"]} == {
        (images, method)
        for images in ("selected", "random")
        for method in ("minmax", "entropy", "percentile")
    }
    assert [row["file"] for row in found["files"]][:3] == ["fp32", "fp16", "int8, 0 layers float"]
    assert sum(row.get("recommended", False) for row in found["files"]) == 1
    assert "| fp32 |" in done.stdout
