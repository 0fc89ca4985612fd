import numpy as np
import pytest

from compressor.selection import coverage as coverages
from compressor.selection.choose import Request, choose
from compressor.selection.coverage import coverage
from compressor.selection.label_plan import LabelPlan
from compressor.selection.metric_space import Space
from compressor.selection.tsne_map import tsne_map


def test_of_images_in_four_directions():
    embeddings = np.repeat(np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32), 5, axis=0)
    embeddings += np.random.default_rng(0).normal(size=(20, 2)) * 0.01
    found = coverage(choose(embeddings, Request("k-medoids", 4)), embeddings)
    assert found.within_radius == 1
    assert found.mean_distance < found.largest_distance < 0.01
    assert found.redundancy == 0


@pytest.mark.parametrize(
    ("chosen", "settled", "redundancy"),
    [([0, 1], [], 1), ([0, 10], [], 0), ([0], [1], 1), ([10, 1], [0], 0.5)],
)
def test_redundant_is_who_has_another_beside(chosen, settled, redundancy):
    embeddings = np.repeat(np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32), 5, axis=0)
    chosen, settled = np.array(chosen), np.array(settled, np.int64)
    standing = np.concatenate([settled, chosen])
    nearest, distance = Space.cosine(embeddings).nearest(standing)
    plan = LabelPlan("random", 0, chosen, settled, standing[nearest], distance, None)
    assert coverage(plan, embeddings).redundancy == redundancy


def test_a_random_choice_covers_half():
    embeddings = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    on_map = tsne_map(embeddings, 0)
    shares = [
        coverage(
            choose(embeddings, Request("random", 20, seed), on_map=on_map), embeddings
        ).within_radius
        for seed in range(5)
    ]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)
    plan = choose(embeddings, Request("k-medoids", 20), on_map=on_map)
    assert coverage(plan, embeddings).within_radius > 0.6


def test_the_radius_is_the_same_for_every_strategy(monkeypatch):
    embeddings = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    plans = [choose(embeddings, Request(name, 10)) for name in ("random", "k-center")]
    one, other = (coverage(plan, embeddings).radius for plan in plans)
    assert one == other
    monkeypatch.setattr(coverages, "_MEASURED_ON", 100)
    assert coverage(plans[0], embeddings).radius == pytest.approx(one, rel=0.1)
