"""What was used for fitting never appears in a held-out figure: seen images are set apart.

A held-out image that lies far nearer to a training image than held-out images do is that image,
saved again, resized or retouched. The audit sets copies with the same pixels aside; this looks at
what was really put into the bank of training embeddings, from which probes, neighbours and maps
come, with the teacher's eyes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.bundle.golden import Golden
from runtime.errors import InputError

TWIN_SHARE = 0.05
"""Of the median distance to the nearest training image. Copies saved as JPEG of quality 75 to 95 or
resized came to .0001 to .044 of it on Imagenette, the nearest of 500 other images to .15, of 180 of
TrashNet to .14, of 270 digits to .09 (docs/decisions.md)."""
SAME_SHARE = 0.001
"""Of the mean distance between held-out images: where most were seen, the median is of no use."""
LEAST_DISTANCE = 1e-4
"""A teacher to which all images are this near tells none from another."""
MOST_LEAKED = 0.5
"""If more of the held-out images are training images, the set is not held out at all."""


def seen_in_training(golden: Golden) -> npt.NDArray[np.bool_]:
    """Which held-out images are training images to the teacher: [N]."""
    nearest = 1 - golden.arrays.teacher_ood_inside.astype(np.float64)
    count = len(nearest)
    total = metrics.normalise(golden.arrays.teacher_embedding).sum(axis=0, dtype=np.float64)
    apart = 1 - (total @ total - count) / max(1, count * (count - 1))
    if apart < LEAST_DISTANCE:
        return np.zeros(count, bool)
    seen: npt.NDArray[np.bool_] = nearest <= max(
        TWIN_SHARE * float(np.median(nearest)), SAME_SHARE * apart
    )
    return seen


def set_apart(golden: Golden) -> tuple[Golden, tuple[str, ...]]:
    """The golden set without images that the training had, and the names of those.

    Raises:
        InputError: most of the held-out images are training images.
    """
    seen = seen_in_training(golden)
    if not seen.any():
        return golden, ()
    names = tuple(golden.images[row] for row in np.flatnonzero(seen))
    if seen.mean() > MOST_LEAKED:
        shown = ", ".join(names[:3])
        raise InputError(
            f"{golden.root}: {len(names)} of {len(golden.images)} held-out images are training "
            f"images too ({shown}{', ...' if len(names) > 3 else ''}): the teacher cannot tell "
            "them apart.\n  Nothing measured on them would say how the student does on images it "
            "has not seen. Hold out other images (data.holdout), and run again."
        )
    return golden.only(np.flatnonzero(~seen)), names
