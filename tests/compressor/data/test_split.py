"""How many of each class go to another part."""

import itertools
import random

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from compressor.data.layout.labels import UNLABELLED
from compressor.data.split import apportion


def test_share_out__largest_remainders_are_rounded_up():
    # 3.2, 3.6 and 1.2 of together 8
    assert apportion({0: 16, 1: 18, 2: 6}, 0.2) == {0: 3, 1: 4, 2: 1}
    assert apportion({0: 10, 1: 10, 2: 10}, 0.25) == {0: 3, 1: 3, 2: 2}


def test_share_out__every_class_keeps_one():
    assert apportion({0: 1, 1: 2, 2: 3}, 0.9) == {0: 0, 1: 1, 2: 2}
    assert apportion({UNLABELLED: 1}, 0.5) == {UNLABELLED: 0}


def test_share_out__classes_of_one_image_give_nothing_and_others_hardly_more():
    # A fifth of 20 is 4. The class of ten gives one more than its own two, and no more than that.
    counts = {label: 1 for label in range(10)} | {10: 10}
    assert sum(apportion(counts, 0.2).values()) == apportion(counts, 0.2)[10] == 3


def test_share_out__nothing_to_share():
    assert apportion({}, 0.5) == {}


@settings(max_examples=300)
@given(
    counts=st.dictionaries(st.integers(-1, 30), st.integers(1, 400), min_size=1, max_size=12),
    share=st.floats(0.001, 0.999),
    order=st.randoms(use_true_random=False),
)
@example(counts={0: 100}, share=0.29, order=random.Random(0))  # 0.29 * 100 < 29
@example(counts={0: 5, 1: 5}, share=0.9, order=random.Random(0))
def test_share_out__is_exact_where_classes_are_large_enough(counts, share, order):
    taken = apportion(counts, share)
    wanted = round(share * sum(counts.values()))
    most = {label: min(int(share * count) + 1, count - 1) for label, count in counts.items()}
    assert sum(taken.values()) == min(wanted, sum(most.values()))
    for label, count in counts.items():
        assert 0 <= taken[label] <= count - 1
        assert abs(taken[label] - share * count) <= 1 + 1e-9
    remainder = {label: share * count - int(share * count) for label, count in counts.items()}
    for up, down in itertools.permutations(counts, 2):
        rounded_up = taken[up] > int(share * counts[up])
        held_down = taken[down] == int(share * counts[down]) < most[down]
        assert not (rounded_up and held_down) or remainder[up] >= remainder[down]
    shuffled = list(counts.items())
    order.shuffle(shuffled)
    assert apportion(dict(shuffled), share) == taken


@given(
    counts=st.dictionaries(st.integers(0, 30), st.integers(20, 400), min_size=1, max_size=12),
    share=st.floats(0.01, 0.9),
)
def test_share_out__all_together_are_the_share_rounded(counts, share):
    assume(all(count * (1 - share) >= 2 for count in counts.values()))
    assert sum(apportion(counts, share).values()) == round(share * sum(counts.values()))
