"""Embeddings and rotations of a seed, and the cosine of two vectors by its formula."""

import numpy as np


def random(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def rotation(d, seed=1):
    return np.linalg.qr(random(d, d, seed))[0]


def cosine(p, q):
    return float(p @ q / np.sqrt((p @ p) * (q @ q)))
