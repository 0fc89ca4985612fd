"""What decides the closed form of a student."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.pipeline.steps.learning import start
from compressor.recipe.networks import Student, Teacher
from compressor.recipe.schema import Distill


def inputs(images, **distill):
    """The inputs of the step, of a run of so many images whose other steps gave the same."""
    records = tuple(
        ImageRecord(str(n), f"{n:064x}", 32, 32, 0, "train")  # of no file
        for n in range(images)
    )
    recipe = SimpleNamespace(
        teacher=Teacher(model="teacher"),
        student=Student(model="student", weights="hub"),
        distill=Distill(**distill),
    )
    return start.STEP.inputs(
        SimpleNamespace(
            plan=SimpleNamespace(recipe=recipe),
            images=lambda: ImageSet(Path("images"), ("a",), records),
            network_digest=lambda network: network.model,
            outputs=lambda step: {},
        )
    )


@pytest.mark.parametrize(
    ("images", "one", "other"),
    [
        (4, {"epochs": 1, "mix": 0.5}, {"epochs": 2, "mix": 0.5}),
        (11_000, {"epochs": 4, "mix": 0.0}, {"epochs": 4, "mix": 0.5}),
    ],
)
def test_the_view_that_an_online_mean_is_made_from_decides(images, one, other):
    """With one view to solve from, those views do not tell whether the next one is mixed."""
    one, other = (inputs(images, teacher="online", **each) for each in (one, other))
    assert one["views"] == other["views"]
    assert one != other


def test_longer_trainings_share_their_start():
    one, other = (inputs(100, epochs=epochs, mix=0.5) for epochs in (10, 90))
    assert one == other
