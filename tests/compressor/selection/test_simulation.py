"""What a choice was worth: figures on toys, intervals against SciPy's, nothing claimed too much."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.recipe.choices import STRATEGIES
from compressor.selection.choose import Request, choose
from compressor.selection.simulation import (
    Mean,
    Outcome,
    Sample,
    SimulationGrid,
    gain,
    nearest_label,
    simulate,
    summarise,
)


def clusters(counts, seed=0, spread=0.05):
    """Points around the axes, so many of each: a sample whose classes are the axes.

    A pool of under 12 has no map, which takes a second to make.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    points = np.eye(len(counts), 6)[labels] + spread * rng.standard_normal((len(labels), 6))
    return Sample(points.astype(np.float32), labels)


LABEL_FREE = ("k-medoids", "k-center", "random")


def test_a_rare_class_is_found_by_a_strategy_that_looks_and_seldom_by_chance():
    pool, held = clusters([5, 5, 1]), clusters([10, 10, 10], seed=1)
    outcomes = simulate(pool, held, SimulationGrid(LABEL_FREE, budgets=(3,), seeds=5))
    found = {each.strategy: each for each in summarise(outcomes)}
    for strategy in ("k-medoids", "k-center"):
        assert found[strategy].classes_found.mean == 3
        assert found[strategy].accuracy.mean == 1
        assert found[strategy].above_random.mean == 1 - found["random"].accuracy.mean
    assert found["random"].classes_found.mean < 3
    assert found["random"].above_random is None
    assert {each.seeds for each in found.values()} == {5}


def test_every_seed_is_another_choice_and_the_same_seed_the_same():
    pool, grid = clusters([5, 6], spread=0.8), SimulationGrid(("random",), budgets=(4,), seeds=6)
    first, again = simulate(pool, pool, grid), simulate(pool, pool, grid)
    assert first == again
    assert [each.seed for each in first] == list(range(6))
    assert len({each.accuracy for each in first}) > 1


def test_budgets_are_of_images_that_differ():
    pool = clusters([5, 6], spread=0.8)
    blank = Sample(np.repeat(pool.embeddings[:4], 3, axis=0), np.repeat(pool.labels[:4], 3))
    grid = SimulationGrid(("random", "k-center"), budgets=(3, 4, 5, 10), seeds=2)
    assert {each.budget for each in simulate(blank, pool, grid)} == {3, 4}


def test_only_the_reference_that_cheats_reads_labels():
    pool = clusters([5, 6], spread=0.6)
    shuffled = Sample(pool.embeddings, np.random.default_rng(1).permutation(pool.labels))
    grid = SimulationGrid((*LABEL_FREE, "stratified-random"), budgets=(4,), seeds=3)
    figures = [
        [(each.strategy, each.within_radius) for each in simulate(sample, None, grid)]
        for sample in (pool, shuffled)
    ]
    differing = {a[0] for a, b in zip(*figures, strict=True) if a != b}
    assert differing == {"stratified-random"}


def test_without_labels_there_is_coverage_only():
    pool = clusters([5, 6])
    unknown = Sample(pool.embeddings, np.where(np.arange(11) < 10, pool.labels, -1))
    outcomes = simulate(unknown, pool, SimulationGrid(budgets=(4, 12), seeds=1))
    tried = [each for each in STRATEGIES if each != "stratified-random"]
    assert [(each.strategy, each.budget) for each in outcomes] == [(each, 4) for each in tried]
    assert {(each.classes_found, each.accuracy) for each in outcomes} == {(None, None)}
    assert all(each.above_random is None for each in summarise(outcomes))


def test_without_held_out_labels_there_is_no_accuracy():
    pool = clusters([5, 6])
    (outcome,) = simulate(pool, None, SimulationGrid(("random",), budgets=(4,), seeds=1))
    assert outcome.classes_found is not None
    assert outcome.accuracy is None


def test_nearest_label_is_the_class_of_the_largest_cosine():
    known, asked = clusters([3, 4], spread=1), clusters([20, 20], seed=2, spread=1).embeddings
    slow = []
    for query in asked:
        cosines = [
            float(query @ each / np.linalg.norm(query) / np.linalg.norm(each))
            for each in known.embeddings
        ]
        slow.append(known.labels[int(np.argmax(cosines))])
    assert nearest_label(known, asked).tolist() == slow


VALUES = st.lists(st.floats(0, 1).map(lambda x: round(x, 3)), min_size=2, max_size=12)


@given(VALUES)
def test_a_mean_has_students_interval(values):
    from scipy import stats

    found = Mean.of(values)
    assert found.mean == pytest.approx(np.mean(values))
    if np.std(values) > 0:
        wanted = stats.t.interval(
            0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values)
        )
        assert (found.low, found.high) == pytest.approx(wanted)
    else:
        assert found.low == found.mean == found.high


@given(VALUES, VALUES)
def test_a_gain_has_welchs_interval(a, b):
    from scipy import stats

    found = gain(a, b)
    assert found.mean == pytest.approx(np.mean(a) - np.mean(b), abs=1e-12)
    if np.std(a) > 1e-6 and np.std(b) > 1e-6:
        wanted = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert found.low <= found.mean <= found.high


def test_a_single_seed_has_no_interval():
    assert Mean.of([0.5]) == Mean(0.5, 0.5, 0.5)
    assert gain([0.5], [0.25]) == Mean(0.25, 0.25, 0.25)


def test_summaries_come_in_the_order_of_the_outcomes():
    cells = [("b", 10), ("a", 10), ("b", 20)]
    outcomes = [Outcome(s, budget, seed, 0.5, 0.1) for seed in (0, 1) for s, budget in cells]
    assert [(each.strategy, each.budget) for each in summarise(outcomes)] == cells


def test_a_map_is_made_once_a_seed_and_serves_every_strategy():
    pool = clusters([20, 20], spread=0.5)
    grid = SimulationGrid(("cold-paws", "random"), budgets=(3, 6), seeds=1)
    outcomes = simulate(pool, pool, grid)
    alone = choose(pool.embeddings, Request(strategy="cold-paws", budget=6, seed=0))
    known = Sample(pool.embeddings[alone.chosen], pool.labels[alone.chosen])
    wanted = float((nearest_label(known, pool.embeddings) == pool.labels).mean())
    assert outcomes[1].accuracy == wanted
