"""Known values of METHOD: deterministic toy tensors in float64, and the invariants of the loss."""

import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.distillation.methods.tintem import (
    TEMPERATURES,
    TinTeM,
    _cosines,
    _joint_kl,
    _log_joint,
    cosine_distance,
    gathered,
    sne_divergence,
)
from compressor.distillation.methods.tintem_head import TeacherHead
from compressor.models.features import Features

B, T, DT, DS = 4, 5, 6, 3
NO_LABELS = torch.full((B,), -1)


@pytest.fixture
def toy():
    """Teacher tokens [4, 5, 6], student tokens [4, 5, 3], the head."""
    k = torch.arange(120, dtype=torch.float64)
    teacher = torch.sin(0.7 * k + 0.3 * (k % 7)).reshape(B, T, DT)
    student = torch.cos(0.37 * torch.arange(60, dtype=torch.float64)).reshape(B, T, DS)
    head = TeacherHead(DT, DS).double()
    with torch.no_grad():
        weight = torch.cos(0.9 * torch.arange(18, dtype=torch.float64)) / math.sqrt(6)
        head.projection.weight.copy_(weight.reshape(DS, DT))
        head.projection.bias.copy_(torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64))
    return teacher, student, head


def features(tokens):
    """The first token as the embedding, the other four as a 2 x 2 map."""
    return Features(tokens[:, 0], tokens[:, 1:].unflatten(1, (2, 2)))


def close(value):
    return pytest.approx(value, rel=0, abs=1e-8)


def unit(*degrees):
    radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def vectors(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


seeds = st.integers(0, 2**31)


# --- known values ----------------------------------------------------------------------------


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


def test_row_3_each_image_flattened_not_token_wise_nor_the_whole_batch(toy):
    teacher, student, head = toy
    projected = head(teacher)
    assert cosine_distance(student, projected).mean().item() == close(0.9011876699)
    token_wise = cosine_distance(student.flatten(0, 1), projected.flatten(0, 1))
    assert token_wise.mean().item() == close(0.9500154807)
    whole = cosine_distance(student.reshape(1, -1), projected.reshape(1, -1))
    assert whole.item() == close(0.8992017374)


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


def test_row_8_half(toy):
    teacher, _, head = toy
    local = sne_divergence(teacher, head(teacher), joint=False)
    assert local.mean().item() == close(1.3097114881)
    got = sne_divergence(teacher[:, 0], head(teacher)[:, 0], joint=False)
    assert got.item() == close(14.5140217885)


def test_row_9_bias_free_head_without_layer_norm(toy):
    teacher, student, head = toy
    projected = teacher @ head.projection.weight.T
    assert sne_divergence(teacher, projected).mean().item() == close(0.7256321234)
    # METHOD prints 7.7896145866; a plain numpy loop gives 7.789614486576: a digit slipped.
    assert sne_divergence(teacher[:, 0], projected[:, 0]).item() == close(7.789614486576)
    assert cosine_distance(student, projected).mean().item() == close(0.8741549656)
    assert cosine_distance(student[:, 0], projected[:, 0]).mean().item() == close(1.1509622594)


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
    p = _log_joint(_cosines(unit(0, 60, 180)) / 0.5).exp()
    q = _log_joint(_cosines(unit(0, 90, 180)) / 0.5).exp()
    pairs = ([0, 0, 1], [1, 2, 2])
    assert p[pairs].tolist() == close([0.3055618675, 0.0527278824, 0.1417102501])
    assert q[pairs].tolist() == close([0.2301328463, 0.0397343073, 0.2301328463])


# --- the whole objective ---------------------------------------------------------------------


def test_the_objective_on_the_toy_is_rows_1_to_5(toy):
    teacher, student, head = toy
    objective = TinTeM(head)
    own, target = objective.target(features(teacher), NO_LABELS)
    assert own.item() == close(1.2279089026 + 14.5126034635)
    distance = objective.distance(features(student), target)
    assert distance.shape == (B,)
    assert distance.mean().item() == close(0.9011876699 + 1.2134681766)
    assert (own + distance.mean()).item() == close(17.8551682126)


def test_the_objective_without_maps_is_rows_2_and_4(toy):
    teacher, student, head = toy
    objective = TinTeM(head)
    own, target = objective.target(Features(teacher[:, 0], None), NO_LABELS)
    assert target.maps is None
    assert own.item() == close(14.5126034635)
    with_map = objective.distance(features(student), target)
    without = objective.distance(Features(student[:, 0], None), target)
    assert torch.equal(with_map, without)
    assert without.mean().item() == close(1.2134681766)


def test_a_student_without_a_map_answers_with_its_embedding_alone(toy):
    teacher, student, head = toy
    objective = TinTeM(head)
    _, target = objective.target(features(teacher), NO_LABELS)
    answer = Features(student[:, 0], None)
    assert objective.distance(answer, target).mean().item() == close(1.2134681766)


def test_own_loss_reaches_the_head_alone_and_the_distance_the_student_alone(toy):
    teacher, student, head = toy
    student.requires_grad_()
    map_layer = torch.nn.Linear(DS, DS, dtype=torch.float64)
    objective = TinTeM(head, map_layer)
    own, target = objective.target(features(teacher), NO_LABELS)
    answer = features(student)
    own.backward()
    assert all(each.grad.abs().sum() > 0 for each in head.parameters())
    assert student.grad is None
    assert all(each.grad is None for each in map_layer.parameters())
    head.zero_grad()
    assert not target.pooled.requires_grad
    assert not target.maps.requires_grad
    objective.distance(answer, target).mean().backward()
    assert (student.grad.abs().sum(dim=2) > 0).all()
    assert all(each.grad.abs().sum() > 0 for each in map_layer.parameters())
    assert all(each.grad is None for each in head.parameters())


@pytest.mark.parametrize("learns", [False, True])
def test_only_a_head_that_learns_has_a_loss_of_its_own(toy, learns):
    teacher, _, head = toy
    objective = TinTeM(head.requires_grad_(learns))
    own, target = objective.target(features(teacher), NO_LABELS)
    assert (own is not None) == learns
    assert torch.equal(target.pooled, head(teacher[:, 0]))
    assert torch.equal(target.maps.flatten(1, 2), head(teacher[:, 1:]))


def test_a_cnns_map_is_brought_to_the_width_of_its_embedding(toy):
    teacher, student, head = toy
    map_layer = torch.nn.Linear(2, DS, dtype=torch.float64)
    objective = TinTeM(head, map_layer)
    _, target = objective.target(features(teacher), NO_LABELS)
    narrow = student[:, 1:, :2].unflatten(1, (2, 2))
    widened = torch.cat([student[:, :1], map_layer(student[:, 1:, :2])], dim=1)
    got = objective.distance(Features(student[:, 0], narrow), target)
    assert torch.allclose(got, TinTeM(head).distance(features(widened), target))


# --- invariants ------------------------------------------------------------------------------


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
@given(seed=seeds, n=st.integers(2, 7), tau=st.sampled_from([0.01, 0.1, 1.0]))
def test_a_joint_is_the_formulas_symmetric_off_the_diagonal_and_sums_to_1(seed, n, tau):
    x = vectors(seed, n, 4)
    joint = _log_joint(_cosines(x) / tau).exp()
    assert torch.allclose(joint, plain_joint(x, tau), rtol=1e-9, atol=1e-15)
    assert torch.equal(joint, joint.T)
    assert joint.diagonal().abs().max().item() == 0
    assert joint.sum().item() == pytest.approx(1, abs=1e-12)


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


def test_f_a_shift_means_nothing_to_logits_either():
    cosines = _cosines(vectors(0, 6, 4))
    assert abs(_joint_kl(cosines / 0.1, (cosines + 0.3) / 0.1).item()) < 1e-12


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
    assert (student.grad.flatten(1).norm(dim=1) > 0.01).all()
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


# --- j: several processes --------------------------------------------------------------------

RANK = """
import sys
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from compressor.distillation.methods.tintem import TinTeM
from compressor.models.features import Features

class Own(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.objective = TinTeM(head)
    def forward(self, pooled, maps):
        own, _ = self.objective.target(Features(pooled, maps), torch.full((len(pooled),), -1))
        return own

folder, rank = sys.argv[1], int(sys.argv[2])
given = torch.load(f"{folder}/given.pt")
for world in (2, 3):
    if rank >= world:
        continue
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet{world}", rank=rank, world_size=world
    )
    for name in ("global", "local too"):
        head = nn.Linear(6, 3, dtype=torch.float64)
        head.load_state_dict(given["head"])
        own = DistributedDataParallel(Own(head))
        pooled, maps = (given[each].chunk(world)[rank] for each in ("pooled", "maps"))
        loss = own(pooled, None if name == "global" else maps)
        loss.backward()
        torch.save([loss.detach(), head.weight.grad, head.bias.grad],
                   f"{folder}/{name}-{world}-{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def on_processes(tmp_path_factory):
    """A batch and a head, and the folder of what 2 and 3 data-parallel processes made of them."""
    folder = tmp_path_factory.mktemp("processes")
    head = torch.nn.Linear(6, 3, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(vectors(2, 3, 6))
        head.bias.copy_(vectors(3, 3))
    given = {"pooled": vectors(0, 6, 6).T, "maps": vectors(1, 6, 2, 2, 6)}  # .T: not contiguous
    given["head"] = head.state_dict()
    torch.save(given, folder / "given.pt")
    local = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RANK, folder, str(rank)],
            env=local,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(3)
    ]
    try:
        errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    assert [rank.returncode for rank in ranks] == [0, 0, 0], "\n".join(errors)
    return folder, given, head


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("name", ["global", "local too"])
def test_j_on_several_processes_loss_and_gradient_are_those_of_one(on_processes, name, world):
    folder, given, head = on_processes
    head.zero_grad()
    maps = None if name == "global" else given["maps"]
    own, _ = TinTeM(head).target(Features(given["pooled"], maps), NO_LABELS)
    own.backward()
    found = [torch.load(folder / f"{name}-{world}-{rank}.pt") for rank in range(world)]
    losses = torch.stack([loss for loss, _, _ in found])
    assert losses.mean().item() == close(own.item())
    if name == "global":  # every process has the loss of the whole batch, not of its own rows
        assert losses.tolist() == close([own.item()] * world)
    for _, weight, bias in found:
        assert torch.allclose(weight, head.weight.grad, rtol=0, atol=1e-10)
        assert torch.allclose(bias, head.bias.grad, rtol=0, atol=1e-10)
    assert head.weight.grad.abs().min() > 1e-6


def test_j_a_torch_without_its_distributed_package_is_one_process(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)
    monkeypatch.delattr(torch.distributed, "is_initialized")
    x = vectors(0, 3, 2)
    assert gathered(x) is x
