"""Linear CKA and the best orthogonal map: known values, slow forms, scipy."""

import numpy as np
import pytest

from random_arrays import random, rotation
from runtime import metrics


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow_hsic(p, q):
    """Song et al. (2012), equation 5, with [N, N] kernels."""
    n = len(p)
    p, q = (each - np.diag(np.diag(each)) for each in (p, q))
    across = p.sum() * q.sum() / ((n - 1) * (n - 2))
    return (np.trace(p @ q) + across - 2 / (n - 2) * (p @ q).sum()) / (n * (n - 3))


def slow_cka(a, b):
    p, q = (unit(each) @ unit(each).T for each in (a, b))
    return slow_hsic(p, q) / np.sqrt(slow_hsic(p, p) * slow_hsic(q, q))


def plain_cka(a, b):
    """Kornblith et al. (2019), in feature space."""
    x, y = unit(a) - unit(a).mean(axis=0), unit(b) - unit(b).mean(axis=0)
    squared = [np.linalg.norm(p.T @ q) ** 2 for p, q in ((x, y), (x, x), (y, y))]
    return squared[0] / np.sqrt(squared[1] * squared[2])


# --- linear CKA ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 12, 60])
def test_cka_equals_the_slow_form(n):
    a, b = random(n, 6), random(n, 6) @ random(6, 9, seed=2) + 0.3 * random(n, 9, seed=1)
    got = metrics.linear_cka(a, b)
    assert got.value == pytest.approx(slow_cka(a, b), abs=1e-9)
    assert got.low <= got.value <= got.high


def test_cka_of_many_images_is_the_plain_one():
    a = random(3000, 8)
    b = a @ random(8, 5, seed=2) + random(3000, 5, seed=1)
    assert metrics.linear_cka(a, b).value == pytest.approx(plain_cka(a, b), abs=0.01)


def test_cka_does_not_see_rotation_scale_or_width():
    x = random(30, 8)
    wider = np.concatenate([x @ rotation(8), np.zeros((30, 5))], axis=1)
    got = metrics.linear_cka(7 * wider, x)
    assert (got.value, got.low, got.high) == pytest.approx((1, 1, 1), abs=1e-9)


def test_cka_of_independent_embeddings_is_zero_where_the_plain_one_is_not():
    a, b = random(100, 192), random(100, 192, seed=1)
    assert plain_cka(a, b) > 0.6
    got = metrics.linear_cka(a, b)
    assert abs(got.value) < 0.1
    assert got.low < 0 < got.high


def test_cka_of_a_collapsed_student_is_zero():
    collapsed = np.tile(random(1, 8).astype(np.float32), (20, 1))
    assert metrics.linear_cka(collapsed, random(20, 4)) == metrics.Estimate(0, 0, 0)


def test_intervals_of_cka_hold_the_truth_as_often_as_they_say():
    mix = random(16, 8, seed=98)

    def sample(n, seed):
        z = random(n, 16, seed) * np.linspace(2, 0.3, 16)
        return z, z @ mix + 4 * random(n, 8, seed + 10_000)

    truth = metrics.linear_cka(*sample(20_000, 77)).value
    assert 0.2 < truth < 0.9
    found = [metrics.linear_cka(*sample(60, seed)) for seed in range(150)]
    assert np.mean([each.low <= truth <= each.high for each in found]) > 0.88


# --- the best orthogonal map -----------------------------------------------------------------


def test_a_rotation_is_found():
    x = random(80, 6)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    turned = x @ rotation(6)
    found = metrics.fit_orthogonal_map(x[:50], turned[:50])
    assert found.turn == pytest.approx(rotation(6), abs=1e-5)
    assert found.cosines(x[50:], turned[50:]) == pytest.approx(np.ones(30), abs=1e-5)


def test_the_map_is_scipys():
    linalg = pytest.importorskip("scipy.linalg")
    a, b = random(40, 5), random(40, 5, seed=1)
    one, other = unit(a) - unit(a).mean(axis=0), unit(b) - unit(b).mean(axis=0)
    expected, _ = linalg.orthogonal_procrustes(one, other)
    assert metrics.fit_orthogonal_map(a, b).turn == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("d", "dt"), [(4, 9), (9, 4)])
def test_unequal_widths(d, dt):
    a, b = random(60, d), random(60, dt, seed=1)
    found = metrics.fit_orthogonal_map(a, b)
    turn = found.turn if d < dt else found.turn.T
    assert turn @ turn.T == pytest.approx(np.eye(min(d, dt)), abs=1e-5)
    cosines = found.cosines(a, b)
    assert cosines.shape == (60,)
    assert np.all(np.abs(cosines) <= 1)
    narrow = unit(random(60, 4, seed=3))
    wide = narrow @ rotation(9)[:4]
    lossless = metrics.fit_orthogonal_map(narrow, wide)
    assert lossless.cosines(narrow, wide) == pytest.approx(np.ones(60), abs=1e-5)


def test_directions_that_no_image_shows_are_left_out():
    """Seven images span six directions of twenty: what becomes of the others is not made up."""
    a = random(7, 20)
    found = metrics.fit_orthogonal_map(a, a @ rotation(20))
    assert np.linalg.matrix_rank(found.turn, tol=1e-4) == 6
    unseen = np.linalg.svd(unit(a) - unit(a).mean(axis=0))[2][10]  # a row across all of them
    assert found.turn.T @ unseen == pytest.approx(np.zeros(20), abs=1e-4)
    assert found.cosines(a, a @ rotation(20)) == pytest.approx(np.ones(7), abs=1e-4)


def test_a_map_fitted_on_its_own_images_flatters():
    """Unrelated embeddings: fitted on the images it is judged on it seems to find something."""
    a, b = random(400, 64), random(400, 64, seed=1)
    own = metrics.fit_orthogonal_map(a[:100], b[:100]).cosines(a[:100], b[:100])
    unseen = metrics.fit_orthogonal_map(a[100:], b[100:]).cosines(a[:100], b[:100])
    assert own.mean() > 0.4
    assert abs(unseen.mean()) < 0.05


def test_a_row_on_the_mean_has_cosine_zero():
    x = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    found = metrics.fit_orthogonal_map(x, x)
    centre = metrics.OrthogonalMap(found.turn, np.array([1, 0], np.float32), found.target_mean)
    assert centre.cosines(x[:1], x[:1]).tolist() == [0]
