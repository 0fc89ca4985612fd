"""bundle.json of an old version, of today, and what its types refuse."""

import json
import shutil
from pathlib import Path

import pytest

from runtime import documents
from runtime.bundle import bundle
from runtime.bundle.schema import BundleDocument, extras, json_schema
from runtime.errors import InputError

ROOT = Path(__file__).parents[3]
OLD = ROOT / "tests" / "fixtures" / "bundle_v1"


def test_a_bundle_of_version_1_is_read_whole():
    document = bundle.load(OLD).document
    written = json.loads((OLD / "bundle.json").read_text(encoding="utf-8"))
    assert documents.plain(document) == written | {
        "engines_to_build": [],
        "not_made": [],
        "outliers": None,
        "recommended": None,
    }
    assert document.target.batches == (1, 8)
    assert document.require.latency_p95_ms == 1000
    assert document.teacher.args["embed_dim"] == 24
    assert {artifact.stage for artifact in bundle.load(OLD).artifacts} == {
        "onnx-fp32",
        "onnx-fp16",
        "onnx-int8",
    }


def test_the_published_schema_is_the_one_of_the_code():
    """Where this fails: compressor schema --of bundle > docs/schemas/bundle.schema.json."""
    published = ROOT / "docs" / "schemas" / "bundle.schema.json"
    assert published.read_text(encoding="utf-8") == json.dumps(json_schema(), indent=2) + "\n"


def changed(place, value):
    document = json.loads((OLD / "bundle.json").read_text(encoding="utf-8"))
    node = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return document


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("target", "batches"), ["1"], "target.batches[0]: expected int, got str '1'"),
        (("target", "batches"), [5000], "target.batches[0]: expected int <= 4096, got int 5000"),
        (
            ("target", "batches"),
            [],
            "target.batches: expected array of length >= 1",
        ),
        (("target", "match"), {"cpu": "("}, "target.match.cpu: not a regular expression"),
        (("target", "provider"), "tpu", "target.provider: invalid enum value 'tpu'"),
        (("classes", 0), "", "classes[0]: expected str of length >= 1, got str ''"),
        (("preprocess", "resize_px"), 8, "preprocess.resize_px: 8 is under size_px 32"),
        (("preprocess", "std"), [0, 1, 1], "preprocess.std[0]: expected float > 1e-06, got int 0"),
        (("preprocess", "mean"), [0, 1], "preprocess.mean: expected array of length 3"),
        (("require", "neatness"), 0.5, "require.neatness: unknown key"),
        (("require", "agreement"), 1e12, "require.agreement: expected float < 1000000000.0"),
        (("teacher", "size_mb"), 0, "teacher.size_mb: expected float > 0.0, got int 0"),
        (("probe", "temperature"), None, "probe.temperature: missing"),
        (("probe", "candidates", 0, "accuracy_ci"), [1], "probe.candidates[0].accuracy_ci: "),
        (("artifacts", 1, "stage"), "onnx-fp32", "artifacts: stage 'onnx-fp32' is there twice"),
        (("artifacts", 0, "file"), "../x", "artifacts[0].file: '../x' points outside the bundle"),
        (("artifacts", 0, "precision"), "fp8", "artifacts[0].precision: invalid enum value 'fp8'"),
        (("artifacts",), [], "artifacts: expected array of length >= 1, got array of 0"),
    ],
)
def test_what_the_types_refuse(tmp_path, seal, place, value, message):
    folder = shutil.copytree(OLD, tmp_path / "bundle")
    path = folder / "bundle.json"
    path.write_text(json.dumps(changed(place, value)), encoding="utf-8")
    seal(folder)
    with pytest.raises(InputError) as caught:
        bundle.load(folder)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_keys_of_a_newer_version_are_ignored():
    document = documents.typed(changed(("colour",), "red"), BundleDocument, OLD / "bundle.json")
    assert document == bundle.load(OLD).document


@pytest.mark.parametrize(
    ("files", "provider", "named"),
    [
        (["student.fp32.onnx", "engines/a.engine"], "cpu", "cpu"),
        (["student.fp32.onnx", "student.fp16.tflite", "student.fp32.ncnn.param"], "cpu",
         "cpu,litert,ncnn"),
        (["student.int8.ncnn.param", "student.fp32.ncnn.param"], "cuda", "gpu,ncnn"),
    ],
)  # fmt: skip
def test_the_extras_that_run_some_files(files, provider, named):
    assert extras(files, provider) == named
