"""An observer that sends a run to an experiment tracker, and goes on where that one is down.

A tracker is beside the run: what it raises is told once, and the run goes on, because hours of
training are worth more than their curve. Nothing is lost by it: events.jsonl has every event, and
the same command sends what the tracker lacks.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import UNSET, Struct, UnsetType, convert

from compressor.events import EpochEnded, Event, Message, Observer, RunEnded, RunStarted
from compressor.observers.tracking import record
from compressor.observers.tracking.tracker import Begun, Tracker
from runtime.documents import plain, read_json
from runtime.errors import InputError
from runtime.files import sha256_of, write_json
from runtime.text import without_secrets

FILE = "tracking.json"
"""Which run of a tracker goes on, if this one has not ended well."""


class Unfinished(Struct, frozen=True):
    """A tracked run that has begun and is not done."""

    id: str
    recipe: str
    """Digest of its resolved recipe: another recipe is another run."""
    epochs: tuple[int, ...] = ()
    """Those that the tracker has."""


class Follow:
    """Sends the events of a run to one tracker.

    A run that was stopped or failed and is started again with the same recipe goes on as the same
    run of the tracker.
    """

    def __init__(self, tracker: Tracker, tell: Observer) -> None:
        """Take a tracker, and the observer that gets what there is to say about it."""
        self._tracker, self._tell = tracker, tell
        self._folder = Path()
        self._run: Unfinished | None = None
        """None: not begun, or not tracked any more."""

    def __call__(self, event: Event) -> None:
        """Send one event."""
        if not isinstance(event, RunStarted) and self._run is None:
            return
        try:
            if isinstance(event, RunStarted):
                self._begin(event)
            elif isinstance(event, EpochEnded):
                self._log(event.epoch, record.of_epoch(event))
            elif isinstance(event, RunEnded):
                self._end(event)
        except Exception as error:  # of any kind: each tracker and artefact store has its own
            self._run = None
            name = self._tracker.name
            self._tell(Message(level="warning", text=_not_tracked(name, error)))

    def _begin(self, event: RunStarted) -> None:
        self._folder = Path(event.folder)
        parameters = record.parameters(self._folder)
        known = self._unfinished().get(self._tracker.name)
        recipe = sha256_of(self._folder / record.RECIPE)
        goes_on = known is not None and known.recipe == recipe
        begun = Begun(event.name, self._folder, parameters, known.id if goes_on and known else None)
        found, where = self._tracker.begin(begun)
        same = known is not None and found == begun.id
        self._keep(Unfinished(found, recipe, known.epochs if same and known else ()))
        self._tell(Message(text=f"{self._tracker.name}: {without_secrets(where)}"))

    def _log(self, epoch: int, figures: dict[str, float]) -> None:
        assert self._run is not None
        self._tracker.log(figures, epoch)
        known = self._run.epochs
        if epoch not in known:
            self._keep(Unfinished(self._run.id, self._run.recipe, (*known, epoch)))

    def _end(self, event: RunEnded) -> None:
        assert self._run is not None
        if event.outcome == "done":
            for epoch, figures in record.epochs(self._folder).items():
                if epoch not in self._run.epochs:
                    self._log(epoch, figures)
        self._tracker.end(record.ended(event, self._folder))
        if event.outcome == "done":
            self._keep(UNSET)
        self._run = None

    def _keep(self, run: Unfinished | UnsetType) -> None:
        """Write which run goes on; UNSET: none."""
        others = {k: v for k, v in self._unfinished().items() if k != self._tracker.name}
        if run is not UNSET:
            self._run = run
            others[self._tracker.name] = run
        write_json(self._folder / FILE, {name: plain(each) for name, each in others.items()})

    def _unfinished(self) -> dict[str, Unfinished]:
        path = self._folder / FILE
        if not path.is_file():
            return {}
        try:
            return convert(read_json(path), dict[str, Unfinished])
        except (InputError, ValueError):  # damaged: a new run of the tracker is no loss
            return {}


def _not_tracked(name: str, error: Exception) -> str:
    text = without_secrets(str(error).strip()) or type(error).__name__
    return (
        f"{name}: this run is not tracked from here on ({text.splitlines()[0][:300]}). The "
        "run goes on, and events.jsonl has all of it. When the tracker is there again, the same "
        f"command with --track {name} sends what is missing."
    )
