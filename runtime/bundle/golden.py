"""The golden set: held-out images with the answers of teacher and student to them.

In the folder of a run it names every held-out image where it lies; in a bundle it holds copies of
some. A device that reproduces the answers behaves like the training machine.

    golden.json          names of the images and classes, the folder they lie in
    golden.safetensors   the arrays (golden.npz in version 1)
    images/              the copies (bundle only)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec import Struct

from runtime import documents
from runtime.array_groups import flat, grouped
from runtime.arrays import Ints
from runtime.bundle import golden_file
from runtime.bundle.golden_arrays import Arrays
from runtime.documents import Count, Text
from runtime.errors import InputError
from runtime.files import write_json
from runtime.images import corruptions
from runtime.images.corruptions import Corruption
from runtime.images.image_file import ImageRoot
from runtime.images.source import ImageSource

__all__ = ["Arrays", "Golden", "load"]

SCHEMA_VERSION = 2
"""1: the arrays were in golden.npz."""
DOCUMENT = "golden.json"


class CorruptionsUsed(Struct, frozen=True, kw_only=True):
    """The corruptions that teacher and student answered."""

    version: int
    short_side_px: Count


class GoldenDocument(Struct, frozen=True, kw_only=True):
    """golden.json: names of the images and of their classes."""

    schema_version: int
    root: Text
    """Folder of the images: absolute, or relative to the file."""
    classes: tuple[Text, ...]
    images: tuple[Text, ...]
    ood_images: tuple[Text, ...]
    bank_images: tuple[Text, ...] = ()
    corruptions: CorruptionsUsed | None = None


@dataclass(frozen=True)
class Golden:
    """Held-out images and the answers to them."""

    root: ImageRoot
    images: tuple[str, ...]
    """[N] names below `root`."""
    ood_images: tuple[str, ...]
    """[M] names below `root`, or whole paths."""
    classes: tuple[str, ...]
    """[K], empty without labels."""
    arrays: Arrays
    bank_images: tuple[str, ...] = ()
    """[B] names of the bank's images below the folder of training images; older sets lack them."""
    corrupted_px: int = 0
    """Length of the short side at which images are corrupted; 0 where none is."""

    @property
    def ood_source(self) -> Literal["data.ood", "corruptions"] | None:
        """Where the images that are not of the task come from.

        The recipe's folder, else `corruptions.worst_of` each corrupted image.
        """
        if self.ood_images:
            return "data.ood"
        has_both = self.arrays.outside and self.arrays.corrupted
        return "corruptions" if has_both else None

    def inside(self) -> list[ImageSource]:
        """The N held-out images."""
        return [ImageSource(self.root / name) for name in self.images]

    def outside(self) -> list[ImageSource]:
        """The M images that are not of the task."""
        if self.ood_source == "corruptions":
            return [
                ImageSource(source.path, corruptions.worst_of(seed, self.corrupted_px))
                for source, seed in self._seeded()
            ]
        return [ImageSource(self.root / name) for name in self.ood_images]

    def corrupted(self) -> list[tuple[ImageSource, list[Corruption]]]:
        """The R images that are corrupted, each with all its corruptions, as [F, S] flattened."""
        return [
            (source, corruptions.all_of(seed, self.corrupted_px)) for source, seed in self._seeded()
        ]

    def _seeded(self) -> list[tuple[ImageSource, int]]:
        corrupted = self.arrays.corrupted
        if corrupted is None:
            return []
        sources = [ImageSource(self.root / self.images[row]) for row in corrupted.rows]
        return list(zip(sources, corrupted.seeds.tolist(), strict=True))

    def only(self, inside: Ints, outside: Ints | None = None) -> Golden:
        """Return some of the held-out images, and of those that are not of the task.

        Args:
            inside: rows to keep, ascending.
            outside: rows to keep, ascending; None keeps all. Corrupted images that are used as
                images outside the task stay with the images they were made of.
        """
        corrupted = np.arange(0)
        if self.arrays.corrupted:
            corrupted = np.flatnonzero(np.isin(self.arrays.corrupted.rows, inside))
        if self.ood_source == "corruptions":
            outside = corrupted
        names_outside = self.ood_images
        if outside is not None and names_outside:
            names_outside = tuple(names_outside[row] for row in outside)
        return replace(
            self,
            images=tuple(self.images[row] for row in inside),
            ood_images=names_outside,
            arrays=self.arrays.only(inside, outside, corrupted),
        )

    @property
    def digest(self) -> str:
        """sha256 of the labels and the teacher's embeddings.

        Classes are numbered among those that occur here, so that a class which only training images
        have, as a new round of labels may bring it, leaves the digest as it is.
        """
        labels = self.arrays.labels.copy()
        known = labels >= 0
        labels[known] = np.unique(labels[known], return_inverse=True)[1]
        digest = hashlib.sha256(labels.tobytes())
        digest.update(self.arrays.teacher_embedding.tobytes())
        return digest.hexdigest()

    def save(self, folder: Path, *, root: str) -> None:
        """Write `golden.json` and `golden.safetensors`.

        Args:
            folder: where to.
            root: the folder of the images as a reader finds it: absolute, or relative to `folder`.

        Raises:
            ValueError: an array holds another type than declared.
        """
        folder.mkdir(parents=True, exist_ok=True)
        arrays = flat(grouped(Arrays, flat(self.arrays)))
        golden_file.write(folder / golden_file.NAME, arrays)
        made = None
        if self.corrupted_px:
            made = CorruptionsUsed(version=corruptions.VERSION, short_side_px=self.corrupted_px)
        document = GoldenDocument(
            schema_version=SCHEMA_VERSION,
            root=root,
            classes=self.classes,
            images=self.images,
            ood_images=self.ood_images,
            bank_images=self.bank_images,
            corruptions=made,
        )
        write_json(folder / DOCUMENT, documents.plain(document))


def read_document(path: Path) -> GoldenDocument:
    """Read `golden.json`.

    Raises:
        InputError: it is missing, of a newer version, or a key is wrong.
    """
    return documents.read(path, GoldenDocument, newest=SCHEMA_VERSION, what="golden set")


def load(folder: Path, images: ImageRoot | None = None) -> Golden:
    """Read what `Golden.save` wrote.

    Args:
        folder: with the files.
        images: where the images are found by their names; None: in the folder that it names.

    Raises:
        InputError: a file is missing, damaged, or of a newer version.
    """
    described = folder / DOCUMENT
    document = read_document(described)
    arrays = _read_arrays(folder, document)
    made = document.corruptions
    if made is not None and made.version != corruptions.VERSION:
        raise InputError(
            f"{described}: its corruptions are of version {made.version}, those of this "
            f"edge-compressor of version {corruptions.VERSION}: scores on them would not "
            "be comparable. Install the version that made the bundle, or make the bundle again."
        )
    return Golden(
        root=folder / document.root if images is None else images,
        images=document.images,
        ood_images=document.ood_images,
        classes=document.classes,
        arrays=arrays,
        bank_images=document.bank_images,
        corrupted_px=made.short_side_px if made else 0,
    )


def arrays_path(folder: Path) -> Path:
    """Return the file of the arrays in the folder of a golden set, of either version."""
    path = folder / golden_file.NAME
    return path if path.is_file() else folder / golden_file.NAME_OF_VERSION_1


def _read_arrays(folder: Path, document: GoldenDocument) -> Arrays:
    old = document.schema_version < 2
    path = folder / (golden_file.NAME_OF_VERSION_1 if old else golden_file.NAME)
    try:
        arrays = grouped(Arrays, golden_file.read(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    named = len(document.images), len(document.ood_images), len(document.classes)
    problems = list(arrays.problems(*named))
    if document.bank_images and len(document.bank_images) != len(arrays.bank):
        problems.append(f"bank has {len(arrays.bank)} rows, not {len(document.bank_images)}")
    if problems:
        raise InputError(f"{path}: does not go with {DOCUMENT}: {'; '.join(problems[:5])}")
    return arrays
