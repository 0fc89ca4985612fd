"""What every experiment tracker offers: a run begins, has epochs, is kept, and ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Parameter = str | int | float | bool


@dataclass(frozen=True)
class Begun:
    """A run that begins, or goes on."""

    name: str
    """Of the recipe."""
    folder: Path
    """Of the run."""
    parameters: Mapping[str, Parameter]
    """The recipe with all its defaults, by dotted keys such as `distill.epochs`."""
    id: str | None
    """The tracker's own name of the run that it goes on with; None: a new one."""


@dataclass(frozen=True)
class Ended:
    """How a run has ended."""

    outcome: Literal["done", "waiting", "failed", "stopped"]
    """`waiting`: for labels. `stopped`: by Ctrl-C or SIGTERM."""
    reason: str
    """Why it failed or was stopped; else empty."""
    figures: Mapping[str, float]
    """Of a run that is done: every figure of the ledger, as `onnx-fp32/accuracy_knn`."""
    facts: Mapping[str, str]
    """Of a run that is done: verdict, recommended file and the like."""
    files: tuple[Path, ...]
    """Files and folders to keep: recipe, report, bundle; of a failed run its recipe and log."""
    text: str
    """The report as Markdown; empty where there is none."""


class Tracker(Protocol):
    """A tracker. What a method raises is told to the user once, and the run goes on without it."""

    name: str

    def begin(self, run: Begun) -> tuple[str, str]:
        """Begin a run, or continue one.

        Returns:
            The tracker's own name of the run, and where to look for it.
        """
        ...

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        """Keep the figures of an epoch."""
        ...

    def end(self, ended: Ended) -> None:
        """Keep files and figures, and end the run."""
        ...
