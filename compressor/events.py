"""What happens in a run, as typed events, and the `Reporter` that sends them.

A run sends events to its observer. The console, `events.jsonl` and experiment trackers are
observers: no step calls one of them by name. Every event is a msgspec struct with a `type` tag, so
`msgspec.json.encode(event)` is one line of a log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar

import msgspec

T = TypeVar("T")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Base of all events."""


class RunStarted(Event, frozen=True, kw_only=True):
    """A run begins."""

    name: str
    folder: str
    steps: tuple[str, ...]
    """Names of the steps, in order."""


class StepWork(msgspec.Struct, frozen=True, kw_only=True):
    """How much countable work a step has."""

    step: str
    unit: str
    """What is counted, such as `teacher batch`: equal units take about the same time."""
    count: int
    label: str
    """How the labels of its progress begin; equal to the label where this is one piece of work."""


class UncountedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step whose work has no countable units."""

    step: str
    part: str
    """The part of the run that it belongs to, for people: `export` or `check`."""
    seconds: float | None
    """How long it took when it was last made in this folder; None: it never was."""


class WorkPlanned(Event, frozen=True, kw_only=True):
    """The images are known, and so is the work of the steps that still have to run."""

    work: tuple[StepWork, ...]
    """In order; a step may have several pieces of work."""
    uncounted: tuple[UncountedStep, ...] = ()


class StepStarted(Event, frozen=True, kw_only=True):
    """A step begins: number `number` (from 1) of `total`."""

    step: str
    summary: str
    number: int
    total: int


class Progress(Event, frozen=True, kw_only=True):
    """`done` of `total` items of the work named `label` are finished."""

    step: str
    label: str
    done: int
    total: int


class EpochEnded(Event, frozen=True, kw_only=True):
    """One epoch of training: losses, validation scores, and whether it is the best so far."""

    epoch: int
    epochs: int
    lr: float
    head_loss: float | None
    """Means over the epoch; None for epoch 0, the student before training."""
    student_loss: float | None
    scores: dict[str, float]
    """Validation scores by name, such as `similarity` and `knn_accuracy`."""
    best_so_far: bool
    seconds: float

    def text(self) -> str:
        """Return the epoch as a line to read."""
        words = [f"epoch {self.epoch}: before training"]
        if self.student_loss is not None:
            words = [f"epoch {self.epoch}: loss {self.student_loss:.4f}"]
        if self.head_loss:
            words += [f"head {self.head_loss:.4f}"]
        if "similarity" in self.scores:
            words += [f"validation similarity r {self.scores['similarity']:.3f}"]
        if "knn_accuracy" in self.scores:
            words += [f"validation kNN {self.scores['knn_accuracy']:.3f}"]
        return ", ".join([*words, f"{self.seconds:.1f} s"])


class Message(Event, frozen=True, kw_only=True):
    """A line for people. A warning says what may be wrong, and what to do."""

    text: str
    level: Literal["info", "warning"] = "info"


class StepEnded(Event, frozen=True, kw_only=True):
    """A step is done. `cached`: its outputs were there and unchanged; else they were made now."""

    step: str
    state: Literal["made", "cached"]
    seconds: float
    """How long making the outputs took, now or then."""


class RunEnded(Event, frozen=True, kw_only=True):
    """The run is over. `waiting`: for labels; `failed`: an error ended it."""

    outcome: Literal["done", "waiting", "failed"]
    seconds: float
    error: str | None = None


Observer = Callable[[Event], None]
"""Called with every event, in order, in the thread of the run. What it raises ends the run."""


def ignore(event: Event) -> None:
    """Do nothing: an observer that ignores every event."""


class Reporter:
    """Sends the events of the step that is at work to an observer."""

    def __init__(self, observer: Observer = ignore) -> None:
        self.observer = observer
        self.step = ""
        """Name of the step at work; empty between steps."""

    def note(self, text: str) -> None:
        """Send a line for people."""
        self.observer(Message(text=text))

    def warn(self, text: str) -> None:
        """Send a warning for people."""
        self.observer(Message(text=text, level="warning"))

    def track(self, items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
        """Yield every item, and send a `Progress` after each; see `runtime.progress.Track`."""
        for done, item in enumerate(items, 1):
            yield item
            self.observer(Progress(step=self.step, label=label, done=done, total=total))
