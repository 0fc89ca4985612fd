"""TinTeM as a whole: the toy of METHOD through target and distance."""

import pytest
import torch

from compressor.distillation.methods.tintem import TinTeM
from compressor.models.features import Features

B, DS = 4, 3
NO_LABELS = torch.full((B,), -1)


def features(tokens):
    """The first token as the embedding, the other four as a 2 x 2 map."""
    return Features(tokens[:, 0], tokens[:, 1:].unflatten(1, (2, 2)))


def close(value):
    return pytest.approx(value, rel=0, abs=1e-8)


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
    assert (student.grad.abs().sum(dim=2) > 0).all()  # type: ignore[attr-defined]
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
