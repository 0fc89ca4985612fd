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


class TinTeM(nn.Module):
    """The paper's objective on pooled features: L_global for the head, 1 - cos for the student.

    With a fixed head (`pca_head`) there is no loss but the student's.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.learns = any(each.requires_grad for each in head.parameters())

    def target(self, teacher: Tensor, labels: Tensor) -> tuple[Tensor | None, Tensor]:
        """The head's own loss over the whole batch (None for a fixed head), and its answers."""
        projected: Tensor = self.head(teacher)
        return (sne_divergence(teacher, projected) if self.learns else None), projected.detach()

    def distance(self, answer: Tensor, target: Tensor) -> Tensor:
        """1 - cosine: [b, D], [b, D] -> [b]."""
        return cosine_distance(answer, target)


def pca_basis(features: Tensor, dim: int) -> Tensor:
    """The `dim` directions that hold most of the features' square length: [N, Dt] -> [dim, Dt].

    Of uncentred features, so that cosines are kept as well as a projection can keep them; with
    `dim` = Dt it is a rotation and keeps them all.

    Raises:
        ValueError: the teacher is narrower than `dim`.
    """
    if dim > features.shape[1]:
        raise ValueError(f"{features.shape[1]} features have no {dim} principal directions")
    unit = F.normalize(features.double(), dim=1)
    _, vectors = torch.linalg.eigh(unit.T @ unit)  # in rising order
    basis: Tensor = vectors.T.flip(0)[:dim]
    return basis.to(features.dtype)


def pca_head(features: Tensor, dim: int, *, learns: bool) -> nn.Linear:
    """A bias-free linear head that starts as the uncentred PCA of the teacher's features.

    Args:
        features: [N, Dt]
        dim: D, at most Dt.
        learns: whether L_global goes on to train it, or it stays as it is.
    """
    head = nn.Linear(features.shape[1], dim, bias=False)
    with torch.no_grad():
        head.weight.copy_(pca_basis(features, dim))
    return head.requires_grad_(learns)


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


def _log_joint(logits: Tensor) -> Tensor:
    """Log of (p(b|a) + p(a|b)) / 2n."""
    conditional = F.log_softmax(logits, dim=-1)
    twice_n = torch.tensor(2.0 * logits.shape[-1], dtype=logits.dtype, device=logits.device)
    return torch.logaddexp(conditional, conditional.mT) - twice_n.log()


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Half precision made float32; float64 left as it is."""
    return tuple(x if x.dtype == torch.float64 else x.float() for x in tensors)
