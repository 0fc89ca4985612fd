import math

import pytest
import torch
import torch.nn.functional as F

from compressor.baselines import Cosine, Proteus, Supervised

NO_LABELS = torch.full((4,), -1)


def test_proteus_known_values():
    """METHOD section 5, row 12: heads of LayerNorm and W2, no bias, on the toy tokens."""
    k = torch.arange(120, dtype=torch.float64)
    teacher = torch.sin(0.7 * k + 0.3 * (k % 7)).reshape(4, 5, 6)
    student = torch.cos(0.37 * torch.arange(60, dtype=torch.float64)).reshape(4, 5, 3)
    objective = Proteus(teacher_dim=6, student_dim=3).double()
    with torch.no_grad():
        weight = torch.sin(1.1 * torch.arange(18, dtype=torch.float64)) / math.sqrt(3)
        objective.head[1].weight.copy_(weight.reshape(6, 3))
        objective.head[1].bias.zero_()
    token = objective.distance(student[:, 0], teacher[:, 0]).mean()
    assert token.item() == pytest.approx(0.5888914854, abs=1e-8)
    whole = objective.distance(student.flatten(0, 1), teacher.flatten(0, 1)).mean()
    assert whole.item() == pytest.approx(0.6033941309, abs=1e-8)


def test_proteus_and_cosine_aim_at_the_teacher_itself():
    teacher, answer = torch.randn(4, 6), torch.randn(4, 3, requires_grad=True)
    for objective in (Proteus(6, 3), Cosine(6, 3)):
        own, target = objective.target(teacher, NO_LABELS)
        assert own is None
        assert torch.equal(target, teacher)
        distance = objective.distance(answer, target)
        assert distance.shape == (4,)
        distance.sum().backward()
        assert answer.grad.abs().sum() > 0
        assert all(each.grad.abs().sum() > 0 for each in objective.parameters())


def test_proteus_is_the_mean_square_over_the_teachers_width():
    objective = Proteus(6, 3)
    answer, target = torch.randn(4, 3), torch.randn(4, 6)
    expected = F.mse_loss(objective.head(answer), target)
    assert torch.allclose(objective.distance(answer, target).mean(), expected)


def test_cosine_needs_no_head_where_the_widths_agree():
    objective = Cosine(5, 5)
    assert not list(objective.parameters())
    x = torch.randn(4, 5)
    assert torch.allclose(objective.distance(x, 3 * x), torch.zeros(4), atol=1e-6)
    assert torch.allclose(objective.distance(x, -x), torch.full((4,), 2.0), atol=1e-6)


def test_supervised_learns_from_labelled_images_only():
    objective = Supervised(classes=3, student_dim=5)
    labels = torch.tensor([2, -1, 0, -1])
    own, target = objective.target(torch.randn(4, 6), labels)
    assert own is None
    answer = torch.randn(4, 5)
    distance = objective.distance(answer, target)
    assert distance[[1, 3]].tolist() == [0, 0]
    expected = F.cross_entropy(objective.head(answer[[0, 2]]), labels[[0, 2]], reduction="none")
    assert torch.allclose(distance[[0, 2]], expected)
