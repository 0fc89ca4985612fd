"""Whether a student was still getting nearer to its teacher when the training ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import UNSET

from compressor.events import EpochEnded
from compressor.recipe.schema import Distill
from runtime.metrics import trend
from runtime.results.making import LearningCurve
from runtime.results.scores import Score
from runtime.sampling import evenly

WORTH = 0.01
"""A rise of the score over the last two thirds of the epochs that is worth a longer training. Three
trainings were run again with three times the epochs: they had risen by 0.09, 0.03 and 0.02, and
gained 0.13, 0.03 and 0.01 (`docs/decisions/training.md`)."""
LONGER = 3
"""So many times the epochs are advised where the score was rising."""
_SHOWN = 300  # points of the curve in a report

Verdict = Literal["rising", "flat", "falling", "undecided"]


def learning_curve(
    epochs: Sequence[EpochEnded],
    score: str,
    kept: int,
    spec: Distill,
    minutes: float | None = None,
) -> LearningCurve | None:
    """Return the curve of a training, with a verdict; None if no trained epoch has the score.

    The verdict rests on the last two thirds of the epochs, but at least on five. (At the very end
    every curve is flat, because the learning rate has fallen.) *Rising*: the score gained WORTH or
    more over them, and the interval of the gain lies above zero. *Falling*: the same downwards.
    *Flat*: the interval lies below WORTH. Else *undecided*.

    Args:
        epochs: the log of the training; epoch 0 is the start, and no part of the trend.
        score: the name of the validation score that chose the best epoch.
        kept: the number of that epoch.
        spec: the recipe's `distill:`.
        minutes: the time that its epochs were settled by, if they were.
    """
    scored = [epoch for epoch in epochs if score in epoch.scores]
    values = np.array([epoch.scores[score] for epoch in scored if epoch.epoch > 0])
    if not len(values):
        return None
    last = values[-max(trend.FEWEST, len(values) - len(values) // 3) :]
    slope = trend.slope(last)
    rise = None
    if slope is not None:
        rise = Score(*(len(last) * each for each in (slope.value, slope.low, slope.high)))
    verdict = _verdict(rise)
    shown = [scored[row] for row in evenly(len(scored), _SHOWN)]
    return LearningCurve(
        score=score,
        epochs=tuple(epoch.epoch for epoch in shown),
        values=tuple(epoch.scores[score] for epoch in shown),
        kept_epoch=kept,
        verdict=verdict,
        last=len(last),
        rise=UNSET if rise is None else rise,
        reached=_reached(scored, score, float(np.median(last))) if verdict == "flat" else UNSET,
        advice=_advice(verdict, scored[-1].epoch, kept, spec, minutes),
    )


def _verdict(rise: Score | None) -> Verdict:
    if rise is None:
        return "undecided"
    if rise.low > 0 and rise.value >= WORTH:
        return "rising"
    if rise.high < 0 and rise.value <= -WORTH:
        return "falling"
    return "flat" if rise.high < WORTH else "undecided"


def _reached(scored: Sequence[EpochEnded], score: str, level: float) -> int:
    """Return the first epoch whose score was as high as the last ones, but for WORTH."""
    return next(epoch.epoch for epoch in scored if epoch.scores[score] > level - WORTH)


def _advice(verdict: Verdict, epochs: int, kept: int, spec: Distill, minutes: float | None) -> str:
    """Return what to change in the recipe, in the words of its keys."""
    if verdict == "flat":
        return "the epochs are enough for this learning rate and these views"
    if verdict == "falling":
        return f"the student of epoch {kept} was kept; distill.stop_after would end sooner"
    if epochs < trend.FEWEST:
        return f"{trend.FEWEST} epochs or more are needed to tell"
    longer = f"distill.patience: {LONGER * spec.patience:g}x"
    if minutes is not None:
        longer = f"distill.minutes: {LONGER * minutes:g}"
    elif spec.epochs is not None:
        longer = f"distill.epochs: {LONGER * epochs}"
    if spec.stop_after is not None and epochs - kept >= spec.stop_after:
        longer = f"a distill.stop_after above {spec.stop_after}"
    return f"{longer} would go on" if verdict == "rising" else f"{longer} would tell"
