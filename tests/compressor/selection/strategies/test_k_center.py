from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.selection.metric_space import Space
from compressor.selection.strategies import k_center
from compressor.selection.strategies.ranking import ranked

NONE = np.empty(0, np.int64)
# fmt: off
TOY = np.array([
    (0, 0), (1, 0), (0, 1), (1, 1), (.4, .5), (10, 0), (11, 0), (10, 1), (10.4, .3), (5, 9),
    (5, 10), (6, 9), (5.3, 9.2), (20, 20),
], np.float32)
# fmt: on
SEARCHES = (k_center.farthest_first, k_center.mini_max, k_center.maxi_min)


def radius(space, chosen):
    return float(space.nearest(np.asarray(chosen))[1].max())


@st.composite
def spaces(draw, most=9):
    """A few different points on a plane, and a budget below their number."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(4, most))
    if draw(st.booleans()):
        return Space.euclidean(rng.normal(size=(count, 2)).astype(np.float32))
    return Space.cosine(rng.normal(size=(count, 5)).astype(np.float32))


# What the authors' code gives with seeds 0, 1 and 2.
@pytest.mark.parametrize(
    ("search", "budget", "sets", "figure"),
    [
        (
            k_center.farthest_first,
            3,
            [{8, 10, 13}, {6, 10, 13}, {4, 6, 13}],
            (10.4043, 11, 10.5551),
        ),
        (k_center.farthest_first, 4, [{0, 8, 10, 13}, {0, 6, 10, 13}, None], (1.4142,) * 3),
        (k_center.farthest_first, 5, [None] * 3, (1.4142,) * 3),
        (k_center.mini_max, 3, [{1, 12, 13}, {1, 12, 13}, {3, 8, 13}], (10, 10, 9.8489)),
        (k_center.mini_max, 4, [{4, 8, 12, 13}] * 3, (0.8544,) * 3),
        (k_center.mini_max, 5, [{4, 8, 10, 12, 13}] * 3, (0.8062,) * 3),
        (k_center.maxi_min, 3, [{6, 10, 13}] * 3, (11.6619,) * 3),
        (k_center.maxi_min, 4, [{0, 6, 10, 13}] * 3, (11.0,) * 3),
        (k_center.maxi_min, 5, [None] * 3, (1.4142,) * 3),
    ],
)
def test_the_toy_gives_what_the_authors_code_gives(search, budget, sets, figure):
    space = Space.euclidean(TOY)
    measured = k_center.separation if search is k_center.maxi_min else radius
    for seed in range(3):
        chosen = search(space, budget, NONE, seed)
        assert sets[seed] in (None, set(chosen.tolist()))
        assert measured(space, chosen) == pytest.approx(figure[seed], abs=6e-5)


def test_the_first_of_farthest_first_is_drawn_by_the_seed():
    space = Space.euclidean(TOY)
    firsts = [int(k_center.farthest_first(space, 1, NONE, seed)[0]) for seed in range(14)]
    assert firsts == [8, 6, 4, 11, 2, 13, 9, 1, 7, 10, 3, 0, 5, 12]


@settings(max_examples=60, deadline=None)
@given(spaces(), st.integers(0, 99), st.data())
def test_against_the_best_there_is(space, seed, data):
    budget = data.draw(st.integers(2, len(space) - 1))
    sets = [np.array(each) for each in combinations(range(len(space)), budget)]
    best_radius = min(radius(space, each) for each in sets)
    best_separation = max(k_center.separation(space, each) for each in sets)
    greedy, small, apart = (search(space, budget, NONE, seed) for search in SEARCHES)
    for chosen in (greedy, small, apart):
        assert len(set(chosen.tolist())) == budget
    if space.metric == "euclidean":  # the bound needs the triangle inequality
        assert radius(space, greedy) <= 2 * best_radius + 1e-5
    assert best_radius - 1e-6 <= radius(space, small) <= radius(space, greedy) + 1e-6
    assert k_center.separation(space, greedy) - 1e-6 <= k_center.separation(space, apart)
    assert k_center.separation(space, apart) <= best_separation + 1e-6


@settings(max_examples=40, deadline=None)
@given(spaces(most=40), st.integers(0, 99))
def test_farthest_first_goes_on_from_its_own_start(space, seed):
    all_ = k_center.farthest_first(space, len(space), NONE, seed)
    assert sorted(all_.tolist()) == list(range(len(space)))
    radii = [radius(space, all_[:k]) for k in range(1, len(space) + 1)]
    assert all(later <= before for before, later in pairwise(radii))
    assert (
        all_[3:].tolist()
        == k_center.farthest_first(space, len(space) - 3, all_[:3], seed + 1).tolist()
    )


@settings(max_examples=40, deadline=None)
@given(spaces(most=40), st.integers(0, 99), st.integers(1, 3))
def test_fixed_centres_stay_and_are_not_chosen_again(space, seed, count):
    fixed = np.random.default_rng(seed).choice(len(space), count, replace=False)
    budget = len(space) - count
    before = fixed.copy()
    for search in SEARCHES:
        chosen = search(space, budget, fixed, seed)
        assert sorted([*chosen, *fixed]) == list(range(len(space)))
        if budget > 1:
            fewer = search(space, 1, fixed, seed)
            assert radius(space, [*fixed, *fewer]) <= radius(space, fixed)
    assert (fixed == before).all()


@settings(max_examples=40, deadline=None)
@given(spaces(most=60))
def test_the_one_centre_is_the_best_of_all(space):
    farthest = space.between(slice(None), slice(None)).max(axis=1)
    assert farthest[k_center.one_centre(space)] == pytest.approx(farthest.min(), abs=1e-6)


@pytest.mark.parametrize("search", SEARCHES)
def test_turned_moved_and_enlarged_points_give_the_same(search):
    points = np.random.default_rng(0).normal(size=(60, 2))
    turned = points @ np.array([[0.6, -0.8], [0.8, 0.6]]) * 7 + (3, -5)
    same, other = (Space.euclidean(each.astype(np.float32)) for each in (points, turned))
    assert (search(same, 6, NONE, 3) == search(other, 6, NONE, 3)).all()
    vectors = np.random.default_rng(1).normal(size=(60, 6))
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    same, other = (
        Space.cosine(each.astype(np.float32)) for each in (vectors, 7 * vectors @ rotation)
    )
    assert (search(same, 6, NONE, 3) == search(other, 6, NONE, 3)).all()


def test_mini_max_is_of_cosines_throughout():
    # Long vectors of nearly one direction: near by cosine, far by Euclid. Falling back to Euclid,
    # as the authors' code does, would spend centres on them.
    rng = np.random.default_rng(0)
    one = np.array([1, 0, 0]) + 0.01 * rng.normal(size=(20, 3))
    others = np.array([[0, 1, 0], [0, 0, 1]]) + 0.01 * rng.normal(size=(20, 1, 3))
    vectors = np.concatenate([one * np.logspace(0, 4, 20)[:, None], *others.transpose(1, 0, 2)])
    space = Space.cosine(vectors.astype(np.float32))
    for seed in range(5):
        chosen = k_center.mini_max(space, 3, NONE, seed)
        assert sorted(chosen // 20) == [0, 1, 2]
        assert radius(space, chosen) < 0.01


def test_every_start_of_a_ranking_is_the_best_next_step():
    space = Space.euclidean(np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32))
    chosen, fixed = np.arange(8), np.array([20, 30])
    order = ranked(space, chosen, fixed, 0)
    assert sorted(order) == list(range(8))
    for k in range(8):
        sums = [space.nearest(np.array([*fixed, *order[:k], each]))[1].sum() for each in order[k:]]
        assert sums[0] == pytest.approx(min(sums))
