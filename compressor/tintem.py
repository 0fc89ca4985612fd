"""The TinTeM losses (arXiv 2411.15239, called CosPress in v2 and v3) and the teacher's head.

The head maps teacher features to the student's width and is trained to keep their cosines; the
student is trained to equal what the head gives. Neither loss reaches the other's weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURES = tuple(step / 100 for step in range(1, 11))
"""0.01, 0.02, ... 0.10: the published run averages the divergence over these."""

_SELF = -1e8  # cosine of a point with itself: finite, so that 0 * (log P - log Q) stays 0


class TeacherHead(nn.Module):
    """LayerNorm and Linear from the teacher's width to the student's: [..., Dt] -> [..., D].

    The published form: affine LayerNorm (eps 1e-5), bias, PyTorch's own initialisation, no
    constraint of orthogonality.
    """

    def __init__(self, teacher_dim: int, student_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(teacher_dim)
        self.projection = nn.Linear(teacher_dim, student_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Project teacher features."""
        projected: Tensor = self.projection(self.norm(features))
        return projected


def sne_divergence(
    teacher: Tensor, projected: Tensor, temperatures: tuple[float, ...] = TEMPERATURES
) -> Tensor:
    """How far the neighbourhoods of `projected` are from the teacher's (the head's loss).

    KL between the symmetrised joint distributions over pairs that t-SNE uses, of cosines at a
    temperature, averaged over the temperatures; self-pairs are left out. Points are the n rows:
    the images of a batch (L_global) or the tokens of an image (L_local). With n = 2 it is always 0.

    Args:
        teacher: [..., n, Dt], never trained: its gradient is stopped.
        projected: [..., n, D], of the same points.
        temperatures: the ones averaged over, the same on both sides.

    Returns:
        [...], in float32 at least, whatever the autocast.
    """
    with torch.autocast(teacher.device.type, enabled=False):
        p, q = _cosines(teacher.detach()), _cosines(projected)
        terms = [_joint_kl(p / tau, q / tau) for tau in temperatures]
        return torch.stack(terms).mean(dim=0)


def cosine_distance(student: Tensor, projected: Tensor) -> Tensor:
    """1 - cosine of the student's features and the head's, each image's as one flat vector.

    A token map is flattened to one vector before the cosine (L_fea); that is not a mean of
    per-token cosines. The head's side is a fixed target: its gradient is stopped.

    Args:
        student: [B, ...]
        projected: [B, ...], same shape.

    Returns:
        [B], in float32 at least.
    """
    with torch.autocast(student.device.type, enabled=False):
        flat, target = _at_least_float32(student.flatten(1), projected.detach().flatten(1))
        return 1 - F.cosine_similarity(flat, target, dim=1)


def _cosines(x: Tensor) -> Tensor:
    """[..., n, D] -> cosines [..., n, n] with the self-pairs out of the way."""
    (x,) = _at_least_float32(x)
    unit = F.normalize(x, dim=-1)
    cosines = unit @ unit.mT
    own = torch.eye(x.shape[-2], dtype=torch.bool, device=x.device)
    return cosines.masked_fill(own, _SELF)


def _joint_kl(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """KL(P | Q) of the symmetrised joint distributions of two matrices of logits [..., n, n]."""
    log_p, log_q = _log_joint(p_logits), _log_joint(q_logits)
    return (log_p.exp() * (log_p - log_q)).sum(dim=(-2, -1))


def _log_joint(logits: Tensor) -> Tensor:
    """Log of (p(b|a) + p(a|b)) / 2n."""
    conditional = F.log_softmax(logits, dim=-1)
    twice_n = torch.tensor(2.0 * logits.shape[-1], dtype=logits.dtype, device=logits.device)
    return torch.logaddexp(conditional, conditional.mT) - twice_n.log()


def _at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x if x.dtype == torch.float64 else x.float() for x in tensors)
