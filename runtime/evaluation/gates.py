"""The one table of gates: what a recipe may require of a deployed file, and how it is measured.

The verdict follows from it; so do the checks of a recipe ("needs labels"). A new gate is one entry
here and one key of `require:` (a test keeps the two equal).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from runtime.benchmark.machine_load import MachineLoad, in_words
from runtime.benchmark.percentiles import fewest
from runtime.results.ledger import LedgerEntry
from runtime.results.scores import Score

Rule = Literal["at least", "at most"]
Need = Literal["labels", "data.ood", "the target"]

PARITY_COSINE_MIN = {"fp32": 0.999, "fp16": 0.999, "int8": 0.8}
"""The lowest cosine of an image, by the file's precision. A float file must equal its source up to
rounding; INT8 moves single images visibly, and the other gates judge what that costs. A wrong
export or a wrong scale is far below (two sound MobileNets in INT8 had 0.93 and 0.85)."""

PARITY_MAX: Mapping[str, Mapping[str, float]] = {
    "logit": {"fp32": 0.05, "fp16": 0.3, "int8": 1.0},
    "probability": {"fp32": 0.02, "fp16": 0.2, "int8": 0.25},
    "likeness": {"fp32": 0.002, "fp16": 0.05, "int8": 0.1},
}
"""The largest difference to the source of what is made of an embedding, by the file's precision: of
the worst image, for INT8 the mean over images. Sound files had 8e-5 standard deviations of the
logits, 6e-5 of the probabilities and 7e-7 of the cosine in FP32 on a CPU; 0.03, 0.02 and 9e-6 in
FP16; and means of 0.17, 0.05 and 0.009 in INT8 (MobileNetV3 whose embeddings had collapsed,
MobileNetV2, ViT). FP32 has room for the ten bits of TF32."""

PREPROCESS_LEVELS_MAX = 4
"""JPEG decoders differ by a level or two of 255; another resize or crop by tens."""


@dataclass(frozen=True)
class Evidence:
    """What a file is judged by."""

    file: LedgerEntry
    teacher: LedgerEntry
    preprocess_difference: int | None = None
    """Largest difference to the training machine's pixels, of 255 levels; None on that machine."""
    load: MachineLoad | None = None
    """While files were timed; older reports have none."""
    files_not_made: int = 0
    """How many ONNX files that the recipe asks for could not be made."""


@dataclass(frozen=True)
class Value:
    """A measured value, with its 95 % interval where it rests on held-out images or timed runs."""

    value: float
    interval: tuple[float, float] | None = None
    undecided: str = ""
    """Why nothing can be decided by it, whatever it is."""


Measure = Callable[[Evidence], Value | None]
Wanted = Callable[[Evidence], float | None]


@dataclass(frozen=True)
class Gate:
    """One requirement that a file can be judged by."""

    key: str
    """In `require:` of the recipe and in the verdict."""
    title: str
    rule: Rule
    measure: Measure
    """None where it was not measured."""
    needs: tuple[Need, ...] = ()
    rests_on: str = "held-out images"
    """What its interval gets narrower with."""
    wanted: Wanted | None = None
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


def why_unmeasured(gate: Gate, evidence: Evidence) -> str:
    """Return why a gate whose `measure` is None was not measured."""
    labelled = _key_of_answers(evidence.teacher, "accuracy") in evidence.teacher.scores
    if gate.measure is _accuracy_drop and _agreement(evidence) is not None and not labelled:
        return "no held-out image has a label; `compressor label RECIPE --holdout 60` asks for some"
    return "this score could not be measured on these images"


def _latency(evidence: Evidence) -> Value | None:
    latency, load = evidence.file.latency, evidence.load
    if latency is UNSET:
        return None
    why = ""
    if load is not None and load.busy:
        why = f"the machine was busy while it was timed: {in_words(load)}; check again without them"
    elif latency.same_answers is False:
        why = "the timed runs gave other answers than the untimed ones"
    elif latency.p95_ms_ci is None:
        why = f"{latency.runs} timed runs: the p95 has no interval under {fewest(0.95)}"
    return Value(latency.p95_ms, latency.p95_ms_ci, why)


def _size(evidence: Evidence) -> Value | None:
    return None if evidence.file.size_mb is UNSET else Value(evidence.file.size_mb)


def _parity(evidence: Evidence) -> Value | None:
    cosine = evidence.file.parity_cosine_min
    return None if cosine is UNSET else Value(cosine)


def parity_wanted(file: LedgerEntry) -> float:
    """Return the lowest cosine that a file may have, by its precision."""
    return PARITY_COSINE_MIN["fp32" if file.precision is UNSET else file.precision]


def _difference(of: str) -> tuple[Measure, Wanted]:
    """How a difference to the source is measured, and what is wanted where it was."""

    def measure(evidence: Evidence) -> Value | None:
        found = getattr(evidence.file, f"parity_{of}_difference")
        return None if found is UNSET else Value(found)

    def wanted(evidence: Evidence) -> float | None:
        precision = evidence.file.precision
        limit = PARITY_MAX[of]["fp32" if precision is UNSET else precision]
        return None if measure(evidence) is None else limit

    return measure, wanted


def _non_finite(evidence: Evidence) -> Value | None:
    found = evidence.file.non_finite_answers
    return None if found is UNSET else Value(found)


def _non_finite_wanted(evidence: Evidence) -> float | None:
    return None if evidence.file.non_finite_answers is UNSET else 0


def _preprocessing(evidence: Evidence) -> Value | None:
    levels = evidence.preprocess_difference
    return None if levels is None else Value(levels)


def _preprocessing_wanted(evidence: Evidence) -> float | None:
    return None if evidence.preprocess_difference is None else PREPROCESS_LEVELS_MAX


def _files_wanted(evidence: Evidence) -> float | None:
    return 0 if evidence.files_not_made else None  # not a line for every sound run


# --- the table -------------------------------------------------------------------------------

GATES: tuple[Gate, ...] = (
    Gate("parity_cosine_min", "parity with the student", "at least", _parity,
         wanted=lambda evidence: parity_wanted(evidence.file)),
    *(
        Gate(f"parity_{of}_difference", f"parity of the {what}", "at most", measure, wanted=wanted)
        for of, what in (("logit", "logits"), ("probability", "probabilities"),
                         ("likeness", "likeness to training images"))
        for measure, wanted in (_difference(of),)
    ),
    Gate("non_finite_answers", "images with a non-finite answer", "at most", _non_finite,
         wanted=_non_finite_wanted),
    Gate("preprocess_max_difference_levels", "preprocessing as on the training machine", "at most",
         _preprocessing, wanted=_preprocessing_wanted),
    Gate("files_not_made", "files that the recipe asks for and that could not be made", "at most",
         lambda evidence: Value(evidence.files_not_made), wanted=_files_wanted),
    Gate("latency_p95_ms", "latency p95, ms", "at most", _latency, needs=("the target",),
         rests_on="timed runs"),
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
