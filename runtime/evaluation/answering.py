"""The answers of every file to every image of the golden set; each image is decoded once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from runtime.arrays import Pixels
from runtime.backends.base import Outputs, Session, inputs_of
from runtime.bundle.golden import Golden
from runtime.evaluation.subject import Answers
from runtime.images.preprocess import Preprocess
from runtime.progress import Track

_BATCH = 32


def answer_all(
    sessions: Sequence[Session], golden: Golden, preprocess: Preprocess, keep: int, track: Track
) -> tuple[list[Answers], Pixels]:
    """Run every session on the held-out images and on the out-of-distribution ones.

    Only a batch of images is held at a time.

    Args:
        sessions: of the files.
        golden: the images.
        preprocess: the same for all files.
        keep: how many images to return after resize and crop, at least, if there are enough.
        track: shows the progress.

    Returns:
        The answers of each session, and the first images as uint8 [P, S, S, 3].
    """
    pictures = [*golden.inside(), *golden.outside()]
    expected = golden.arrays.pixels
    keep = max(keep, 0 if expected is None else len(expected))
    answers: list[list[Outputs]] = [[] for _ in sessions]
    sample: list[Pixels] = []
    starts = range(0, len(pictures), _BATCH)
    for start in track(starts, label="checking held-out images", total=len(starts)):
        batch = pictures[start : start + _BATCH]
        pixels = np.stack([preprocess.pixels(picture.open()) for picture in batch])
        if start < keep:
            sample.append(pixels)
        for session, collected in zip(sessions, answers, strict=True):
            collected.append(session.run(inputs_of(session, preprocess, pixels)))
    joined = [Outputs.joined(collected) for collected in answers]
    return [_split(outputs, len(golden.images)) for outputs in joined], np.concatenate(sample)


def pixel_difference(expected: npt.NDArray[np.uint8] | None, got: Pixels) -> int | None:
    """Largest difference to the training machine's pixels after resize and crop, of 255 levels."""
    if expected is None:
        return None
    here = got[: len(expected)].astype(np.int16)
    return int(np.abs(here - expected.astype(np.int16)).max())


def _split(outputs: Outputs, inside: int) -> Answers:
    """Split the answers: to the first images, and to the others if there are any."""

    def part(rows: slice) -> Outputs:
        logits = None if outputs.logits is None else outputs.logits[rows]
        return Outputs(outputs.embedding[rows], logits)

    outside = part(slice(inside, None)) if len(outputs.embedding) > inside else None
    return Answers(part(slice(inside)), outside)
