"""The trackers by name, and what they need to be installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from compressor.events import Observer
from runtime.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from compressor.observers.tracking.tracker import Tracker

TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Each is the name of a file here, of the package that it needs, and of the extra."""


def require(names: Sequence[str]) -> None:
    """Refuse trackers that are not known or not installed.

    Raises:
        InputError: a name that is none of `TRACKERS`.
        MissingDependencyError: a package is not installed; names the command that installs it.
    """
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"no tracker is called {name!r}. There are: {', '.join(TRACKERS)}")
    missing = [name for name in dict.fromkeys(names) if find_spec(name) is None]
    if missing:
        extras = ",".join(missing)
        raise MissingDependencyError(
            f"not installed: {', '.join(missing)}.\n  pip install 'edge-compressor[{extras}]'"
        )


def observers(names: Sequence[str], tell: Observer) -> list[Observer]:
    """Return an observer for each tracker.

    Args:
        names: of `TRACKERS`; each once, whatever it is given.
        tell: gets what there is to say about a tracker.

    Raises:
        InputError: as `require`.
        MissingDependencyError: as `require`.
    """
    from compressor.observers.tracking.follow import Follow  # with numpy: the names need none

    require(names)
    return [Follow(_tracker(name), tell) for name in dict.fromkeys(names)]


def _tracker(name: str) -> Tracker:
    module = import_module(f"compressor.observers.tracking.{name}")
    make: Callable[[], Tracker] = module.Backend
    return make()
