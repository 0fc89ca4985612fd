import numpy as np
import pytest

from compressor.selection.metric_space import Space
from compressor.selection.strategies import typiclust

NONE = np.empty(0, np.int64)


def clusters(sizes, seed=0):
    """Points around far-off centres, and the cluster of each."""
    rng = np.random.default_rng(seed)
    which = np.repeat(np.arange(len(sizes)), sizes)
    return Space.euclidean(which[:, None] * 100 + rng.normal(size=(len(which), 2))), which


def test_one_of_each_cluster_the_biggest_first():
    space, which = clusters([10, 40, 25, 15])
    assert which[typiclust.typiclust(space, 4, NONE, 0)].tolist() == [1, 2, 3, 0]


def test_clusters_that_have_a_label_are_skipped():
    space, which = clusters([10, 40, 25, 15])
    fixed = np.flatnonzero(which == 1)[:1]
    chosen = typiclust.typiclust(space, 3, fixed, 0)
    assert which[chosen].tolist() == [2, 3, 0]


def test_where_every_cluster_has_one_a_second_is_taken():
    space, which = clusters([2, 30])
    fixed = np.flatnonzero(which == 0)[:1]
    chosen = typiclust.typiclust(space, 31, fixed, 0)
    assert sorted([*chosen, *fixed]) == list(range(32))


def test_the_most_typical_is_in_the_thick_of_its_neighbours():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(60, 2)) * 0.05 + 2])
    space = Space.euclidean(points)
    assert typiclust.typiclust(space, 1, NONE, 0)[0] >= 200
    apart = np.sort(space.between(slice(None), slice(None)), axis=1)[:, 1:21]
    assert typiclust.typicality(space) == pytest.approx(1 / apart.mean(axis=1), rel=1e-5)


def test_big_clusters_are_drawn_from(monkeypatch):
    monkeypatch.setattr(typiclust, "_MOST_MEMBERS", 30)
    monkeypatch.setattr(typiclust, "_MOST_CLUSTERED", 100)
    space, which = clusters([100, 200, 150])
    assert which[typiclust.typiclust(space, 3, NONE, 0)].tolist() == [1, 2, 0]
    assert len(set(typiclust.typiclust(space, 90, NONE, 0).tolist())) == 90


def test_points_on_one_spot_are_no_obstacle():
    space = Space.cosine(np.ones((6, 3), np.float32))
    assert sorted(typiclust.typiclust(space, 6, NONE, 0).tolist()) == list(range(6))
