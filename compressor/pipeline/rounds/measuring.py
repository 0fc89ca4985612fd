"""Held-out images to label, so that accuracy can be measured: drawn at random, and remembered.

The order follows from the pixels and the seed. So the first 60 are among the first 100, and images
that are added move none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from msgspec import Struct

from compressor.pipeline.context import Run
from runtime import documents
from runtime.errors import InputError
from runtime.files import write_json

_NAME = "to_measure.json"


class _Asked(Struct, frozen=True):
    """to_measure.json: how many held-out images shall have a label."""

    held_out: int


def ask(run: Run, count: int) -> None:
    """Ask for labels of so many held-out images in all, from now on.

    Args:
        run: its step `images` is made.
        count: of images.

    Raises:
        InputError: the run holds out fewer.
    """
    held = len(run.images().part("holdout"))
    if count > held:
        raise InputError(
            f"--holdout {count}: this run holds out {held} images.\n"
            f"  Ask for {held} or fewer, or raise data.holdout (the student is then made anew)."
        )
    write_json(run.folder / _NAME, {"held_out": count})


def asked(run: Run) -> Sequence[str]:
    """Return the ids of the held-out images that shall have a label, the same ones each time."""
    path = run.folder / _NAME
    if not path.exists():
        return []
    count = documents.read(path, _Asked, what="number of images to measure on").held_out
    seed, held = run.plan.recipe.distill.seed, run.images().part("holdout").records

    def order(pixels: str) -> str:
        return hashlib.sha256(f"{seed} measure {pixels}".encode()).hexdigest()

    return [image.id for image in sorted(held, key=lambda each: order(each.pixels_sha256))[:count]]
