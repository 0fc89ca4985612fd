"""How the files came to be: the probe, the precisions, the search for a student, the training."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from runtime.results.scores import Score

Training = dict[str, Any]
"""What a method says of its training; every method has keys of its own."""


class ProbeCandidate(Struct, frozen=True, kw_only=True):
    """A kind of probe, cross-validated on labelled training images."""

    kind: str
    strength: float | UnsetType | None = UNSET
    accuracy: Score
    log_loss: float


class Probe(Struct, frozen=True, kw_only=True):
    """The probe whose answers the file gives; `kind` is None where no class can be answered."""

    kind: str | None
    strength: float | UnsetType | None = UNSET
    why: str
    candidates: tuple[ProbeCandidate, ...] | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    calibrated: bool | UnsetType = UNSET
    labelled: int | UnsetType = UNSET
    classes_without_label: tuple[str, ...] = ()


# --- precisions ------------------------------------------------------------------------------


class PrecisionProof(Struct, frozen=True):
    """What a file really holds, read from its graph."""

    weights: dict[str, float]
    integer_kernels: float | UnsetType = UNSET


class Fp16Trial(Struct, frozen=True):
    """A kind of operator in float32, and the parity that it would have given."""

    operator: str
    parity_cosine_min: float


class Fp16Decision(Struct, frozen=True):
    """What stayed in float32, and why."""

    kept_float32_for_overflow: tuple[str, ...]
    kept_float32_for_parity: tuple[str, ...]
    parity_cosine_min: float
    parity_wanted: float
    tried: tuple[Fp16Trial, ...]
    proof: PrecisionProof | UnsetType = UNSET


class CalibrationTrial(Struct, frozen=True):
    """One INT8 calibration and its error, 1 - mean cosine with float32."""

    images: str
    method: str
    error: float


class FloatLayers(Struct, frozen=True):
    """The error with some of the most sensitive layers left in float."""

    layers: int
    error: float
    work: int | float
    """Their share of the multiply-adds."""


class Screening(Struct, frozen=True):
    """An INT8 file on validation images."""

    agreement: float | None
    accuracy_drop: float | None
    similarity_correlation: float


class QatDecision(Struct, frozen=True):
    """Quantisation-aware training, and whether its file was kept."""

    epochs: int
    missed: tuple[str, ...]
    before: Screening
    after: Screening
    kept: bool


class Int8Decision(Struct, frozen=True):
    """How INT8 was calibrated, and which layers stayed in float."""

    calibration_images: str
    calibration_method: str
    calibrations_tried: tuple[CalibrationTrial, ...]
    layers_kept_float: tuple[str, ...]
    layers_steps: tuple[FloatLayers, ...]
    worth: float
    error: float
    qat: QatDecision | UnsetType = UNSET
    proof: PrecisionProof | UnsetType = UNSET


class PrecisionDecisions(Struct, frozen=True):
    """How the files of each precision were made."""

    fp16: Fp16Decision | UnsetType = UNSET
    int8: Int8Decision | UnsetType = UNSET


# --- the student -----------------------------------------------------------------------------


class MeasuredStudent(Struct, frozen=True):
    """An untrained candidate, and whether it fits the requirements."""

    model: str
    size_mb: float
    median_ms: float | None
    p95_ms: float | None
    runs: int | None
    fits: bool


class StudentSearch(Struct, frozen=True, kw_only=True):
    """Why this student was chosen."""

    key: str | UnsetType = UNSET
    chosen: str
    why: str
    measured: tuple[MeasuredStudent, ...]
