"""The toy tensors of METHOD section 5."""

import math

import pytest
import torch

from compressor.distillation.methods.tintem_head import TeacherHead

B, T, DT, DS = 4, 5, 6, 3


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
