"""Where the file differs from the teacher."""

from dataclasses import replace

import numpy as np
import pytest

from runtime.backends.base import Outputs
from runtime.bundle import golden
from runtime.findings.disagreements import SHOWN, disagreements, per_class
from runtime.results.scores import to_json


@pytest.fixture(scope="module")
def loaded(make_bundle):
    return golden.load(make_bundle(images=60) / "golden")


def probabilities(*shares):
    return np.log(np.array(shares, np.float32))


def given(loaded, teacher, file):
    """The set with other logits of the teacher, and the file's answers."""
    arrays = replace(loaded.arrays, teacher_logits=teacher)
    embedding = loaded.arrays.student_embedding
    return replace(loaded, arrays=arrays), Outputs(embedding, file)


def found_in(loaded, inside):
    return to_json(disagreements(loaded, inside))


def classes_of(loaded, inside):
    return to_json(per_class(loaded, inside))


@pytest.fixture
def three(loaded):
    """Image 5: sure and contradicted. Image 7: sure, and the file wavers. Image 9: unsure."""
    teacher = np.tile(probabilities((0.9, 0.1)), (60, 1))
    file = teacher.copy()
    file[5] = probabilities((0.05, 0.95))
    file[7] = probabilities((0.6, 0.4))
    teacher = np.concatenate([teacher, np.full((60, 1), -20, np.float32)], axis=1)
    file = np.concatenate([file, np.full((60, 1), -20, np.float32)], axis=1)
    teacher[9], file[9] = probabilities((0.4, 0.35, 0.25)), probabilities((0.01, 0.98, 0.01))
    named = replace(loaded, classes=("red", "blue", "green"))
    return given(named, teacher, file)


def test_the_largest_come_first_with_both_answers(three):
    found = found_in(*three)
    assert len(found["most"]) == SHOWN
    first, second, *_ = found["most"]
    assert first["image"] == "images/05.png"
    assert first["label"] == "blue"
    assert first["teacher"] == {"answer": "red", "confidence": pytest.approx(0.9)}
    assert first["deployed"] == {"answer": "blue", "confidence": pytest.approx(0.95)}
    assert first["distance"] == pytest.approx(0.85)
    assert (second["image"], second["distance"]) == ("images/07.png", pytest.approx(0.3))
    distances = [each["distance"] for each in found["most"]]
    assert distances == sorted(distances, reverse=True)


def test_what_the_teacher_is_unsure_of_stands_apart(three):
    found = found_in(*three)
    assert "images/09.png" not in [each["image"] for each in found["most"]]
    unsure = found["teacher_unsure"]
    assert (unsure["images"], unsure["below"]) == (1, 0.5)
    assert [each["image"] for each in unsure["most"]] == ["images/09.png"]
    assert unsure["agreement_where_sure"] == pytest.approx(58 / 59)
    assert unsure["agreement_where_unsure"] == 0
    assert unsure["agreement_where_unsure_ci"] == pytest.approx([0, 0.975])  # one image says little


def test_a_teacher_that_is_always_sure_leaves_nothing_apart(loaded):
    teacher = np.tile(probabilities((0.9, 0.1)), (60, 1))
    unsure = found_in(*given(loaded, teacher, teacher))["teacher_unsure"]
    assert (unsure["images"], unsure["most"]) == (0, [])
    assert "agreement_where_unsure" not in unsure


def test_without_labels_the_embeddings_decide_and_nothing_is_said_of_answers(make_bundle):
    unlabelled = golden.load(make_bundle(labels=False, images=30) / "golden")
    embedding = unlabelled.arrays.student_embedding.copy()
    embedding[4] = -embedding[4]
    found = found_in(unlabelled, Outputs(embedding, None))
    assert found["most"][0]["image"] == "images/04.png"
    assert set(found["most"][0]) == {"image", "distance"}
    assert "teacher_unsure" not in found
    assert classes_of(unlabelled, Outputs(embedding, None)) == []


def test_an_older_bundle_without_the_map_has_no_found_in(make_bundle):
    unlabelled = golden.load(make_bundle(labels=False) / "golden")
    older = replace(unlabelled, arrays=replace(unlabelled.arrays, orthogonal_map=None))
    assert found_in(older, Outputs(unlabelled.arrays.student_embedding, None)) == {}


def test_the_table_of_classes(loaded):
    labels = loaded.arrays.labels
    teacher = np.eye(2, dtype=np.float32)[labels]
    file = teacher.copy()
    wrong = np.flatnonzero(labels == 1)[:10]
    file[wrong] = [1, 0]
    worst, best = classes_of(*given(loaded, teacher, file))
    assert (worst["class"], worst["images"], worst["taken_for"]) == ("blue", 30, "red")
    assert worst["accuracy_teacher"] == 1
    assert worst["accuracy_deployed"] == worst["agreement"] == pytest.approx(2 / 3)
    assert worst["loss"] == pytest.approx(1 / 3)
    low, high = worst["loss_ci"]
    assert 0.1 < low < worst["loss"] < high < 0.6
    assert (best["class"], best["loss"], best["taken_for"]) == ("red", 0, None)
    assert best["accuracy_deployed_ci"][0] < 0.9  # all of 30 is not certainty


def test_a_class_without_held_out_images_has_no_line(loaded):
    arrays = replace(loaded.arrays, labels=np.zeros(60, np.int64))
    teacher = np.eye(2, dtype=np.float32)[np.zeros(60, np.int64)]
    only_red = replace(loaded, arrays=replace(arrays, teacher_logits=teacher))
    (row,) = classes_of(only_red, Outputs(arrays.student_embedding, teacher))
    assert row["class"] == "red"
