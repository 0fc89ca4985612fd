"""Maps of teacher and student that do not go together, and the side that views are cut from."""

import math
from dataclasses import replace
from functools import partial

import pytest

from compressor.distillation.disk_budget import plan_disk, require_maps
from disk_plans import MAPS, PIXELS, POOLED, TRAIN, spec
from runtime.errors import InputError


@pytest.fixture(scope="module")
def teacher(coarse_teacher):
    return coarse_teacher


def without_map(encoder):
    return replace(encoder, map_shape=None)


def pooled_alone(reason):
    return f"learning from the pooled features alone: {reason}"


def test_other_grids_are_brought_together(teacher, student, finer):
    assert plan_disk(spec(), TRAIN, teacher, finer).grid == (4, 4)  # the student's
    plan = plan_disk(spec(), TRAIN, finer, student)
    assert plan.grid == (2, 2)
    assert plan.bytes == POOLED + MAPS + PIXELS


def test_other_grids_leave_the_maps_out_where_they_may_not_be_brought_together(
    teacher, student, finer
):
    plan = plan_disk(spec(resample=False), TRAIN, teacher, finer)
    assert (plan.grid, plan.bytes) == (None, POOLED + PIXELS)
    assert plan.lines[0] == pooled_alone(
        "the teacher's map is 2 x 2, the student's 4 x 4, and distill.resample is off"
    )
    # The same grid needs no bringing together.
    assert plan_disk(spec(resample=False), TRAIN, teacher, student).grid == (2, 2)


def test_a_network_without_a_map_leaves_the_maps_out(teacher, student):
    plan = plan_disk(spec(), TRAIN, without_map(teacher), student)
    assert (plan.grid, plan.bytes) == (None, POOLED + PIXELS)
    assert plan.lines[0] == pooled_alone(f"the teacher {teacher.name} has no feature map")
    plan = plan_disk(spec(), TRAIN, teacher, without_map(student))
    assert plan.grid is None
    assert plan.lines[0] == pooled_alone(f"the student {student.name} has no feature map")


def test_a_map_of_another_width_than_the_embedding_is_left_out(teacher, student):
    wide = replace(teacher, map_shape=(2, 2, 32))
    plan = plan_disk(spec(), TRAIN, wide, student)
    assert (plan.grid, plan.bytes) == (None, POOLED + PIXELS)
    assert plan.lines[0] == pooled_alone(
        "the teacher's map is 32 wide and its embedding 24, and one head serves both"
    )


def test_maps_that_are_not_wanted_are_not_spoken_of(teacher, student):
    plan = plan_disk(spec(token_maps="off"), TRAIN, without_map(teacher), student)
    assert plan.grid is None
    assert not any("map" in line for line in plan.lines)


@pytest.mark.parametrize("method", ["tintem", "proteus", "cosine"])
def test_maps_asked_for_that_cannot_be_are_an_error_with_the_way_out(
    teacher, student, finer, method
):
    chosen = spec(token_maps="on", method=method)
    pairs = [
        (without_map(teacher), student, chosen),
        (teacher, without_map(student), chosen),
        (replace(teacher, map_shape=(2, 2, 32)), student, chosen),
        (teacher, finer, chosen.model_copy(update={"resample": False})),
    ]
    for one, other, refused in pairs:
        for refuse in (
            partial(require_maps, refused, one, other),
            partial(plan_disk, refused, TRAIN, one, other),
        ):
            with pytest.raises(InputError) as told:
                refuse()
            assert str(told.value).startswith("distill.token_maps is on, but the ")
            assert str(told.value).endswith("; set it to auto or off")
        for token_maps in ("auto", "off"):
            require_maps(refused.model_copy(update={"token_maps": token_maps}), one, other)
    require_maps(chosen, teacher, student)
    require_maps(chosen, teacher, finer)


@pytest.mark.parametrize(
    ("teacher_px", "student_px", "side_px"), [(32, 32, 64), (48, 32, 96), (32, 48, 96)]
)
def test_a_quarter_of_the_area_still_fills_the_larger_network(
    teacher, student, teacher_px, student_px, side_px
):
    networks = [
        replace(each, preprocess=replace(each.preprocess, size_px=size, resize_px=size))
        for each, size in ((teacher, teacher_px), (student, student_px))
    ]
    plan = plan_disk(spec(), TRAIN, *networks)
    assert plan.side_px == side_px
    assert math.sqrt(0.25) * side_px >= max(teacher_px, student_px)
