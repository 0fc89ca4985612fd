"""What was used for fitting never appears in a held-out figure: seen images are set apart.

A held-out image that the teacher cannot tell from a training image is that image, whatever its
name and however its file was saved. The audit sets copies with the same pixels aside; this looks at
what was really put into the bank of training embeddings, from which probes, neighbours and maps
come.
"""

from __future__ import annotations

import numpy as np

from runtime.errors import InputError
from runtime.golden import Golden

TWIN_COSINE = 1 - 1e-6
"""The teacher's cosine of an image with itself is this at least; rounding takes some 1e-7."""
MOST_LEAKED = 0.5
"""If more of the held-out images are training images, the set is not held out at all."""


def set_apart(golden: Golden) -> tuple[Golden, tuple[str, ...]]:
    """The golden set without images that the training had, and the names of those.

    Raises:
        InputError: most of the held-out images are training images.
    """
    seen = golden.arrays.teacher_ood_inside >= TWIN_COSINE
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
