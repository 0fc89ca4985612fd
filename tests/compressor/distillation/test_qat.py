"""Rounding in a student while it learns, and no trace of it afterwards."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.distillation.qat import (
    LR_SHARE,
    RoundedInput,
    RoundedWeight,
    finetune,
    int8_rounding,
    shorter,
)
from compressor.models.encoder import create_student
from compressor.pipeline.shared.int8_screening import ScreeningResult
from compressor.recipe.schema import Distill, Require, Student
from short_training import CPU, log_of

SPECS = {
    "cnn": Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=16),
    "vit": Student(
        model="vit_tiny_patch16_224",
        weights="none",
        image_size=32,
        args={"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2},
    ),
}


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.floats(1e-4, 1e4))
def test_weights_keep_255_levels_of_each_channel_and_pass_gradients(seed, size):
    drawn = torch.Generator().manual_seed(seed)
    weight = (torch.randn(3, 4, 5, 5, generator=drawn) * size).requires_grad_()
    rounded = RoundedWeight()(weight)
    scale = weight.detach().abs().flatten(1).amax(1) / 127
    error = (rounded - weight).detach().abs().flatten(1).amax(1)
    assert (error <= scale * 0.501).all()
    levels = (rounded.detach() / scale[:, None, None, None]).round()
    assert levels.abs().max() == 127
    rounded.sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))


def test_inputs_keep_a_running_peak_while_training_only():
    rounding = RoundedInput().train()
    rounding(torch.tensor([1.0, -4.0]))
    assert rounding.peak.item() == 4
    rounding(torch.tensor([14.0]))
    assert rounding.peak.item() == pytest.approx(0.95 * 4 + 0.05 * 14)
    before = rounding.peak.clone()
    got = rounding.eval()(torch.tensor([1e3, 0.0]))
    assert rounding.peak == before
    assert got[0].item() == pytest.approx(before.item())


@pytest.mark.parametrize("kind", SPECS)
def test_it_can_be_taken_out_without_a_trace(kind):
    module = create_student(SPECS[kind], seed=0).module.eval()
    untouched = copy.deepcopy(module)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with int8_rounding(module):
        module.train()
        module(images)
        module.eval()
        with torch.inference_mode():
            rounded = module(images)
    module.load_state_dict(untouched.state_dict())  # statistics of batch norm have moved
    assert module.state_dict().keys() == untouched.state_dict().keys()
    with torch.inference_mode():
        expected = untouched(images)
        assert torch.equal(module(images), expected)
    cosine = torch.nn.functional.cosine_similarity(rounded, expected)
    assert cosine.min() < 1 - 1e-6


def test_the_schedule_is_short_and_gentle():
    spec = shorter(Distill(lr=2e-3, stop_after=3), 2, images=100, transformer=False)
    assert (spec.epochs, spec.stop_after, spec.warmup_epochs) == (2, None, 0)
    assert spec.lr == pytest.approx(2e-3 * LR_SHARE)


def test_it_sees_no_views_that_the_training_before_did_not_have(data, tmp_path):
    """Features are there of as many views as that training had epochs: here two."""
    trained = Distill(epochs=2, batch=8, lr=2e-3)
    spec = shorter(trained, 3, images=len(data.train), transformer=False)
    student = create_student(SPECS["cnn"], seed=0)
    finetune(student, data, spec, CPU, tmp_path, note=print)
    assert [line["epoch"] for line in log_of(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("require", "missed"),
    [
        ({}, []),
        ({"agreement": 0.79, "accuracy_drop": 0.2, "similarity_correlation": 0.5}, []),
        ({"agreement": 0.81}, ["agreement"]),
        ({"accuracy_drop": 0.1}, ["accuracy_drop"]),
        (
            {"similarity_correlation": 0.7, "agreement": 0.9},
            ["agreement", "similarity_correlation"],
        ),
    ],
)
def test_what_a_file_would_miss(require, missed):
    assert ScreeningResult(0.8, 0.15, 0.6).missed(Require(**require)) == missed


def test_without_labels_only_similarity_tells():
    plain, better = ScreeningResult(None, None, 0.5), ScreeningResult(None, None, 0.6)
    assert plain.missed(Require(agreement=0.9, accuracy_drop=0.0)) == []
    assert better.better_than(plain)
    assert not plain.better_than(better)
    assert ScreeningResult(0.7, 0.1, 0.4).better_than(ScreeningResult(0.6, 0.1, 0.9))
    assert ScreeningResult(0.7, 0.1, 0.9).better_than(ScreeningResult(0.7, 0.1, 0.4))
