"""Distil a vision foundation model into a small student for the edge, and prove what was kept.

    import compressor

    result = compressor.compress("photos/", target="cpu")
    print(result.summary)

Nothing heavy is imported before it is used. docs/api.md shows every function.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from runtime import __version__

if TYPE_CHECKING:
    from compressor.api.distillation import Distilled, distill
    from compressor.api.label_choice import Selection, select_images
    from compressor.api.result import RunResult
    from compressor.api.run import compress, run
    from compressor.api.weights import FetchedWeights, fetch_weights
    from compressor.events import (
        EpochEnded,
        Event,
        Message,
        Observer,
        Progress,
        RunEnded,
        RunStarted,
        StepEnded,
        StepStarted,
        WorkPlanned,
    )
    from compressor.sharing.push import push
    from runtime.errors import ImageError, InputError, MissingDependencyError, ToolError

__all__ = [
    "Distilled",
    "EpochEnded",
    "Event",
    "FetchedWeights",
    "ImageError",
    "InputError",
    "Message",
    "MissingDependencyError",
    "Observer",
    "Progress",
    "RunEnded",
    "RunResult",
    "RunStarted",
    "Selection",
    "StepEnded",
    "StepStarted",
    "ToolError",
    "WorkPlanned",
    "__version__",
    "compress",
    "distill",
    "fetch_weights",
    "push",
    "run",
    "select_images",
]

_MODULES = {
    "compressor.api.distillation": ("Distilled", "distill"),
    "compressor.api.label_choice": ("Selection", "select_images"),
    "compressor.api.result": ("RunResult",),
    "compressor.api.run": ("compress", "run"),
    "compressor.api.weights": ("FetchedWeights", "fetch_weights"),
    "compressor.events": (
        *("EpochEnded", "Event", "Message", "Observer", "Progress", "RunEnded", "RunStarted"),
        *("StepEnded", "StepStarted", "WorkPlanned"),
    ),
    "compressor.sharing.push": ("push",),
    "runtime.errors": ("ImageError", "InputError", "MissingDependencyError", "ToolError"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
