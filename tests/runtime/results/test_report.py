"""report.json is read into types, checked field by field, and written again to the byte."""

import json
import shutil
from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.evaluation.report_schema import json_schema
from runtime.results.making import PrecisionDecisions
from runtime.results.report import load, save, with_run
from runtime.results.scores import Score, from_json, to_json

ROOT = Path(__file__).parents[3]
OLD = ROOT / "tests" / "fixtures" / "report_v1.json"


@pytest.fixture
def changed(tmp_path):
    """`changed(change)`: an old report after `change(document)`."""

    def make(change):
        document = json.loads(OLD.read_text(encoding="utf-8"))
        change(document)
        path = tmp_path / "report.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return make


def test_a_report_is_read_and_written_again_to_the_byte(tmp_path):
    old = json.loads(OLD.read_text(encoding="utf-8"))
    old["verdict"]["outcome"] = "passed"  # which old reports did not say
    assert json.dumps(to_json(load(OLD))) == json.dumps(old)
    save(load(OLD), tmp_path)
    written = (tmp_path / "report.json").read_bytes()
    save(load(tmp_path), tmp_path)
    assert (tmp_path / "report.json").read_bytes() == written


def test_scores_lie_flat_in_json_and_are_typed_in_memory():
    report = load(OLD)
    entry, document = report.entry("onnx-fp32"), json.loads(OLD.read_text())["ledger"][2]
    score = entry.scores["accuracy_knn"]
    assert isinstance(score, Score)
    assert score.value == document["accuracy_knn"]
    assert [score.low, score.high] == document["accuracy_knn_ci"]
    assert report.recommended_entry.stage == report.recommended.stage
    assert report.robustness.lines[0].families[0].series["stability"][4].value > -1


def test_a_report_is_found_in_the_folder_of_a_run(tmp_path):
    shutil.copyfile(OLD, tmp_path / "report.json")
    assert load(tmp_path) == load(OLD)


def put(*path, value):
    def change(document):
        *parents, last = path
        for key in parents:
            document = document[key]
        document[last] = value

    return change


WRONG = [
    (put("ledger", 2, "latency", "p95_ms", value="fast"),
     r"ledger\[2\]\.latency\.p95_ms: expected float, got str"),
    (put("ledger", 2, "accuracy_knn", value="high"),
     r"ledger\[2\]\.accuracy_knn: expected float, got str"),
    (put("ledger", 2, "accuracy_knn_ci", value=[1]),
     r"ledger\[2\]\.accuracy_knn_ci: expected two numbers, got array"),
    (put("ledger", 1, "loss_against_teacher", "accuracy_knn", value=None),
     r"ledger\[1\]\.loss_against_teacher\.accuracy_knn: expected float, got null"),
    (put("verdict", "requirements", 0, "rule", value="above"),
     r"verdict\.requirements\[0\]\.rule: "),
    (put("robustness", "lines", 1, "families", 0, "stability_ci", value=[[0, 1]]),
     r"robustness\.lines\[1\]\.families\[0\]\.stability_ci: expected 5 pairs"),
    (put("recommended", "stage", value="/"), r"recommended\.stage: the ledger has no entry '/'"),
    (put("ledger", value=[]), r"recommended\.stage: the ledger has no entry 'onnx-"),
    (put("machine", "cores", value=None), r"machine\.cores: expected int, got null"),
    (put("schema_version", value=99), r"version 99 of the report; .* Install a newer one"),
    (lambda document: document.pop("golden"), r"not a report \(it lacks golden\)"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_field_is_refused_with_its_path(changed, change, message):
    with pytest.raises(InputError, match=rf"report\.json: .*{message}"):
        load(changed(change))


def test_a_key_of_a_newer_version_is_passed_over(changed):
    report = load(changed(put("ledger", 2, "energy_mj", value=3.5)))
    assert report == load(OLD)


def test_a_run_adds_its_parts(changed):
    def without(document):
        for key in ("data", "timings_s", "training", "untrained_student"):
            del document[key]

    document = json.loads(OLD.read_text(encoding="utf-8"))
    document["verdict"]["outcome"] = "passed"
    parts = {key: document[key] for key in ("data", "timings_s", "training", "untrained_student")}
    assert to_json(with_run(load(changed(without)), parts)) == document
    with pytest.raises(InputError, match=r"timings_s.*expected float"):
        with_run(load(OLD), {"timings_s": {"check": "long"}})


def test_the_published_schema_is_the_one_of_the_code():
    """Where this fails: write `json_schema()` to docs/schemas/report.schema.json."""
    published = ROOT / "docs" / "schemas" / "report.schema.json"
    assert published.read_text(encoding="utf-8") == json.dumps(json_schema(), indent=2) + "\n"


def test_the_schema_has_every_key_of_a_real_report():
    """Walk report and schema together: no key of the report is unknown to the schema."""
    schema = json_schema()

    def declared(kind):
        while "$ref" in kind:
            kind = schema["$defs"][kind["$ref"].rpartition("/")[2]]
        return kind

    def walk(value, kind, path):
        kind = declared(kind)
        options = [declared(each) for each in kind.get("anyOf", [kind])]
        if isinstance(value, dict):
            kind = next(each for each in options if each.get("type") == "object")
            known = kind.get("properties", {})
            for key, held in value.items():
                free = kind.get("additionalProperties")
                assert key in known or free is not None or not known, f"{path}.{key}"
                if isinstance(known.get(key, free), dict):
                    walk(held, known.get(key, free), f"{path}.{key}")
        if isinstance(value, list):
            kind = next(each for each in options if each.get("type") == "array")
            for each in value:
                if isinstance(kind.get("items"), dict):
                    walk(each, kind["items"], f"{path}[]")

    walk(json.loads(OLD.read_text(encoding="utf-8")), schema, "report")


def test_no_decision_of_the_export_is_lost_in_the_report():
    """A key that `export.precision` adds must be added to the types of the report too."""
    pytest.importorskip("onnx")  # not on a device
    from export.precision.fp16 import Float32Parts
    from export.precision.int8 import Decision, Step, Trial

    fp16 = Float32Parts(("a",), ("Softmax",), 0.9999, 0.999, (("Softmax", 0.9998),)).result()
    trial, step = Trial("selected", "percentile", 1e-5), Step(0, 1e-5, 0.0, 0.0)
    int8 = Decision((trial,), "selected", "percentile", ("head",), (step,), 1e-5).result()
    decisions = {"fp16": to_json(fp16), "int8": to_json(int8)}
    assert to_json(from_json(decisions, PrecisionDecisions, Path("bundle.json"))) == decisions
