"""TinTeM's heads on their own: what a PCA keeps, and what fitting gains."""

import pytest
import torch
from torch import nn

from compressor.distillation.methods import tintem_head
from compressor.distillation.methods.head_fidelity import head_fidelity
from compressor.distillation.methods.losses import sne_divergence
from compressor.distillation.methods.tintem_head import (
    TeacherHead,
    fit,
    pca_basis,
    pca_head,
)
from compressor.models.features import Features
from random_tensors import linear, rotation, vectors

# --- PCA -------------------------------------------------------------------------------------


def test_a_pca_of_full_width_keeps_every_cosine():
    features = vectors(0, 40, 8)
    head = linear(pca_basis(features, 8))
    assert abs(sne_divergence(features, head(features)).item()) < 1e-12
    assert head_fidelity(head, features).cosine_mae < 1e-12


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
