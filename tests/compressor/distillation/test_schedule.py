"""The plan of a training: order of the views, learning rate, weight decay."""

import itertools
import math

import numpy as np
import pytest

from compressor.distillation.schedule import Schedule, lr_share, parameter_groups
from compressor.models.encoder import create_student
from compressor.recipe.schema import Distill, Student

CNN = Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=16)


def test_each_image_is_shown_once_an_epoch_in_a_new_order():
    schedule = Schedule(Distill(epochs=3, batch=8, views=2), images=30)
    batches = list(schedule.batches())
    assert len(batches) == schedule.steps == 3 * (30 // 8)
    epochs = [list(itertools.chain(*batches[start : start + 3])) for start in (0, 3, 6)]
    for number, epoch in enumerate(epochs):
        rows = [row for row, _ in epoch]
        assert len(set(rows)) == len(rows) == 24
        assert {view for _, view in epoch} == {number % 2}
    assert epochs[0] != epochs[2]
    assert list(schedule.batches(5)) == batches[5:]


@pytest.mark.parametrize(
    ("given", "transformer", "highest"),
    [(None, False, 2e-3), (None, True, 1e-3), (5e-4, False, 5e-4)],
)
def test_the_highest_learning_rate_depends_on_the_kind_of_student(given, transformer, highest):
    assert Distill(lr=given).lr_for(transformer=transformer) == highest


def test_the_learning_rate_rises_and_falls():
    rates = [lr_share(step, 200, warmup_steps=20) for step in range(200)]
    peak = int(np.argmax(rates))
    assert peak == 20
    assert rates[peak] == pytest.approx(1)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, rel=0.05)
    # A short run is not all warm-up.
    short = [lr_share(step, 10, warmup_steps=10) for step in range(10)]
    assert int(np.argmax(short)) == 2
    assert all(math.isfinite(rate) and rate > 0 for rate in short)


def test_the_warm_up_is_counted_in_epochs():
    schedule = Schedule(Distill(epochs=20, batch=10, warmup_epochs=2), images=100)
    rates = [schedule.lr_share(step) for step in range(schedule.steps)]
    assert int(np.argmax(rates)) == 20


def test_weight_decay_spares_biases_and_norms():
    module = create_student(CNN, seed=0).module
    decayed, plain = parameter_groups(module, 0.05)
    assert decayed["weight_decay"] == 0.05
    assert plain["weight_decay"] == 0
    assert all(each.ndim > 1 for each in decayed["params"])
    assert all(each.ndim <= 1 for each in plain["params"])
    count = len(decayed["params"]) + len(plain["params"])
    assert count == len(list(module.parameters()))
