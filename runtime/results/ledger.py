"""An entry of the ledger: teacher, student or a file, with its scores and losses."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from runtime.backends.base import Proof
from runtime.benchmark.latency import Latency
from runtime.results.scores import Score


class LossAgainstBefore(Struct, frozen=True):
    """What an entry loses against the entry before it."""

    before: str
    """The stage of that entry."""
    scores: dict[str, Score]


class NoiseFloor(Struct, frozen=True, kw_only=True):
    """How much two builds of the same FP32 file differ. What loses no more has lost nothing."""

    stage: str
    """The file that was built twice."""
    builds: str
    """How the two differ."""
    scores: dict[str, Score] = {}
    """What the second build loses against the first, by every metric that both have."""

    def holds(self, metric: str, difference: float) -> bool:
        """Whether a difference is no larger than that of the two builds on the same images.

        Its interval is left out: that is about other images, not about other builds.
        """
        found = self.scores.get(metric)
        return found is not None and abs(difference) <= abs(found.value)


class Departure(Struct, frozen=True):
    """The first layer, in the order of the graph, whose output is not the student's."""

    node: str
    operator: str
    error: float | None
    """Root of the mean square of the difference, over that of the student's output; None where the
    output is not finite."""
    before: float
    """The largest error of its inputs."""
    is_own: bool
    """Whether this layer makes the error; else it has grown over the layers before."""


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
    parity_logit_difference: float | UnsetType = UNSET
    """Of an image's logits to those of the source, in standard deviations of the source's. This and
    the next two are of the worst image, for an INT8 file the mean over images."""
    parity_probability_difference: float | UnsetType = UNSET
    """Total variation of an image's probabilities to those of the source."""
    parity_likeness_difference: float | UnsetType = UNSET
    """Of an image's cosine to the nearest training image, by which outliers are told."""
    non_finite_answers: int | UnsetType = UNSET
    """Images to which some value of the answer is not finite, or the embedding is zero."""
    departs_at: Departure | UnsetType = UNSET
    """Written by a run, of a file that misses its parity: where it departs from the FP32 file."""
    size_mb: float | UnsetType = UNSET
    not_run: str | UnsetType = UNSET
    """Why a file could not run on this machine."""
    not_made: str | UnsetType = UNSET
    """Why a file that the recipe asks for could not be made."""
    embedding_distance: float | UnsetType = UNSET
    """One minus the mean cosine of the embeddings of two held-out images; 0: all are the same."""
    embedding_rank: float | UnsetType = UNSET
    """In how many dimensions these embeddings differ, by the variances along their main axes."""
    never_answered: tuple[str, ...] | UnsetType = UNSET
    """Classes of held-out images, or that the teacher answers, and that its deployed probe gives to
    no held-out image."""
    scores: dict[str, Score] = {}
    loss_against_teacher: dict[str, Score] | UnsetType = UNSET
    """Above zero: this entry is worse."""
    loss_against_before: LossAgainstBefore | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    runs_in: Proof | UnsetType = UNSET
    """What it really runs in, where the library that runs it tells; older reports have none."""
    same_file_as: str | UnsetType = UNSET
    """The entry whose file this is, run here by a second runtime: measured, never recommended."""
    latency: Latency | UnsetType = UNSET
    latency_other_batches: tuple[Latency, ...] | UnsetType = UNSET
    dominated_by: tuple[str, ...] | UnsetType = UNSET
    """Files that are faster and no less faithful."""
