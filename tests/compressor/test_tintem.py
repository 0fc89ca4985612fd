"""Known values of METHOD: deterministic toy tensors in float64, and the invariants of the loss."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.tintem import (
    TEMPERATURES,
    TeacherHead,
    TinTeM,
    cosine_distance,
    pca_basis,
    pca_head,
    sne_divergence,
)

B, T, DT, DS = 4, 5, 6, 3


@pytest.fixture
def toy():
    """Teacher tokens [4, 5, 6], head weights, student tokens [4, 5, 3]."""
    k = torch.arange(120, dtype=torch.float64)
    teacher = torch.sin(0.7 * k + 0.3 * (k % 7)).reshape(B, T, DT)
    student = torch.cos(0.37 * torch.arange(60, dtype=torch.float64)).reshape(B, T, DS)
    head = TeacherHead(DT, DS).double()
    with torch.no_grad():
        weight = torch.cos(0.9 * torch.arange(18, dtype=torch.float64)) / math.sqrt(6)
        head.projection.weight.copy_(weight.reshape(DS, DT))
        head.projection.bias.copy_(torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64))
    return teacher, student, head


def close(value):
    return pytest.approx(value, abs=1e-8)


def test_toy_is_the_one_of_the_reference(toy):
    teacher, student, head = toy
    assert teacher.sum().item() == pytest.approx(0.186982157, abs=1e-9)
    assert student.sum().item() == pytest.approx(0.435173654, abs=1e-9)
    expected = [0.7237027927, 1.4607288141, 1.5344027016]
    assert head(teacher)[0, 0].tolist() == pytest.approx(expected, abs=1e-9)


def test_row_1_local(toy):
    teacher, _, head = toy
    per_image = sne_divergence(teacher, head(teacher))
    expected = [0.0138094539, 0.1110951500, 0.2526242900, 4.5341067164]
    assert per_image.tolist() == close(expected)
    assert per_image.mean().item() == close(1.2279089026)


def test_row_2_global(toy):
    teacher, _, head = toy
    got = sne_divergence(teacher[:, 0], head(teacher)[:, 0])
    assert got.item() == close(14.5126034635)


def test_row_3_flattened_not_token_wise(toy):
    teacher, student, head = toy
    projected = head(teacher)
    assert cosine_distance(student, projected).mean().item() == close(0.9011876699)
    token_wise = cosine_distance(student.flatten(0, 1), projected.flatten(0, 1))
    assert token_wise.mean().item() == close(0.9500154807)


def test_rows_4_and_5_token_and_total(toy):
    teacher, student, head = toy
    projected = head(teacher)
    token = cosine_distance(student[:, 0], projected[:, 0]).mean()
    assert token.item() == close(1.2134681766)
    total = (
        sne_divergence(teacher, projected).mean()
        + sne_divergence(teacher[:, 0], projected[:, 0])
        + cosine_distance(student, projected).mean()
        + token
    )
    assert total.item() == close(17.8551682126)


@pytest.mark.parametrize(
    ("tau", "expected"), [(0.05, 0.8008103617), (0.1, 0.4057884453), (1.0, 0.0726901194)]
)
def test_row_6_local_at_one_temperature(toy, tau, expected):
    teacher, _, head = toy
    assert sne_divergence(teacher, head(teacher), (tau,)).mean().item() == close(expected)


def test_row_7_global_and_its_reverse(toy):
    teacher, _, head = toy
    x, h = teacher[:, 0], head(teacher)[:, 0]
    assert sne_divergence(x, h, (0.1,)).item() == close(4.6404629601)
    assert sne_divergence(h, x, (0.1,)).item() == close(1.7114664492)


def test_row_9_bias_free_head_without_layer_norm(toy):
    teacher, student, head = toy
    projected = teacher @ head.projection.weight.T
    assert sne_divergence(teacher, projected).mean().item() == close(0.7256321234)
    # METHOD prints 7.7896145866; a plain numpy loop gives 7.789614486576: a digit slipped.
    assert sne_divergence(teacher[:, 0], projected[:, 0]).item() == close(7.7896144866)
    assert cosine_distance(student, projected).mean().item() == close(0.8741549656)
    assert cosine_distance(student[:, 0], projected[:, 0]).mean().item() == close(1.1509622594)


def unit(*degrees):
    radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


@pytest.mark.parametrize(
    ("taus", "expected"),
    [
        ((0.1,), 0.0649276283),
        ((0.5,), 0.0656646514),
        ((1.0,), 0.0300544028),
        (TEMPERATURES, 0.0585547693),
    ],
)
def test_row_10_three_angles(taus, expected):
    got = sne_divergence(unit(0, 60, 180), unit(0, 90, 180), taus)
    assert got.item() == close(expected)


def test_row_11_the_joint_distributions_of_three_angles():
    from compressor.tintem import _cosines, _log_joint

    p = _log_joint(_cosines(unit(0, 60, 180)) / 0.5).exp()
    q = _log_joint(_cosines(unit(0, 90, 180)) / 0.5).exp()
    pairs = ([0, 0, 1], [1, 2, 2])
    assert p[pairs].tolist() == close([0.3055618675, 0.0527278824, 0.1417102501])
    assert q[pairs].tolist() == close([0.2301328463, 0.0397343073, 0.2301328463])
    for joint in (p, q):
        assert joint.sum().item() == close(1)
        assert torch.equal(joint, joint.T)
        assert joint.diagonal().abs().max().item() == 0


def vectors(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), n=st.integers(3, 9), tau=st.sampled_from(TEMPERATURES))
def test_divergence_is_positive_and_zero_only_for_equal_cosines(seed, n, tau):
    teacher, other = vectors(seed, n, 5), vectors(seed + 1, n, 3)
    assert sne_divergence(teacher, other, (tau,)).item() > -1e-12
    rotation, _ = torch.linalg.qr(vectors(seed + 2, 5, 5))
    scales = vectors(seed + 3, n, 1).abs() + 0.1
    assert sne_divergence(teacher, 3 * (teacher @ rotation) * scales, (tau,)).item() < 1e-10


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_divergence_is_zero_on_a_subspace_that_the_head_keeps(seed):
    basis, _ = torch.linalg.qr(vectors(seed, 6, 3))
    low = vectors(seed + 1, 7, 3)
    teacher = low @ basis.T
    assert abs(sne_divergence(teacher, teacher @ basis).item()) < 1e-12


def test_divergence_follows_a_common_permutation_only():
    teacher, projected = vectors(0, 6, 5), vectors(1, 6, 3)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    base = sne_divergence(teacher, projected)
    assert sne_divergence(teacher[order], projected[order]).item() == close(base.item())
    assert abs(sne_divergence(teacher[order], projected).item() - base.item()) > 1e-3


def test_two_points_say_nothing():
    assert sne_divergence(vectors(0, 2, 5), vectors(1, 2, 3)).item() == close(0)


def test_gradients_reach_the_head_or_the_student_and_never_both(toy):
    teacher, student, head = toy
    teacher, student = teacher.requires_grad_(), student.requires_grad_()
    sne_divergence(teacher, head(teacher)).mean().backward()
    assert student.grad is None
    assert head.projection.weight.grad.abs().sum() > 0
    # The teacher's side of the divergence is stopped; what is left comes through the head.
    head.zero_grad()
    cosine_distance(student, head(teacher.detach())).mean().backward()
    assert student.grad.abs().sum() > 0
    assert head.projection.weight.grad is None or not head.projection.weight.grad.any()
    # Moving a student vector along itself changes no cosine.
    along = (student.grad * student).flatten(1).sum(dim=1)
    assert along.abs().max().item() < 1e-12


def test_cosine_distance_is_bounded_and_blind_to_scale():
    student, projected = vectors(0, 8, 4, 3), vectors(1, 8, 4, 3)
    distance = cosine_distance(student, projected)
    assert ((distance >= 0) & (distance <= 2)).all()
    assert torch.allclose(cosine_distance(7 * student, projected), distance)


def test_half_precision_input_is_computed_in_float32():
    teacher, projected = vectors(0, 16, 32), vectors(1, 16, 8)
    half = sne_divergence(teacher.half(), projected.half().requires_grad_())
    assert half.dtype == torch.float32
    assert torch.isfinite(half)
    assert half.item() == pytest.approx(sne_divergence(teacher, projected).item(), rel=1e-2)


def test_a_pca_of_full_width_keeps_every_cosine():
    features = vectors(0, 40, 8)
    head = pca_head(features, 8, learns=False).double()
    assert sne_divergence(features, head(features)).item() == close(0)
    assert not any(each.requires_grad for each in head.parameters())


def test_a_pca_keeps_a_subspace_and_is_orthonormal():
    basis, _ = torch.linalg.qr(vectors(0, 6, 3))
    features = vectors(1, 50, 3) @ basis.T
    found = pca_basis(features, 3)
    assert torch.allclose(found @ found.T, torch.eye(3, dtype=torch.float64), atol=1e-10)
    assert abs(sne_divergence(features, features @ found.T).item()) < 1e-10
    with pytest.raises(ValueError, match="6 features have no 7 principal directions"):
        pca_basis(features, 7)


def test_a_fixed_head_has_no_loss_of_its_own_and_a_learned_one_has():
    features = vectors(0, 10, 6).float()
    labels = torch.zeros(10, dtype=torch.int64)
    own, target = TinTeM(pca_head(features, 3, learns=False)).target(features, labels)
    assert own is None
    assert target.shape == (10, 3)
    own, target = TinTeM(pca_head(features, 3, learns=True)).target(features, labels)
    assert own.requires_grad
    assert not target.requires_grad
