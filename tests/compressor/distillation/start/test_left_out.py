"""What a closed-form student answers for images that its layer was not solved from."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.distillation.least_squares.normal_equations import FOLDS, NormalEquations
from compressor.distillation.least_squares.ridge import solve
from compressor.distillation.start.left_out import left_out
from runtime.errors import InputError


def features(images, widths, outputs, seed=0, noise=0.0):
    """Features of two kinds, on other scales, and a teacher that is linear in what made them."""
    rng = torch.Generator().manual_seed(seed)
    hidden = torch.randn(images, 4, generator=rng)
    parts = [
        (10.0**scale) * hidden @ torch.randn(4, width, generator=rng)
        for scale, width in enumerate(widths)
    ]
    teacher = hidden @ torch.randn(4, outputs, generator=rng)
    teacher = teacher + noise * torch.randn(images, outputs, generator=rng)
    return torch.cat(parts, dim=1), teacher - teacher.mean(dim=0)


@settings(max_examples=20, deadline=None)
@given(
    images=st.integers(10, 40), widths=st.tuples(*2 * [st.integers(2, 40)]), seed=st.integers(0, 99)
)
def test_each_image_is_answered_by_the_layer_of_the_others(images, widths, seed):
    """The same as a layer of its own for every part, whether images or features are more."""
    pooled, teacher = features(images, widths, 3, seed, noise=0.5)
    found = left_out(pooled, widths, teacher)
    target = torch.nn.functional.normalize(teacher.double(), dim=1)
    equations = NormalEquations(pooled.shape[1], 3)
    rows = torch.arange(images)
    equations.add(pooled, target, rows)
    ridge = solve(equations.folds, widths)
    assert found.unexplained == pytest.approx(ridge.error, rel=1e-6)
    scale = torch.cat([part.double().var(0, correction=0).mean().sqrt().expand(part.shape[1])
                       for part in pooled.split(widths, dim=1)])  # fmt: skip
    for part in range(FOLDS):
        own = rows % FOLDS == part
        x, y = pooled[~own].double() / scale, target[~own]
        centred = x - x.mean(0)
        gram = centred.T @ centred + ridge.strength * len(x) * torch.eye(x.shape[1])
        weight = torch.linalg.solve(gram, centred.T @ (y - y.mean(0)))
        expected = (pooled[own].double() / scale - x.mean(0)) @ weight + y.mean(0)
        assert torch.allclose(found.answers[own].double(), expected, atol=1e-5)


def test_a_teacher_that_the_features_hold_is_answered_and_noise_is_not():
    pooled, teacher = features(60, (6, 6), 3)
    assert left_out(pooled, (6, 6), teacher).unexplained < 0.35  # of length 1: not quite linear
    noise = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    assert left_out(pooled, (6, 6), noise - noise.mean(0)).unexplained > 0.8


def test_features_that_are_the_same_for_all_images_are_refused():
    with pytest.raises(InputError, match="the same for every image"):
        left_out(torch.ones(20, 5), [5], torch.randn(20, 3))


def test_a_kind_of_features_that_is_constant_changes_nothing():
    """The deviations over a map of one cell, at small images."""
    pooled, teacher = features(30, (6, 6), 3, noise=0.5)
    constant = torch.cat([pooled, torch.full((30, 4), 0.001)], dim=1)
    found, expected = left_out(constant, (6, 6, 4), teacher), left_out(pooled, (6, 6), teacher)
    assert torch.allclose(found.answers, expected.answers, atol=1e-5)
