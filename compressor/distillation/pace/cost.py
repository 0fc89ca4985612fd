"""How long a training will take, from the rates and from the views and epochs of a recipe."""

from __future__ import annotations

from msgspec import Struct

from compressor.distillation.disk_budget import DiskPlan
from compressor.distillation.pace.rates import Rates
from compressor.distillation.start.again import MOST_SOLVED, SCORED
from compressor.distillation.start.closed_form import SAMPLE_IMAGES
from compressor.distillation.teacher_features import SAMPLE_MAPS
from compressor.distillation.validation import MAX_IMAGES
from compressor.recipe.choices import METHODS
from compressor.recipe.schema import Distill


class Cost(Struct, frozen=True, kw_only=True):
    """Seconds of all that grows with views and epochs."""

    teacher_s: float
    """The teacher on views, beside the first: the image as it is, which it looks at anyway."""
    start_s: float
    """The closed form; 0 for a student without one."""
    student_s: float
    """Training steps (with the teacher's part of them where it runs online) and validation."""
    teacher_passes: int = 0
    """In all three, of one image each."""

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.teacher_s + self.start_s + self.student_s


class Counts(Struct, frozen=True, kw_only=True):
    """How many images a training has."""

    train: int
    validation: int


def cost_of(spec: Distill, counts: Counts, plan: DiskPlan, rates: Rates) -> Cost:
    """Return how long teacher, closed form and training will take.

    A head that is fitted first (a student wider than its teacher, `distill.head: learned`) comes on
    top: how many steps it takes shows only then.

    Args:
        spec: with its epochs and views, or the defaults of them.
        counts: the number of images.
        plan: what is kept on the disk with these views.
        rates: measured on this machine.
    """
    method, online = METHODS[spec.method], plan.features == "online"
    train, validation = counts.train, min(counts.validation, MAX_IMAGES)
    # A training in which the teacher runs online makes a mean or a head from a sample of it
    sampled = min(train, SAMPLE_MAPS) if online else 0
    views = spec.views_for(train)
    cached = (views - 1) * train if plan.features == "cached" else 0
    # The system writes while the teacher works: the slower of the two decides
    teacher_s = cached * max(rates.teacher_s, plan.feature_bytes * rates.write_byte_s)

    passes, again, start_s, solving_s = cached, 0, 0.0, 0.0
    if rates.start_view_s:
        seen = len(spec.start_views(train)) * train
        beside = spec.synthetic_for(train) if method.needs_teacher else 0
        again = seen if online else 0
        solving_s = (seen + beside) * rates.start_view_s + rates.solve_s + again * rates.teacher_s
        start_s, asked = solving_s, beside + sampled
        if method.has_own_layers or plan.grid is not None:
            start_s += min(train, SAMPLE_IMAGES) * rates.start_view_s
            asked += sampled
        start_s += asked * rates.teacher_s
        passes += again + asked

    batch, epochs = max(1, spec.batch_for(train)), spec.epochs_for(train)
    shown = epochs * (train // batch) * batch
    cut = min(shown, views * train) if plan.keep_views else shown
    student_s = (epochs + 2) * validation * rates.student_s
    if solving_s and method.needs_teacher:
        solved = min(epochs, MOST_SOLVED)
        student_s += solved * (solving_s + SCORED * validation * rates.student_s)
        passes += solved * again
    if online:
        passes += shown + sampled
        step_s = rates.step_online_s or rates.step_cutting_s + rates.teacher_s
        student_s += shown * step_s + sampled * rates.teacher_s
    else:
        write_s = plan.view_bytes * rates.write_byte_s if plan.keep_views and cut < shown else 0.0
        student_s += cut * max(rates.step_cutting_s, write_s) + (shown - cut) * rates.step_s
    return Cost(teacher_s=teacher_s, start_s=start_s, student_s=student_s, teacher_passes=passes)
