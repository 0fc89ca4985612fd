"""What runs on the device: numpy, Pillow and one backend. Never torch.

`import runtime` imports nothing heavy; a backend is imported when a session is opened.

    student = runtime.load("bundle")
    for prediction in student.predict(["a.jpg", "b.jpg"]):
        print(prediction.label, prediction.confidence, prediction.is_outlier)

    report = runtime.check("bundle")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.checking import check
    from runtime.errors import ImageError, InputError, MissingDependencyError, ToolError
    from runtime.monitoring.monitor import Alarm, Monitor
    from runtime.prediction.prediction import Neighbour, Prediction
    from runtime.prediction.student import Student, load

__all__ = [
    "Alarm",
    "ImageError",
    "InputError",
    "MissingDependencyError",
    "Monitor",
    "Neighbour",
    "Prediction",
    "Student",
    "ToolError",
    "check",
    "load",
]
__version__ = "0.1.0"

_MODULES = {
    "runtime.checking": ("check",),
    "runtime.errors": ("ImageError", "InputError", "MissingDependencyError", "ToolError"),
    "runtime.monitoring.monitor": ("Alarm", "Monitor"),
    "runtime.prediction.student": ("Student", "load"),
    "runtime.prediction.prediction": ("Neighbour", "Prediction"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
