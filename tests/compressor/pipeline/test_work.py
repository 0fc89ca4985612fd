"""The countable work of a run, from its recipe and the number of images."""

from compressor.pipeline.work import planned_work
from compressor.recipe.schema import Recipe


def work(distill=None, *, train=1_000, images=1_300, outside=0):
    """Counts by step."""
    recipe = Recipe.model_validate(
        {
            "name": "x",
            "data": {"images": "photos"},
            "teacher": {"model": "vit_tiny_patch16_224"},
            "student": {"model": "mobilenetv3_small_050"},
            "distill": {"batch": 100, "epochs": 5, "views": 3, **(distill or {})},
        }
    )
    planned = planned_work(recipe, train=train, images=images, outside=outside)
    return {step.step: step.count for step in planned}


def test_counts_follow_images_views_and_epochs():
    assert work() == {
        "embeddings": 16 + 5,  # batches of 64: the training images and the others apart
        "pixels": 1_000,
        "features": 2 * 16,  # the first view is the image itself, which embeddings has made
        "distill": 5 * 10,
        "probes": 21,
    }


def test_images_of_another_task_are_embedded_too():
    assert work(outside=65)["embeddings"] == 16 + 5 + 2
    assert work(outside=65)["probes"] == 21 + 2


def test_without_cached_features_there_is_no_work_for_them():
    assert work({"method": "supervised"})["features"] == 0
    assert work({"teacher": "online"})["features"] == 0
