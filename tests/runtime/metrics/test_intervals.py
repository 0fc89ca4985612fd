"""95 % intervals over images, and paired ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import metrics


def random(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def near_inside(figure):
    # 1e-6: resampled means are float32
    return figure.low - 1e-6 <= figure.value <= figure.high + 1e-6


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans() | st.floats(0, 1), min_size=1, max_size=60))
def test_mean_lies_in_its_interval(values):
    figure = metrics.mean_estimate(np.array(values, np.float64))
    assert figure.value == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert near_inside(figure)
    assert min(values) - 1e-6 <= figure.low <= figure.high <= max(values) + 1e-6


@pytest.mark.parametrize("images", [1, 5, 30, 400])
def test_answers_that_are_all_right_are_not_certain(images):
    """Clopper and Pearson: the share of which all right is just not too unlikely."""
    stats = pytest.importorskip("scipy.stats")
    exact = stats.binomtest(images, images).proportion_ci(0.95, method="exact")
    figure = metrics.mean_estimate(np.ones(images, bool))
    assert (figure.low, figure.high) == pytest.approx((exact.low, 1))
    figure = metrics.mean_estimate(np.zeros(images, bool))
    assert (figure.low, figure.high) == pytest.approx((0, 1 - exact.low))


def test_the_bound_of_few_images_leaves_wider_intervals_alone():
    values = np.arange(200) % 2 == 0
    bounded, plain = metrics.mean_estimate(values), metrics.mean_estimate(values.astype(float))
    assert (bounded.low, bounded.high) == (plain.low, plain.high)


@pytest.mark.parametrize(("images", "share"), [(10, 0.95), (25, 0.9), (60, 0.98)])
def test_intervals_hold_the_truth_as_often_as_they_say(images, share):
    rng = np.random.default_rng(0)
    figures = [metrics.mean_estimate(rng.random(images) < share) for _ in range(300)]
    assert np.mean([each.low <= share <= each.high for each in figures]) > 0.93


# --- differences -----------------------------------------------------------------------------


def test_a_difference_is_paired():
    """Two that err on the same images: each is uncertain, their difference is not."""
    rng = np.random.default_rng(0)
    one = rng.random(300) < 0.6
    other = one.copy()
    other[:6] = ~other[:6]
    figures = metrics.mean_estimate(one), metrics.mean_estimate(other)
    got = metrics.paired_difference(*figures)
    assert got.value == pytest.approx(figures[0].value - figures[1].value)
    assert figures[0].high - figures[0].low > 0.1
    assert got.high - got.low < 0.05


def test_the_interval_of_a_paired_difference_is_the_one_of_statistics():
    rng = np.random.default_rng(0)
    one, other = rng.random(400) < 0.8, rng.random(400) < 0.7
    got = metrics.paired_difference(metrics.mean_estimate(one), metrics.mean_estimate(other))
    error = (one.astype(float) - other).std(ddof=1) / 20
    assert got.high - got.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_no_difference_on_few_images_is_not_none_at_all():
    one = np.arange(20) % 2 == 0
    got = metrics.paired_difference(metrics.mean_estimate(one), metrics.mean_estimate(one))
    unseen = 1 - 0.025 ** (1 / 20)
    assert (got.value, got.low, got.high) == pytest.approx((0, -unseen, unseen))


def test_differences_of_pairs_and_of_two_samples_are_paired_too():
    a, b = random(60, 8), random(60, 8) + random(60, 8, seed=2)
    near = b + 1e-3 * random(60, 8, seed=3)
    figures = [metrics.similarity_correlation(a, each) for each in (b, near)]
    got = metrics.paired_difference(*figures)
    assert got.high - got.low < (figures[0].high - figures[0].low) / 20
    inside, outside = random(80, 1)[:, 0] + 1, random(50, 1, seed=1)[:, 0]
    figures = [
        metrics.two_sample_estimate(metrics.auroc, inside + shift, outside) for shift in (0, 0.01)
    ]
    assert abs(metrics.paired_difference(*figures).value) < 0.01


def test_figures_of_different_images_have_no_difference():
    one, other = metrics.mean_estimate(np.ones(5)), metrics.mean_estimate(np.ones(6))
    for pair in ((one, other), (one, metrics.mean_estimate(np.ones(5), seed=1))):
        with pytest.raises(ValueError, match="different images"):
            metrics.paired_difference(*pair)
    with pytest.raises(ValueError, match="different images"):
        metrics.paired_difference(one, metrics.Estimate(1, 1, 1))


def test_interval_of_a_mean_is_the_one_of_statistics():
    """1.96 standard errors to each side, 10 times narrower with 100 times the images."""
    widths = []
    for n in (50, 5000):
        figure = metrics.mean_estimate(np.arange(n) % 2 == 0)
        widths.append(figure.high - figure.low)
        assert widths[-1] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(n), rel=0.15)
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.2)


def test_intervals_of_pairs_and_of_two_samples_shrink_too():
    rng = np.random.default_rng(0)
    correlation, ranking = [], []
    for n in (30, 600):
        a = rng.normal(size=(n, 8))
        noisy = a + 0.7 * rng.normal(size=(n, 8))
        correlation.append(metrics.similarity_correlation(a, noisy))
        scores = rng.normal(1, 1, n), rng.normal(0, 1, n)
        ranking.append(metrics.two_sample_estimate(metrics.auroc, *scores))
    for few, many in (correlation, ranking):
        assert near_inside(few)
        assert near_inside(many)
        assert (many.high - many.low) < (few.high - few.low) / 2


@pytest.mark.parametrize("statistic", [metrics.auroc, metrics.fpr95])
def test_two_sample_figure_gives_the_plain_value_in_its_interval(statistic):
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(1, 1, 80), rng.normal(0, 1, 60)
    figure = metrics.two_sample_estimate(statistic, inside, outside)
    assert figure.value == statistic(inside, outside)
    assert figure.low < figure.value < figure.high


def test_intervals_follow_from_the_seed():
    values, pair = np.arange(40) % 3 == 0, (random(20, 4), random(20, 5, seed=1))
    scores = np.linspace(0, 1, 20), np.linspace(-0.5, 0.5, 20)
    for figure in (
        lambda seed: metrics.mean_estimate(values, seed=seed),
        lambda seed: metrics.similarity_correlation(*pair, seed=seed),
        lambda seed: metrics.two_sample_estimate(metrics.auroc, *scores, seed=seed),
    ):
        assert figure(3) == figure(3)
        assert figure(3).value == figure(4).value
        assert (figure(3).low, figure(3).high) != (figure(4).low, figure(4).high)
