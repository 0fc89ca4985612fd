"""report.json: everything that a run or a check found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from runtime.benchmark.end_to_end import EndToEnd
from runtime.benchmark.machine import Machine
from runtime.benchmark.opened_files import ThreadLatency
from runtime.bundle.schema import RecipeName
from runtime.documents import read_object
from runtime.errors import InputError
from runtime.files import write_json
from runtime.images.preprocessing_check import PreprocessingResult
from runtime.results.findings import ClassResult, Disagreements, Robustness
from runtime.results.ledger import LedgerEntry
from runtime.results.making import PrecisionDecisions, Probe, StudentSearch, Training
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


class Verdict(Struct, frozen=True):
    """All requirements together."""

    passed: bool
    requirements: tuple[Requirement, ...]


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
    end_to_end: EndToEnd | UnsetType = UNSET
    by_threads: tuple[ThreadLatency, ...] | UnsetType = UNSET
    departures: Disagreements | UnsetType = UNSET
    per_class: tuple[ClassResult, ...] | UnsetType = UNSET
    robustness: Robustness | UnsetType = UNSET
    data: dict[str, Any] | UnsetType = UNSET
    """Written by a run: how many images of each kind, and their digest."""
    timings_s: dict[str, float] | UnsetType = UNSET
    """Written by a run: the seconds of each step."""
    training: Training | UnsetType = UNSET
    untrained_student: dict[str, Score] | UnsetType = UNSET
    """Written by a run: the scores of the student before distillation."""
    student_search: StudentSearch | UnsetType = UNSET

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
        parts: `data`, `timings_s`, `training`, `untrained_student` and perhaps `student_search`,
            as plain JSON values.

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
