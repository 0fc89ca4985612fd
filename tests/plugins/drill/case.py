"""What one case of the drill is: a folder with a changed input, and a command that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

DONE, NOT_PASSED, WRONG_INPUT, LACKING = 0, 1, 2, 3
ANY = frozenset({DONE, NOT_PASSED, WRONG_INPUT, LACKING})


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    """Its exit code; -N if signal N ended it."""
    out: str
    err: str
    cpu_s: float
    """Of the process and of those that it started."""
    memory_mb: float
    """Most resident memory beyond that of a process that does nothing."""
    timed_out: bool = False


@dataclass(frozen=True)
class Case:
    """A command, and what may come of it."""

    words: tuple[str, ...]
    """`compressor` or `runtime`, then its arguments."""
    codes: frozenset[int]
    """Exit codes that are right."""
    change: str
    """What was done to the input, in a few words."""
    writes: tuple[str, ...] = ()
    """Top names in its folder that the command may make."""
    judge: Callable[[Outcome], list[str]] = lambda outcome: []
    """Further faults of an outcome, which this kind of case knows of."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables."""


class Kind(Protocol):
    """A kind of input."""

    name: str
    cpu_limit_s: float
    memory_limit_mb: float

    def prepare(self, folder: Path) -> None:
        """Make the sound inputs, once, in a folder of its own."""

    def make(self, rng: Random, folder: Path) -> Case:
        """Make a case in an empty folder, from which its command is run."""
