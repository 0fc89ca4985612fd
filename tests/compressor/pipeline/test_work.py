"""The countable work of a run, from its recipe and the number of images."""

from compressor.events import StepWork, UncountedStep
from compressor.pipeline.storage.records import StepRecord
from compressor.pipeline.work import ImageCounts, planned_work, uncounted
from compressor.recipe.schema import Recipe


def work(distill=None, student=None, **counts):
    """Return the units of work by step."""
    recipe = Recipe.model_validate(
        {
            "name": "x",
            "data": {"images": "photos"},
            "teacher": {"model": "vit_tiny_patch16_224"},
            "student": {"model": "mobilenetv3_small_050", "weights": "none", **(student or {})},
            "distill": {"batch": 100, "epochs": 5, "views": 3, **(distill or {})},
        }
    )
    given = {"train": 1_000, "images": 1_300, "outside": 0, "corrupted": 50, **counts}
    by_step = {}
    for piece in planned_work(recipe, ImageCounts(**given)):
        by_step[piece.step] = by_step.get(piece.step, 0) + piece.count
    return by_step


def test_counts_follow_images_views_and_epochs():
    assert work() == {
        "embeddings": 16 + 5,  # batches of 64: the training images and the others apart
        "pixels": 1_000,
        "features": 2 * 16,  # the first view is the image itself, which embeddings has made
        "start": 0,  # a student from scratch has none
        "distill": 5 * 10,
        "probes": 21,
        "robustness": 2 * 50,  # by the teacher and by the student
    }


def test_images_of_another_task_are_embedded_too():
    assert work(outside=65)["embeddings"] == 16 + 5 + 2
    assert work(outside=65)["probes"] == 21 + 2


def test_the_start_sees_some_views_of_the_training_images():
    from_weights = {"weights": "hub"}
    assert work(student=from_weights)["start"] == 2 * 16  # of 3 views one is mixed
    assert work({"mix": 0}, student=from_weights)["start"] == 3 * 16


def test_without_cached_features_there_is_no_work_for_them():
    assert work({"method": "supervised"})["features"] == 0
    assert work({"teacher": "online"})["features"] == 0


def test_steps_without_counted_work_have_the_seconds_of_the_last_run():
    counted = [StepWork(step="distill", unit="student step", count=9, label="distilling")]
    made = {"to_onnx": StepRecord("key", "entry", (), (), {}, seconds=4.5)}
    assert uncounted(("distill", "to_onnx", "check"), counted, made) == (
        UncountedStep(step="to_onnx", part="export", seconds=4.5),
        UncountedStep(step="check", part="check", seconds=None),
    )
