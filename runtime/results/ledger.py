"""An entry of the ledger: teacher, student or a file, with its scores and losses."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from runtime.benchmark.latency import Latency
from runtime.results.scores import Score


class LossAgainstBefore(Struct, frozen=True):
    """What an entry loses against the entry before it."""

    before: str
    """The stage of that entry."""
    scores: dict[str, Score]


class LedgerEntry(Struct, frozen=True, kw_only=True):
    """One entry; UNSET is what does not apply to it and is not written."""

    stage: str
    """`teacher`, `student`, or a file such as `onnx-int8`."""
    model: str | UnsetType = UNSET
    file: str | UnsetType = UNSET
    sha256: str | UnsetType = UNSET
    precision: str | UnsetType = UNSET
    broken: str | UnsetType = UNSET
    """Why the answers of a file cannot be compared."""
    parity_cosine_min: float | UnsetType = UNSET
    """Lowest cosine of an image's embedding to that of the file's source."""
    parity_max_abs_difference: float | UnsetType | None = UNSET
    parity_same_answer: float | UnsetType | None = UNSET
    size_mb: float | UnsetType = UNSET
    not_run: str | UnsetType = UNSET
    """Why a file could not run on this machine."""
    scores: dict[str, Score] = {}
    loss_against_teacher: dict[str, Score] | UnsetType = UNSET
    """Above zero: this entry is worse."""
    loss_against_before: LossAgainstBefore | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    latency: Latency | UnsetType = UNSET
    latency_other_batches: tuple[Latency, ...] | UnsetType = UNSET
    dominated_by: tuple[str, ...] | UnsetType = UNSET
    """Files that are faster and no less faithful."""
