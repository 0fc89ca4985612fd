"""The losses of TinTeM (arXiv 2411.15239, called CosPress in v2 and v3).

The head maps teacher features to the student's width and is trained to keep their cosines; the
student is trained to equal the head's output. Neither loss reaches the other's weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURES = tuple(step / 100 for step in range(1, 11))
"""0.01, 0.02, ... 0.10: the published run averages the divergence over these."""

_SELF = -1e8  # cosine of a point with itself: finite, so that 0 * (log P - log Q) stays 0


def sne_divergence(
    teacher: Tensor,
    projected: Tensor,
    temperatures: tuple[float, ...] = TEMPERATURES,
    *,
    joint: bool = True,
) -> Tensor:
    """Return how far neighbourhoods of `projected` are from the teacher's (the head's loss).

    KL between the symmetrised joint distributions over pairs that t-SNE uses, of cosines at a
    temperature, averaged over the temperatures; self-pairs are left out. Points are the n rows:
    the images of a batch (L_global) or the tokens of an image (L_local). With n = 2 it is always 0.

    Args:
        teacher: [..., n, Dt], never trained: its gradient is stopped.
        projected: [..., n, D], of the same points.
        temperatures: the ones averaged over, the same on both sides.
        joint: True takes the KL of the symmetrised distribution over pairs, as published; False
            the mean over points of the KL between p(b|a), which is the authors' option `half`.

    Returns:
        [...], in float32 at least, whatever the autocast.
    """
    with torch.autocast(teacher.device.type, enabled=False):
        p, q = _cosines(teacher.detach()), _cosines(projected)
        kl = _joint_kl if joint else _conditional_kl
        terms = [kl(p / tau, q / tau) for tau in temperatures]
        return torch.stack(terms).mean(dim=0)


def cosine_distance(student: Tensor, projected: Tensor) -> Tensor:
    """Return 1 - cosine of student and target, the features of an image as one flat vector.

    A token map is flattened to one vector before the cosine (L_fea); that is not a mean of
    per-token cosines. The head's side is a fixed target: its gradient is stopped.

    Args:
        student: [B, ...]
        projected: [B, ...], same shape.

    Returns:
        [B], in float32 at least.
    """
    with torch.autocast(student.device.type, enabled=False):
        flat, target = at_least_float32(student.flatten(1), projected.detach().flatten(1))
        return 1 - F.cosine_similarity(flat, target, dim=1)


def _cosines(x: Tensor) -> Tensor:
    """[..., n, D] -> cosines [..., n, n], those of a point with itself masked."""
    (x,) = at_least_float32(x)
    unit = F.normalize(x, dim=-1)
    cosines = unit @ unit.mT
    own = torch.eye(x.shape[-2], dtype=torch.bool, device=x.device)
    return cosines.masked_fill(own, _SELF)


def _joint_kl(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """KL(P | Q) of the symmetrised joint distributions of two matrices of logits [..., n, n]."""
    log_p, log_q = _log_joint(p_logits), _log_joint(q_logits)
    return (log_p.exp() * (log_p - log_q)).sum(dim=(-2, -1))


def _conditional_kl(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """Mean over a of KL(p(b|a) | q(b|a)): [..., n, n] -> [...]."""
    log_p, log_q = F.log_softmax(p_logits, dim=-1), F.log_softmax(q_logits, dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1).mean(dim=-1)


def _log_joint(logits: Tensor) -> Tensor:
    """Log of (p(b|a) + p(a|b)) / 2n."""
    conditional = F.log_softmax(logits, dim=-1)
    twice_n = torch.tensor(2.0 * logits.shape[-1], dtype=logits.dtype, device=logits.device)
    return torch.logaddexp(conditional, conditional.mT) - twice_n.log()


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Convert half precision to float32; leave float64 as it is."""
    return tuple(x if x.dtype == torch.float64 else x.float() for x in tensors)
