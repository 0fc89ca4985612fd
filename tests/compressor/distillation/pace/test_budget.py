"""`distill.minutes`: what fits a time, with stand-in rates."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.data.dataset import ImageRecord, ImageSet
from compressor.distillation.disk_budget import plan_disk
from compressor.distillation.pace.budget import MOST, Measured, settle
from compressor.distillation.pace.cost import Counts, cost_of
from compressor.distillation.pace.rates import Rates
from compressor.recipe.schema import Distill

IMAGES = 200
TRAIN = ImageSet(Path(), (), (ImageRecord("", "", 100, 100, -1, "train"),) * IMAGES)


@dataclass
class StandIn:
    """As much of an encoder as a plan of the disk and a budget look at."""

    name: str = "stand-in"
    dim: int = 24
    map_shape: tuple[int, int, int] | None = None
    has_start: bool = True
    preprocess = SimpleNamespace(size_px=32)


def measured(*, teacher_s=0.01, step_s=0.01, has_start=True, **more):
    rates = Rates(
        decode_s=0.0,
        teacher_s=teacher_s,
        student_s=0.0,
        step_cutting_s=step_s,
        step_s=step_s,
        start_view_s=0.001 if has_start else 0.0,
        solve_s=1.0 if has_start else 0.0,
        **more,
    )
    pair = SimpleNamespace(teacher=StandIn(), student=StandIn(has_start=has_start))
    return Measured(TRAIN, Counts(train=IMAGES, validation=0), pair, rates)


def spec(minutes, **changes):
    return Distill(minutes=minutes, batch=20, **{"synthetic": 0, "disk_gb": 20, **changes})


def settled(minutes, *, disk_gb=20.0, changes=None, **rates):
    found = settle(spec(minutes, disk_gb=disk_gb, **(changes or {})), measured(**rates))
    return found.spec.epochs, found.spec.views, found.spec.teacher


def test_a_view_is_shown_once_where_the_teacher_is_as_fast_as_the_student():
    # 2 s of steps and 2 s of teacher an epoch, less the first view; closed form 1.8 s, twice again
    assert settled(1) == (14, 14, "cached")


def test_synthetic_images_take_time_too():
    # 400, two for each image: 4 s of the teacher, 0.4 s of the student at the start and twice again
    assert settled(1, changes={"synthetic": 600}) == (12, 12, "cached")


def test_with_a_slower_teacher_each_view_is_shown_more_often():
    epochs, views, teacher = settled(2, teacher_s=0.04)
    assert teacher == "cached"
    assert 3 <= epochs / views <= 4


def test_a_view_is_never_shown_more_than_eight_times():
    epochs, views, _ = settled(10, teacher_s=1.0)
    assert views >= epochs / 8


def test_a_full_disk_shows_views_more_often_and_at_last_runs_the_teacher_online():
    assert settled(1, disk_gb=24 * 4 * IMAGES * 5 / 1e9)[2] == "cached"
    epochs, views, teacher = settled(1, disk_gb=1e-6)
    assert (views, teacher) == (epochs, "online")


def test_views_that_the_recipe_gives_are_kept():
    # 3 views beside the first, 6 s; two of the four, unmixed, for three closed forms of 1.4 s
    assert settled(1, changes={"views": 4}) == (24, 4, "cached")
    assert settled(1, changes={"views": 50})[1] <= 15


def test_an_online_teacher_of_the_recipe_stays():
    epochs, views, teacher = settled(1, changes={"teacher": "online"})
    assert (views, teacher) == (epochs, "online")


@pytest.mark.parametrize(
    ("rates", "changes", "teacher"),
    [
        ({}, {}, "cached"),  # online as fast as teacher and step one after the other
        ({"step_online_s": 0.015}, {}, "online"),  # cut once for both: 79 epochs against 59
        ({"step_online_s": 0.019}, {}, "cached"),  # less than a tenth more
        ({"step_online_s": 0.015}, {"teacher": "cached"}, "cached"),  # as the recipe says
        ({"step_online_s": 0.015}, {"views": 10}, "cached"),
        # The teacher's features of a view are 96 bytes
        ({"write_byte_s": 1e-4}, {}, "cached"),
        ({"write_byte_s": 2e-4}, {}, "online"),
        ({"write_byte_s": 2e-4, "step_online_s": 0.1}, {}, "cached"),
    ],
)
def test_the_faster_way_by_the_rates_of_teacher_steps_and_disk(rates, changes, teacher):
    base = {"step_s": 0.01, "teacher_s": 0.01, "has_start": False} | rates
    epochs, views, found = settled(4, changes=changes, **base)
    assert found == teacher
    if teacher == "online":
        assert views == epochs


def test_too_little_time_leaves_the_closed_form_alone():
    found = settle(spec(0.01), measured())
    assert (found.spec.epochs, found.spec.views) == (0, 1)
    assert "there is no time for an epoch" in found.why
    assert found.why.endswith("more than it was given")
    assert settle(spec(0.05), measured()).spec.epochs == 0
    assert settle(spec(0.05), measured()).cost.total_s <= 3


def test_a_student_from_scratch_has_one_epoch_at_least():
    found = settle(spec(0.001), measured(has_start=False))
    assert (found.spec.epochs, found.spec.views) == (1, 1)
    assert "more than it was given" in found.why


def test_there_is_an_end_however_long_the_time():
    assert settled(1e6)[0] == MOST


def test_what_is_settled_is_a_recipe_that_can_be_run():
    found = settle(spec(1), measured()).spec
    assert found.minutes is None
    assert found.mistakes() == []


@settings(max_examples=40, deadline=None)
@given(
    minutes=st.floats(0.1, 60),
    teacher_s=st.floats(1e-4, 0.2),
    step_s=st.floats(1e-4, 0.2),
    disk=st.sampled_from([1e-6, 3e-4, 20.0]),
)
def test_it_fits_and_one_epoch_more_would_not(minutes, teacher_s, step_s, disk):
    base = measured(teacher_s=teacher_s, step_s=step_s)
    found = settle(spec(minutes, disk_gb=disk), base)
    if found.spec.epochs in (0, MOST):
        return
    assert found.cost.total_s <= 60 * minutes
    longer = {"epochs": found.spec.epochs + 1, "views": found.spec.views + 1}
    more = found.spec.model_copy(update=longer)
    plan = plan_disk(found.spec, TRAIN, base.pair.teacher, base.pair.student)
    assert cost_of(more, base.counts, plan, base.rates).total_s > 60 * minutes
    assert found.spec.views <= found.spec.epochs


@pytest.mark.parametrize("seconds", [30, 60, 600])
def test_more_time_is_never_fewer_epochs(seconds):
    assert settled(seconds / 60)[0] <= settled(seconds / 30)[0]
