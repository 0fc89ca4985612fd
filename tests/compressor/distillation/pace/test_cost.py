"""How long a training takes, by hand, with stand-in rates."""

from dataclasses import replace

import pytest

from compressor.distillation.disk_budget import DiskPlan
from compressor.distillation.pace.cost import Counts, cost_of
from compressor.distillation.pace.rates import Rates
from compressor.recipe.schema import Distill

RATES = Rates(
    decode_s=0.001,
    teacher_s=0.1,
    student_s=0.01,
    step_cutting_s=0.05,
    step_s=0.04,
    start_view_s=0.02,
    solve_s=3.0,
)
CACHED = DiskPlan("cached", None, True, True, 64, 0, ())
COUNTS = Counts(train=100, validation=20)
AGAIN = 2 * (3 * 100 * 0.02 + 3 + 4 * 20 * 0.01)
"""The layers of the best epoch and of the last one are solved again, each from three views; four
layers of each are scored on validation images."""
SPEC = Distill(epochs=6, views=3, batch=32, mix=0, synthetic=0)


def test_cached_features_and_kept_views():
    found = cost_of(SPEC, COUNTS, CACHED, RATES)
    assert found.teacher_s == pytest.approx(2 * 100 * 0.1)
    assert found.start_s == pytest.approx(3 * 100 * 0.02 + 3)
    # 6 epochs of 3 whole batches; each of the 300 views is cut once
    shown = 6 * 3 * 32
    steps = 300 * 0.05 + (shown - 300) * 0.04
    assert found.student_s == pytest.approx(steps + 8 * 20 * 0.01 + AGAIN)
    assert found.total_s == pytest.approx(found.teacher_s + found.start_s + found.student_s)
    assert found.teacher_passes == 2 * 100


def test_without_room_for_views_each_is_cut_again():
    found = cost_of(SPEC, COUNTS, replace(CACHED, keep_views=False), RATES)
    assert found.student_s == pytest.approx(576 * 0.05 + 8 * 20 * 0.01 + AGAIN)


def test_an_online_teacher_is_in_the_steps_and_in_the_start():
    online = replace(CACHED, features="online", keep_views=False)
    spec = SPEC.model_copy(update={"teacher": "online"})
    found = cost_of(spec, COUNTS, online, RATES)
    assert found.teacher_s == 0
    # six views, of which the start sees four; a sample of 100 images beside them
    assert found.start_s == pytest.approx(4 * 100 * 0.02 + 3 + (4 + 1) * 100 * 0.1)
    again = 2 * (4 * 100 * (0.02 + 0.1) + 3 + 4 * 20 * 0.01)
    steps = 576 * 0.05 + (576 + 100) * 0.1
    assert found.student_s == pytest.approx(steps + 8 * 20 * 0.01 + again)
    assert found.teacher_passes == (4 + 1) * 100 + 576 + 100 + 2 * 4 * 100


def test_an_online_step_is_taken_as_it_was_measured():
    online = replace(CACHED, features="online", keep_views=False)
    spec = SPEC.model_copy(update={"teacher": "online"})
    rates = Rates(**{**_plain(RATES), "step_online_s": 0.12})
    longer, found = (cost_of(spec, COUNTS, online, each).student_s for each in (RATES, rates))
    assert longer - found == pytest.approx(576 * (0.05 + 0.1 - 0.12))


def test_a_slow_disk_decides_how_long_features_and_views_take():
    plan = replace(CACHED, feature_bytes=3_000, view_bytes=1_000)
    fast, slow = (Rates(**{**_plain(RATES), "write_byte_s": each}) for each in (1e-9, 1e-4))
    assert cost_of(SPEC, COUNTS, plan, fast) == cost_of(SPEC, COUNTS, CACHED, RATES)
    found = cost_of(SPEC, COUNTS, plan, slow)
    assert found.teacher_s == pytest.approx(2 * 100 * 0.3)
    assert found.student_s == pytest.approx(300 * 0.1 + (576 - 300) * 0.04 + 8 * 20 * 0.01 + AGAIN)
    again = cost_of(SPEC, COUNTS, replace(plan, keep_views=False), slow)
    assert again.student_s == pytest.approx(576 * 0.05 + 8 * 20 * 0.01 + AGAIN)


def test_synthetic_images_are_seen_by_both_networks_at_the_start():
    none, found = (
        cost_of(SPEC.model_copy(update={"synthetic": n}), COUNTS, CACHED, RATES) for n in (0, 600)
    )
    assert found.start_s - none.start_s == pytest.approx(200 * (0.1 + 0.02))
    assert found.student_s - none.student_s == pytest.approx(2 * 200 * 0.02)
    assert found.teacher_passes - none.teacher_passes == 200  # the same answers serve again


def test_layers_of_a_method_s_own_take_a_sample_more():
    plain = cost_of(SPEC, COUNTS, CACHED, RATES)
    for spec, plan in (
        (SPEC.model_copy(update={"method": "proteus"}), CACHED),
        (SPEC, replace(CACHED, grid=(7, 7))),
    ):
        found = cost_of(spec, COUNTS, plan, RATES)
        assert found.start_s - plain.start_s == pytest.approx(100 * 0.02)
        assert found.student_s == plain.student_s
        beside, alone = (
            cost_of(each, COUNTS, each_plan, RATES).start_s
            for each, each_plan in (
                (spec, replace(plan, features="online")),
                (SPEC, replace(CACHED, features="online")),
            )
        )
        assert beside - alone == pytest.approx(100 * (0.02 + 0.1))  # the teacher is asked too


def test_one_epoch_is_the_best_or_the_last_and_without_a_teacher_nothing_is_solved_again():
    spec = SPEC.model_copy(update={"epochs": 1})
    found = cost_of(spec, COUNTS, CACHED, RATES)
    again = 100 * 0.02 + 3 + 4 * 20 * 0.01  # from the one view that one epoch has
    assert found.student_s == pytest.approx(96 * 0.05 + 3 * 20 * 0.01 + again)
    supervised = spec.model_copy(update={"method": "supervised", "synthetic": 600})
    found = cost_of(supervised, COUNTS, replace(CACHED, features="none"), RATES)
    # Nobody answers for synthetic images; its classifier is fitted on a sample of 100
    assert found.start_s == pytest.approx(100 * 0.02 + 3 + 100 * 0.02)
    assert found.student_s == pytest.approx(96 * 0.05 + 3 * 20 * 0.01)


def test_a_method_without_a_teacher_and_a_student_from_scratch_have_less():
    none = replace(CACHED, features="none")
    scratch = cost_of(SPEC, COUNTS, none, Rates(**{**_plain(RATES), "start_view_s": 0.0}))
    assert (scratch.teacher_s, scratch.start_s) == (0, 0)


def test_the_closed_form_alone_has_no_steps():
    found = cost_of(SPEC.model_copy(update={"epochs": 0}), COUNTS, CACHED, RATES)
    assert found.student_s == pytest.approx(2 * 20 * 0.01)


def _plain(rates):
    return {name: getattr(rates, name) for name in rates.__struct_fields__}
