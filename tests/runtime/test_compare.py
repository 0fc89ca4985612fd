import json

import pytest

from runtime import compare
from runtime.errors import InputError


def report(name, *, accuracy=0.5, digest="a", cpu="x"):
    deployed = {
        "stage": "onnx-fp32",
        "accuracy_knn": accuracy,
        "accuracy_knn_ci": [accuracy - 0.1, accuracy + 0.1],
        "latency": {"median_ms": 1.0, "p95_ms": 2.0},
    }
    return {
        "schema_version": 1,
        "recipe": {"name": name},
        "golden": {"digest": digest},
        "machine": {"cpu": cpu},
        "ledger": [{"stage": "teacher"}, deployed],
        "recommended": {"stage": "onnx-fp32"},
        "verdict": {"passed": True},
    }


def test_the_recommended_files_stand_side_by_side_with_intervals():
    text = compare.text(["one", "two"], [report("one"), report("two", accuracy=0.75)])
    assert "| figure    | one                    | two                    |" in text
    assert "| kNN acc.  | 0.500 (0.400 to 0.600) | 0.750 (0.650 to 0.850) |" in text
    assert "| p95 ms    | 2.00 " in text
    assert "different" not in text


def test_other_images_or_machines_are_said():
    text = compare.text(["one", "two"], [report("one"), report("two", digest="b", cpu="y")])
    assert "of different held-out images or teachers" in text
    assert "different machines" in text


def test_a_report_is_found_in_the_folder_of_a_run(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report("one")))
    assert compare.load(tmp_path) == compare.load(tmp_path / "report.json") == report("one")


def test_what_is_no_report_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"report.json: no such file"):
        compare.load(tmp_path)
    (tmp_path / "report.json").write_text('{"schema_version": 1}')
    with pytest.raises(InputError, match=r"not a report \(it lacks golden, ledger"):
        compare.load(tmp_path)
