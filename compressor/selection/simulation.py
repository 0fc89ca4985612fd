"""Simulated labelling: classes found, accuracy and coverage of each strategy, over seeds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt

from compressor.recipe.choices import STRATEGIES
from compressor.selection.choose import Request, choose
from compressor.selection.coverage import coverage
from compressor.selection.label_plan import LabelPlan
from compressor.selection.metric_space import Space, distinct
from compressor.selection.tsne_map import tsne_map
from runtime.arrays import Ints
from runtime.metrics import normalise
from runtime.progress import Track, silent

Floats = npt.NDArray[np.floating]

BUDGETS = (10, 20, 50, 100)
SEEDS = 10
REFERENCE = "random"
ORACLE = "stratified-random"
"""The strategy that reads labels; left out where there are none."""


@dataclass(frozen=True)
class Sample:
    """Embedded images and their classes as far as they are known."""

    embeddings: Floats
    """[N, D]"""
    labels: Ints
    """[N], 0..K-1, or -1 where the class is not known."""

    @property
    def labelled(self) -> bool:
        """True if there are images and all of them have a label."""
        return bool(len(self.labels)) and bool((self.labels >= 0).all())


Probe = Callable[[Sample, Floats], Ints]
"""Learns from a labelled sample and predicts the classes [H] of embeddings [H, D]."""


@dataclass(frozen=True)
class SimulationGrid:
    """Every strategy is tried at every budget with seeds 0, 1, ..."""

    strategies: tuple[str, ...] = field(default_factory=lambda: tuple(STRATEGIES))
    budgets: tuple[int, ...] = BUDGETS
    seeds: int = SEEDS


@dataclass(frozen=True)
class Outcome:
    """The result of one selection."""

    strategy: str
    budget: int
    seed: int
    within_radius: float
    """Share of the images within the radius of `coverage`."""
    redundancy: float
    """See `coverage`."""
    classes_found: int | None = None
    accuracy: float | None = None
    """Accuracy on the held-out images of a probe that learnt from the selected images only."""


def nearest_label(known: Sample, embeddings: Floats) -> Ints:
    """Predict the class of the most similar labelled image, by cosine.

    There is nothing to tune, so only the selection differs between strategies.
    """
    nearest = (normalise(embeddings) @ normalise(known.embeddings).T).argmax(axis=1)
    predicted: Ints = known.labels[nearest]
    return predicted


def simulate(
    pool: Sample,
    held_out: Sample | None,
    grid: SimulationGrid,
    *,
    probe: Probe = nearest_label,
    track: Track = silent,
) -> list[Outcome]:
    """Select as if no label were known, then measure what labels of the selected images give.

    Args:
        pool: the images that can be selected.
        held_out: images with labels that are never selected; without them no accuracy.
        grid: what to try; budgets above the number of different images are left out, and so is the
            strategy that reads labels where there are none.
        probe: learns from the selected images, predicts the held-out ones.
        track: shows the progress.

    Returns:
        One outcome for each strategy, budget and seed. Without labels of the whole pool it holds
        coverage only; without held-out labels no accuracy.
    """
    strategies = [name for name in grid.strategies if pool.labelled or name != ORACLE]
    different = len(distinct(Space.cosine(pool.embeddings).points)[0])
    budgets = [budget for budget in grid.budgets if budget <= different]
    cells = list(product(range(grid.seeds), strategies, budgets))

    def outcomes() -> Iterator[Outcome]:
        mapped, on_map = -1, None
        for seed, strategy, budget in track(cells, label="simulating", total=len(cells)):
            if mapped != seed:  # t-SNE is the expensive step: one map per seed
                mapped, on_map = seed, tsne_map(pool.embeddings, seed)
            labels = pool.labels if strategy == ORACLE else None
            request = Request(strategy=strategy, budget=budget, seed=seed, labels=labels)
            plan = choose(pool.embeddings, request, on_map=on_map)
            yield _outcome(plan, pool, held_out, probe)

    return list(outcomes())


def _outcome(plan: LabelPlan, pool: Sample, held_out: Sample | None, probe: Probe) -> Outcome:
    covered = coverage(plan, pool.embeddings)
    classes = accuracy = None
    if pool.labelled:
        known = Sample(pool.embeddings[plan.chosen], pool.labels[plan.chosen])
        classes = len(np.unique(known.labels))
        if held_out is not None and held_out.labelled:
            accuracy = float((probe(known, held_out.embeddings) == held_out.labels).mean())
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
    """A mean over seeds, with the 95 % interval of that mean."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Average values with Student's t interval; without spread, the interval is the mean."""
        from scipy import stats

        mean = float(np.mean(values))
        if len(values) < 2 or np.ptp(values) == 0:
            return cls(mean, mean, mean)
        low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=stats.sem(values))
        return cls(mean, float(low), float(high))


def gain(values: Sequence[float], reference: Sequence[float]) -> Mean:
    """Return the difference of two means, with the interval of Welch's t-test."""
    from scipy import stats

    mean = float(np.mean(values) - np.mean(reference))
    if min(len(values), len(reference)) < 2 or np.ptp(values) == np.ptp(reference) == 0:
        return Mean(mean, mean, mean)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one of the two may be the same every time
        test = stats.ttest_ind(values, reference, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return Mean(mean, float(low), float(high))


@dataclass(frozen=True)
class Summary:
    """One strategy at one budget, over all seeds."""

    strategy: str
    budget: int
    seeds: int
    within_radius: Mean
    redundancy: Mean
    classes_found: Mean | None
    accuracy: Mean | None
    above_random: Mean | None
    """Accuracy minus that of `random` at the same budget; None for random itself."""


def summarise(outcomes: Sequence[Outcome]) -> list[Summary]:
    """Return one summary for each strategy and budget, in the order of the outcomes."""
    cells: dict[tuple[str, int], list[Outcome]] = {}
    for outcome in outcomes:
        cells.setdefault((outcome.strategy, outcome.budget), []).append(outcome)
    return [
        _summary(over_seeds, cells.get((REFERENCE, budget), ()))
        for (_, budget), over_seeds in cells.items()
    ]


def _summary(outcomes: Sequence[Outcome], reference: Sequence[Outcome]) -> Summary:
    classes = [run.classes_found for run in outcomes if run.classes_found is not None]
    accuracies = [run.accuracy for run in outcomes if run.accuracy is not None]
    of_random = [run.accuracy for run in reference if run.accuracy is not None]
    first = outcomes[0]
    comparable = accuracies and of_random and first.strategy != REFERENCE
    return Summary(
        strategy=first.strategy,
        budget=first.budget,
        seeds=len(outcomes),
        within_radius=Mean.of([run.within_radius for run in outcomes]),
        redundancy=Mean.of([run.redundancy for run in outcomes]),
        classes_found=Mean.of(classes) if classes else None,
        accuracy=Mean.of(accuracies) if accuracies else None,
        above_random=gain(accuracies, of_random) if comparable else None,
    )
