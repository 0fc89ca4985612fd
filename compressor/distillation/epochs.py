"""The log of a training: one entry an epoch, and the best student so far."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.events import EpochEnded
from runtime.documents import typed
from runtime.errors import InputError
from runtime.files import write_text

if TYPE_CHECKING:
    from torch import Tensor

BEST_STUDENT = "best.safetensors"
"""The best student so far, in the work of a training that has not ended."""
_PLAIN = ("epoch", "lr", "head_loss", "student_loss", "best_so_far", "seconds")


@dataclass(frozen=True)
class Best:
    """The best student so far: its validation score, its epoch, its weights on the CPU."""

    quality: float = -math.inf
    epoch: int = -1
    """-1 as long as there is none."""
    state: dict[str, Tensor] = field(default_factory=dict)


def to_line(ended: EpochEnded) -> dict[str, float | None]:
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


def from_line(line: Mapping[str, object], path: Path, *, epochs: int) -> EpochEnded:
    """Return the epoch that `to_line` wrote.

    Raises:
        InputError: a value is missing or wrong; the message names it and `path`.
    """
    plain = {name: value for name, value in line.items() if name in _PLAIN}
    scores = {name: value for name, value in line.items() if name not in _PLAIN}
    return typed({**plain, "epochs": epochs, "scores": scores}, EpochEnded, path)


def read_log(path: Path) -> list[EpochEnded]:
    """Read `train.jsonl`.

    Raises:
        InputError: a line is no JSON object, or a value in it is wrong.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    epochs = list[EpochEnded]()
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: line {number}: not JSON ({error})") from error
        epochs.append(from_line(typed(line, dict[str, object], path), path, epochs=len(lines)))
    return epochs


def kept_of(log: Sequence[EpochEnded]) -> EpochEnded:
    """Return the epoch whose student was kept: the last best one; without scores, the last."""
    return next((epoch for epoch in reversed(log) if epoch.best_so_far), log[-1])


def write_log(path: Path, log: Iterable[EpochEnded]) -> None:
    """Write `train.jsonl`, whole or not at all."""
    write_text(path, "".join(json.dumps(to_line(ended)) + "\n" for ended in log))
