"""95 % bootstrap intervals over images, paired for differences.

All estimates over the same images are resampled with the same draws of images. A difference
between two of them is therefore resampled image by image (a paired bootstrap) at no extra cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from runtime.arrays import Doubles
from runtime.metrics.directions import Floats

RESAMPLES = 1000
"""Bootstrap resamples behind every interval."""
_BLOCK = 2_000_000  # counts of images held at a time
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A number that rests on held-out images, with its 95 % bootstrap interval over images."""

    value: float
    low: float
    high: float
    resampled: Doubles | None = field(default=None, repr=False, compare=False)
    """[RESAMPLES], its value in each resample; None for an estimate that was read from a file."""
    draws: tuple[int, ...] = field(default=(), repr=False, compare=False)
    """The seed, and the images of each sample: estimates with the same draws are paired."""
    bounds: Bounds | None = field(default=None, repr=False, compare=False)
    """Bounds of one image's contribution, if there are any."""


def mean_estimate(
    values: Floats | npt.NDArray[np.bool_], *, bounds: Bounds | None = None, seed: int = 0
) -> Estimate:
    """Mean over images of a per-image value [N], with its interval.

    Args:
        values: one for each image.
        bounds: of a value, for a share of images that fail or do not; those of true and false are
            known. A measured distance needs none: its own spread shows in any sample.
        seed: of the resamples.
    """
    if values.dtype == bool:
        bounds = (0.0, 1.0)
    samples = resampled_means(values[:, None], seed)[:, 0]
    return _figure(float(np.mean(values)), samples, (seed, len(values)), bounds)


def smooth_estimate(
    statistic: Callable[[Doubles], Doubles], values: Floats, *, seed: int = 0
) -> Estimate:
    """A smooth function of several means over images, with its interval.

    Args:
        statistic: means [R, C] -> [R].
        values: [N, C], each image's own contribution to the C means. For a mean over *pairs* of
            images these are jackknife pseudo-values (`pseudo_values`): resampling them is the
            bootstrap of the U-statistic's projection, which needs no pair twice and no [N, N].
        seed: of the resamples.
    """
    value = float(statistic(values.mean(axis=0, dtype=np.float64)[None])[0])
    return _figure(value, statistic(resampled_means(values, seed)), (seed, len(values)), None)


def pseudo_values(whole: float, without: Doubles) -> Doubles:
    """Return each image's jackknife pseudo-value: N whole - (N - 1) without. -> [N].

    For a U-statistic (a mean over all pairs, triples, ...) their mean is the statistic itself.

    Args:
        whole: the statistic of all N images.
        without: [N], of all but one.
    """
    return whole + (len(without) - 1) * (whole - without)


def two_sample_estimate(
    statistic: Callable[[Floats, Floats], float], inside: Floats, outside: Floats, *, seed: int = 0
) -> Estimate:
    """`statistic(inside, outside)`, within 0 to 1, with an interval that resamples both sets."""
    rng = np.random.default_rng(seed)
    samples = [
        statistic(rng.choice(inside, len(inside)), rng.choice(outside, len(outside)))
        for _ in range(RESAMPLES)
    ]
    draws = (seed, len(inside), len(outside))
    return _figure(statistic(inside, outside), np.array(samples), draws, (0.0, 1.0))


def paired_difference(one: Estimate, other: Estimate) -> Estimate:
    """`one - other`, with the interval of a paired bootstrap.

    Raises:
        ValueError: they are not of the same draws of images.
    """
    if one.resampled is None or other.resampled is None or one.draws != other.draws:
        raise ValueError(f"estimates of different images: {one.draws} and {other.draws}")
    bounds = None
    if one.bounds and other.bounds:
        bounds = (one.bounds[0] - other.bounds[1], one.bounds[1] - other.bounds[0])
    return _figure(one.value - other.value, one.resampled - other.resampled, one.draws, bounds)


def _figure(
    value: float, samples: Doubles, draws: tuple[int, ...], bounds: Bounds | None
) -> Estimate:
    """The percentile interval, and never narrower than what so few images can show.

    Resampling images that are all alike gives no spread at all. But if a share q of all images
    were otherwise, N drawn images would all be alike with chance (1 - q)^N: a q up to
    1 - 0.025^(1/N) cannot be ruled out. (For a share of right answers that are all right this is
    the exact interval of Clopper and Pearson.)
    """
    low, high = np.percentile(samples, [2.5, 97.5])
    if bounds is not None:
        unseen = 1 - 0.025 ** (1 / min(draws[1:]))
        low = min(low, value - unseen * (value - bounds[0]))
        high = max(high, value + unseen * (bounds[1] - value))
    return Estimate(value, float(low), float(high), samples, draws, bounds)


def resampled_means(values: Floats | npt.NDArray[np.bool_], seed: int) -> Doubles:
    """Means of each resample: [N, C] -> [RESAMPLES, C]."""
    numbers = values.astype(np.float64)
    means = np.concatenate([counts @ numbers for counts in _drawn(len(values), seed)])
    shares: Doubles = means / len(values)
    return shares


def _drawn(n: int, seed: int) -> Iterator[Doubles]:
    """Yield how often each of N images is drawn: [some of RESAMPLES, N] at a time."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _BLOCK // n)
    for start in range(0, RESAMPLES, at_once):
        rows = range(min(at_once, RESAMPLES - start))
        yield np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in rows]).astype(
            np.float64
        )
