"""What a choice of images was worth: classes found, probe accuracy and coverage, over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from compressor.selection.coverage import coverage
from compressor.selection.label_plan import LabelPlan
from compressor.selection.strategies import STRATEGIES, Wanted, choose
from compressor.selection.tsne_map import tsne_map
from runtime.arrays import Ints
from runtime.metrics import normalise
from runtime.progress import Track, silent

Floats = npt.NDArray[np.floating]

BUDGETS = (10, 20, 50, 100)
SEEDS = 10
REFERENCE = "random"
CHEAT = "stratified-random"
"""The strategy that reads labels; left out where there are none."""


@dataclass(frozen=True)
class Sample:
    """Embedded images and what is known of their classes."""

    embeddings: Floats
    """[N, D]"""
    labels: Ints
    """[N], 0..K-1, or -1 where the class is not known."""

    @property
    def labelled(self) -> bool:
        """Whether there are images and the class of every one is known."""
        return bool(len(self.labels)) and bool((self.labels >= 0).all())


Probe = Callable[[Sample, Floats], Ints]
"""Learns from a labelled sample; answers for embeddings [H, D] with classes [H]."""


@dataclass(frozen=True)
class Grid:
    """What is tried: every strategy at every budget with seeds 0, 1, ..."""

    strategies: tuple[str, ...] = STRATEGIES
    budgets: tuple[int, ...] = BUDGETS
    seeds: int = SEEDS


@dataclass(frozen=True)
class Outcome:
    """What one choice gave."""

    strategy: str
    budget: int
    seed: int
    within_radius: float
    """Share of the images within the radius of `coverage`."""
    redundancy: float
    """As `coverage` has it."""
    classes_found: int | None = None
    accuracy: float | None = None
    """Share of the held-out images that the probe answers rightly, learnt from the choice only."""


def nearest_label(known: Sample, asked: Floats) -> Ints:
    """The class of the most similar labelled image, by cosine.

    There is nothing to tune, so what differs between strategies is the choice alone.
    """
    nearest = (normalise(asked) @ normalise(known.embeddings).T).argmax(axis=1)
    answers: Ints = known.labels[nearest]
    return answers


def simulate(
    pool: Sample,
    held: Sample | None,
    grid: Grid,
    *,
    probe: Probe = nearest_label,
    track: Track = silent,
) -> list[Outcome]:
    """Choose as if no label were known, then look at what the labels of the chosen would give.

    Args:
        pool: the images that can be chosen.
        held: images with labels that are never chosen, to measure accuracy on; None: no accuracy.
        grid: budgets above the number of images are left out, as is the strategy that reads labels
            where there are none.
        probe: learns from the chosen images, answers for the held-out ones.
        track: shows the progress.

    Returns:
        One outcome for each strategy, budget and seed. Without labels of the whole pool only its
        coverage figures; without held-out labels no accuracy.
    """
    strategies = [each for each in grid.strategies if pool.labelled or each != CHEAT]
    budgets = [each for each in grid.budgets if each <= len(pool.embeddings)]
    cells = list(product(range(grid.seeds), strategies, budgets))

    def outcomes() -> Iterator[Outcome]:
        mapped, on_map = -1, None
        for seed, strategy, budget in track(cells, label="choosing again", total=len(cells)):
            if mapped != seed:  # the map is the dear part: one a seed
                mapped, on_map = seed, tsne_map(pool.embeddings, seed)
            labels = pool.labels if strategy == CHEAT else None
            wanted = Wanted(strategy=strategy, budget=budget, seed=seed, labels=labels)
            plan = choose(pool.embeddings, wanted, on_map=on_map)
            yield _judge(plan, pool, held, probe)

    return list(outcomes())


def _judge(plan: LabelPlan, pool: Sample, held: Sample | None, probe: Probe) -> Outcome:
    covered = coverage(plan, pool.embeddings)
    classes = accuracy = None
    if pool.labelled:
        known = Sample(pool.embeddings[plan.chosen], pool.labels[plan.chosen])
        classes = len(np.unique(known.labels))
        if held is not None and held.labelled:
            accuracy = float((probe(known, held.embeddings) == held.labels).mean())
    return Outcome(
        strategy=plan.strategy,
        budget=len(plan.chosen),
        seed=plan.seed,
        within_radius=covered.within_radius,
        redundancy=covered.redundancy,
        classes_found=classes,
        accuracy=accuracy,
    )


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, with the 95 % interval of that mean (Student's t)."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Of at least one value; the interval of one value is unbounded, so it is its own."""
        array = np.asarray(values, np.float64)
        middle = float(array.mean())
        if len(array) < 2 or array.std() == 0:
            return cls(middle, middle, middle)
        half = _t975(len(array) - 1) * float(array.std(ddof=1)) / math.sqrt(len(array))
        return cls(middle, middle - half, middle + half)


def gain(values: Sequence[float], reference: Sequence[float]) -> Mean:
    """How far the mean of one lies above that of the other, with the interval by Welch's t."""
    a, b = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    middle = float(a.mean() - b.mean())
    parts = [float(each.var(ddof=1)) / len(each) if len(each) > 1 else 0.0 for each in (a, b)]
    if (variance := sum(parts)) == 0:
        return Mean(middle, middle, middle)
    by_freedom = sum(p**2 / max(1, len(x) - 1) for p, x in zip(parts, (a, b), strict=True))
    half = _t975(variance**2 / by_freedom) * math.sqrt(variance)
    return Mean(middle, middle - half, middle + half)


def _t975(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


@dataclass(frozen=True)
class Summary:
    """A strategy at a budget, over the seeds."""

    strategy: str
    budget: int
    seeds: int
    within_radius: Mean
    redundancy: Mean
    classes_found: Mean | None
    accuracy: Mean | None
    above_random: Mean | None
    """Accuracy minus that of `random` at the same budget; None for random itself, or without."""


def summarise(outcomes: Sequence[Outcome]) -> list[Summary]:
    """One summary for each strategy and budget, in the order they come in."""
    cells: dict[tuple[str, int], list[Outcome]] = {}
    for each in outcomes:
        cells.setdefault((each.strategy, each.budget), []).append(each)
    return [
        _summary(found, cells.get((REFERENCE, budget), ())) for (_, budget), found in cells.items()
    ]


def _summary(found: Sequence[Outcome], reference: Sequence[Outcome]) -> Summary:
    classes = [each.classes_found for each in found if each.classes_found is not None]
    accuracies = [each.accuracy for each in found if each.accuracy is not None]
    of_random = [each.accuracy for each in reference if each.accuracy is not None]
    compared = accuracies and of_random and found[0].strategy != REFERENCE
    return Summary(
        strategy=found[0].strategy,
        budget=found[0].budget,
        seeds=len(found),
        within_radius=Mean.of([each.within_radius for each in found]),
        redundancy=Mean.of([each.redundancy for each in found]),
        classes_found=Mean.of(classes) if classes else None,
        accuracy=Mean.of(accuracies) if accuracies else None,
        above_random=gain(accuracies, of_random) if compared else None,
    )
