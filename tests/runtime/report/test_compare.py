import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import runtime
from compressor.cli import app
from runtime.errors import InputError
from runtime.report import compare
from runtime.results.scores import to_json

ENV = {**os.environ, "PYTHONPATH": str(Path(runtime.__file__).parents[1])}


@pytest.fixture
def made(document):
    """`made(accuracy=..., digest=..., cpu=..., **scores)`: report.json; `x_ci` is x's interval."""

    def make(*, accuracy=0.5, digest="a", cpu="x", median_ms=1.0, median_ms_ci=None, **keys):
        report = copy.deepcopy(document)
        report["golden"]["digest"], report["machine"]["cpu"] = digest, cpu
        teacher, _, deployed = report["ledger"]
        for key in ("size_mb", "accuracy_linear", "similarity_correlation"):
            deployed.pop(key)
            deployed.pop(f"{key}_ci", None)
        deployed["accuracy_knn"] = accuracy
        deployed["accuracy_knn_ci"] = [accuracy - 0.1, accuracy + 0.1]
        deployed["latency"] |= {"median_ms": median_ms, "p95_ms": 2.0}
        deployed["latency"]["median_ms_ci"] = median_ms_ci or [median_ms, median_ms]
        deployed.pop("parity_cosine_min")
        deployed.update(keys)
        report["ledger"] = [teacher, deployed]
        report["verdict"]["passed"] = True
        return report

    return make


@pytest.fixture
def report(made, read):
    """`report(...)`: the same, as it is read."""
    return lambda **changes: read(made(**changes))


def test_the_recommended_files_stand_side_by_side_with_intervals(report):
    text = compare.text(["one", "two"], [report(), report(accuracy=0.75)])
    assert "| metric       | one                    | two                    |" in text
    assert "| kNN accuracy | 0.500 (0.400 to 0.600) | 0.750 (0.650 to 0.850) |" in text
    assert "| p95 ms       | 2.00 " in text
    assert "different" not in text


def outcomes(first, other):
    return {each.figure: each.outcome for each in compare.changes(first, other)}


@pytest.mark.parametrize(
    ("accuracy", "outcome"),
    [(0.5, "not distinguishable"), (0.64, "not distinguishable"), (0.65, "better"), (0.3, "worse")],
)
def test_a_difference_counts_beyond_both_half_widths_in_quadrature(accuracy, outcome, report):
    # 0.1 and 0.1: the difference is known to within 0.1414
    first, other = report(), report(accuracy=accuracy)
    (change, _) = compare.changes(first, other)
    assert change.figure == "accuracy_knn"
    assert change.difference == pytest.approx(accuracy - 0.5)
    assert change.high - change.difference == pytest.approx(0.02**0.5)
    assert change.difference - change.low == pytest.approx(0.02**0.5)
    assert change.outcome == outcome


def test_intervals_with_unequal_arms(report):
    first = report(ood_auroc=0.6, ood_auroc_ci=[0.5, 0.62])
    other = report(ood_auroc=0.7, ood_auroc_ci=[0.63, 0.9])
    change = next(each for each in compare.changes(first, other) if each.figure == "ood_auroc")
    assert change.low == pytest.approx(0.1 - (0.07**2 + 0.02**2) ** 0.5)
    assert change.high == pytest.approx(0.1 + (0.2**2 + 0.1**2) ** 0.5)
    assert change.outcome == "better"


def test_lower_is_better_for_some_and_what_has_no_interval_is_exact(report):
    first = report(ood_fpr95=0.5, ood_fpr95_ci=[0.45, 0.55], size_mb=7.0)
    other = report(
        ood_fpr95=0.2,
        ood_fpr95_ci=[0.15, 0.25],
        size_mb=7.1,
        median_ms=2.0,
        median_ms_ci=[1.9, 2.1],
    )
    assert outcomes(first, other) == {
        "accuracy_knn": "not distinguishable",
        "ood_fpr95": "better",
        "size_mb": "worse",
        "median_ms": "worse",
    }
    assert outcomes(other, first) == {
        "accuracy_knn": "not distinguishable",
        "ood_fpr95": "worse",
        "size_mb": "better",
        "median_ms": "better",
    }


def test_a_report_is_not_distinguishable_from_itself(report):
    one = report(ood_auroc=0.6, ood_auroc_ci=[0.5, 0.62], size_mb=7.0, parity_cosine_min=0.9)
    assert set(outcomes(one, one).values()) == {"not distinguishable"}
    assert "parity_cosine_min" not in outcomes(one, one)


def test_what_does_not_compare_is_not_judged(report):
    assert outcomes(report(), report(digest="b")) == {"median_ms": "not distinguishable"}
    assert outcomes(report(), report(cpu="y")) == {"accuracy_knn": "not distinguishable"}


def test_the_judgement_stands_in_the_table_and_in_the_document(report):
    reports = [report(), report(accuracy=0.75), report(accuracy=0.2)]
    text = compare.text(["one", "two", "three"], reports)
    assert "| two against one " in text
    assert "better (+0.25)" in text
    assert "worse (-0.3)" in text
    document = compare.document(["one", "two", "three"], reports)
    assert document["two"] == to_json(reports[1])
    judged = {each["report"]: each["changes"][0]["outcome"] for each in document["comparison"]}
    assert judged == {"two": "better", "three": "worse"}


@pytest.mark.parametrize(("accuracy", "code"), [(0.75, 0), (0.5, 0), (0.2, 1)])
def test_a_gate_against_the_student_in_the_field(tmp_path, accuracy, code, made):
    for name, each in (("one", made()), ("two", made(accuracy=accuracy))):
        (tmp_path / f"{name}.json").write_text(json.dumps(each))
    words = ["compare", "one.json", "two.json"]
    run = [sys.executable, "-m", "compressor", *words]
    assert subprocess.run(run, cwd=tmp_path, env=ENV, capture_output=True).returncode == 0
    done = subprocess.run([*run, "--not-worse"], cwd=tmp_path, env=ENV, capture_output=True)
    assert done.returncode == code
    assert (b"worse: accuracy_knn" in done.stderr) == bool(code)


@pytest.mark.parametrize("others", [[], ["other images"], ["made", "other images"]])
def test_what_cannot_be_compared_is_undecided_and_no_pass(tmp_path, others, made):
    """Scores on other images say nothing about this student: exit code 1, not 0."""
    reports = {"first": made(), "made": made(), "other images": made(digest="b")}
    for name, each in reports.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(each))
    paths = [str(tmp_path / f"{name}.json") for name in ("first", *others)]
    done = CliRunner().invoke(app.commands, ["compare", "--not-worse", *paths])
    assert done.exit_code == 1


def test_the_verdicts_stand_in_the_table(made, read):
    """Undecided is never failed, and no requirement is never passed."""
    document = made()
    size, undecided = document["verdict"]["requirements"][1:]
    judged = [[size | {"passed": True}], [size], [size | {"passed": True}, undecided], []]
    reports = [
        read(document | {"verdict": {"passed": False, "requirements": each}}) for each in judged
    ]
    line = compare.text("abcd", reports).splitlines()
    (row,) = (each for each in line if each.startswith("| verdict"))
    cells = [cell.strip() for cell in row.split("|")[2:6]]
    assert cells == ["passed", "failed", "undecided", "no requirement set"]


def test_other_images_or_machines_are_said(report):
    text = compare.text(["one", "two"], [report(), report(digest="b", cpu="y")])
    assert "of different held-out images or teachers" in text
    assert "different machines" in text


def test_a_report_is_found_in_the_folder_of_a_run(tmp_path, report, made):
    (tmp_path / "report.json").write_text(json.dumps(made()))
    assert compare.load(tmp_path) == compare.load(tmp_path / "report.json") == report()


def test_what_is_no_report_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"report.json: no such file"):
        compare.load(tmp_path)
    (tmp_path / "report.json").write_text('{"schema_version": 1}')
    with pytest.raises(InputError, match=r"not a report \(it lacks golden, ledger"):
        compare.load(tmp_path)
