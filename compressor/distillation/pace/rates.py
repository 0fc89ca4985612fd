"""How fast the parts of a run are here: seconds an image, measured for real on a few images."""

from __future__ import annotations

from msgspec import Struct


class Rates(Struct, frozen=True, kw_only=True):
    """Seconds, measured with the run's own networks, sizes, precisions and threads."""

    decode_s: float
    """To decode a file, and to keep it shrunk."""
    teacher_s: float
    """A teacher's pass over a view, cutting the view included."""
    student_s: float
    """A student's pass over an image in memory, in evaluation mode, and its scores."""
    step_cutting_s: float
    """A view in a training step, cutting it included."""
    step_s: float
    """The same for a view that was cut before."""
    start_view_s: float = 0.0
    """A view that the closed form is solved from, cutting included; 0 without a start."""
    solve_s: float = 0.0
    """To solve the sums; 0 without a start."""
    step_online_s: float = 0.0
    """A view in a training step in which the teacher runs too, cutting it for both included; 0:
    not measured."""
    write_byte_s: float = 0.0
    """For the disk of the cache to take a byte, over a second of writing; 0: not measured."""
