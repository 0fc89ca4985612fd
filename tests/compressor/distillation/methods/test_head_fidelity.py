"""The scores of a head: formulas, and heads whose scores are known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compressor.distillation.methods.head_fidelity import head_fidelity
from compressor.distillation.methods.head_fidelity import semi_orthogonality_defect as defect
from compressor.distillation.methods.tintem_head import TeacherHead
from random_tensors import linear, rotation, vectors


def test_the_identity_is_perfect():
    found = head_fidelity(nn.Identity(), vectors(0, 20, 5))
    assert found.cosine_mae == 0
    assert found.cosine_correlation == pytest.approx(1, abs=1e-12)
    assert found.semi_orthogonality_defect == 0


def test_an_orthonormal_basis_of_the_features_subspace_is_perfect():
    basis, _ = torch.linalg.qr(vectors(0, 6, 3))
    found = head_fidelity(linear(basis.T), vectors(1, 30, 3) @ basis.T)
    assert found.cosine_mae < 1e-12
    assert found.cosine_correlation == pytest.approx(1, abs=1e-12)
    assert found.semi_orthogonality_defect < 1e-12


def test_a_shift_of_all_cosines_shows_in_the_error_and_not_in_the_correlation():
    """A bias at right angles to every feature: each cosine c becomes (c + 1) / 2."""
    features = nn.functional.normalize(vectors(0, 20, 5), dim=1)
    head = linear(torch.eye(6, 5, dtype=torch.float64), torch.eye(6, dtype=torch.float64)[5])
    found = head_fidelity(head, features)
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
    found = head_fidelity(head, features)
    assert found.cosine_mae == pytest.approx((before - after).abs().mean().item(), abs=1e-12)
    centred = before - before.mean(), after - after.mean()
    r = (centred[0] @ centred[1]) / (centred[0].norm() * centred[1].norm())
    assert found.cosine_correlation == pytest.approx(r.item(), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_constant_features_have_figures_too(value):
    found = head_fidelity(nn.Identity(), torch.full((4, 3), value))
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
    with pytest.raises(TypeError, match="Sequential has no known matrix"):
        defect(nn.Sequential(nn.Linear(3, 3)), 3)
