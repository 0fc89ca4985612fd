"""Alignment of two embeddings: linear CKA, and cosines after the best orthogonal map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt

from runtime.array_groups import axes
from runtime.arrays import Doubles
from runtime.metrics.directions import Floats, normalise, unit_rows
from runtime.metrics.intervals import Estimate, pseudo_values, smooth_estimate

LEAST_VARIANCE = 1e-24
"""Variance of an embedding whose rows differ by rounding alone."""
LEAST_SHARED = 1e-9
"""Singular values below this share of the largest are rounding."""


# --- centred kernel alignment ----------------------------------------------------------------


def linear_cka(a: Floats, b: Floats, *, seed: int = 0) -> Estimate:
    """Return the linear centred kernel alignment of `a` [N, Da] and `b` [N, Db], N > 4.

    Rows are made unit length. 1 where one is a rotation and scaling of the other, 0 where they are
    independent (Kornblith et al., ICML 2019). This is the debiased form (HSIC_1 of Song et al.,
    JMLR 2012, as in Nguyen et al., ICLR 2021): the plain one of two *independent* embeddings of
    width 192 is 0.66 on 100 images, and this one 0. It works in feature space: [D, D] matrices,
    never [N, N].
    """
    x, y = unit_rows(a), unit_rows(b)
    x -= x.mean(axis=0)  # HSIC does not see it; the digits are kept
    y -= y.mean(axis=0)
    columns = [_hsic(*pair) for pair in ((x, y), (x, x), (y, y))]
    return smooth_estimate(_alignment, np.stack(columns, axis=1), seed=seed)


def _alignment(means: Doubles) -> Doubles:
    both, first, second = means.T
    scale = np.maximum(first, 0) * np.maximum(second, 0)
    found: Doubles = np.zeros(len(means))
    np.divide(both, np.sqrt(scale), out=found, where=scale > LEAST_VARIANCE**2)
    return found


def _hsic(x: Doubles, y: Doubles) -> Doubles:
    """Return pseudo-values of the unbiased HSIC of linear kernels: [N, Da], [N, Db] -> [N]."""
    own_x, own_y = (np.einsum("nd,nd->n", rows, rows) for rows in (x, y))
    # p and q: sums of an image's kernel with the others; both: of the products of the two
    p, q = x @ x.sum(axis=0) - own_x, y @ y.sum(axis=0) - own_y
    both = np.einsum("nd,nd->n", x @ (x.T @ y), y) - own_x * own_y
    count, products = len(x), float(p @ q)
    whole = _hsic_of(count, both.sum(), p.sum(), q.sum(), products)
    with_y, with_x = y @ (p @ y) - p * own_y, x @ (q @ x) - q * own_x
    without = _hsic_of(
        count - 1,
        both.sum() - 2 * both,
        p.sum() - 2 * p,
        q.sum() - 2 * q,
        products - p * q - with_y - with_x + both,
    )
    return pseudo_values(float(whole), np.asarray(without))


def _hsic_of(
    count: int,
    both: Doubles | float,
    p: Doubles | float,
    q: Doubles | float,
    products: Doubles | float,
) -> Doubles | float:
    across = p * q / ((count - 1) * (count - 2))
    return (both + across - 2 / (count - 2) * products) / (count * (count - 3))


# --- the best orthogonal map -----------------------------------------------------------------


@dataclass(frozen=True)
class OrthogonalMap:
    """Maps a student's embedding to the teacher's: centred, rotated, perhaps mirrored."""

    turn: Annotated[npt.NDArray[np.float32], axes("D", "Dt")]
    """Its rows are orthonormal where D <= Dt, else its columns. (Of a lower rank where
    fewer images than D were fitted.)"""
    source_mean: Annotated[npt.NDArray[np.float32], axes("D")]
    target_mean: Annotated[npt.NDArray[np.float32], axes("Dt")]

    def cosines(self, source: Floats, target: Floats) -> Doubles:
        """Return the cosine of each mapped row with its target: [N, D], [N, Dt] -> [N].

        0 for a row that lies on the mean and so has no direction.
        """
        mapped = (normalise(source) - self.source_mean).astype(np.float64) @ self.turn
        wanted = (normalise(target) - self.target_mean).astype(np.float64)
        lengths = np.linalg.norm(mapped, axis=1) * np.linalg.norm(wanted, axis=1)
        products = np.einsum("nd,nd->n", mapped, wanted)
        cosines: Doubles = np.zeros(len(products))
        np.divide(products, lengths, out=cosines, where=lengths > 1e-12)
        return cosines


def fit_orthogonal_map(source: Floats, target: Floats) -> OrthogonalMap:
    """Fit the map with the least squared distance between mapped `source` and `target` rows.

    Rows are first made of unit length, and centred. The map is U V' of the singular value
    decomposition of source' target (Schönemann 1966); with unequal widths it is semi-orthogonal:
    a narrower student is embedded into a subspace of the teacher's space, a wider one is projected.
    Directions that so few images do not determine are left out: any rotation of them would fit.
    Fit it on other images than those it is judged on: with D x Dt numbers it overfits them.

    Args:
        source: [M, D]
        target: [M, Dt], of the same images.
    """
    one, other = unit_rows(source), unit_rows(target)
    means = one.mean(axis=0), other.mean(axis=0)
    left, shared, right = np.linalg.svd(
        (one - means[0]).T @ (other - means[1]), full_matrices=False
    )
    found = shared > LEAST_SHARED * max(shared[0], 1e-12)
    left, right = left[:, found], right[found]
    turn, source_mean, target_mean = (
        values.astype(np.float32) for values in (left @ right, *means)
    )
    return OrthogonalMap(turn, source_mean, target_mean)
