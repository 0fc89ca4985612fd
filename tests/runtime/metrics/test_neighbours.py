"""Votes of neighbours and whether they are the same, against slow loops."""

import numpy as np
import pytest

from random_arrays import cosine, random, rotation
from runtime import metrics


def directions(*degrees):
    """Unit vectors in the plane, [N, 2]."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def slow_votes(query, bank, labels, classes, k, tau):
    votes = np.zeros((len(query), classes))
    for row, q in enumerate(query):
        similarity = [cosine(q, b) for b in bank]
        for at in sorted(range(len(bank)), key=lambda at: -similarity[at])[:k]:
            votes[row, labels[at]] += np.exp(similarity[at] / tau)
    return votes / votes.sum(axis=1, keepdims=True)


BANK = directions(0, 20, 40)
INSIDE = directions(5, 18, 55, 41)
OUTSIDE = directions(60, 90, 48, 200)


def test_toy_ood():
    inside, outside = metrics.ood_scores(INSIDE, BANK), metrics.ood_scores(OUTSIDE, BANK)
    assert inside == pytest.approx(np.cos(np.radians([5, 2, 15, 1])), abs=1e-6)
    assert outside == pytest.approx(np.cos(np.radians([20, 50, 8, 160])), abs=1e-6)
    assert metrics.auroc(inside, outside) == 0.9375
    assert metrics.fpr95(inside, outside) == 0.25


def test_toy_votes():
    votes = metrics.knn_votes(directions(5), BANK, np.array([0, 1, 1]), 2, k=3, tau=0.07)
    # 1e-6: cosines are float32, and the temperature makes their rounding 14 times larger
    assert votes[0, 0] == pytest.approx(0.578480758, abs=1e-6)
    assert votes.sum() == pytest.approx(1)


@pytest.mark.parametrize(("k", "tau"), [(1, 0.07), (3, 0.07), (10, 0.5), (10, 0.07)])
def test_votes_equal_a_slow_loop(k, tau):
    query, bank = random(9, 6), random(30, 6, seed=1)
    labels = np.arange(30) % 4
    got = metrics.knn_votes(query, bank, labels, 4, k=k, tau=tau)
    assert got == pytest.approx(slow_votes(query, bank, labels, 4, k, tau), abs=1e-5)
    assert got.sum(axis=1) == pytest.approx(np.ones(9))


def test_votes_of_a_bank_smaller_than_k():
    query, bank, labels = random(4, 3), random(2, 3, seed=1), np.array([2, 0])
    got = metrics.knn_votes(query, bank, labels, 3, k=10)
    assert got == pytest.approx(slow_votes(query, bank, labels, 3, 2, 0.07), abs=1e-5)
    assert not got[:, 1].any()


def test_votes_see_directions_only():
    query, bank, labels = random(5, 4), random(20, 4, seed=1), np.arange(20) % 2
    lengths = np.random.default_rng(2).uniform(0.01, 100, (20, 1))
    expected = metrics.knn_votes(query, bank, labels, 2)
    assert metrics.knn_votes(5 * query, lengths * bank, labels, 2) == pytest.approx(
        expected, abs=1e-5
    )


def test_votes_do_not_overflow_at_a_small_temperature():
    votes = metrics.knn_votes(INSIDE, BANK, np.array([0, 1, 2]), 3, k=3, tau=1e-4)
    assert votes.argmax(axis=1).tolist() == [0, 1, 2, 2]
    assert votes.max(axis=1) == pytest.approx(np.ones(4))


@pytest.mark.parametrize("n", [4, 11, 25])
def test_leave_one_out_equals_a_loop(n):
    x, labels = random(n, 5), np.arange(n) % 3
    others = [np.delete(np.arange(n), row) for row in range(n)]
    expected = [
        metrics.knn_votes(x[row : row + 1], x[rest], labels[rest], 3)[0]
        for row, rest in enumerate(others)
    ]
    got = metrics.knn_votes_within(x, labels, 3)
    assert got == pytest.approx(np.array(expected), abs=1e-5)


def test_leave_one_out_counts_a_twin_but_never_the_image_itself():
    x = np.repeat(random(5, 4), 2, axis=0)  # every image twice
    labels = np.tile([0, 1], 5)  # and the twin has the other label
    votes = metrics.knn_votes_within(x, labels, 2, k=1)
    assert votes.argmax(axis=1).tolist() == (1 - labels).tolist()


def test_more_twins_than_neighbours():
    x = np.ones((20, 3))
    labels = np.zeros(20, np.int64)
    assert metrics.knn_votes_within(x, labels, 2, k=5).tolist() == [[1, 0]] * 20


def test_ood_score_is_the_cosine_to_the_nearest():
    query, bank = random(8, 5), random(40, 5, seed=1)
    expected = [max(cosine(q, b) for b in bank) for q in query]
    assert metrics.ood_scores(query, bank) == pytest.approx(expected, abs=1e-6)


def test_a_large_bank_in_chunks_gives_the_same_as_in_one_go():
    bank, query = random(25_000, 4), random(520, 4, seed=1)  # 13 million cosines: two chunks
    labels = np.arange(25_000) % 7
    whole = metrics.knn_votes(query, bank, labels, 7)
    parts = [metrics.knn_votes(query[at], bank, labels, 7) for at in np.split(range(520), [200])]
    # 1e-4: a product of another shape may round the last digit of a cosine the other way
    assert whole == pytest.approx(np.concatenate(parts), abs=1e-4)
    parts = [metrics.ood_scores(query[at], bank) for at in np.split(range(520), [200])]
    assert metrics.ood_scores(query, bank) == pytest.approx(np.concatenate(parts), abs=1e-6)


def test_neighbour_overlap_with_itself_is_one():
    x = random(40, 6)
    assert metrics.neighbour_overlap(x, 3 * x @ rotation(6)).tolist() == [1] * 40


def test_neighbour_overlap_with_itself_is_one_where_rows_are_twins():
    x = np.repeat(random(5, 6), 8, axis=0)
    assert metrics.neighbour_overlap(x, x).tolist() == [1] * 40


def test_neighbour_overlap_equals_a_loop():
    a, b, k = random(25, 4), random(25, 4) + random(25, 4, seed=1), 5

    def near(x, row):
        others = [at for at in range(25) if at != row]
        return set(sorted(others, key=lambda at: -cosine(x[row], x[at]))[:k])

    expected = [len(near(a, row) & near(b, row)) / k for row in range(25)]
    got = metrics.neighbour_overlap(a, b, k=k)
    assert got.tolist() == expected
    assert 0 < got.mean() < 1


def test_neighbour_overlap_of_unrelated_embeddings_is_chance():
    shares = metrics.neighbour_overlap(random(200, 8), random(200, 8, seed=1))
    assert shares.mean() == pytest.approx(10 / 199, abs=0.02)


def test_neighbour_overlap_with_fewer_images_than_neighbours():
    assert metrics.neighbour_overlap(random(4, 3), random(4, 3, seed=1)).tolist() == [1] * 4
