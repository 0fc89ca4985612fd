"""Ridge regression from streamed sums: the values of scikit-learn's, whatever the batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as Reference
from torch import nn

from compressor.distillation.least_squares.layer import solve_layer
from compressor.distillation.least_squares.normal_equations import FOLDS, NormalEquations
from compressor.distillation.least_squares.ridge import STRENGTHS, at_strength, scales_of, solve
from runtime.errors import InputError


def made_up(seed, images=60, inputs=7, outputs=3, noise=0.5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(images, inputs)) @ rng.normal(size=(inputs, inputs)) + 5
    y = x @ rng.normal(size=(inputs, outputs)) + noise * rng.normal(size=(images, outputs)) - 2
    return torch.from_numpy(x), torch.from_numpy(y)


def equations_of(x, y, batch=None, images=None):
    made = NormalEquations(x.shape[1], y.shape[1])
    images = torch.arange(len(x)) if images is None else images
    for start in range(0, len(x), batch or len(x)):
        rows = slice(start, start + (batch or len(x)))
        made.add(x[rows], y[rows], images[rows])
    return made


def reference(x, y, strength):
    """What scikit-learn solves with a penalty in units of the inputs' mean variance, per image."""
    variance = x.var(dim=0, correction=0).mean()
    return Reference(alpha=float(strength * variance * len(x))).fit(x.numpy(), y.numpy())


def test_the_layer_is_scikit_learns_with_the_same_penalty():
    x, y = made_up(0)
    ridge = solve(equations_of(x, y).folds)
    expected = reference(x, y, ridge.strength)
    assert np.allclose(ridge.weight.numpy(), expected.coef_, atol=1e-9)
    assert np.allclose(ridge.bias.numpy(), expected.intercept_, atol=1e-8)


@given(st.integers(0, 1_000), st.integers(1, 61))
@settings(max_examples=25, deadline=None)
def test_batches_do_not_matter(seed, batch):
    x, y = made_up(seed)
    whole, streamed = (solve(equations_of(x, y, size).folds) for size in (None, batch))
    assert whole.strength == streamed.strength
    assert torch.allclose(whole.weight, streamed.weight, atol=1e-8)
    assert whole.error == pytest.approx(streamed.error, abs=1e-9)


@pytest.mark.parametrize("noise", [0.01, 1.0, 30.0])
def test_its_strength_is_one_step_below_the_one_that_predicts_best(noise):
    x, y = made_up(3, images=80, inputs=30, noise=noise)
    numbers = torch.arange(len(x)) % FOLDS
    variance = x.var(dim=0, correction=0).mean()
    errors = []
    for strength in STRENGTHS:
        error = 0.0
        for fold in range(FOLDS):
            learnt = numbers != fold
            alpha = float(strength * variance * learnt.sum())
            model = Reference(alpha=alpha).fit(x[learnt].numpy(), y[learnt].numpy())
            error += ((model.predict(x[~learnt].numpy()) - y[~learnt].numpy()) ** 2).sum()
        errors.append(error / float(((y - y.mean(dim=0)) ** 2).sum()))
    ridge = solve(equations_of(x, y).folds)
    chosen = STRENGTHS.index(ridge.strength)
    assert chosen == max(0, int(np.argmin(errors)) - 1)
    assert ridge.error == pytest.approx(errors[chosen], rel=1e-6)


def test_views_of_an_image_are_never_in_two_folds():
    x, y = made_up(1, images=40)
    twice = equations_of(torch.cat([x, x]), torch.cat([y, y]), images=torch.arange(80) % 40)
    for once, both in zip(equations_of(x, y).folds, twice.folds, strict=True):
        assert both.count == 2 * once.count
        assert torch.allclose(both.xx, 2 * once.xx)


def test_a_large_common_offset_costs_no_digits():
    """Features of a ReLU network are all positive: sums must bear what they have in common."""
    x, y = made_up(2)
    near, far = (solve(equations_of(x + offset, y).folds) for offset in (0, 1e4))
    assert near.strength == far.strength
    assert torch.allclose(near.weight, far.weight, atol=1e-5)


def test_blocks_are_penalised_alike_whatever_their_scale():
    x, y = made_up(4, inputs=8)
    scaled = torch.cat([x[:, :5], 1_000 * x[:, 5:]], dim=1)
    one, other = (solve(equations_of(each, y).folds, [5, 3]) for each in (x, scaled))
    assert one.strength == other.strength
    assert torch.allclose(one.weight[:, 5:], 1_000 * other.weight[:, 5:], rtol=1e-6)
    total = equations_of(x, y).total()
    expected = x.var(dim=0, correction=0)
    assert torch.allclose(scales_of(total, [5, 3])[0] ** 2, expected[:5].mean())
    assert torch.allclose(scales_of(total, [5, 3])[7] ** 2, expected[5:].mean())


@pytest.mark.parametrize("images", [1, 8])
def test_constant_inputs_are_refused(images):
    x, y = torch.ones(images, 4), torch.randn(images, 2, generator=torch.manual_seed(0))
    with pytest.raises(InputError, match="the same for every image"):
        solve(equations_of(x, y).folds)


def test_a_constant_block_changes_nothing():
    x, y = made_up(8)
    wider = torch.cat([x, torch.full((len(x), 4), 7.0)], dim=1)
    alone = solve(equations_of(x, y).folds)
    beside = solve(equations_of(wider, y).folds, [7, 4])
    assert torch.allclose(beside.weight[:, :7], alone.weight)
    assert torch.allclose(beside.weight[:, 7:], torch.zeros(3, 4).double(), atol=1e-9)


def test_duplicates_do_not_make_it_singular():
    x, y = made_up(6, images=3, inputs=20)
    ridge = solve(equations_of(x.repeat(10, 1), y.repeat(10, 1)).folds)
    assert torch.isfinite(ridge.weight).all()


def test_a_layer_is_set():
    x, y = made_up(7)
    layer = nn.Linear(7, 3)
    ridge = solve_layer(layer, x, y)
    assert torch.allclose(layer(x.float()).double(), x @ ridge.weight.T + ridge.bias, atol=1e-3)


def test_what_stands_beside_the_images_is_learnt_from_about_their_mean():
    (x, y), (x_beside, y_beside) = made_up(0), made_up(1, images=30)
    equations = equations_of(x, y)
    equations.add_beside(x_beside[:11], y_beside[:11])
    equations.add_beside(x_beside[11:], y_beside[11:])
    ridge = solve(equations.folds, beside=equations.beside)
    x_mean, y_mean = x.mean(dim=0), y.mean(dim=0)
    penalty = float(ridge.strength * x.var(dim=0, correction=0).mean() * len(x))
    both = torch.cat([x, x_beside]) - x_mean, torch.cat([y, y_beside]) - y_mean
    expected = Reference(alpha=penalty, fit_intercept=False).fit(*(each.numpy() for each in both))
    assert np.allclose(ridge.weight.numpy(), expected.coef_, atol=1e-9)
    assert torch.allclose(ridge.bias, y_mean - ridge.weight @ x_mean)


def test_nothing_beside_them_changes_nothing():
    equations = equations_of(*made_up(0))
    alone, beside = solve(equations.folds), solve(equations.folds, beside=equations.beside)
    assert alone.strength == beside.strength and alone.error == beside.error
    assert torch.equal(alone.weight, beside.weight)


def test_a_given_strength_is_taken():
    x, y = made_up(0)
    folds, strength = equations_of(x, y).folds, STRENGTHS[9]
    ridge = at_strength(folds, solve(folds).scales, strength)
    assert ridge.strength == strength
    assert np.allclose(ridge.weight.numpy(), reference(x, y, strength).coef_, atol=1e-9)
