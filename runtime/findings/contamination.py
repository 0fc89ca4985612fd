"""Contamination: held-out images that are training images too are left out of every score.

A held-out image that is far nearer to a training image than held-out images usually are is that
image, saved again, resized or retouched. The audit removes copies with the same pixels; this looks
at the bank of training embeddings, from which probes, neighbours and maps come, through the
teacher's embedding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.bundle.golden import Golden
from runtime.errors import InputError

COPY_SHARE = 0.05
"""Share of the median distance to the nearest training image. Copies saved as JPEG of quality 75 to
95 or resized came to 0.0001 to 0.044 of it on Imagenette, the nearest of 500 other images to 0.15,
of 180 of TrashNet to 0.14, of 270 digits to 0.09 (docs/decisions/evaluation.md)."""
SAME_SHARE = 0.001
"""Share of the mean distance between held-out images; used if most are copies."""
LEAST_DISTANCE = 1e-4
"""A teacher with all images this near to each other cannot tell any two apart."""
MOST_CONTAMINATED = 0.5
"""If more of the held-out images are training images, the set is not held out at all."""


def seen_in_training(golden: Golden) -> npt.NDArray[np.bool_]:
    """Tell which held-out images the teacher takes for training images: [N]."""
    nearest = 1 - golden.arrays.teacher_nearest.astype(np.float64)
    count = len(nearest)
    total = metrics.normalise(golden.arrays.teacher_embedding).sum(axis=0, dtype=np.float64)
    apart = 1 - (total @ total - count) / max(1, count * (count - 1))
    if apart < LEAST_DISTANCE:
        return np.zeros(count, bool)
    seen: npt.NDArray[np.bool_] = nearest <= max(
        COPY_SHARE * float(np.median(nearest)), SAME_SHARE * apart
    )
    return seen


def drop_contaminated(golden: Golden) -> tuple[Golden, tuple[str, ...]]:
    """Return the golden set without the images found in the training set, and their names.

    Raises:
        InputError: most of the held-out images are training images.
    """
    seen = seen_in_training(golden)
    if not seen.any():
        return golden, ()
    names = tuple(golden.images[row] for row in np.flatnonzero(seen))
    if seen.mean() > MOST_CONTAMINATED:
        shown = ", ".join(names[:3])
        raise InputError(
            f"{golden.root}: {len(names)} of {len(golden.images)} held-out images are training "
            f"images too ({shown}{', ...' if len(names) > 3 else ''}): the teacher cannot tell "
            "them apart.\n  Scores on them would not show how good the student is on new images. "
            "Hold out other images (data.holdout), and run again."
        )
    return golden.only(np.flatnonzero(~seen)), names
