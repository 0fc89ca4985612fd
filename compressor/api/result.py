"""What a finished run returns: its report, its files, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.errors import InputError

if TYPE_CHECKING:
    from compressor.pipeline.labelling import LabellingProgress
    from runtime.prediction.student import Student
    from runtime.results.report import Outcome as Verdict
    from runtime.results.report import Report

Outcome = Literal["done", "waiting for labels"]


@dataclass(frozen=True)
class RunResult:
    """The result of a run. A missed requirement is a verdict, not an error."""

    name: str
    """The recipe's name."""
    outcome: Outcome
    folder: Path
    """The folder of the run."""
    files: Mapping[str, Path]
    """Every file for a person, by kind: `report.json`, `report.html`, `bundle`, `student`, ...;
    while the run waits for labels: `html`, `csv`, `json` of the images to label."""
    report: Report | None
    """What report.json holds; None while the run waits for labels."""
    selection: LabellingProgress | None
    """What is proposed and labelled so far; None unless the run waits for labels."""
    summary: str
    """What was made, in a few lines."""
    next_step: str
    """What to do next, in a few lines."""

    @property
    def passed(self) -> bool | None:
        """Whether nothing is missed, and what is undecided counts as met (`require.undecided`).

        None while the run waits for labels. `verdict` tells what is behind it.
        """
        return None if self.report is None else self.report.verdict.passed

    @property
    def verdict(self) -> Verdict | None:
        """`passed`, `failed`, `undecided` or `no requirement set`; None while it waits."""
        return None if self.report is None else self.report.verdict.outcome

    @property
    def bundle(self) -> Path:
        """The folder that travels to the device.

        Raises:
            InputError: the run waits for labels, so there is none yet.
        """
        return self._file("bundle")

    @property
    def student(self) -> Path:
        """The weights of the student, a .safetensors file.

        Raises:
            InputError: the run waits for labels, so there is none yet.
        """
        return self._file("student")

    def load(self) -> Student:
        """Open the student of the bundle, ready to predict images; see `runtime.load`.

        Raises:
            InputError: the run waits for labels, so there is none yet.
            MissingDependencyError: the backend is not installed.
        """
        import runtime

        return runtime.load(self.bundle)

    def _file(self, name: str) -> Path:
        if name not in self.files:
            raise InputError(f"{self.folder}: the run waits for labels. {self.next_step}")
        return self.files[name]
