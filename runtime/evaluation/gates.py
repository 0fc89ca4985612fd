"""The one table of gates: what a recipe may require of a deployed file, and how it is measured.

The verdict follows from it; so do the checks of a recipe ("needs labels"). A new gate is one entry
here and one key of `require:` (a test keeps the two equal).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from runtime.results.ledger import LedgerEntry
from runtime.results.scores import Score

Rule = Literal["at least", "at most"]
Need = Literal["labels", "data.ood", "the target"]

PARITY_COSINE_MIN = {"fp32": 0.999, "fp16": 0.999, "int8": 0.8}
"""The lowest cosine of an image, by the file's precision. A float file must equal its source up to
rounding; INT8 moves single images visibly, and the other gates judge what that costs. A wrong
export or a wrong scale is far below (two sound MobileNets in INT8 had 0.93 and 0.85)."""

PREPROCESS_LEVELS_MAX = 4
"""JPEG decoders differ by a level or two of 255; another resize or crop by tens."""


@dataclass(frozen=True)
class Evidence:
    """What a file is judged by."""

    file: LedgerEntry
    teacher: LedgerEntry
    preprocess_difference: int | None = None
    """Largest difference to the training machine's pixels, of 255 levels; None on that machine."""


@dataclass(frozen=True)
class Value:
    """A measured value, with its 95 % interval where it rests on held-out images."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Gate:
    """One requirement that a file can be judged by."""

    key: str
    """In `require:` of the recipe and in the verdict."""
    title: str
    rule: Rule
    measure: Callable[[Evidence], Value | None]
    """None where it was not measured."""
    needs: tuple[Need, ...] = ()
    wanted: Callable[[Evidence], float | None] | None = None
    """For a gate that every file must pass: what is wanted; None does not judge it."""


# --- how they are measured -------------------------------------------------------------------


def _of(score: Score | None) -> Value | None:
    return None if score is None else Value(score.value, (score.low, score.high))


def _score(key: str) -> Callable[[Evidence], Value | None]:
    return lambda evidence: _of(evidence.file.scores.get(key))


def _key_of_answers(entry: LedgerEntry, what: str) -> str:
    """The metric of the answers that the file gives: its own probe's, else the linear probe's."""
    return f"{what}_probe" if f"{what}_probe" in entry.scores else f"{what}_linear"


def _agreement(evidence: Evidence) -> Value | None:
    return _of(evidence.file.scores.get(_key_of_answers(evidence.file, "agreement")))


def _accuracy_drop(evidence: Evidence) -> Value | None:
    before, after = (
        entry.scores.get(_key_of_answers(entry, "accuracy"))
        for entry in (evidence.teacher, evidence.file)
    )
    if before is None or after is None:
        return None
    losses = evidence.file.loss_against_teacher
    loss = None if losses is UNSET else losses.get(_key_of_answers(evidence.file, "accuracy"))
    # Rounded: 0.9 - 0.85 is 0.05000000000000004, and that does not miss 0.05.
    drop = round(before.value - after.value, 9)
    return Value(drop, None if loss is None else (loss.low, loss.high))


def _latency(evidence: Evidence) -> Value | None:
    latency = evidence.file.latency
    return None if latency is UNSET else Value(latency.p95_ms)


def _size(evidence: Evidence) -> Value | None:
    return None if evidence.file.size_mb is UNSET else Value(evidence.file.size_mb)


def _parity(evidence: Evidence) -> Value | None:
    cosine = evidence.file.parity_cosine_min
    return None if cosine is UNSET else Value(cosine)


def _parity_wanted(evidence: Evidence) -> float:
    precision = evidence.file.precision
    return PARITY_COSINE_MIN["fp32" if precision is UNSET else precision]


def _preprocessing(evidence: Evidence) -> Value | None:
    levels = evidence.preprocess_difference
    return None if levels is None else Value(levels)


def _preprocessing_wanted(evidence: Evidence) -> float | None:
    return None if evidence.preprocess_difference is None else PREPROCESS_LEVELS_MAX


# --- the table -------------------------------------------------------------------------------

GATES: tuple[Gate, ...] = (
    Gate("parity_cosine_min", "parity with the student", "at least", _parity,
         wanted=_parity_wanted),
    Gate("preprocess_max_difference_levels", "preprocessing as on the training machine", "at most",
         _preprocessing, wanted=_preprocessing_wanted),
    Gate("latency_p95_ms", "latency p95, ms", "at most", _latency, needs=("the target",)),
    Gate("agreement", "agreement with the teacher", "at least", _agreement, needs=("labels",)),
    Gate("accuracy_drop", "accuracy drop against the teacher", "at most", _accuracy_drop,
         needs=("labels",)),
    Gate("size_mb", "size, MB", "at most", _size),
    Gate("similarity_correlation", "similarity correlation", "at least",
         _score("similarity_correlation")),
    Gate("ood_auroc", "out-of-distribution AUROC", "at least", _score("ood_auroc"),
         needs=("data.ood",)),
)  # fmt: skip


def of_recipes() -> tuple[Gate, ...]:
    """The gates that a recipe may name."""
    return tuple(gate for gate in GATES if gate.wanted is None)
