import sys

import numpy as np
import pytest

from compressor.selection import tsne_map
from compressor.selection.tsne_map import FEWEST_IMAGES
from runtime.errors import MissingDependencyError


def blobs(classes, per_class, seed=0):
    """Directions around some centres, and the class of each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    centres = rng.normal(size=(classes, 16)) * 3
    return (centres[labels] + rng.normal(size=(len(labels), 16))).astype(np.float32), labels


def neighbours_of_the_same_class(place, labels):
    apart = np.linalg.norm(place[:, None] - place[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return (labels[apart.argsort(axis=1)[:, :5]] == labels[:, None]).mean()


def disparity(a, b):
    """Procrustes: the share of one map that no turning and scaling of the other explains."""
    a, b = (each - each.mean(axis=0) for each in (a, b))
    a, b = (each / np.linalg.norm(each) for each in (a, b))
    return 1 - np.linalg.svd(a.T @ b, compute_uv=False).sum() ** 2


def test_neighbours_stay_neighbours():
    embeddings, labels = blobs(5, 40)
    place = tsne_map.tsne_map(embeddings, 0)
    assert place.shape == (200, 2)
    assert place.dtype == np.float32
    assert neighbours_of_the_same_class(place, labels) > 0.95


def test_the_seed_changes_the_map_and_nothing_else_does():
    embeddings, _ = blobs(5, 40)
    one, again, other = (tsne_map.tsne_map(embeddings, seed) for seed in (0, 0, 1))
    assert (one == again).all()
    # More than the 0.0027 of scikit-learn's random start, 0.00019 of PCA.
    assert disparity(one, other) > 0.01


def test_it_is_blind_to_the_length_of_an_embedding():
    embeddings, _ = blobs(3, 20)
    powers = 2.0 ** np.arange(60)[:, None]  # exact in floating point
    assert (tsne_map.tsne_map(embeddings * powers, 0) == tsne_map.tsne_map(embeddings, 0)).all()


@pytest.mark.parametrize("count", [3, FEWEST_IMAGES - 1, FEWEST_IMAGES, 30])
def test_few_images(count):
    embeddings, _ = blobs(1, count)
    place = tsne_map.tsne_map(embeddings, 0)
    if count < FEWEST_IMAGES:
        assert place is None
    else:
        assert place.shape == (count, 2)
        assert np.isfinite(place).all()


def test_equal_images_lie_on_one_spot():
    embeddings, _ = blobs(3, 10)
    place = tsne_map.tsne_map(np.repeat(embeddings, 30, axis=0), 0)
    assert (place == np.repeat(place[::30], 30, axis=0)).all()
    assert len(np.unique(place, axis=0)) == 30
    assert tsne_map.tsne_map(np.repeat(embeddings[:5], 30, axis=0), 0) is None


def test_of_many_images_a_part_is_mapped_and_the_others_placed_among_them(monkeypatch):
    embeddings, labels = blobs(5, 80)
    monkeypatch.setattr(tsne_map, "MOST_MAPPED", 150)
    place = tsne_map.tsne_map(embeddings, 0)
    assert np.isfinite(place).all()
    assert neighbours_of_the_same_class(place, labels) > 0.95


def test_an_embedding_without_direction_is_refused():
    embeddings, _ = blobs(2, 10)
    embeddings[3] = 0
    with pytest.raises(ValueError, match="no direction"):
        tsne_map.tsne_map(embeddings, 0)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingDependencyError, match=r"openTSNE.*\n.*edge-compressor\[train\]"):
        tsne_map.tsne_map(blobs(2, 10)[0], 0)
