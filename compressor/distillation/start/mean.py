"""The teacher's mean, given back to a student that has learnt angles from it.

A student learns the teacher's features less their mean, where angles differ most. A plain cosine
of its embeddings then lacks what all images of the task have in common, which is what tells an
image of another task: so the layer is given a share of the mean again, as a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F

from compressor.distillation.training import Training
from compressor.distillation.validation import Validation
from compressor.models.features import Features
from runtime import metrics

SHARES = tuple(step / 4 for step in range(9))
"""0 to 2, the shares of the mean that are tried: 1 is as much of it as the teacher has."""


@dataclass(frozen=True)
class Restored:
    """What was given back."""

    share: float
    """Of the mean; the one whose cosines follow the teacher's own cosines best."""
    similarity: float
    """Their correlation, on validation images."""


def restore_mean(training: Training, validation: Validation) -> Restored | None:
    """Set the constant of the student's embedding, in place: to 0 where none can be chosen.

    Args:
        training: a student that has learnt; its weights are those that are to be kept.
        validation: its images choose the share; the teacher's embeddings of them are centred.

    Returns:
        None where there is no layer, no mean, or too few images to choose by.
    """
    student, mean = training.student, training.centring.pooled.cpu()
    if student.constant is None:
        return None
    student.constant.zero_()  # a student that is distilled again may bring one
    if not training.method.is_linear or not mean.any():
        return None
    own = validation.embed(student.centred)
    if len(own) < 3 or not np.isfinite(own).all() or not own.any(axis=1).all():
        return None
    of_mean = Features(mean[None].to(training.compute.device), None)
    target = training.method.embedding_target(of_mean)
    if target is None:
        return None
    # On the scale of the student, whose lengths are its own: only directions are learnt
    lengths = [float(np.linalg.norm(x, axis=1).mean()) for x in (own, validation.teacher)]
    common = F.pad(target[0], (0, own.shape[1] - target.shape[1])).cpu() * lengths[0] / lengths[1]
    teacher = validation.teacher + mean.numpy()
    tried = {
        share: metrics.pair_correlation(own + share * common.numpy(), teacher) for share in SHARES
    }
    best = max(tried, key=lambda share: tried[share])
    student.constant.copy_(best * common)
    return Restored(best, tried[best])
