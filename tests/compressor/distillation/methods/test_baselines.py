"""The losses that TinTeM is compared with, with maps and without."""

import math

import pytest
import torch
import torch.nn.functional as F

from compressor.distillation.methods.cosine import Cosine
from compressor.distillation.methods.proteus import Proteus
from compressor.distillation.methods.supervised import Supervised
from compressor.models.features import Features

NO_LABELS = torch.full((4,), -1)


def random(dim, seed, *, maps=True):
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(4, dim, generator=generator)
    return Features(pooled, torch.randn(4, 2, 3, dim, generator=generator) if maps else None)


def tokens(features):
    return torch.cat([features.pooled[:, None], features.maps.flatten(1, 2)], dim=1)


@pytest.mark.parametrize(
    ("map_dim", "expected"), [(None, 0.5888914854), (3, 0.5888914854 + 0.6033941309)]
)
def test_proteus_row_12(toy, map_dim, expected):
    """Heads of LayerNorm and W2, no bias; without maps the token's part alone."""
    teacher, student = (Features(x[:, 0], x[:, 1:].unflatten(1, (2, 2))) for x in toy[:2])
    objective = Proteus(teacher_dim=6, student_dim=3, map_dim=map_dim).double()
    weight = torch.sin(1.1 * torch.arange(18, dtype=torch.float64)) / math.sqrt(3)
    with torch.no_grad():
        for head in (objective.token_head, objective.map_head):
            if head is not None:
                head[1].weight.copy_(weight.reshape(6, 3))
                head[1].bias.zero_()
    own, target = objective.target(teacher, NO_LABELS)
    assert own is None
    distance = objective.distance(student, target)
    assert distance.shape == (4,)
    assert distance.mean().item() == pytest.approx(expected, rel=0, abs=1e-8)


def test_proteus_is_the_mean_square_over_all_tokens_and_widths():
    objective = Proteus(6, 3, map_dim=3)
    answer, target = random(3, seed=0), random(6, seed=1)
    token = objective.token_head(answer.pooled)
    whole = torch.cat([token[:, None], objective.map_head(answer.maps).flatten(1, 2)], dim=1)
    expected = F.mse_loss(token, target.pooled) + F.mse_loss(whole, tokens(target))
    assert torch.allclose(objective.distance(answer, target).mean(), expected)


def test_cosine_takes_all_tokens_of_an_image_as_one_vector():
    objective = Cosine(5, 5, map_dim=5)
    assert not list(objective.parameters())  # the widths agree
    answer, target = random(5, seed=0), random(5, seed=1)
    expected = 2 - F.cosine_similarity(answer.pooled, target.pooled)
    expected -= F.cosine_similarity(tokens(answer).flatten(1), tokens(target).flatten(1))
    assert torch.allclose(objective.distance(answer, target), expected, atol=1e-6)
    tripled = Features(3 * target.pooled, 3 * target.maps)
    assert torch.allclose(objective.distance(target, tripled), torch.zeros(4), atol=1e-6)
    opposite = Features(-target.pooled, -target.maps)
    assert torch.allclose(objective.distance(target, opposite), torch.full((4,), 4.0), atol=1e-6)


@pytest.mark.parametrize("method", [Proteus, Cosine])
def test_the_target_is_the_teacher_itself(method):
    teacher = random(6, seed=0)
    own, target = method(6, 3, map_dim=7).target(teacher, NO_LABELS)
    assert own is None
    assert torch.equal(target.pooled, teacher.pooled)
    assert torch.equal(target.maps, teacher.maps)


@pytest.mark.parametrize("method", [Proteus, Cosine])
def test_student_and_heads_learn_each_from_its_own_tokens(method):
    """A CNN's map has a width of its own; embedding and map have a head each."""
    objective = method(6, 3, map_dim=7)
    pooled = random(3, seed=0).pooled.requires_grad_()
    maps = random(7, seed=1).maps.requires_grad_()
    distance = objective.distance(Features(pooled, maps), random(6, seed=2))
    assert distance.shape == (4,)
    distance.sum().backward()
    assert (pooled.grad.abs().sum(dim=1) > 0).all()
    assert (maps.grad.abs().sum(dim=3) > 0).all()
    heads = [objective.token_head, objective.map_head]
    assert all(each.grad.abs().sum() > 0 for head in heads for each in head.parameters())


@pytest.mark.parametrize("method", [Proteus, Cosine])
def test_without_a_map_on_either_side_the_embedding_alone_counts(method):
    torch.manual_seed(0)
    objective = method(6, 3, map_dim=3)
    answer, target = random(3, seed=0), random(6, seed=1)
    alone = objective.distance(Features(answer.pooled, None), target)
    assert torch.equal(objective.distance(answer, Features(target.pooled, None)), alone)
    torch.manual_seed(0)
    assert torch.equal(method(6, 3).distance(answer, target), alone)
    assert (objective.distance(answer, target) > alone).all()


def test_supervised_learns_from_labelled_images_only():
    objective = Supervised(classes=3, student_dim=5)
    labels = torch.tensor([2, -1, 0, -1])
    own, target = objective.target(Features(torch.empty(4, 0), None), labels)
    assert own is None
    pooled = random(5, seed=0).pooled.requires_grad_()
    distance = objective.distance(Features(pooled, random(7, seed=1).maps), target)
    assert distance[[1, 3]].tolist() == [0, 0]
    expected = F.cross_entropy(objective.head(pooled[[0, 2]]), labels[[0, 2]], reduction="none")
    assert torch.allclose(distance[[0, 2]], expected)
    distance.sum().backward()
    assert (pooled.grad.abs().sum(dim=1) > 0).tolist() == [True, False, True, False]
