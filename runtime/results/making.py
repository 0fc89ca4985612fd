"""How the files came to be: the probe, the precisions, the search for a student, the training."""

from __future__ import annotations

from typing import Any, Literal

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
    weights: int | float | UnsetType = UNSET
    """Their share of the weights."""


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


# --- the training ----------------------------------------------------------------------------


class LearningCurve(Struct, frozen=True, kw_only=True):
    """The validation score after each epoch, and whether it was rising when the training ended."""

    score: str
    """The score that chose the best epoch."""
    epochs: tuple[int, ...]
    """Numbers of the epochs, evenly thinned where there are very many; 0 is the start."""
    values: tuple[float, ...]
    kept_epoch: int
    """The epoch whose student was kept."""
    verdict: Literal["rising", "flat", "falling", "undecided"]
    last: int
    """Epochs at the end that the verdict rests on."""
    rise: Score | UnsetType = UNSET
    """What the score gained over them, by the Theil-Sen slope with its 95 % interval over epochs;
    UNSET where they are too few."""
    reached: int | UnsetType = UNSET
    """Where it is flat: the first epoch that was as good as the last ones."""
    advice: str
    """What to change, if anything."""


# --- the student -----------------------------------------------------------------------------


class MeasuredStudent(Struct, frozen=True):
    """A candidate before training, and whether it fits the requirements."""

    model: str
    size_mb: float
    median_ms: float | None
    p95_ms: float | None
    runs: int | None
    fits: bool
    similarity_correlation_centred: Score | UnsetType = UNSET
    """Of its closed form with the teacher, on training images left out of the solution."""
    agreement_knn: Score | UnsetType = UNSET
    agreement_linear: Score | UnsetType = UNSET
    weights: str | UnsetType = UNSET
    """Where its weights come from, in words; where it has none, why."""
    pareto: bool | UnsetType = UNSET
    """Whether none is at least as faithful and as fast, and better in one of them. By size where
    no latency was measured."""
    ruled_out_by: tuple[str, ...] | UnsetType = UNSET
    """The requirements that it does not fit; one that is too large was not measured further."""


class StudentSearch(Struct, frozen=True, kw_only=True):
    """Why this student was chosen."""

    key: str | UnsetType = UNSET
    chosen: str
    why: str
    measured: tuple[MeasuredStudent, ...]
    images: int | UnsetType = UNSET
    """Training images that the faithfulness rests on; UNSET where no candidate has weights."""
    teacher: str | UnsetType = UNSET
    limits: dict[str, float] | UnsetType = UNSET
    """What a candidate had to fit: `latency_p95_ms`, `size_mb`."""
    passed_over: dict[str, str] | UnsetType = UNSET
    """Candidates that cannot be built, exported or run here, each with the reason."""

    @property
    def compared(self) -> bool:
        """Whether any candidate was judged by its faithfulness."""
        return any(each.similarity_correlation_centred for each in self.measured)
