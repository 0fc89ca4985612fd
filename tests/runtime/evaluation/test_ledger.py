"""What is lost at every step of the ledger."""

from dataclasses import replace

import numpy as np
import pytest

from runtime import metrics
from runtime.backends.base import Outputs
from runtime.bundle import golden
from runtime.bundle.golden_arrays import TeacherProbe
from runtime.evaluation import ledger, metric_table, subject
from runtime.evaluation.ledger import Measured
from runtime.evaluation.subject import Answers, bank_of
from runtime.results.ledger import LedgerEntry
from runtime.results.scores import to_json


@pytest.fixture(scope="module")
def loaded(make_bundle):
    return golden.load(make_bundle(images=40) / "golden")


def line(stage, **estimates):
    return Measured(LedgerEntry(stage=stage), estimates)


def entries(lines):
    return [to_json(entry) for entry in ledger.entries(lines)]


def estimates(loaded, answers):
    return metric_table.estimates(subject.of_encoder(loaded, answers, bank_of(loaded)))


def right(*wrong):
    values = np.ones(50, bool)
    values[list(wrong)] = False
    return metrics.mean_estimate(values)


def test_losses_go_from_line_to_line_and_from_the_teacher():
    lines = [
        line("teacher", accuracy_linear=right()),
        line("student", accuracy_linear=right(0, 1, 2)),
        line("onnx-fp32", accuracy_linear=right(0, 1, 2)),
        line("onnx-int8", accuracy_linear=right(0, 1, 2, 3, 4)),
    ]
    teacher, student, fp32, int8 = entries(lines)
    assert "loss_against_teacher" not in teacher
    assert "loss_against_before" not in student  # the line before is the teacher
    assert student["loss_against_teacher"]["accuracy_linear"] == pytest.approx(3 / 50)
    assert int8["loss_against_teacher"]["accuracy_linear"] == pytest.approx(5 / 50)
    before = int8["loss_against_before"]
    assert before["before"] == "onnx-fp32"
    assert before["accuracy_linear"] == pytest.approx(2 / 50)
    # Paired: 2 of 50 for certain, though either figure alone is uncertain by more.
    low, high = before["accuracy_linear_ci"]
    assert high - low < np.subtract(*int8["accuracy_linear_ci"][::-1])
    assert fp32["loss_against_before"]["accuracy_linear"] == 0


def test_a_loss_is_above_zero_where_less_is_better_too():
    lines = [
        line("teacher", ood_fpr95=right(*range(40))),
        line("student", ood_fpr95=right(*range(30)), cosine_mae=right(*range(45))),
        line("onnx-fp32", ood_fpr95=right(*range(30)), cosine_mae=right(*range(40))),
    ]
    _, student, deployed = entries(lines)
    assert student["loss_against_teacher"]["ood_fpr95"] == pytest.approx(0.2)
    assert deployed["loss_against_before"]["cosine_mae"] == pytest.approx(0.1)
    assert "cosine_mae" not in deployed["loss_against_teacher"]  # it compares with the teacher


def test_a_broken_line_is_passed_over():
    lines = [
        line("teacher", accuracy_linear=right()),
        line("student", accuracy_linear=right(0)),
        Measured(LedgerEntry(stage="onnx-fp16", broken="not finite")),
        line("onnx-int8", accuracy_linear=right(0, 1)),
    ]
    *_, broken, after = entries(lines)
    assert broken == {"stage": "onnx-fp16", "broken": "not finite"}
    assert after["loss_against_before"]["before"] == "student"


def test_every_metric_is_there(loaded):
    arrays = loaded.arrays
    inside = Outputs(arrays.student_embedding, arrays.student_logits)
    outside = Outputs(arrays.outside.student_embedding, arrays.outside.student_logits)
    found = estimates(loaded, Answers(inside, outside))
    assert set(found) == {
        *(f"{what}_{probe}" for what in ("accuracy", "agreement") for probe in ("knn", "linear")),
        "total_variation",
        "jensen_shannon",
        "similarity_correlation", "similarity_correlation_centred",
        "cosine_mae",
        "linear_cka",
        "procrustes_cosine",
        "neighbour_overlap_at_10",
        *(f"ood_{what}{score}" for what in ("auroc", "fpr95")
          for score in ("", "_mahalanobis", "_energy")),
        "calibration_ece",
        "calibration_nll",
    }  # fmt: skip
    # The teacher is a linear image of the student here.
    assert found["procrustes_cosine"].value > 0.5
    distance = metrics.total_variation(arrays.student_logits, arrays.teacher_logits)
    assert found["total_variation"].value == pytest.approx(distance.mean())


def test_probabilities_are_compared_with_the_teachers_probe_of_the_same_kind(loaded):
    arrays = loaded.arrays
    inside = Outputs(arrays.student_embedding, arrays.student_logits)
    other = replace(arrays, teacher_probe=TeacherProbe(arrays.labels, arrays.student_logits))
    found = estimates(replace(loaded, arrays=other), Answers(inside, None))
    assert found["total_variation"].value == 0
    # An older golden set holds no more than the answers of that probe: no distance then.
    older = replace(other, teacher_probe=TeacherProbe(arrays.labels))
    found = estimates(replace(loaded, arrays=older), Answers(inside, None))
    assert "total_variation" not in found
    assert "agreement_probe" in found


def test_without_labels_there_is_no_metric_of_answers(make_bundle):
    unlabelled = golden.load(make_bundle(labels=False) / "golden")
    inside = Outputs(unlabelled.arrays.student_embedding, None)
    found = estimates(unlabelled, Answers(inside, None))
    assert set(found) == {
        "similarity_correlation",
        "similarity_correlation_centred",
        "cosine_mae",
        "linear_cka",
        "procrustes_cosine",
        "neighbour_overlap_at_10",
    }


def test_under_twelve_images_have_no_neighbours_and_wide_intervals(make_bundle):
    few = golden.load(make_bundle(images=11) / "golden")
    arrays = few.arrays
    inside = Outputs(arrays.student_embedding, arrays.student_logits)
    found = estimates(few, Answers(inside, None))
    assert "similarity_correlation" not in found
    assert found["accuracy_linear"].value == 1
    assert found["accuracy_linear"].low < 0.75
