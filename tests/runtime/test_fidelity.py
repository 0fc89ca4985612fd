"""Every figure against a slow loop, against known values, and at its edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import fidelity


def directions(*degrees):
    """Unit vectors in the plane, [N, 2]."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def random(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def rotation(d, seed=1):
    return np.linalg.qr(random(d, d, seed))[0]


def cosine(p, q):
    return float(p @ q / np.sqrt((p @ p) * (q @ q)))


def off_diagonal(x):
    """Cosines of all pairs i < j, one by one."""
    n = len(x)
    return np.array([cosine(x[i], x[j]) for i in range(n) for j in range(i + 1, n)])


def slow_votes(query, bank, labels, classes, k, tau):
    votes = np.zeros((len(query), classes))
    for row, q in enumerate(query):
        similarity = [cosine(q, b) for b in bank]
        for at in sorted(range(len(bank)), key=lambda at: -similarity[at])[:k]:
            votes[row, labels[at]] += np.exp(similarity[at] / tau)
    return votes / votes.sum(axis=1, keepdims=True)


# --- METHOD section 5, the kNN and OOD toy ---------------------------------------------------

BANK = directions(0, 20, 40)
INSIDE = directions(5, 18, 55, 41)
OUTSIDE = directions(60, 90, 48, 200)


def test_toy_ood():
    inside, outside = fidelity.ood_scores(INSIDE, BANK), fidelity.ood_scores(OUTSIDE, BANK)
    assert inside == pytest.approx(np.cos(np.radians([5, 2, 15, 1])), abs=1e-6)
    assert outside == pytest.approx(np.cos(np.radians([20, 50, 8, 160])), abs=1e-6)
    assert fidelity.auroc(inside, outside) == 0.9375
    assert fidelity.fpr95(inside, outside) == 0.25


def test_toy_votes():
    votes = fidelity.knn_votes(directions(5), BANK, np.array([0, 1, 1]), 2, k=3, tau=0.07)
    # 1e-6: cosines are float32, and the temperature makes their rounding 14 times larger
    assert votes[0, 0] == pytest.approx(0.578480758, abs=1e-6)
    assert votes.sum() == pytest.approx(1)


# --- rows of unit length ---------------------------------------------------------------------


def test_normalise_gives_float32_rows_of_length_one():
    unit = fidelity.normalise(random(7, 5))
    assert unit.dtype == np.float32
    assert np.linalg.norm(unit, axis=1) == pytest.approx(np.ones(7), abs=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_normalise_of_values_whose_squares_are_beyond_float32(size):
    row = np.array([[3 * size, 4 * size]], np.float32)
    assert fidelity.normalise(row)[0] == pytest.approx([0.6, 0.8], abs=1e-6)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_normalise_refuses_rows_without_direction(bad):
    rows = np.ones((4, 3), np.float32)
    rows[1] = bad
    with pytest.raises(ValueError, match="1 of 4 rows have no direction"):
        fidelity.normalise(rows)


# --- nearest neighbours ----------------------------------------------------------------------


@pytest.mark.parametrize(("k", "tau"), [(1, 0.07), (3, 0.07), (10, 0.5), (10, 0.07)])
def test_votes_equal_a_slow_loop(k, tau):
    query, bank = random(9, 6), random(30, 6, seed=1)
    labels = np.arange(30) % 4
    got = fidelity.knn_votes(query, bank, labels, 4, k=k, tau=tau)
    assert got == pytest.approx(slow_votes(query, bank, labels, 4, k, tau), abs=1e-5)
    assert got.sum(axis=1) == pytest.approx(np.ones(9))


def test_votes_of_a_bank_smaller_than_k():
    query, bank, labels = random(4, 3), random(2, 3, seed=1), np.array([2, 0])
    got = fidelity.knn_votes(query, bank, labels, 3, k=10)
    assert got == pytest.approx(slow_votes(query, bank, labels, 3, 2, 0.07), abs=1e-5)
    assert not got[:, 1].any()


def test_votes_see_directions_only():
    query, bank, labels = random(5, 4), random(20, 4, seed=1), np.arange(20) % 2
    lengths = np.random.default_rng(2).uniform(0.01, 100, (20, 1))
    expected = fidelity.knn_votes(query, bank, labels, 2)
    assert fidelity.knn_votes(5 * query, lengths * bank, labels, 2) == pytest.approx(
        expected, abs=1e-5
    )


def test_votes_do_not_overflow_at_a_small_temperature():
    votes = fidelity.knn_votes(INSIDE, BANK, np.array([0, 1, 2]), 3, k=3, tau=1e-4)
    assert votes.argmax(axis=1).tolist() == [0, 1, 2, 2]
    assert votes.max(axis=1) == pytest.approx(np.ones(4))


@pytest.mark.parametrize("n", [4, 11, 25])
def test_leave_one_out_equals_a_loop(n):
    x, labels = random(n, 5), np.arange(n) % 3
    others = [np.delete(np.arange(n), row) for row in range(n)]
    expected = [
        fidelity.knn_votes(x[row : row + 1], x[rest], labels[rest], 3)[0]
        for row, rest in enumerate(others)
    ]
    got = fidelity.knn_votes_within(x, labels, 3)
    assert got == pytest.approx(np.array(expected), abs=1e-5)


def test_leave_one_out_counts_a_twin_but_never_the_image_itself():
    x = np.repeat(random(5, 4), 2, axis=0)  # every image twice
    labels = np.tile([0, 1], 5)  # and the twin has the other label
    votes = fidelity.knn_votes_within(x, labels, 2, k=1)
    assert votes.argmax(axis=1).tolist() == (1 - labels).tolist()


def test_more_twins_than_neighbours():
    x = np.ones((20, 3))
    labels = np.zeros(20, np.int64)
    assert fidelity.knn_votes_within(x, labels, 2, k=5).tolist() == [[1, 0]] * 20


def test_ood_score_is_the_cosine_to_the_nearest():
    query, bank = random(8, 5), random(40, 5, seed=1)
    expected = [max(cosine(q, b) for b in bank) for q in query]
    assert fidelity.ood_scores(query, bank) == pytest.approx(expected, abs=1e-6)


def test_a_large_bank_in_chunks_gives_the_same_as_in_one_go():
    bank, query = random(25_000, 4), random(520, 4, seed=1)  # 13 million cosines: two chunks
    labels = np.arange(25_000) % 7
    whole = fidelity.knn_votes(query, bank, labels, 7)
    parts = [fidelity.knn_votes(query[at], bank, labels, 7) for at in np.split(range(520), [200])]
    # 1e-4: a product of another shape may round the last digit of a cosine the other way
    assert whole == pytest.approx(np.concatenate(parts), abs=1e-4)
    parts = [fidelity.ood_scores(query[at], bank) for at in np.split(range(520), [200])]
    assert fidelity.ood_scores(query, bank) == pytest.approx(np.concatenate(parts), abs=1e-6)


# --- in or out of distribution ---------------------------------------------------------------

scores = st.lists(st.integers(-4, 4), min_size=1, max_size=12)


@settings(deadline=None)
@given(inside=scores, outside=scores)
def test_auroc_equals_counting_pairs(inside, outside):
    won = sum((a > b) + (a == b) / 2 for a in inside for b in outside)
    got = fidelity.auroc(np.array(inside, np.float32), np.array(outside, np.float32))
    assert got == pytest.approx(won / (len(inside) * len(outside)), abs=1e-12)


@settings(deadline=None)
@given(inside=scores, outside=scores)
def test_fpr95_equals_counting(inside, outside):
    threshold = np.percentile(inside, 5)
    expected = sum(score > threshold for score in outside) / len(outside)
    assert fidelity.fpr95(np.array(inside), np.array(outside)) == pytest.approx(expected)


def test_auroc_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for n, m in ((1, 1), (50, 30), (400, 900)):
        inside = rng.normal(0.5, 1, n).round(1).astype(np.float32)  # rounded: many ties
        outside = rng.normal(0, 1, m).round(1).astype(np.float32)
        truth, score = np.r_[np.ones(n), np.zeros(m)], np.r_[inside, outside]
        expected = metrics.roc_auc_score(truth, score)
        assert fidelity.auroc(inside, outside) == pytest.approx(expected, abs=1e-12)


def test_separated_scores_are_perfect_and_swapped_ones_the_worst():
    low, high = np.linspace(0, 1, 20), np.linspace(2, 3, 20)
    assert (fidelity.auroc(high, low), fidelity.fpr95(high, low)) == (1, 0)
    assert (fidelity.auroc(low, high), fidelity.fpr95(low, high)) == (0, 1)
    assert fidelity.auroc(low, low) == 0.5


# --- how alike the images lie to each other --------------------------------------------------


def test_similarity_correlation_equals_numpy():
    a, b = random(40, 6), random(40, 6) + random(40, 6, seed=2)
    expected = np.corrcoef(off_diagonal(a), off_diagonal(b))[0, 1]
    assert 0.2 < expected < 0.9
    assert fidelity.similarity_correlation(a, b).value == pytest.approx(expected, abs=1e-12)
    assert fidelity.pair_correlation(a, b) == pytest.approx(expected, abs=1e-12)


def test_similarity_correlation_does_not_see_rotation_scale_or_width():
    x = random(30, 8)
    wider = np.concatenate([x @ rotation(8), np.zeros((30, 5))], axis=1)
    got = fidelity.similarity_correlation(7 * wider, x)
    assert (got.value, got.low, got.high) == pytest.approx((1, 1, 1), abs=1e-12)


def test_similarity_correlation_of_unrelated_embeddings_is_about_zero():
    got = fidelity.similarity_correlation(random(300, 16), random(300, 16, seed=1))
    assert abs(got.value) < 0.03
    assert got.low < 0 < got.high


def test_similarity_correlation_of_embeddings_that_nearly_agree_everywhere():
    """Untrained networks: all cosines are 0.999; float32 sums would see nothing but rounding."""
    x, shift = random(50, 8), np.full(8, 300.0)
    a, b = shift + x, (shift + x) @ rotation(8)
    assert off_diagonal(a).min() > 0.999
    assert fidelity.pair_correlation(a, b) == pytest.approx(1, abs=1e-9)
    rounded = a.astype(np.float32), b.astype(np.float32)
    assert fidelity.pair_correlation(*rounded) == pytest.approx(1, abs=1e-6)
    unrelated = shift + random(50, 8, seed=3)
    expected = np.corrcoef(off_diagonal(a), off_diagonal(unrelated))[0, 1]
    assert fidelity.pair_correlation(a, unrelated) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [12, 13, 50, 200])
@pytest.mark.parametrize("d", [3, 64, 192])
def test_similarity_correlation_of_a_collapsed_student_is_zero(n, d):
    """All rows the same: what is left of the cosines is the rounding of the matrix product."""
    collapsed = np.tile(random(1, d).astype(np.float32), (n, 1))
    got = fidelity.similarity_correlation(collapsed, random(n, d, seed=1))
    assert got == fidelity.Figure(0, 0, 0)
    assert fidelity.pair_correlation(random(n, d, seed=1), collapsed) == 0


def test_similarity_interval_equals_a_slow_bootstrap():
    """Images are drawn, and a pair of an image with its own copy is left out."""
    n = 12
    a, b = random(n, 4), random(n, 4) + 0.5 * random(n, 4, seed=1)
    x, y = (np.array([[cosine(p, q) for q in each] for p in each]) for each in (a, b))
    counts = np.random.default_rng(5).multinomial(n, np.full(n, 1 / n), size=fidelity.RESAMPLES)
    samples = []
    for count in counts:
        drawn = np.repeat(np.arange(n), count)
        i, j = np.meshgrid(drawn, drawn)
        other = i != j
        samples.append(np.corrcoef(x[i, j][other], y[i, j][other])[0, 1])
    got = fidelity.similarity_correlation(a, b, seed=5)
    expected = np.percentile(samples, [2.5, 97.5])
    assert (got.low, got.high) == pytest.approx(tuple(expected), abs=1e-9)


def test_similarity_correlation_of_many_images_draws_some():
    n = fidelity.MAX_PAIR_IMAGES + 1
    x = random(n, 8)
    got = fidelity.similarity_correlation(x, x @ rotation(8))
    assert (got.value, got.low, got.high) == pytest.approx((1, 1, 1), abs=1e-9)


# --- the same neighbours ---------------------------------------------------------------------


def test_neighbour_overlap_with_itself_is_one():
    x = random(40, 6)
    assert fidelity.neighbour_overlap(x, 3 * x @ rotation(6)).tolist() == [1] * 40


def test_neighbour_overlap_with_itself_is_one_where_rows_are_twins():
    x = np.repeat(random(5, 6), 8, axis=0)
    assert fidelity.neighbour_overlap(x, x).tolist() == [1] * 40


def test_neighbour_overlap_equals_a_loop():
    a, b, k = random(25, 4), random(25, 4) + random(25, 4, seed=1), 5

    def near(x, row):
        others = [at for at in range(25) if at != row]
        return set(sorted(others, key=lambda at: -cosine(x[row], x[at]))[:k])

    expected = [len(near(a, row) & near(b, row)) / k for row in range(25)]
    got = fidelity.neighbour_overlap(a, b, k=k)
    assert got.tolist() == expected
    assert 0 < got.mean() < 1


def test_neighbour_overlap_of_unrelated_embeddings_is_chance():
    shares = fidelity.neighbour_overlap(random(200, 8), random(200, 8, seed=1))
    assert shares.mean() == pytest.approx(10 / 199, abs=0.02)


def test_neighbour_overlap_with_fewer_images_than_neighbours():
    assert fidelity.neighbour_overlap(random(4, 3), random(4, 3, seed=1)).tolist() == [1] * 4


# --- intervals -------------------------------------------------------------------------------


def near_inside(figure):
    # 1e-6: resampled means are float32
    return figure.low - 1e-6 <= figure.value <= figure.high + 1e-6


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans() | st.floats(0, 1), min_size=1, max_size=60))
def test_mean_lies_in_its_interval(values):
    figure = fidelity.mean_figure(np.array(values, np.float64))
    assert figure.value == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert near_inside(figure)
    assert min(values) - 1e-6 <= figure.low <= figure.high <= max(values) + 1e-6


def test_mean_of_answers_that_are_all_right_is_certain():
    assert fidelity.mean_figure(np.ones(30, bool)) == fidelity.Figure(1, 1, 1)


def test_interval_of_a_mean_is_the_one_of_statistics():
    """1.96 standard errors to each side, 10 times narrower with 100 times the images."""
    widths = []
    for n in (50, 5000):
        figure = fidelity.mean_figure(np.arange(n) % 2 == 0)
        widths.append(figure.high - figure.low)
        assert widths[-1] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(n), rel=0.15)
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.2)


def test_intervals_of_pairs_and_of_two_samples_shrink_too():
    rng = np.random.default_rng(0)
    correlation, ranking = [], []
    for n in (30, 600):
        a = rng.normal(size=(n, 8))
        noisy = a + 0.7 * rng.normal(size=(n, 8))
        correlation.append(fidelity.similarity_correlation(a, noisy))
        scores = rng.normal(1, 1, n), rng.normal(0, 1, n)
        ranking.append(fidelity.two_sample_figure(fidelity.auroc, *scores))
    for few, many in (correlation, ranking):
        assert near_inside(few)
        assert near_inside(many)
        assert (many.high - many.low) < (few.high - few.low) / 2


@pytest.mark.parametrize("statistic", [fidelity.auroc, fidelity.fpr95])
def test_two_sample_figure_gives_the_plain_value_in_its_interval(statistic):
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(1, 1, 80), rng.normal(0, 1, 60)
    figure = fidelity.two_sample_figure(statistic, inside, outside)
    assert figure.value == statistic(inside, outside)
    assert figure.low < figure.value < figure.high


def test_intervals_follow_from_the_seed():
    values, pair = np.arange(40) % 3 == 0, (random(20, 4), random(20, 5, seed=1))
    scores = np.linspace(0, 1, 20), np.linspace(-0.5, 0.5, 20)
    for figure in (
        lambda seed: fidelity.mean_figure(values, seed=seed),
        lambda seed: fidelity.similarity_correlation(*pair, seed=seed),
        lambda seed: fidelity.two_sample_figure(fidelity.auroc, *scores, seed=seed),
    ):
        assert figure(3) == figure(3)
        assert figure(3).value == figure(4).value
        assert (figure(3).low, figure(3).high) != (figure(4).low, figure(4).high)


# --- probabilities ---------------------------------------------------------------------------


def logits_of(*chances):
    return np.log(np.array(chances))


def test_log_softmax_of_huge_logits():
    shares = np.exp(fidelity.log_softmax(np.array([[1e4, 1e4 - 1], [-1e4, 0]])))
    assert shares[0] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.e)])
    assert shares[1] == pytest.approx([0, 1])


def test_calibration_error_by_hand():
    """Bin of .8: three of four right, off by .05. Bin of .6: none of two right, off by .6."""
    chances = [(0.8, 0.2)] * 4 + [(0.4, 0.6)] * 2
    labels = np.array([0, 0, 0, 1, 0, 0])
    figure = fidelity.calibration_error(logits_of(*chances), labels)
    assert figure.value == pytest.approx((4 * 0.05 + 2 * 0.6) / 6)
    assert figure.low <= figure.value <= figure.high


def test_half_right_at_one_half_is_calibrated():
    figure = fidelity.calibration_error(np.zeros((40, 2)), np.arange(40) % 2)
    assert figure.value == pytest.approx(0, abs=1e-12)


def test_sure_and_wrong_is_as_far_off_as_can_be():
    logits = np.tile([20.0, 0.0], (8, 1))
    sure = fidelity.calibration_error(logits, np.ones(8, np.int64))
    assert (sure.value, sure.low, sure.high) == pytest.approx((1, 1, 1), abs=1e-6)
    assert fidelity.calibration_error(logits, np.zeros(8, np.int64)).value < 1e-6


def test_calibration_error_against_a_slow_loop():
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(200, 5)) * 2, rng.integers(0, 5, 200)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        rows = [i for i in range(200) if low <= chances[i].max() < high]
        if rows:
            right = np.mean([chances[i].argmax() == labels[i] for i in rows])
            total += len(rows) / 200 * abs(right - np.mean([chances[i].max() for i in rows]))
    assert fidelity.calibration_error(logits, labels).value == pytest.approx(total)


def test_log_loss_by_hand():
    loss = fidelity.log_loss(logits_of((0.8, 0.2), (0.5, 0.5)), np.array([1, 0]))
    assert loss == pytest.approx([-np.log(0.2), np.log(2)])
