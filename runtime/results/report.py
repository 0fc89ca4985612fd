"""report.json: everything that a run or a check found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, structs

from runtime.benchmark.end_to_end import EndToEnd
from runtime.benchmark.machine import Machine
from runtime.benchmark.opened_files import ThreadLatency
from runtime.benchmark.sustained import Sustained
from runtime.bundle.schema import Network, RecipeName
from runtime.documents import read_object
from runtime.errors import InputError
from runtime.files import write_json
from runtime.images.preprocessing_check import PreprocessingResult
from runtime.results.findings import ClassResult, Disagreements, Doubt, Robustness
from runtime.results.ledger import LedgerEntry, NoiseFloor
from runtime.results.looks import Looks
from runtime.results.making import (
    LearningCurve,
    PrecisionDecisions,
    Probe,
    StudentSearch,
    Training,
)
from runtime.results.rounds import Round
from runtime.results.scores import Score, from_json, to_json

SCHEMA_VERSION = 1
"""The version of report.json that is written, and the newest that is read."""

FILE = "report.json"


class Target(Struct, frozen=True):
    """The machine that the files are meant for."""

    name: str
    this_machine: bool
    """True if the report was measured on it."""


class GoldenSummary(Struct, frozen=True):
    """The held-out images that everything was measured on."""

    images: int
    ood_images: int
    ood_source: Literal["data.ood", "corruptions"] | None
    digest: str
    """Digest of labels and teacher's embeddings: equal for equal images and teachers."""
    set_apart_as_seen_in_training: tuple[str, ...]


class Recommended(Struct, frozen=True):
    """The file to deploy."""

    stage: str
    file: str
    why: str


class NetworkOrigin(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Teacher or student: its model, and where its weights come from."""

    model: str
    """Its name in timm."""
    weights: str
    """`hub`, `none` for a start from scratch, `given` by a caller, or the name of a file."""
    hub_id: str | None = None
    package: str | None = None
    """Name and version of the package that the file is from."""
    license: str | None = None
    part: str | None = None
    """Which of the weights in that file were taken, in words: the mapping and the prefix, whether
    they are a moving average, and which others were not."""


def origin_of(network: Network) -> NetworkOrigin | UnsetType:
    """Return where a network's weights come from; UNSET if its bundle does not say it."""
    if network.weights is None:
        return UNSET
    return NetworkOrigin(
        model=network.model,
        weights=network.weights,
        hub_id=network.hub_id,
        package=network.package,
        license=network.license,
        part=network.part,
    )


class Requirement(Struct, frozen=True):
    """One requirement, and whether the file meets it."""

    requirement: str
    rule: Literal["at least", "at most"]
    wanted: int | float
    got: int | float | None
    passed: bool | None
    """None where this machine or these images cannot decide it."""
    why: str
    """Why it is undecided."""
    interval: tuple[float, float] | None = None
    """95 % interval of `got`, where that rests on held-out images."""


Outcome = Literal["passed", "failed", "undecided", "no requirement set"]

ALWAYS_JUDGED = frozenset(
    {
        "parity_cosine_min",
        "parity_logit_difference",
        "parity_probability_difference",
        "parity_likeness_difference",
        "non_finite_answers",
        "preprocess_max_difference_levels",
        "files_not_made",
    }
)
"""Keys of requirements that every file is judged by, whether the recipe has any or not."""


class Verdict(Struct, frozen=True):
    """All requirements together."""

    passed: bool
    """Whether the command ends with exit code 0: nothing is missed, and what is undecided counts as
    the recipe's `require.undecided` says."""
    requirements: tuple[Requirement, ...]
    outcome: Outcome = "undecided"
    """What was found, whatever it counts as. It follows from the requirements."""

    def __post_init__(self) -> None:
        structs.force_setattr(self, "outcome", _outcome_of(self.requirements))


def _outcome_of(requirements: Sequence[Requirement]) -> Outcome:
    outcomes = [each.passed for each in requirements]
    if False in outcomes:
        return "failed"
    if None in outcomes:
        return "undecided"
    own = [each for each in requirements if each.requirement not in ALWAYS_JUDGED]
    return "passed" if own else "no requirement set"


class Report(Struct, frozen=True, kw_only=True):
    """A report. The parts after `verdict` are there where they apply."""

    schema_version: int = SCHEMA_VERSION
    recipe: RecipeName
    target: Target
    machine: Machine
    golden: GoldenSummary
    preprocess_max_difference_levels: int | None
    preprocess_contract: PreprocessingResult | None
    probe: Probe | None
    precision: PrecisionDecisions
    classes_without_label: tuple[str, ...]
    ledger: tuple[LedgerEntry, ...]
    recommended: Recommended
    verdict: Verdict
    warnings: tuple[Doubt, ...] | UnsetType = UNSET
    """What the verdict does not say and a reader must not miss."""
    teacher: NetworkOrigin | UnsetType = UNSET
    student: NetworkOrigin | UnsetType = UNSET
    """As the weights were before distillation."""
    end_to_end: EndToEnd | UnsetType = UNSET
    sustained: Sustained | UnsetType = UNSET
    """Of `check --sustained`: the device under load before it was timed."""
    by_threads: tuple[ThreadLatency, ...] | UnsetType = UNSET
    departures: Disagreements | UnsetType = UNSET
    noise_floor: NoiseFloor | UnsetType = UNSET
    """Two builds of the FP32 ONNX file, over the same images; older reports have none."""
    per_class: tuple[ClassResult, ...] | UnsetType = UNSET
    robustness: Robustness | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET
    """Written by a run: how many images of each kind, and their digest."""
    timings_s: dict[str, float] | UnsetType = UNSET
    """Written by a run: the seconds of each step."""
    training: Training | UnsetType = UNSET
    learning_curve: LearningCurve | UnsetType = UNSET
    """Written by a run: whether a longer training would have gone on."""
    untrained_student: dict[str, Score] | UnsetType = UNSET
    """Written by a run: the scores of the student before distillation."""
    before_training: dict[str, dict[str, Score]] | UnsetType = UNSET
    """Written by a run whose student has weights: the scores of its own last features (`raw`), and
    of the closed form that its training began from (`closed_form`)."""
    gained: dict[str, dict[str, Score]] | UnsetType = UNSET
    """Written by a run: what the student gained over each of `before_training`, or over `untrained`
    from scratch; above zero, the student is better. Its intervals are those of a paired
    bootstrap."""
    student_search: StudentSearch | UnsetType = UNSET
    looks: Looks | UnsetType = UNSET
    """Confusions, maps, neighbours and scores of outliers, to be looked at."""
    made: str | UnsetType = UNSET
    """When, UTC, such as `2026-11-29T20:15:00Z`; older reports do not say it."""
    rounds: tuple[Round, ...] | UnsetType = UNSET
    """Written by a run: its rounds of labels, the last of which this report is of."""

    def __post_init__(self) -> None:
        if self.recommended.stage not in [entry.stage for entry in self.ledger]:
            stage = self.recommended.stage
            raise ValueError(f"recommended.stage: the ledger has no entry {stage[:60]!r}")

    def entry(self, stage: str) -> LedgerEntry:
        """Return the ledger entry of a stage."""
        return next(entry for entry in self.ledger if entry.stage == stage)

    @property
    def recommended_entry(self) -> LedgerEntry:
        """The ledger entry of the recommended file."""
        return self.entry(self.recommended.stage)


def with_run(report: Report, parts: Mapping[str, object]) -> Report:
    """Return a check's report with the parts that only a run knows.

    Args:
        report: as `check` gave it.
        parts: `data`, `timings_s`, `training`, `untrained_student` or `before_training`, `gained`
            and perhaps `learning_curve`, `student_search` and `rounds`, as plain JSON values.

    Raises:
        InputError: a part is not what it should be.
    """
    return from_json({**to_json(report), **parts}, Report, Path(FILE))


def load(path: Path) -> Report:
    """Read a report.json, given itself or the folder of a run or of a check.

    Raises:
        InputError: there is none, it is of a newer version, or a field is wrong; the message gives
            the path of the field.
    """
    if path.is_dir():
        path = path / FILE
    document = read_object(path, newest=SCHEMA_VERSION, what="report")
    if missing := _REQUIRED - document.keys():
        raise InputError(
            f"{path}: not a report (it lacks {', '.join(sorted(missing))}). "
            "`compressor run` and `python -m runtime check` write one."
        )
    return from_json(document, Report, path)


def save(report: Report, folder: Path) -> None:
    """Write report.json into a folder. NaN is refused."""
    write_json(folder / FILE, to_json(report))


_REQUIRED = {"golden", "ledger", "machine", "recommended", "verdict"}
