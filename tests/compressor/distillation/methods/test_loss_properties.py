"""TinTeM's losses: what holds for any features."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.distillation.methods.losses import TEMPERATURES, cosine_distance, sne_divergence
from random_tensors import vectors

seeds = st.integers(0, 2**31)


def close(value):
    return pytest.approx(value, rel=0, abs=1e-8)


def plain_joint(x, tau):
    """P by the formula, a pair at a time."""
    n = len(x)
    conditional = torch.zeros(n, n, dtype=x.dtype)
    for a in range(n):
        others = [b for b in range(n) if b != a]
        cosines = torch.stack([x[a] @ x[b] / (x[a].norm() * x[b].norm()) for b in others])
        weights = (cosines / tau).exp()
        for b, weight in zip(others, weights, strict=True):
            conditional[a, b] = weight / weights.sum()
    return (conditional + conditional.T) / (2 * n)


@settings(deadline=None, max_examples=25)
@given(seed=seeds, n=st.integers(3, 7), tau=st.sampled_from([0.05, 0.1, 1.0]))
def test_a_the_divergence_is_the_formulas(seed, n, tau):
    teacher, other = vectors(seed, n, 4), vectors(seed + 1, n, 3)
    p, q = plain_joint(teacher, tau), plain_joint(other, tau)
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    pairs = ~torch.eye(n, dtype=torch.bool)
    expected = (p[pairs] * (p[pairs] / q[pairs]).log()).sum().item()
    assert sne_divergence(teacher, other, (tau,)).item() == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(seed=seeds, n=st.integers(3, 9), tau=st.sampled_from(TEMPERATURES), joint=st.booleans())
def test_b_positive_unless_equal(seed, n, tau, joint):
    teacher, other = vectors(seed, n, 5), vectors(seed + 1, n, 3)
    assert sne_divergence(teacher, other, (tau,), joint=joint).item() > -1e-12
    assert sne_divergence(teacher, teacher, (tau,), joint=joint).item() == 0
    # At a high temperature: at a low one the same nearest neighbours are the same to 1e-12.
    assert sne_divergence(teacher, other, (1.0,), joint=joint).item() > 1e-6


@settings(deadline=None, max_examples=25)
@given(seed=seeds, n=st.integers(3, 9), joint=st.booleans())
def test_c_blind_to_rotation_and_to_any_positive_scale_of_each_vector(seed, n, joint):
    teacher = vectors(seed, n, 5)
    rotation, _ = torch.linalg.qr(vectors(seed + 1, 5, 5))
    scales = vectors(seed + 2, n, 1).abs() + 0.1
    turned = 3 * (teacher @ rotation) * scales
    assert abs(sne_divergence(teacher, turned, joint=joint).item()) < 1e-10


@settings(deadline=None, max_examples=10)
@given(seed=seeds)
def test_d_zero_on_a_subspace_that_the_head_keeps(seed):
    basis, _ = torch.linalg.qr(vectors(seed, 6, 3))
    low = vectors(seed + 1, 7, 3)
    teacher = low @ basis.T
    assert abs(sne_divergence(teacher, teacher @ basis).item()) < 1e-12


@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(6)))
def test_e_a_common_order_does_not_matter_and_another_does(order):
    teacher, projected = vectors(0, 6, 5), vectors(1, 6, 3)
    base = sne_divergence(teacher, projected)
    assert sne_divergence(teacher[order], projected[order]).item() == close(base.item())
    if order != sorted(order):
        assert abs(sne_divergence(teacher[order], projected).item() - base.item()) > 1e-3


@settings(deadline=None, max_examples=25)
@given(seed=seeds, shift=st.floats(0.05, 0.3), tau=st.sampled_from([0.01, 0.1, 1.0]))
def test_f_blind_to_a_shift_of_all_cosines_and_not_to_a_gain(seed, shift, tau):
    noise = 0.05 * vectors(seed, 5, 5).tanh()
    cosines = torch.eye(5, dtype=torch.float64) + (noise + noise.T).fill_diagonal_(0)
    others = ~torch.eye(5, dtype=torch.bool)
    teacher = torch.linalg.cholesky(cosines)  # rows with these cosines
    shifted = torch.linalg.cholesky(cosines + shift * others)
    assert abs(sne_divergence(teacher, shifted, (tau,)).item()) < 1e-10
    gained = torch.linalg.cholesky(torch.where(others, 0.9 * cosines, cosines))
    assert sne_divergence(teacher, gained, (tau,)).item() > 1e-8


@settings(deadline=None, max_examples=10)
@given(seed=seeds, joint=st.booleans())
def test_g_two_points_say_nothing(seed, joint):
    teacher, projected = vectors(seed, 2, 5), vectors(seed + 1, 2, 3)
    assert sne_divergence(teacher, projected, joint=joint).item() == close(0)


def test_h_gradients_reach_the_head_or_the_student_and_never_both(toy):
    teacher, student, head = toy
    student.requires_grad_()
    sne_divergence(teacher, head(teacher)).mean().backward()
    assert student.grad is None
    assert all(each.grad.abs().sum() > 0 for each in head.parameters())
    head.zero_grad()
    cosine_distance(student, head(teacher)).mean().backward()
    assert all(each.grad is None for each in head.parameters())
    assert (student.grad.flatten(1).norm(dim=1) > 0.01).all()  # type: ignore[attr-defined]
    # Moving a student vector along itself changes no cosine.
    along = (student.grad * student).flatten(1).sum(dim=1)
    assert along.abs().max().item() < 1e-12


def test_h_the_teachers_side_of_the_divergence_is_stopped():
    teacher, projected = vectors(0, 5, 4).requires_grad_(), vectors(1, 5, 3).requires_grad_()
    sne_divergence(teacher, projected).backward()
    assert teacher.grad is None
    assert projected.grad.abs().sum() > 0


@settings(deadline=None, max_examples=25)
@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_i_cosine_distance_is_bounded_and_blind_to_scale(seed, scale):
    student, projected = vectors(seed, 8, 4, 3), vectors(seed + 1, 8, 4, 3)
    distance = cosine_distance(student, projected)
    assert ((distance >= 0) & (distance <= 2)).all()
    assert torch.allclose(cosine_distance(scale * student, projected), distance)
    assert torch.allclose(cosine_distance(-student, projected), 2 - distance)


def test_half_precision_input_is_computed_in_float32():
    teacher, projected = vectors(0, 16, 32), vectors(1, 16, 8)
    half = sne_divergence(teacher.half(), projected.half().requires_grad_())
    assert half.dtype == torch.float32
    assert torch.isfinite(half)
    assert half.item() == pytest.approx(sne_divergence(teacher, projected).item(), rel=1e-2)


def test_autocast_does_not_reach_the_losses():
    teacher, projected = vectors(0, 16, 32).float(), vectors(1, 16, 32).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = sne_divergence(teacher, projected), cosine_distance(teacher, projected)
    assert torch.equal(inside[0], sne_divergence(teacher, projected))
    assert torch.equal(inside[1], cosine_distance(teacher, projected))
