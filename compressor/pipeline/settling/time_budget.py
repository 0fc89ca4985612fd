"""`distill.minutes` for a run: epochs and views settled once, from rates measured here, and kept.

The same command finds them again and gives the same bits: a training obeys its epochs, not a clock.
Another recipe, other numbers of images or another machine settle anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from compressor.distillation.pace.rates import Rates
from compressor.observers.eta import duration
from compressor.pipeline.context import Run
from compressor.pipeline.storage.digests import digest
from runtime.benchmark import machine as device
from runtime.documents import plain, read
from runtime.files import write_json

if TYPE_CHECKING:
    from compressor.distillation.pace.budget import Measured

FILE = "time_budget.json"
_SPENT_BY = ("features", "start", "distill")
_VERSION = 3
"""Raise it when the same rates settle other epochs or views."""
_NOT_DECIDING = {"checkpoint_s"}


class TimeBudget(Struct, frozen=True, kw_only=True):
    """time_budget.json in the folder of a run."""

    key: str
    """Digest of networks, training, numbers of images and machine that it was settled for."""
    recipe: str
    """Digest of the recipe, as it was written, that it was last used for."""
    minutes: float
    epochs: int
    views: int
    teacher: Literal["cached", "online"]
    foretold_s: float
    """How long teacher, closed form and training were to take with them."""
    why: str
    rates: Rates
    """What it was settled by."""


def settled(run: Run) -> Run:
    """Return the run with epochs and views that fit `distill.minutes`, and keep them.

    Args:
        run: with a student and weights that are settled, and images that were found; its folder
            must be locked.

    Raises:
        InputError: an image cannot be read, or features or losses are not finite.
        MissingDependencyError: weights, device or precision asked for are not here.
    """
    from compressor.distillation.pace import measure
    from compressor.distillation.pace.budget import Measured
    from compressor.distillation.pace.cost import Counts

    images, spec = run.images(), run.plan.recipe.distill
    train = images.part("train")
    counts = Counts(train=len(train), validation=len(images.rows("validation")))
    found = kept(run, counts.train, counts.validation)
    if found is None:
        run.note("distill.minutes: measuring how fast teacher and student are here")
        pair = measure.Pair(run.teacher, run.initial_student, run.compute())
        folder = run.files.store.folder
        rates = measure.measure(measure.sample_of(train), train, pair, spec, folder)
        found = fitted(run, Measured(train, counts, pair, rates))
        run.note(found.why)
    else:
        run.note(f"{found.why}; as settled when this run began")
    write_json(run.folder / FILE, plain(replace(found, recipe=run.plan.digest)))
    return applied(run, found)


def fitted(run: Run, measured: Measured) -> TimeBudget:
    """Return what fits `distill.minutes`. Writes nothing.

    Args:
        run: its recipe has minutes.
        measured: the images, the networks, and how fast they are here.
    """
    from compressor.distillation.pace.budget import settle

    spec, counts = run.plan.recipe.distill, measured.counts
    chosen = settle(spec, measured)
    return TimeBudget(
        key=_key(run, counts.train, counts.validation),
        recipe=run.plan.digest,
        minutes=spec.minutes or 0.0,
        epochs=chosen.spec.epochs or 0,
        views=chosen.spec.views or 1,
        teacher="online" if chosen.spec.teacher == "online" else "cached",
        foretold_s=round(chosen.cost.total_s, 1),
        why=chosen.why,
        rates=measured.rates,
    )


def kept(run: Run, train: int, validation: int) -> TimeBudget | None:
    """Return what was settled in the run's folder for this recipe and so many images."""
    found = _read(run)
    return found if found is not None and found.key == _key(run, train, validation) else None


def remembered(run: Run) -> Run:
    """Return the run as it was settled in its folder, or as it is where it was not. Writes nothing.

    Args:
        run: its images may be unknown.
    """
    if run.plan.recipe.distill.minutes is None or "images" not in run.files.steps:
        return run
    images = run.images()
    found = kept(run, len(images.rows("train")), len(images.rows("validation")))
    return run if found is None else applied(run, found)


def of_run(run: Run) -> TimeBudget | None:
    """Return what a settled run's epochs and views come from; None if the recipe gives them."""
    found, spec = _read(run), run.plan.recipe.distill
    if found is None or found.recipe != run.plan.digest or found.epochs != spec.epochs:
        return None  # of another recipe, or the first bundle of this one
    return found


def told(run: Run) -> str | None:
    """Return how long it took against the budget, for people; None without one."""
    found = of_run(run)
    if found is None:
        return None
    seconds = run.files.seconds()
    spent = sum(seconds.get(step, 0.0) for step in _SPENT_BY)
    return (
        f"distill.minutes {found.minutes:g}: teacher, closed form and training took "
        f"{duration(spent)}; {duration(found.foretold_s)} were foretold"
    )


def applied(run: Run, found: TimeBudget) -> Run:
    """Return the run with these epochs and views."""
    changes = {key: getattr(found, key) for key in ("epochs", "views", "teacher")}
    distill = run.plan.recipe.distill.model_copy(update={"minutes": None, **changes})
    return run.with_sections(distill=distill)


def _read(run: Run) -> TimeBudget | None:
    path = run.folder / FILE
    return read(path, TimeBudget, what="settled time") if path.is_file() else None


def _key(run: Run, train: int, validation: int) -> str:
    recipe, here = run.plan.recipe, device.describe()
    return digest(
        [
            _VERSION,
            recipe.teacher.model_dump(mode="json"),
            recipe.student.model_dump(mode="json"),
            recipe.distill.model_dump(mode="json", exclude=_NOT_DECIDING),
            [train, validation],
            [here.cpu, here.cores, here.gpu],
        ]
    )
