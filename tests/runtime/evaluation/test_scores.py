"""Scores with a known value."""

from dataclasses import replace

import numpy as np
import pytest

from runtime import metrics
from runtime.bundle import golden
from runtime.evaluation import scores, subject


@pytest.fixture
def shifted(sound_bundle):
    """A student whose centred embedding is the teacher's, with a constant that is not its mean."""
    held = golden.load(sound_bundle / "golden")
    arrays, rng = held.arrays, np.random.default_rng(0)
    teacher = rng.normal(size=arrays.teacher_embedding.shape).astype(np.float32)
    centre = 3 * rng.standard_normal(teacher.shape[1], np.float32)
    student = teacher - arrays.teacher_mean + centre
    bank = rng.normal(size=(len(arrays.bank), len(centre))).astype(np.float32)
    return replace(
        held,
        arrays=replace(
            arrays,
            teacher_embedding=teacher,
            student_embedding=student,
            student_logits=None,
            teacher_logits=None,
            linear_probe=None,
            orthogonal_map=None,
            bank=bank,
            student_centre=centre,
            outside=None,
            corrupted=None,
        ),
    )


def centred(held):
    return scores.centred_similarity(subject.of_student(held, subject.bank_of(held))).value


def test_angles_are_measured_from_the_constant_that_the_student_was_given(shifted):
    assert centred(shifted) == pytest.approx(1, abs=1e-5)


def test_without_a_constant_they_are_measured_from_the_mean_of_the_bank(shifted):
    arrays = replace(shifted.arrays, student_centre=None)
    own = arrays.student_embedding - arrays.bank.mean(axis=0)
    expected = metrics.similarity_correlation(own, arrays.teacher_embedding - arrays.teacher_mean)
    found = centred(replace(shifted, arrays=arrays))
    assert found == pytest.approx(expected.value)
    assert found < 0.9
