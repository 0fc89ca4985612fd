"""The preprocessing check: digests of every step on the training machine, for a few images.

A device repeats the steps and names the first whose result is not the same to the bit. The
network's own step is not among them: that is parity, which has a tolerance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from PIL import Image

from runtime import documents
from runtime.documents import Text
from runtime.files import stays_below, write_json
from runtime.images.preprocess import Preprocess
from runtime.images.source import ImageSource

FILE = "contract.json"
STEPS = ("decode", "resize", "crop", "normalise")


class StepDigests(Struct, frozen=True):
    """One image of contract.json: the hex sha256 of each step's result, sizes and values."""

    image: Text
    """Its name below the golden set's folder."""
    decode: str
    resize: str
    crop: str
    normalise: str

    def __post_init__(self) -> None:
        if not stays_below(self.image):
            raise ValueError(f"image: {self.image!r} points outside the bundle; refused")

    def first_difference(self, other: StepDigests) -> str | None:
        """Return the first step whose digest is another one; None where all are the same."""
        return next((step for step in STEPS if getattr(self, step) != getattr(other, step)), None)


class PreprocessingResult(Struct, frozen=True):
    """The preprocessing check: the first step whose result differs from the training machine's."""

    images: int
    first_difference: str | None
    differ: tuple[str, ...]


def digests(folder: Path, image: str, preprocess: Preprocess) -> StepDigests:
    """Return the digests of the steps for an image below a folder.

    Raises:
        InputError: it cannot be read.
    """
    decoded = ImageSource(folder / image).open()
    resized = preprocess.resize(decoded)
    cropped = preprocess.crop(resized)
    results = (_pixels(decoded), _pixels(resized), _pixels(cropped), preprocess(decoded))
    return StepDigests(image, *map(_digest, results))


def save(folder: Path, images: Sequence[str], preprocess: Preprocess) -> None:
    """Write the digests of the steps for some images below a folder."""
    entries = [digests(folder, image, preprocess) for image in images]
    write_json(folder / FILE, documents.plain(entries))


def repeat(folder: Path, preprocess: Preprocess) -> PreprocessingResult | None:
    """Repeat the steps on this machine; None for a golden set without digests.

    Raises:
        InputError: the file of digests is damaged, or an image cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    wanted = documents.read(path, list[StepDigests], what="preprocessing check")
    differing: dict[str, list[str]] = {step: [] for step in STEPS}
    for entry in wanted:
        first = entry.first_difference(digests(folder, entry.image, preprocess))
        if first is not None:
            differing[first].append(entry.image)
    first = next((step for step in STEPS if differing[step]), None)
    return PreprocessingResult(len(wanted), first, tuple(differing[first]) if first else ())


def _pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image)


def _digest(values: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
