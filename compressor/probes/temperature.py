"""Temperature scaling: calibrated probabilities, from images that the probe was not fitted on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime.metrics import NEVER, SCALES, log_softmax


def scale_of(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """Return the factor that calibrates the softmax of logits [N, K] of labelled images.

    The scale (one over the temperature) of the least cross-entropy (Guo et al., ICML 2017). The
    targets are Platt's (1999): the true class has (N + 1) / (N + 2), the others share the rest, so
    that a probe without a mistake on few images is not taken for one that never errs.

    Args:
        logits: of a probe that was fitted without these images.
        labels: [N], of classes that the probe answers.
    """
    from scipy.optimize import minimize_scalar

    count = len(labels)
    answerable = logits.max(axis=0) > NEVER / 2
    kept = logits[:, answerable].astype(np.float64)
    column = (np.cumsum(answerable) - 1)[labels]
    rest = 1 / (count + 2)

    def cross_entropy(log_scale: float) -> float:
        chances = log_softmax(kept * np.exp(log_scale))
        true = chances[np.arange(count), column]
        others = (chances.sum(axis=1) - true) / max(1, kept.shape[1] - 1)
        return float(-((1 - rest) * true + rest * others).mean())

    bounds = (np.log(SCALES[0]), np.log(SCALES[1]))
    found = minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
    return float(np.exp(found.x))
