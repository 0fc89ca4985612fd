"""What a check says about the deployed probe and about probabilities."""

from dataclasses import replace

import numpy as np
import pytest

from runtime import metrics
from runtime.bundle import bundle, golden
from runtime.bundle.golden_arrays import LinearProbe, TeacherProbe
from runtime.evaluation import metric_table
from runtime.evaluation.check import check
from runtime.evaluation.subject import Subject
from runtime.report import markdown
from runtime.results.scores import to_json


@pytest.fixture(scope="module")
def folder(make_bundle):
    return make_bundle()


@pytest.fixture(scope="module")
def found(folder):
    return to_json(checked(folder))


def checked(folder):
    return check(bundle.load(folder), golden.load(folder / "golden"))


def other_probe(folder, change_json, seal, **changes):
    """Let the golden set say that the file's logits are of another probe than the linear one."""
    loaded = golden.load(folder / "golden")
    arrays = replace(loaded.arrays, **changes)
    replace(loaded, arrays=arrays).save(folder / "golden", root=".")
    probe = {"kind": "prototypes", "classes_without_label": ["blue"], "calibrated": True}
    probe |= {"why": "tried", "labelled": 4, "temperature": 1.0, "candidates": []}
    change_json(folder / "bundle.json", probe=probe)
    seal(folder)


def test_another_probe_than_the_linear_has_figures_of_its_own(make_bundle, change_json, seal):
    """A linear probe that answers the other way round is all wrong; the file's own is all right."""
    folder = make_bundle(require={"agreement": 0.9, "accuracy_drop": 0.1})
    reverse = np.array([[-1.0, 0, 1], [1, 0, -1]], np.float32)
    teacher = np.arange(16) % 2
    linear = LinearProbe(reverse, np.zeros(2, np.float32))
    other_probe(folder, change_json, seal, teacher_probe=TeacherProbe(teacher), linear_probe=linear)
    report = checked(folder)
    found = to_json(report)
    teacher, student, deployed = found["ledger"]
    assert teacher["accuracy_probe"] == 1
    for entry in (student, deployed):
        assert entry["accuracy_linear"] == entry["agreement_linear"] == 0
        assert entry["accuracy_probe"] == entry["agreement_probe"] == 1
        assert entry["agreement_probe_ci"][1] == 1
    # Gates are about what the file answers.
    got = {each["requirement"]: each["got"] for each in found["verdict"]["requirements"]}
    assert got["agreement"] == 1
    assert got["accuracy_drop"] == 0
    assert found["probe"]["kind"] == "prototypes"
    assert found["classes_without_label"] == ["blue"]
    assert "Never answered: blue" in markdown.text(report)


def test_probabilities_are_measured(found, folder):
    loaded = golden.load(folder / "golden")
    logits, labels = loaded.arrays.student_logits, loaded.arrays.labels
    expected = metrics.calibration_error(logits, labels)
    for entry in found["ledger"][1:]:
        assert entry["calibration_ece"] == pytest.approx(expected.value, abs=1e-4)
        low, high = entry["calibration_ece_ci"]
        assert low <= entry["calibration_ece"] <= high
        loss = metrics.log_loss(logits, labels).mean()
        assert entry["calibration_nll"] == pytest.approx(loss, abs=1e-4)
    assert "calibration_ece" not in found["ledger"][0]


def calibration(logits, labels):
    found = metric_table.estimates(Subject(np.array(labels), classes=3, logits=logits))
    return {key: found[key].value for key in found}


def test_log_loss_leaves_out_the_classes_that_no_label_covers():
    logits = np.array([[2.0, 0.0, metrics.NEVER], [0.0, 2.0, metrics.NEVER]], np.float32)
    found = calibration(logits, [0, 2])
    assert found["calibration_nll"] == pytest.approx(np.log(1 + np.exp(-2)), abs=1e-6)
    sure = 1 / (1 + np.exp(-2))
    assert found["calibration_ece"] == pytest.approx(abs(sure - 0.5), abs=1e-6)
    assert "calibration_nll" not in calibration(logits, [2, 2])  # only uncovered ones
    assert calibration(logits, [-1, -1]) == {}
    assert calibration(None, [0, 1]) == {}


def test_an_old_bundle_says_nothing_of_its_probe(found):
    assert found["probe"] is None
    assert found["classes_without_label"] == []
