"""Corrupted images through a real session: the same bits and answers as on the desk."""

import numpy as np
import pytest

from runtime.backends.base import Outputs
from runtime.backends.registry import open_session
from runtime.bundle import bundle, golden
from runtime.evaluation.check import check
from runtime.evaluation.subject import bank_of
from runtime.findings import robustness
from runtime.findings.robustness import CorruptedAnswers
from runtime.images.corruptions import FAMILIES
from runtime.progress import silent
from runtime.results.scores import to_json


@pytest.fixture(scope="module")
def folder(make_bundle):
    return make_bundle(corrupted=6, ood=0)


@pytest.fixture(scope="module")
def found(folder):
    return to_json(check(bundle.load(folder), golden.load(folder / "golden")))


def measured(session, loaded, preprocess):
    inside = Outputs(loaded.arrays.student_embedding, loaded.arrays.student_logits)
    mean = bank_of(loaded).mean
    return robustness.measure(session, loaded, preprocess, inside, mean, track=silent)


def test_the_device_makes_the_same_corruptions_and_answers_as_the_desk(folder):
    loaded, opened = golden.load(folder / "golden"), bundle.load(folder)
    arrays = loaded.arrays
    session = open_session(opened.artifacts[0].path, provider="cpu")
    got = measured(session, loaded, opened.preprocess)
    assert got.answers.shape == got.stability.shape == (6, 6, 5)
    assert np.array_equal(got.answers, arrays.corrupted.student.answers)
    assert got.stability == pytest.approx(arrays.corrupted.student.stability, abs=1e-4)


class Camera:
    """A file that takes pixels: it normalises by itself."""

    takes = "uint8"

    def __init__(self, session, preprocess):
        self.session, self.preprocess = session, preprocess

    def run(self, pixels):
        assert pixels.dtype == np.uint8
        return self.session.run(self.preprocess.normalise(pixels))


def test_a_file_that_takes_pixels_is_given_pixels(folder):
    loaded, opened = golden.load(folder / "golden"), bundle.load(folder)
    session = open_session(opened.artifacts[0].path, provider="cpu")
    one, other = (
        measured(each, loaded, opened.preprocess)
        for each in (session, Camera(session, opened.preprocess))
    )
    assert np.array_equal(one.answers, other.answers)
    assert np.array_equal(one.stability, other.stability)


def test_the_report_tells_of_teacher_student_and_file(found):
    robust = found["robustness"]
    assert robust["images"] == 6
    teacher, student, deployed = robust["lines"]
    assert [each["stage"] for each in robust["lines"]] == ["teacher", "student", "deployed"]
    assert teacher["accuracy"] == teacher["stability"] == 1
    assert "agreement" not in teacher
    for line in (student, deployed):
        assert line["accuracy"] == line["agreement"]  # this teacher is always right
        assert line["accuracy_fall"] == pytest.approx(line["accuracy_clean"] - line["accuracy"])
        beyond = line["accuracy_fall_beyond_teacher"]
        assert beyond == pytest.approx(line["accuracy_fall"] - teacher["accuracy_fall"])
        low, high = line["accuracy_fall_beyond_teacher_ci"]
        assert low <= beyond <= high
    assert [each["family"] for each in deployed["families"]] == list(FAMILIES)
    for family in deployed["families"]:
        assert len(family["accuracy"]) == len(family["stability_ci"]) == 5
    every = [family["accuracy"] for family in deployed["families"]]
    assert np.mean(every) == pytest.approx(deployed["accuracy"])


def test_corruptions_stand_for_images_of_no_task_and_are_named(found):
    assert found["golden"]["ood_source"] == "corruptions"
    assert found["golden"]["ood_images"] == 6
    _, student, deployed = found["ledger"]
    for key in ("ood_auroc", "ood_fpr95", "ood_auroc_energy", "ood_auroc_mahalanobis"):
        assert deployed[key] == pytest.approx(student[key], abs=1e-6)


def test_a_folder_of_other_images_comes_first(make_bundle):
    loaded = golden.load(make_bundle(corrupted=3) / "golden")
    assert loaded.ood_source == "data.ood"
    assert len(loaded.outside()) == 6
    assert not any(picture.corruption for picture in loaded.outside())


def test_without_labels_stability_is_left(make_bundle):
    folder = make_bundle(corrupted=4, labels=False, ood=0)
    robust = to_json(check(bundle.load(folder), golden.load(folder / "golden")))["robustness"]
    for line in robust["lines"]:
        assert not [key for key in line if key.startswith(("accuracy", "agreement"))]
        assert -1 <= line["stability"] <= 1
    assert robust["lines"][2]["stability_fall_beyond_teacher"] > 0


def test_an_interval_is_over_images_not_over_corruptions(folder):
    """Thirty corruptions of an image that fails are one failure, not thirty."""
    loaded = golden.load(folder / "golden")
    truth = loaded.arrays.labels[:6]
    answers = np.broadcast_to(truth[:, None, None], (6, 6, 5)).copy()
    answers[0] = 1 - answers[0]
    stability = np.ones((6, 6, 5), np.float32)
    lines = [CorruptedAnswers("teacher", truth, answers, stability)]
    (line,) = to_json(robustness.summarise(loaded, lines))["lines"]
    assert line["accuracy"] == pytest.approx(5 / 6)
    low, high = line["accuracy_ci"]
    assert high - low > 0.4


def test_a_corruption_of_another_version_is_refused(make_bundle, change_json):
    folder = make_bundle(corrupted=3)
    changed = {"version": 99, "short_side_px": 8}
    change_json(folder / "golden" / "golden.json", corruptions=changed)
    with pytest.raises(Exception, match="corruptions are of version 99"):
        golden.load(folder / "golden")
