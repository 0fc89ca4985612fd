"""The sequential test: ranks are uniform without a change, false alarms are as rare as stated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.monitoring import ranks
from runtime.monitoring.detector import Detector
from runtime.monitoring.ranks import ClassRanks, OrderedRanks
from runtime.monitoring.signals import Reference, Seen, signals


def run_length(detector, stream, limit):
    """After how many images there is an alarm; the length of the stream if there is none."""
    for number, each in enumerate(stream, 1):
        if detector.see(each) >= limit:
            return number
    return len(stream)


@pytest.mark.parametrize("distribution", ["normal", "exponential", "few values", "constant"])
def test_ranks_are_uniform_and_independent_whatever_the_values_are(distribution):
    rng = np.random.default_rng(0)
    values = {
        "normal": rng.normal(size=4200),
        "exponential": rng.exponential(size=4200) ** 3,
        "few values": rng.integers(0, 3, 4200).astype(float),
        "constant": np.ones(4200),
    }[distribution]
    ranked = OrderedRanks(values[:200, None], rng)
    found = np.array([ranked.of(values[at : at + 1])[0] for at in range(200, 4200)])
    assert 0 < found.min() < found.max() <= 1
    counts = np.histogram(found, 10, (0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 27.9  # chi-square, 9 degrees, 0.001
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.06


def test_ranks_of_classes_are_uniform_for_every_class():
    rng = np.random.default_rng(1)
    labels = rng.choice(3, 5300, p=[0.7, 0.25, 0.05])
    ranked = ClassRanks(labels[:300], 3, rng)
    found = np.array([ranked.of(np.eye(3)[label]) for label in labels[300:]])
    for column in found.T:
        counts = np.histogram(column, 10, (0, 1))[0]
        assert ((counts - 500) ** 2 / 500).sum() < 27.9


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.floats(-5, 5))
def test_a_rank_lies_between_the_shares_of_lower_and_of_lower_or_equal_values(reference, value):
    ranked = OrderedRanks(np.array(reference)[:, None], np.random.default_rng(0))
    (rank,) = ranked.of(np.array([value]))
    every = np.array([*reference, value])
    assert (every < value).mean() <= rank <= (every <= value).mean()


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(ranks, "MOST", 10)
    ranked = OrderedRanks(np.zeros((5, 1)), np.random.default_rng(0))
    for _ in range(20):
        ranked.of(np.ones(1))
    assert len(ranked._columns[0]) == 10


@pytest.mark.parametrize(("low", "high"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("before", [0.0, 37.0])
def test_evidence_grows_by_one_an_image_on_average_while_ranks_are_uniform(low, high, before):
    """So evidence minus images is a martingale. Each score has one of a fine grid of ranks."""
    grid = (np.arange(1_000_000) + 0.5) / 1_000_000
    detector = Detector(len(grid), low=low, high=high)
    detector.sums[:] = before
    assert detector.see(grid) == pytest.approx(before + 1, rel=0.005)


def test_false_alarms_are_as_rare_as_stated():
    """The mean run length without a change is at least the stated one; streams end at ten times."""
    wanted = 100
    lengths = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=wanted * 10 + 100)
        ranked = OrderedRanks(values[:100, None], rng)
        detector = Detector(1, low=True, high=True)
        stream = [ranked.of(values[at : at + 1]) for at in range(100, 1100)]
        lengths.append(run_length(detector, stream, wanted))
    assert np.mean(lengths) >= wanted


def test_a_change_is_noticed_soon_and_a_small_one_later():
    delays = {}
    for share in (1.0, 0.2):
        rng = np.random.default_rng(3)
        ranked = OrderedRanks(rng.normal(size=(300, 1)), rng)
        detector = Detector(1, low=True, high=False)
        changed = np.where(rng.random(2000) < share, -4, 0) + rng.normal(size=2000)
        stream = [ranked.of(np.array([value])) for value in changed]
        delays[share] = run_length(detector, stream, 10_000)
    assert delays[1.0] < 20 < delays[0.2] < 300


@pytest.mark.parametrize("what", ["likeness", "embedding", "classes"])
def test_each_signal_notices_its_own_change_and_no_other(what):
    """Independent scores: only the changed one passes 1000 within 300 images."""
    rng = np.random.default_rng(5)

    def seen(changed):
        direction = rng.normal([3, 0, 0, 0])
        if changed == "embedding":
            direction[1] += 6
        likeness = rng.normal(0.2 if changed == "likeness" else 0.9, 0.02)
        label = int(rng.choice(3, p=[0.1, 0.1, 0.8] if changed == "classes" else [0.4, 0.4, 0.2]))
        return Seen(direction.astype(np.float32), float(likeness), label)

    usual = [seen("") for _ in range(200)]
    reference = Reference(
        np.array([each.embedding for each in usual]),
        np.array([each.likeness for each in usual], np.float32),
        np.array([each.label for each in usual]),
    )
    bank = np.array([seen("").embedding for _ in range(100)])
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    followed = signals(reference, bank, 3, rng)
    for _ in range(300):
        image = seen(what)
        for signal in followed.values():
            signal.see(image)
    alarmed = {name for name, signal in followed.items() if signal.detector.evidence >= 1000}
    assert alarmed == {what}
