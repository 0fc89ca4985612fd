"""TinTeM's losses: known values of METHOD, on deterministic toy tensors in float64."""

import pytest
import torch

from compressor.distillation.methods.losses import TEMPERATURES, cosine_distance, sne_divergence


def close(value):
    return pytest.approx(value, rel=0, abs=1e-8)


def unit(*degrees):
    radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


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


def test_row_11_the_divergence_is_that_of_the_joint_distributions():
    p = torch.tensor([0.3055618675, 0.0527278824, 0.1417102501], dtype=torch.float64)
    q = torch.tensor([0.2301328463, 0.0397343073, 0.2301328463], dtype=torch.float64)
    expected = 2 * (p * (p / q).log()).sum().item()  # every pair stands twice
    got = sne_divergence(unit(0, 60, 180), unit(0, 90, 180), (0.5,))
    assert got.item() == close(expected)
