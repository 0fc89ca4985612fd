"""Teachers compared for a student: what it learns from each, what each costs, and the advice."""

import json

import numpy as np
import pytest

from compressor.pipeline.context import Run
from compressor.pipeline.settling import teachers
from compressor.pipeline.settling.faithfulness import Faithfulness
from runtime import metrics
from runtime.errors import InputError, MissingDependencyError
from runtime.results.scores import Score

TWIN, OTHER = "test_vit", "test_resnet"  # tests/compressor/pipeline/settling/conftest.py


@pytest.fixture
def for_teachers(recipe):
    """A recipe whose student has a name."""
    return lambda **changes: recipe({"latency_p95_ms": 5}, **{"student.model": OTHER, **changes})


def test_teachers_are_compared_for_the_student(for_teachers, started):
    run, _ = started(for_teachers())
    found = teachers.compare(run, f"{TWIN}, {OTHER},{TWIN}@64")
    rows = {row.teacher: row for row in found.teachers}
    assert list(rows) == [TWIN, OTHER, f"{TWIN}@64"]
    assert [row.family for row in rows.values()] == ["transformer", "CNN", "transformer"]
    assert [row.image_size for row in rows.values()] == [32, 160, 64]
    assert rows[f"{TWIN}@64"].grid == (4, 4)
    assert (rows[TWIN].grid, found.student_grid) == ((2, 2), (1, 1))
    assert all(row.ms > 0 and not row.same_grid for row in found.teachers)
    assert all(0 <= row.accuracy_linear.value <= 1 for row in found.teachers)
    assert found.advice.startswith("Take ")
    assert "| its own kNN accuracy" in teachers.text(found)


def test_without_labels_no_teacher_is_called_better(for_teachers, started):
    run, _ = started(for_teachers(**{"data.labels": "none"}))
    found = teachers.compare(run, f"{TWIN},{OTHER}")
    best = max(found.teachers, key=lambda row: row.similarity_correlation_centred.value)
    assert found.advice.startswith(f"{OTHER} follows {best.teacher} most faithfully")
    assert "images without labels do not tell" in found.advice
    assert "accuracy" not in teachers.text(found)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("", "expected different MODEL"),
        (f"{TWIN},{TWIN}", "expected different MODEL"),
        (f"{TWIN}@big", "expected MODEL or MODEL@PIXELS"),
        (f"{TWIN}@4", "8 to 2048 pixels"),
        ("no_such_model", "without no_such_model.safetensors"),
    ],
)
def test_teachers_that_are_wrong_are_refused(for_teachers, started, wanted, said):
    run, _ = started(for_teachers())
    with pytest.raises(InputError, match=said):
        teachers.compare(run, wanted)


def test_a_teacher_that_is_not_to_be_had_is_refused_before_any_pass(
    for_teachers, started, weights, empty_hub_cache, monkeypatch
):
    own = {"model": TWIN, "weights": str(weights / f"{TWIN}.safetensors"), "image_size": 32}
    run, _ = started(for_teachers(teacher=own))
    monkeypatch.setattr("compressor.models.embed.embed", None)
    with pytest.raises(MissingDependencyError, match=r"teacher\.weights: the model hub"):
        teachers.compare(run, f"{TWIN},{OTHER}")


def test_teachers_need_a_student_with_a_name_and_weights(recipe, for_teachers, started):
    run, _ = started(recipe({"latency_p95_ms": 5}))
    with pytest.raises(InputError, match=r"--set student\.model=MODEL"):
        teachers.compare(run, TWIN)
    without = Run(for_teachers(**{"student.weights": "none"}), run.folder)
    with pytest.raises(InputError, match="has none: from scratch"):
        teachers.compare(without, TWIN)


def test_the_command_for_teachers(for_teachers, command):
    for_teachers()
    done = command("--teachers", f"{TWIN},{OTHER}", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [row["teacher"] for row in document["teachers"]] == [TWIN, OTHER]
    assert document["student"] == OTHER


def trial(name, own, student, ms, *, seed=0, same=False):
    """A compared teacher: its own accuracy and its student's, resampled with seeds of its own."""

    def estimate(value, seed):
        moves = np.random.default_rng(seed).normal(0, 0.02, metrics.RESAMPLES)
        return metrics.Estimate(value, value, value, value + moves, (0, 50))

    row = teachers.ComparedTeacher(
        teacher=name, image_size=224, family="CNN", embedding=8, ms=ms, grid=(7, 7), same_grid=same,
        similarity_correlation_centred=Score(0.8, 0.7, 0.9),
    )  # fmt: skip
    of_student = estimate(student, seed + 100)
    found = Faithfulness(of_student, None, (of_student, of_student))
    return teachers.Trial(row, found, estimate(own, seed))


def test_the_cheaper_of_teachers_that_are_as_good():
    trials = [trial("dear", 0.91, 0.81, 40.0), trial("cheap", 0.90, 0.80, 9.0, seed=1)]
    said = teachers.advice(trials, "s", None)
    assert said.startswith("Take cheap: neither its own linear accuracy (0.900) nor that of the")
    assert said.endswith("of 2 such teachers it costs least, 9.0 ms an image.")


def test_a_cheap_teacher_that_answers_worse_itself_is_not_taken():
    trials = [trial("dear", 0.9, 0.8, 40.0, same=True), trial("cheap", 0.7, 0.8, 9.0, seed=1)]
    said = teachers.advice(trials, "s", (7, 7))
    assert said.startswith("Take dear: ")
    assert said.endswith("no other is so, 40.0 ms an image. Its tokens lie on the student's own "
                         "grid, 7 x 7.")  # fmt: skip


def test_where_teacher_and_student_disagree_it_says_so():
    trials = [trial("wise", 0.9, 0.5, 9.0), trial("clear", 0.7, 0.8, 9.0, seed=1)]
    assert teachers.advice(trials, "s", None) == (
        "The numbers disagree: of the teachers wise answers best, and the student answers best "
        "when it follows clear. Train with both and compare."
    )


def test_one_teacher_is_no_comparison():
    assert "name others" in teachers.advice([trial("one", 0.9, 0.8, 9.0)], "s", None)
