"""The log of a training: one entry an epoch, and the best student so far."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from compressor.events import EpochEnded
from runtime.files import write_text

_PLAIN = ("epoch", "lr", "head_loss", "student_loss", "best_so_far", "seconds")


@dataclass(frozen=True)
class Best:
    """The best student so far: its validation score, its epoch, its weights on the CPU."""

    quality: float = -math.inf
    epoch: int = -1
    """-1 as long as there is none."""
    state: dict[str, Tensor] = field(default_factory=dict)


def to_line(ended: EpochEnded) -> dict[str, Any]:
    """Return an epoch as it stands in `train.jsonl`, the validation scores beside the losses."""
    return {
        "epoch": ended.epoch,
        "lr": ended.lr,
        "head_loss": ended.head_loss,
        "student_loss": ended.student_loss,
        **ended.scores,
        "best_so_far": ended.best_so_far,
        "seconds": ended.seconds,
    }


def from_line(line: Mapping[str, Any], *, epochs: int) -> EpochEnded:
    """Return the epoch that `to_line` wrote."""
    plain = {name: line[name] for name in _PLAIN}
    scores = {name: value for name, value in line.items() if name not in _PLAIN}
    return EpochEnded(epochs=epochs, scores=scores, **plain)


def write_log(path: Path, log: Iterable[EpochEnded]) -> None:
    """Write `train.jsonl`, whole or not at all."""
    write_text(path, "".join(json.dumps(to_line(ended)) + "\n" for ended in log))
