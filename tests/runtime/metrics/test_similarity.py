"""How alike images lie to each other, against numpy and a slow bootstrap."""

import numpy as np
import pytest

from random_arrays import cosine, random, rotation
from runtime import metrics as fidelity


def off_diagonal(x):
    """Cosines of all pairs i < j, one by one."""
    n = len(x)
    return np.array([cosine(x[i], x[j]) for i in range(n) for j in range(i + 1, n)])


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
    assert got == fidelity.Estimate(0, 0, 0)
    assert fidelity.pair_correlation(random(n, d, seed=1), collapsed) == 0


def test_similarity_interval_is_about_that_of_a_slow_bootstrap():
    """Images are drawn, and a pair of an image with its own copy is left out."""
    n, draws = 40, 400
    a, b = random(n, 4), random(n, 4) + 0.5 * random(n, 4, seed=1)
    x, y = (np.array([[cosine(p, q) for q in each] for p in each]) for each in (a, b))
    rng = np.random.default_rng(5)
    samples = []
    for _ in range(draws):
        drawn = rng.integers(n, size=n)
        i, j = np.meshgrid(drawn, drawn)
        other = i != j
        samples.append(np.corrcoef(x[i, j][other], y[i, j][other])[0, 1])
    low, high = np.percentile(samples, [2.5, 97.5])
    got = fidelity.similarity_correlation(a, b)
    assert got.high - got.low == pytest.approx(high - low, rel=0.2)
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.25 * (high - low))


def covered(figure_of, truth, *, images, times=150):
    """Share of samples of images whose interval holds the truth."""
    figures = [figure_of(*sample(images, seed)) for seed in range(times)]
    return np.mean([figure.low <= truth <= figure.high for figure in figures])


def sample(n, seed):
    """Images of five kinds, and a narrower noisy embedding of them."""
    rng = np.random.default_rng(seed)
    z = random(5, 16, seed=99)[rng.integers(0, 5, n)] + rng.normal(size=(n, 16))
    return z, z @ random(16, 8, seed=98) + 3 * rng.normal(size=(n, 8))


@pytest.mark.parametrize("images", [15, 60])
def test_intervals_hold_the_truth_as_often_as_they_say(images):
    many = sample(4000, 12345)
    truth = fidelity.pair_correlation(*many)
    assert 0.9 < covered(fidelity.similarity_correlation, truth, images=images) <= 1
    truth = fidelity.cosine_mae(*many).value
    assert 0.88 < covered(fidelity.cosine_mae, truth, images=images) <= 1


def test_many_images_are_taken_whole():
    x = random(3000, 8)
    got = fidelity.similarity_correlation(x, x @ rotation(8))
    assert (got.value, got.low, got.high) == pytest.approx((1, 1, 1), abs=1e-9)
    a, b = sample(3000, 1)
    x, y = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a, b))
    pairs = np.triu_indices(3000, 1)
    expected = np.corrcoef((x @ x.T)[pairs], (y @ y.T)[pairs])[0, 1]
    assert fidelity.pair_correlation(a, b) == pytest.approx(expected, abs=1e-10)


# --- mean absolute difference ----------------------------------------------------------------


def test_cosine_mae_equals_a_loop():
    a, b = random(30, 5), random(30, 9, seed=1)
    expected = np.abs(off_diagonal(a) - off_diagonal(b)).mean()
    got = fidelity.cosine_mae(a, b)
    assert got.value == pytest.approx(expected, abs=1e-6)
    assert got.low < got.value < got.high


def test_cosine_mae_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    a, b = random(50, 6), random(50, 4, seed=1)
    pairs = np.triu_indices(50, 1)
    x, y = (metrics.pairwise.cosine_similarity(each)[pairs] for each in (a, b))
    got = fidelity.cosine_mae(a, b).value
    assert got == pytest.approx(metrics.mean_absolute_error(x, y), abs=1e-6)


def test_cosine_mae_sees_what_the_correlation_does_not():
    """All cosines shifted towards 1 by a common direction."""
    x = random(200, 32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    shifted = np.concatenate([x, np.ones((200, 1))], axis=1)  # every cosine c becomes (c + 1) / 2
    assert fidelity.similarity_correlation(x, shifted).value == pytest.approx(1, abs=1e-9)
    assert fidelity.cosine_mae(x, shifted).value > 0.4
    assert fidelity.cosine_mae(x, 5 * x).value < 1e-6


def test_blocks_of_rows_give_the_same(monkeypatch):
    a, b = sample(70, 0)
    whole = fidelity.cosine_mae(a, b), fidelity.similarity_correlation(a, b)
    monkeypatch.setattr("runtime.metrics.directions.BLOCK_VALUES", 200)
    parts = fidelity.cosine_mae(a, b), fidelity.similarity_correlation(a, b)
    for one, other in zip(whole, parts, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx(
            (other.value, other.low, other.high), abs=1e-6
        )
