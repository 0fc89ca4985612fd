"""What runs on the device: numpy, Pillow and one backend. Never torch.

`import runtime` imports nothing heavy; a backend is imported when a session is opened.

    student = runtime.load("bundle")
    for answer in student.predict(["a.jpg", "b.jpg"]):
        print(answer.label, answer.confidence, answer.is_outlier)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.predict import Prediction, Student, load

__all__ = ["Prediction", "Student", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for (PEP 562)."""
    if name in __all__:
        from runtime import predict

        return getattr(predict, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
