"""Heads on their own: what a PCA keeps, what fitting gains, and that the figures say so."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compressor.distillation.methods import tintem_head
from compressor.distillation.methods.tintem import sne_divergence
from compressor.distillation.methods.tintem_head import (
    TeacherHead,
    figures,
    fit,
    pca_basis,
    pca_head,
)
from compressor.distillation.methods.tintem_head import semi_orthogonality_defect as defect
from compressor.models.features import Features


def vectors(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rotation(seed, dim):
    return torch.linalg.qr(vectors(seed, dim, dim))[0]


def linear(weight, bias=None):
    head = nn.Linear(*reversed(weight.shape), bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        head.weight.copy_(weight)
        if bias is not None:
            head.bias.copy_(bias)
    return head


# --- PCA -------------------------------------------------------------------------------------


def test_a_pca_of_full_width_keeps_every_cosine():
    features = vectors(0, 40, 8)
    head = linear(pca_basis(features, 8))
    assert abs(sne_divergence(features, head(features)).item()) < 1e-12
    assert figures(head, features).cosine_mae < 1e-12


def test_a_pca_keeps_a_subspace_and_is_orthonormal():
    basis, _ = torch.linalg.qr(vectors(0, 6, 3))
    features = vectors(1, 50, 3) @ basis.T
    found = pca_basis(features, 3)
    assert torch.allclose(found @ found.T, torch.eye(3, dtype=torch.float64), atol=1e-10)
    assert abs(sne_divergence(features, features @ found.T).item()) < 1e-10
    with pytest.raises(ValueError, match="6 features have no 7 principal directions"):
        pca_basis(features, 7)


def test_the_directions_of_most_square_length_come_first():
    lengths = torch.tensor([1.0, 5.0, 0.1, 3.0], dtype=torch.float64)
    features = vectors(0, 4000, 4) * lengths
    found = pca_basis(features, 3).abs()
    assert found.argmax(dim=1).tolist() == [1, 3, 0]
    assert (found.max(dim=1).values > 0.99).all()


def test_a_pca_is_of_uncentred_features():
    """A mean that all share is a direction like another; centring would throw it away."""
    features = 0.1 * vectors(0, 200, 5)
    features[:, 2] += 1
    assert pca_basis(features, 1).abs()[0, 2].item() > 0.99


def test_a_pca_is_blind_to_the_length_of_a_feature():
    features = vectors(0, 30, 5)
    scaled = features * (vectors(1, 30, 1).abs() + 0.1)
    assert torch.allclose(pca_basis(features, 3), pca_basis(scaled, 3), atol=1e-10)


@pytest.mark.parametrize("learns", [False, True])
def test_a_pca_head_starts_as_the_pca_and_learns_if_told(learns):
    features = vectors(0, 30, 5).float()
    head = pca_head(features, 3, learns=learns)
    assert head.bias is None
    assert torch.equal(head.weight, pca_basis(features, 3))
    assert head.weight.requires_grad == learns


# --- fitting ---------------------------------------------------------------------------------


@pytest.fixture
def sample():
    """Pooled features [60, 12] and maps [8, 2, 3, 12]."""
    return Features(vectors(0, 60, 12).float(), vectors(1, 8, 2, 3, 12).float())


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(tintem_head, "FIT_STEPS", 40)


def made(kind, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TeacherHead(12, 4) if kind == "norm and linear" else nn.Linear(12, 4, bias=False)


def divergence(head, sample):
    """L_global of all, and L_local of the images with maps, their embedding among the tokens."""
    with torch.no_grad():
        tokens = Features(sample.pooled[: len(sample.maps)], sample.maps).tokens()
        local = sne_divergence(tokens, head(tokens)).mean()
        return sne_divergence(sample.pooled, head(sample.pooled)).item(), local.item()


@pytest.mark.parametrize("kind", ["norm and linear", "linear"])
def test_fitting_lowers_the_divergence_and_freezes_the_head(few_steps, sample, kind):
    head = made(kind)
    before = divergence(head, sample)
    assert fit(head, sample, seed=0) == 40
    after = divergence(head, sample)
    assert after[0] < 0.8 * before[0]
    assert after[1] < 0.8 * before[1]
    assert not any(each.requires_grad for each in head.parameters())


def test_fitting_needs_no_maps_and_they_matter_where_they_are(few_steps, sample):
    without, with_maps = made("linear"), made("linear")
    before = divergence(without, sample)
    fit(without, Features(sample.pooled, None), seed=0)
    fit(with_maps, sample, seed=0)
    on_pooled, on_maps = divergence(without, sample)
    assert on_pooled < 0.8 * before[0]
    assert divergence(with_maps, sample)[1] < on_maps


def test_an_image_s_embedding_is_one_of_its_tokens(few_steps, sample):
    """The same embeddings in another order are other tokens of each image, and the same batch."""
    rolled, weights = sample.pooled.roll(1, dims=0), {}
    for maps in (None, sample.maps):
        for pooled in (sample.pooled, rolled):
            head = made("linear")
            fit(head, Features(pooled, maps), seed=0)
            weights.setdefault(maps is None, []).append(head.weight)
    assert torch.allclose(*weights[True], atol=1e-4)
    assert not torch.allclose(*weights[False], atol=1e-2)


def test_fitting_follows_from_the_seed_and_leaves_torchs_own_generator_alone(monkeypatch):
    """With more rows and images than a step takes, so that the batches are drawn."""
    monkeypatch.setattr(tintem_head, "FIT_STEPS", 5)
    sample = Features(vectors(0, 300, 12).float(), vectors(1, 20, 2, 2, 12).float())
    fitted = []
    for seed in (0, 0, 1):
        head = made("linear")
        torch.manual_seed(len(fitted))
        before = torch.get_rng_state()
        fit(head, sample, seed=seed)
        assert torch.equal(before, torch.get_rng_state())
        fitted.append(head.weight)
    assert torch.equal(fitted[0], fitted[1])
    assert not torch.equal(fitted[0], fitted[2])


def test_fitting_ends_when_nothing_is_gained(monkeypatch):
    """A rotation has nothing to gain: two windows, and no more."""
    monkeypatch.setattr(tintem_head, "_FIT_WINDOW", 3)
    head = linear(rotation(0, 4).float())
    assert fit(head, Features(vectors(1, 20, 4).float(), None), seed=0) < tintem_head.FIT_STEPS / 10


# --- figures ---------------------------------------------------------------------------------


def test_the_identity_is_perfect():
    found = figures(nn.Identity(), vectors(0, 20, 5))
    assert found.cosine_mae == 0
    assert found.cosine_correlation == pytest.approx(1, abs=1e-12)
    assert found.semi_orthogonality_defect == 0


def test_an_orthonormal_basis_of_the_features_subspace_is_perfect():
    basis, _ = torch.linalg.qr(vectors(0, 6, 3))
    found = figures(linear(basis.T), vectors(1, 30, 3) @ basis.T)
    assert found.cosine_mae < 1e-12
    assert found.cosine_correlation == pytest.approx(1, abs=1e-12)
    assert found.semi_orthogonality_defect < 1e-12


def test_a_shift_of_all_cosines_shows_in_the_error_and_not_in_the_correlation():
    """A bias at right angles to every feature: each cosine c becomes (c + 1) / 2."""
    features = nn.functional.normalize(vectors(0, 20, 5), dim=1)
    head = linear(torch.eye(6, 5, dtype=torch.float64), torch.eye(6, dtype=torch.float64)[5])
    found = figures(head, features)
    cosines = (features @ features.T)[~torch.eye(20, dtype=torch.bool)]
    assert found.cosine_correlation == pytest.approx(1, abs=1e-12)
    assert found.cosine_mae == pytest.approx(((1 - cosines) / 2).mean().item(), abs=1e-12)
    assert found.cosine_mae > 0.3


def test_the_figures_of_a_plain_head_are_the_formulas():
    features, head = vectors(0, 7, 5), linear(vectors(1, 3, 5), vectors(2, 3))
    projected = head(features).detach()
    pairs = [(a, b) for a in range(7) for b in range(7) if a != b]

    def cosines(x):
        return torch.stack([x[a] @ x[b] / (x[a].norm() * x[b].norm()) for a, b in pairs])

    before, after = cosines(features), cosines(projected)
    found = figures(head, features)
    assert found.cosine_mae == pytest.approx((before - after).abs().mean().item(), abs=1e-12)
    centred = before - before.mean(), after - after.mean()
    r = (centred[0] @ centred[1]) / (centred[0].norm() * centred[1].norm())
    assert found.cosine_correlation == pytest.approx(r.item(), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_constant_features_have_figures_too(value):
    found = figures(nn.Identity(), torch.full((4, 3), value))
    assert found.cosine_mae == 0
    assert found.cosine_correlation == 0


# --- how near to orthogonal ------------------------------------------------------------------


def test_the_published_head_starts_at_the_root_of_the_widths_ratio():
    """METHOD 1.5: about 0.71 for 384 -> 192."""
    torch.manual_seed(0)
    assert defect(TeacherHead(384, 192), 384) == pytest.approx(math.sqrt(192 / 384), abs=0.01)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), dim=st.integers(1, 6), scale=st.floats(1e-3, 1e3))
def test_the_defect_of_a_scaled_rotation_and_of_its_rows_is_0(seed, dim, scale):
    rows = rotation(seed, 6)[:dim]
    assert defect(linear(scale * rows), 6) < 1e-12
    lengths = torch.ones(dim, dtype=torch.float64)
    lengths[0] = 2  # one direction longer than the others
    stretched = defect(linear(scale * rows * lengths[:, None]), 6)
    assert (stretched > 0.1) == (dim > 1)


def test_the_defect_is_the_formulas():
    weight = torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    # A A^T = [[4, 2], [2, 2]], c = 3
    expected = math.sqrt((1 / 9 + 4 / 9 + 4 / 9 + 1 / 9) / 2)
    assert defect(linear(weight), 3) == pytest.approx(expected, abs=1e-12)


def test_the_layer_norm_is_part_of_the_heads_matrix():
    """Its matrix, column by column: less the mean, times gamma, times the weight."""
    head = TeacherHead(6, 3).double()
    with torch.no_grad():
        head.norm.weight.copy_(vectors(0, 6))
        head.projection.weight.copy_(vectors(1, 3, 6))
    matrix = torch.stack(
        [
            head.projection.weight @ (head.norm.weight * (each - each.mean()))
            for each in torch.eye(6, dtype=torch.float64)
        ],
        dim=1,
    ).detach()
    gram = matrix @ matrix.T
    scaled = gram / gram.diagonal().mean() - torch.eye(3, dtype=torch.float64)
    expected = math.sqrt(scaled.square().sum().item() / 3)
    assert defect(head, 6) == pytest.approx(expected, abs=1e-12)


def test_a_head_of_another_kind_has_no_matrix_here():
    with pytest.raises(TypeError, match="no matrix is known of Sequential"):
        defect(nn.Sequential(nn.Linear(3, 3)), 3)
