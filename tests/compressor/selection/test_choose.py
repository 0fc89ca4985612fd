import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.recipe.choices import STRATEGIES
from compressor.selection.choose import Request, choose
from compressor.selection.tsne_map import FEWEST_IMAGES, tsne_map
from runtime.errors import InputError

BY_DISTANCE = [name for name in STRATEGIES if "random" not in name]
TOY_LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3])


def blobs(classes=6, per_class=20, seed=0):
    """Directions around some centres, and the class of each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    centres = rng.normal(size=(classes, 16)) * 4
    return (centres[labels] + rng.normal(size=(len(labels), 16))).astype(np.float32), labels


@pytest.fixture(scope="module")
def mapped():
    embeddings, labels = blobs()
    return embeddings, labels, tsne_map(embeddings, 0)


def cosine_distances(a, b):
    a, b = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a, b))
    return 1 - a @ b.T


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_plan_says_who_stands_for_whom(strategy, mapped):
    embeddings, labels, on_map = mapped
    settled = np.array([5, 77])
    plan = choose(embeddings, Request(strategy, 9, 1, settled, labels), on_map=on_map)
    assert (plan.strategy, plan.seed) == (strategy, 1)
    assert len(set(plan.chosen.tolist())) == 9
    assert not set(plan.chosen) & {5, 77}
    assert (plan.settled == settled).all()
    standing = np.concatenate([settled, plan.chosen])
    apart = cosine_distances(embeddings, embeddings[standing])
    assert plan.distance == pytest.approx(apart.min(axis=1), abs=1e-5)
    own = apart[np.arange(len(apart)), [standing.tolist().index(each) for each in plan.centre]]
    assert plan.distance == pytest.approx(own, abs=1e-5)
    assert (plan.centre[standing] == standing).all()
    assert plan.map is on_map


@pytest.mark.parametrize("strategy", BY_DISTANCE)
@pytest.mark.parametrize("where", ["embedding", "map"])
def test_in_either_space_the_same_seed_gives_the_same_and_no_label_is_read(strategy, where, mapped):
    embeddings, labels, on_map = mapped
    wanted = Request(strategy, 6, 2, where=where)
    with_labels = Request(strategy, 6, 2, labels=labels, where=where)
    plans = [choose(embeddings, each, on_map=on_map) for each in (wanted, wanted, with_labels)]
    assert len({tuple(plan.chosen) for plan in plans}) == 1


@pytest.mark.parametrize("strategy", ["cold-paws", "cold-paws-cosine", "k-medoids", "typiclust"])
def test_as_many_clusters_as_labels_give_one_each(strategy):
    embeddings, labels = blobs()
    plan = choose(embeddings, Request(strategy, 6))
    assert sorted(labels[plan.chosen]) == list(range(6))


@pytest.mark.parametrize("strategy", ["cold-paws", "cold-paws-cosine", "k-medoids", "typiclust"])
def test_asking_for_more_goes_on_where_labels_are_missing(strategy):
    embeddings, labels = blobs()
    first = np.flatnonzero(labels < 3)[::20]
    plan = choose(embeddings, Request(strategy, 3, settled=first))
    assert sorted(labels[plan.chosen]) == [3, 4, 5]


# Not typiclust: its k-means starts from images drawn by their place. Greedy's first centre is drawn
# so too, but not where one is settled.
@pytest.mark.parametrize(
    "strategy", [n for n in STRATEGIES if n != "typiclust" and "random" not in n]
)
def test_the_order_of_the_images_does_not_matter(strategy, mapped):
    embeddings, _, on_map = mapped
    order = np.random.default_rng(0).permutation(len(embeddings))
    plan = choose(embeddings, Request(strategy, 5, settled=np.array([7])), on_map=on_map)
    settled = np.flatnonzero(order == 7)
    shuffled = choose(
        embeddings[order], Request(strategy, 5, settled=settled), on_map=on_map[order]
    )
    assert set(order[shuffled.chosen]) == set(plan.chosen)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(list(STRATEGIES)),
    st.integers(1, FEWEST_IMAGES + 18),
    st.integers(1, 3),
    st.integers(0, 2**16),
    st.data(),
)
def test_few_images_and_copies_of_them(strategy, different, copies, seed, data):
    rng = np.random.default_rng(seed)
    embeddings = np.repeat(rng.normal(size=(different, 4)).astype(np.float32), copies, axis=0)
    of = np.repeat(np.arange(different), copies)
    order = rng.permutation(len(of))
    embeddings, of = embeddings[order], of[order]
    settled = rng.choice(len(of), data.draw(st.integers(0, different - 1)), replace=False)
    left = different - len(set(of[settled]))
    budget = data.draw(st.integers(1, left)) if left else 1
    wanted = Request(strategy, budget, seed, settled, labels=of % 3)
    if not left:
        with pytest.raises(InputError, match="Nothing is left"):
            choose(embeddings, wanted)
        return
    plan = choose(embeddings, wanted)
    assert len(set(of[plan.chosen])) == len(plan.chosen) == budget
    assert not set(of[plan.chosen]) & set(of[settled])
    assert (plan.map is None) == (different < FEWEST_IMAGES)
    with pytest.raises(InputError, match=f"{left} different images have no label yet"):
        choose(embeddings, Request(strategy, left + 1, seed, settled, labels=of % 3))


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(InputError, match="a budget of 0"):
        choose(blobs()[0], Request("random", 0))
    with pytest.raises(ValueError, match="not one of cold-paws"):
        choose(blobs()[0], Request("best", 1))


def test_random_is_the_authors_permutation():
    embeddings = np.random.default_rng(0).normal(size=(14, 3)).astype(np.float32)
    assert choose(embeddings, Request("random", 4)).chosen.tolist() == [8, 6, 4, 11]
    more = choose(embeddings, Request("random", 2, settled=np.array([6, 8])))
    assert more.chosen.tolist() == [4, 11]


def test_stratified_random():
    embeddings = np.random.default_rng(0).normal(size=(14, 3)).astype(np.float32)

    def chosen(budget, settled=()):
        wanted = Request("stratified-random", budget, 0, np.array(settled, np.int64), TOY_LABELS)
        return choose(embeddings, wanted).chosen.tolist()

    assert sorted(chosen(4)) == [2, 5, 12, 13]  # as the authors' code
    assert sorted(chosen(6)[:4]) == [2, 5, 12, 13]  # which drops the remainder; ours does not
    assert len(set(chosen(6))) == 6
    assert np.bincount(TOY_LABELS[chosen(10)]).tolist() == [3, 3, 3, 1]
    assert sorted(TOY_LABELS[chosen(2, settled=[0, 5])]) == [2, 3]
    with pytest.raises(InputError, match="needs the label of every image"):
        choose(embeddings, Request("stratified-random", 4))


@pytest.mark.parametrize("strategy", ["cold-paws", "cold-paws-cosine", "k-medoids"])
def test_whoever_stops_early_has_labelled_a_good_start(strategy, mapped):
    embeddings, labels, on_map = mapped
    plan = choose(embeddings, Request(strategy, 18), on_map=on_map)
    assert len(set(labels[plan.chosen[:6]])) == 6
