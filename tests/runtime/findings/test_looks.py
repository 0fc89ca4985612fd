"""What is looked at: confusions, maps, neighbours, scores of outliers; answers made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from msgspec import UNSET

from runtime.backends.base import Outputs
from runtime.bundle import golden
from runtime.findings import looks as found_in
from runtime.findings.looks import looks


@pytest.fixture(scope="module")
def held_out(make_bundle):
    return golden.load(make_bundle(images=40) / "golden")


@pytest.fixture(scope="module")
def outside(held_out):
    return Outputs(held_out.arrays.outside.student_embedding, None)


def of_file(held_out, turned=0):
    """What a file answers that errs on the first images."""
    logits = held_out.arrays.student_logits.copy()
    logits[:turned] = -logits[:turned]
    return Outputs(held_out.arrays.student_embedding, logits)


def test_confusions_count_every_labelled_image(held_out, outside):
    found = looks(held_out, of_file(held_out, turned=3), outside, 0.5).confusion
    assert found.classes == ("red", "blue")
    assert np.sum(found.teacher) == np.sum(found.deployed) == 40
    assert found.teacher == ((20, 0), (0, 20))
    assert found.deployed == ((18, 2), (1, 19))  # the first three are red, blue, red
    assert found.left_out == 0


def test_of_very_many_classes_those_with_errors_are_shown(held_out, outside, monkeypatch):
    monkeypatch.setattr(found_in, "MOST_CLASSES", 1)
    found = looks(held_out, of_file(held_out, turned=3), outside, 0.5).confusion
    assert (found.classes, found.left_out) == (("red",), 1)
    assert found.deployed == ((18,),)


def test_maps_of_equal_embeddings_are_equal_and_those_of_turned_ones_too(held_out, outside):
    teacher = held_out.arrays.teacher_embedding
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0].astype(np.float32)
    for embedding in (teacher, teacher @ turn):
        found = looks(held_out, Outputs(embedding, None), None, None).maps
        assert np.abs(np.array(found.teacher) - np.array(found.deployed)).max() < 0.01
        assert found.explained_teacher == pytest.approx(found.explained_deployed, abs=0.002)
    assert len(found.labels) == 40
    assert np.abs(found.teacher).max() == pytest.approx(1, abs=0.001)


def test_neighbours_are_others_and_those_that_differ_most_come_first(held_out, outside):
    same = looks(held_out, Outputs(held_out.arrays.teacher_embedding, None), None, None)
    assert all(row.shared == 4 and row.teacher == row.deployed for row in same.neighbours)
    other = Outputs(np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32), None)
    rows = looks(held_out, other, None, None).neighbours
    assert len(rows) == 6
    assert [row.shared for row in rows] == sorted(row.shared for row in rows)
    assert all(row.image not in row.teacher + row.deployed for row in rows)
    assert all(len(set(row.deployed)) == 4 for row in rows)


def test_scores_of_outliers_are_counted_over_one_axis(held_out, outside):
    teacher, file = looks(held_out, of_file(held_out), outside, 0.5).outliers
    assert (teacher.stage, file.stage) == ("teacher", "deployed")
    for each in (teacher, file):
        assert sum(each.inside) == 40
        assert sum(each.outside) == 6
        assert each.low < each.high
    assert (teacher.threshold, file.threshold) == (UNSET, 0.5)


def test_without_labels_or_outliers_those_parts_are_left_out(make_bundle):
    bare = golden.load(make_bundle(labels=False, ood=0) / "golden")
    found = looks(bare, Outputs(bare.arrays.student_embedding, None), None, None)
    assert (found.confusion, found.outliers) == (UNSET, ())
    assert set(found.maps.labels) == {-1}


def test_very_few_images_have_no_map(held_out, outside):
    few = held_out.only(np.arange(4))
    inside = of_file(held_out)
    part = replace(inside, embedding=inside.embedding[:4], logits=inside.logits[:4])
    found = looks(few, part, outside, 0.5)
    assert (found.maps, found.neighbours) == (UNSET, ())
