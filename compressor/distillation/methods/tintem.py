"""The TinTeM losses (arXiv 2411.15239, called CosPress in v2 and v3).

The head maps teacher features to the student's width and is trained to keep their cosines; the
student is trained to equal what the head gives. Neither loss reaches the other's weights.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.models.features import Features

TEMPERATURES = tuple(step / 100 for step in range(1, 11))
"""0.01, 0.02, ... 0.10: the published run averages the divergence over these."""

_SELF = -1e8  # cosine of a point with itself: finite, so that 0 * (log P - log Q) stays 0


class TinTeM(nn.Module):
    """The paper's objective: SNE divergences train the head, 1 - cos trains the student.

    L = L_local + L_global (the head's own) + L_fea + L_token (the student's). Without maps L_local
    and L_fea are left out; with a fixed head there is no loss but the student's.
    """

    def __init__(self, head: nn.Module, map_layer: nn.Module | None = None) -> None:
        """Take the head, and what brings a CNN's map to the width of its embedding.

        Args:
            head: [..., Dt] -> [..., D]
            map_layer: [..., C] -> [..., D], thrown away after training; a ViT needs none.
        """
        super().__init__()
        self.head = head
        self.map_layer = nn.Identity() if map_layer is None else map_layer
        self.learns = any(each.requires_grad for each in head.parameters())

    def target(self, teacher: Features, labels: Tensor) -> tuple[Tensor | None, Features]:
        """The head's own loss over the whole batch (None for a fixed head), and its answers."""
        pooled: Tensor = self.head(teacher.pooled)
        projected = Features(pooled, None if teacher.maps is None else self.head(teacher.maps))
        own = None
        if self.learns:
            own = sne_divergence(gathered(teacher.pooled), gathered(projected.pooled))
            if teacher.maps is not None:
                own = own + sne_divergence(teacher.tokens(), projected.tokens()).mean()
        return own, projected.detach()

    def distance(self, answer: Features, target: Features) -> Tensor:
        """L_token, and L_fea where there are maps: [b]."""
        loss = cosine_distance(answer.pooled, target.pooled)
        if target.maps is not None and answer.maps is not None:
            own = Features(answer.pooled, self.map_layer(answer.maps))
            loss = loss + cosine_distance(own.tokens(), target.tokens())
        return loss


def sne_divergence(
    teacher: Tensor,
    projected: Tensor,
    temperatures: tuple[float, ...] = TEMPERATURES,
    *,
    joint: bool = True,
) -> Tensor:
    """How far the neighbourhoods of `projected` are from the teacher's (the head's loss).

    KL between the symmetrised joint distributions over pairs that t-SNE uses, of cosines at a
    temperature, averaged over the temperatures; self-pairs are left out. Points are the n rows:
    the images of a batch (L_global) or the tokens of an image (L_local). With n = 2 it is always 0.

    Args:
        teacher: [..., n, Dt], never trained: its gradient is stopped.
        projected: [..., n, D], of the same points.
        temperatures: the ones averaged over, the same on both sides.
        joint: of the symmetrised distribution over pairs, as published; False takes the mean over
            points of the KL between p(b|a), which is the authors' option `half`.

    Returns:
        [...], in float32 at least, whatever the autocast.
    """
    with torch.autocast(teacher.device.type, enabled=False):
        p, q = _cosines(teacher.detach()), _cosines(projected)
        kl = _joint_kl if joint else _conditional_kl
        terms = [kl(p / tau, q / tau) for tau in temperatures]
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
        flat, target = at_least_float32(student.flatten(1), projected.detach().flatten(1))
        return 1 - F.cosine_similarity(flat, target, dim=1)


def _cosines(x: Tensor) -> Tensor:
    """[..., n, D] -> cosines [..., n, n] with the self-pairs out of the way."""
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


def gathered(x: Tensor) -> Tensor:
    """The rows of all processes, where training is spread over several: [b, D] -> [B, D].

    L_global is over the whole batch. Its gradient is summed over the processes, so that with the
    mean that data-parallel training takes it is the gradient of one process with the whole batch.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    whole: Tensor = _Gathered.apply(x)
    return whole


class _Gathered(torch.autograd.Function):
    """All processes' rows; the gradient is summed over the processes, each takes its rows of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        own = x.contiguous()
        parts = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, own)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Half precision made float32; float64 left as it is."""
    return tuple(x if x.dtype == torch.float64 else x.float() for x in tensors)
