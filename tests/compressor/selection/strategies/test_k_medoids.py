import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.selection.metric_space import Space
from compressor.selection.strategies import k_medoids
from compressor.selection.strategies.medoid import central, medoid
from runtime.errors import MissingDependencyError

NONE = np.empty(0, np.int64)
# fmt: off
TOY = np.array([
    (0, 0), (1, 0), (0, 1), (1, 1), (.4, .5), (10, 0), (11, 0), (10, 1), (10.4, .3), (5, 9),
    (5, 10), (6, 9), (5.3, 9.2), (20, 20),
], np.float32)
# fmt: on


def total(space, chosen):
    return float(space.nearest(np.asarray(chosen))[1].sum(dtype=np.float64))


def random_space(seed, count, metric="euclidean"):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 2 if metric == "euclidean" else 5)).astype(np.float32)
    points[: count // 3] += 4
    return Space.euclidean(points) if metric == "euclidean" else Space.cosine(points)


@pytest.mark.parametrize(("budget", "best"), [(3, 25.0036), (4, 6.7627), (5, 5.9083)])
def test_the_toy_reaches_the_optimum_with_every_seed(budget, best):
    # The paper's 'alternate' is stuck at 43.6584 for 3 (seed 1) and never
    # reaches 5.9083 for 5.
    for seed in range(3):
        chosen = k_medoids.k_medoids(Space.euclidean(TOY), budget, NONE, seed)
        assert total(Space.euclidean(TOY), chosen) == pytest.approx(best, abs=6e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(4, 9),
    st.integers(0, 2),
    st.sampled_from(["euclidean", "cosine"]),
    st.data(),
)
def test_against_the_best_there_is(seed, count, settled, metric, data):
    space = random_space(seed, count, metric)
    fixed = np.random.default_rng(seed).choice(count, settled, replace=False)
    budget = data.draw(st.integers(1, count - settled))
    chosen = k_medoids.k_medoids(space, budget, fixed, seed)
    assert len({*chosen.tolist(), *fixed.tolist()}) == budget + settled
    free = np.setdiff1d(np.arange(count), fixed)
    best = min(total(space, [*fixed, *each]) for each in combinations(free, budget))
    found = total(space, [*fixed, *chosen])
    assert best - 1e-5 <= found <= 1.1 * best + 1e-5
    for position in range(budget):  # no exchange of one medoid is better
        for other in np.setdiff1d(free, chosen):
            swapped = chosen.copy()
            swapped[position] = other
            assert found <= total(space, [*fixed, *swapped]) + 1e-4


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from(["euclidean", "cosine"]))
def test_the_medoid_without_all_distances_is_the_medoid(seed, count, metric):
    space = random_space(seed, count, metric)
    sums = space.between(slice(None), slice(None)).sum(axis=1, dtype=np.float64)
    assert sums[medoid(space)] == pytest.approx(sums.min(), rel=1e-5, abs=1e-5)


def test_the_medoid_of_points_on_a_line_and_of_one_spot():
    line = np.stack([np.arange(101), np.zeros(101)], axis=1)
    assert medoid(Space.euclidean(line)) == 50
    assert medoid(Space.euclidean(np.ones((7, 2)))) in range(7)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_many_points_end_near_what_all_distances_give(metric, monkeypatch):
    space, fixed = random_space(0, 1500, metric), np.array([3, 700])
    everything = k_medoids.k_medoids(space, 12, fixed, 0)
    monkeypatch.setattr(k_medoids, "ALL_DISTANCES", 1000)
    by_sample = k_medoids.k_medoids(space, 12, fixed, 0)
    assert len({*by_sample.tolist(), *fixed.tolist()}) == 14
    reached = total(space, [*fixed, *by_sample])
    assert reached <= 1.02 * total(space, [*fixed, *everything])
    # Each minimises its cluster's sum, and another round changes nothing.
    assert (k_medoids.alternated(space, by_sample, fixed) == by_sample).all()
    which, _ = space.nearest(np.concatenate([fixed, by_sample]))
    for position, own in enumerate(by_sample):
        members = np.flatnonzero(which == 2 + position)
        sums = space.between(members, members).sum(axis=1, dtype=np.float64)
        assert sums[members == own] == pytest.approx(sums.min(), rel=1e-5)


def test_more_medoids_than_a_sample_could_find(monkeypatch):
    monkeypatch.setattr(k_medoids, "ALL_DISTANCES", 60)
    space, fixed = random_space(0, 100), np.array([3, 50])
    chosen = k_medoids.k_medoids(space, 90, fixed, 0)
    assert len({*chosen.tolist(), 3, 50}) == 92


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["euclidean", "cosine"]))
def test_the_sum_never_grows_while_alternating(seed, metric):
    space = random_space(seed, 200, metric)
    now = np.random.default_rng(seed).choice(200, 6, replace=False)
    for _ in range(4):
        then = central(space, now, NONE, space)
        assert total(space, then) <= total(space, now) + 1e-3
        now = then


def test_turned_moved_and_enlarged_points_give_the_same():
    points = np.random.default_rng(0).normal(size=(80, 2))
    turned = points @ np.array([[0.6, -0.8], [0.8, 0.6]]) * 7 + (3, -5)
    same, other = (Space.euclidean(each.astype(np.float32)) for each in (points, turned))
    assert set(k_medoids.k_medoids(same, 6, NONE, 1)) == set(k_medoids.k_medoids(other, 6, NONE, 1))


def test_clusters_of_one_space_and_medoids_of_another():
    places = Space.euclidean(np.array([[0, 0], [0, 1], [0, 2], [9, 0], [9, 1]], np.float32))
    vectors = Space.cosine(np.array([[1, 0], [1, 0.1], [1, 5], [0, 1], [0.1, 1]], np.float32))
    found = central(places, np.array([2]), np.array([3]), vectors)
    assert found.tolist() == [1]


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kmedoids", None)
    with pytest.raises(MissingDependencyError, match=r"kmedoids.*\n.*edge-compressor\[train\]"):
        k_medoids.k_medoids(Space.euclidean(TOY), 3, NONE, 0)
