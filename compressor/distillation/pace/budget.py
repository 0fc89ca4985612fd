"""`distill.minutes`: the epochs and views that fit a time, and where the teacher runs.

The rule. A view is shown once as long as the teacher's passes take no more time than the student's
steps; with a slower teacher as often as makes the two equal, but at most `SHOWN_AT_MOST` times.
With that, as many epochs as fit, and then as many views as still fit. Features are cached if the
disk has room for them, if need be of views that are shown more often; else the teacher runs online,
with a new view each epoch. With `teacher: auto` it also runs online where that gives a tenth more
epochs, by the rates that were measured: of the teacher, of steps with and without it, of decoding
in both, and of the disk. Where not even one epoch fits, a student with weights is solved in
closed form alone (epochs: 0); a student from scratch has one epoch, and takes longer than it was
given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from compressor.data.dataset import ImageSet
from compressor.distillation.disk_budget import DiskPlan, plan_disk
from compressor.distillation.pace.cost import Cost, Counts, cost_of
from compressor.distillation.pace.measure import Pair
from compressor.distillation.pace.rates import Rates
from compressor.observers.eta import duration
from compressor.recipe.distill_section import MOST_EPOCHS, MOST_START_VIEWS, SHOWN_AT_MOST
from compressor.recipe.schema import Distill

MOST = 100 * MOST_EPOCHS
"""Epochs at most, however long the time: those of distill.patience: 100x."""
_MORE = 1.1
"""So many times the epochs make it worth that other recipes find no features."""


@dataclass(frozen=True)
class Settled:
    """What fits a time."""

    spec: Distill
    """With epochs, views and the teacher's place; without minutes."""
    cost: Cost
    why: str
    """A line for the user."""


@dataclass(frozen=True)
class Measured:
    """What a time is divided between: images, networks, and how fast they are."""

    train: ImageSet
    counts: Counts
    pair: Pair
    rates: Rates


def settle(spec: Distill, measured: Measured) -> Settled:
    """Return the training that fits `distill.minutes`, by the rule above.

    Args:
        spec: the recipe's `distill:` with minutes; views that it gives are kept.
        measured: images, networks and rates.
    """
    return _Budget(spec, measured).settled()


@dataclass(frozen=True)
class _Budget:
    spec: Distill
    measured: Measured

    def settled(self) -> Settled:
        found = self._cached()
        if found is None or (self.spec.teacher == "auto" and self.spec.views is None):
            online, least = self._online(), 0.0 if found is None else _MORE * (found.epochs or 0)
            found = online if online is not None and (online.epochs or 0) >= least else found
        return self._told(found or self._closed_form() or self._with(epochs=1, views=1))

    def _cached(self) -> Distill | None:
        if self.spec.teacher == "online":
            return None
        for shown in range(self._shown_each(), SHOWN_AT_MOST + 1):
            for keep_views in (True, False):
                found = self._most_epochs(shown, keep_views)
                if found is None:
                    break
                plan = self._plan(found)
                if plan.features == "online" or plan.grid != self._smallest.grid:
                    break  # no room on the disk for so many views
                if plan.keep_views or not keep_views or found.views == found.epochs:
                    return found
        return None

    def _most_epochs(self, shown: int, keep_views: bool) -> Distill | None:
        """Return the training with the most epochs, then the most views; None if none fits."""
        plan = replace(self._smallest, keep_views=keep_views)

        def spec_of(epochs: int) -> Distill:
            views = self.spec.views or math.ceil(epochs / shown)
            return self._with(epochs=epochs, views=min(epochs, views), teacher="cached")

        epochs = _largest(MOST, lambda n: self._fits(spec_of(n), plan))
        if not epochs:
            return None
        views = spec_of(epochs).views or 1

        def with_more(views: int) -> Distill:
            return self._with(epochs=epochs, views=views, teacher="cached")

        if self.spec.views is None:
            views += _largest(epochs - views, lambda n: self._fits(with_more(views + n), plan))
        return with_more(views)

    def _online(self) -> Distill | None:
        if self._smallest.features == "none":
            return None
        plan = replace(self._smallest, features="online", keep_views=False)

        def spec_of(epochs: int) -> Distill:
            return self._with(epochs=epochs, views=epochs, teacher="online")

        epochs = _largest(MOST, lambda n: self._fits(spec_of(n), plan))
        return spec_of(epochs) if epochs else None

    def _closed_form(self) -> Distill | None:
        """Return the start alone, with as many views as fit, at least one; None without a start."""
        if not self.measured.pair.student.has_start:
            return None
        most = self.spec.views or MOST_START_VIEWS
        views = _largest(most, lambda n: self._fits(self._with(epochs=0, views=n), self._smallest))
        return self._with(epochs=0, views=max(1, views))

    def _shown_each(self) -> int:
        """Return how often a view is shown by the rule."""
        rates = self.measured.rates
        if self._smallest.features == "none":
            return 1
        return max(1, min(SHOWN_AT_MOST, math.ceil(rates.teacher_s / rates.step_s)))

    def _with(self, **changes: object) -> Distill:
        return self.spec.model_copy(update={"minutes": None, **changes})

    def _plan(self, spec: Distill) -> DiskPlan:
        pair = self.measured.pair
        return plan_disk(spec, self.measured.train, pair.teacher, pair.student)

    @cached_property
    def _smallest(self) -> DiskPlan:
        """The plan of one view of each image."""
        return self._plan(self._with(epochs=1, views=1))

    def _fits(self, spec: Distill, plan: DiskPlan) -> bool:
        return self._cost(spec, plan).total_s <= 60 * (self.spec.minutes or math.inf)

    def _cost(self, spec: Distill, plan: DiskPlan) -> Cost:
        return cost_of(spec, self.measured.counts, plan, self.measured.rates)

    def _told(self, spec: Distill) -> Settled:
        plan = self._plan(spec)
        cost, minutes = self._cost(spec, plan), self.spec.minutes or 0
        what = f"epochs: {spec.epochs}, views of each image: {spec.views}"
        if spec.epochs == 0:
            what += " (the closed form alone: there is no time for an epoch of training)"
        elif plan.features != "none":
            what += f", teacher {plan.features}"
        parts = {"teacher": cost.teacher_s, "closed form": cost.start_s, "training": cost.student_s}
        shares = ", ".join(
            f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds
        )
        why = f"distill.minutes {minutes:g}: {what}; about {duration(cost.total_s)} ({shares})"
        if cost.total_s > 60 * minutes:
            why += ", more than it was given"
        return Settled(spec, cost, why)


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number up to `most` that fits; 0 if 1 does not.

    Args:
        most: the end of the search.
        fits: true up to some number, false from there on.
    """
    if most < 1 or not fits(1):
        return 0
    low = 1
    while low < most and fits(min(2 * low, most)):
        low = min(2 * low, most)
    high = min(2 * low, most + 1)  # does not fit, or is beyond the end
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
