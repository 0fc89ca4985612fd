"""Keys of what comes from views say when large images are not decoded whole."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.pipeline.shared import teacher_views
from compressor.pipeline.steps.learning import pixels
from compressor.recipe.networks import Student, Teacher

SMALL = ImageRecord("a.jpg", "0" * 64, 255, 300, -1, "train")
LARGE = replace(SMALL, width=300, height=256)


def run_of(*records, side_px=128, packing="raw", **teacher):
    """As much of a run as a key looks at; its student sees 64 pixels."""
    found = ImageSet(Path(), (), records)
    recipe = SimpleNamespace(
        teacher=Teacher(model="t", weights="none", **teacher),
        student=Student(model="s", image_size=64),
    )
    return SimpleNamespace(
        plan=SimpleNamespace(recipe=recipe),
        images=lambda: SimpleNamespace(part=lambda split: found),
        disk_plan=SimpleNamespace(side_px=side_px, packing=packing),
    )


@pytest.mark.parametrize(
    ("records", "teacher", "told"),
    [
        ((SMALL,), {}, {}),
        ((SMALL, LARGE), {}, {"draft": 1}),
        ((SMALL, LARGE), {"image_size": 64}, {"draft": 1}),
        ((SMALL, LARGE), {"image_size": 65}, {}),  # it sees more: nothing is left out
        ((SMALL, LARGE), {"image_size": 224, "args": {"img_size": 64}}, {"draft": 1}),
    ],
)
def test_steps_tell_large_images(records, teacher, told):
    assert teacher_views.draft(run_of(*records, **teacher)) == told  # type: ignore[arg-type]


@pytest.mark.parametrize("packing", ["raw", "jpeg"])
def test_shards_of_decoded_images_tell_their_own(packing):
    small, large = (
        pixels._key(run_of(each, packing=packing), 0)  # type: ignore[arg-type]
        for each in (SMALL, LARGE)
    )
    assert large == [*small, {"draft": 1}]
    assert ("jpeg" in small) == (packing == "jpeg")
