"""The golden set: held-out images with the answers of teacher and student, ready to be compared.

On the desk it names every held-out image where it lies; in a bundle it carries copies of some.
It is the contract between the two: a device that reproduces it behaves like the desk.

    golden.json     names of the images, their labels, the folder they lie in
    golden.npz      the arrays below
    images/         the copies (bundle only)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from runtime import documents
from runtime.arrays import Ints
from runtime.bundle import golden_archive
from runtime.bundle.golden_arrays import Arrays
from runtime.documents import Count, Text
from runtime.errors import InputError
from runtime.files import replacing, write_json
from runtime.images import corruptions
from runtime.images.corruptions import Corruption
from runtime.images.source import Picture

__all__ = ["Arrays", "Golden", "load"]

SCHEMA_VERSION = 1
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

    root: Path
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
        """What stands for images that are not of the task: the recipe's folder, or our corruptions.

        Corruptions are those of `corruptions.worst_of`, one of each corrupted image.
        """
        if self.ood_images:
            return "data.ood"
        has_any = self.arrays.teacher_ood_outside is not None
        return "corruptions" if has_any and self.arrays.corrupted_rows is not None else None

    def inside(self) -> list[Picture]:
        """The N held-out images."""
        return [Picture(self.root / name) for name in self.images]

    def outside(self) -> list[Picture]:
        """The M images that are not of the task."""
        if self.ood_source == "corruptions":
            return [
                Picture(picture.path, corruptions.worst_of(seed, self.corrupted_px))
                for picture, seed in self._seeded()
            ]
        return [Picture(self.root / name) for name in self.ood_images]

    def corrupted(self) -> list[tuple[Picture, list[Corruption]]]:
        """The R images that are corrupted, each with all its corruptions, as [F, S] flattened."""
        return [
            (picture, corruptions.all_of(seed, self.corrupted_px))
            for picture, seed in self._seeded()
        ]

    def _seeded(self) -> list[tuple[Picture, int]]:
        rows, seeds = self.arrays.corrupted_rows, self.arrays.corrupted_seeds
        if rows is None or seeds is None:
            return []
        pictures = [Picture(self.root / self.images[row]) for row in rows]
        return list(zip(pictures, seeds.tolist(), strict=True))

    def only(self, inside: Ints, outside: Ints | None = None) -> Golden:
        """Some of the held-out images, and of those that are not of the task.

        Args:
            inside: rows to keep, ascending.
            outside: rows to keep, ascending; None keeps all. Where corruptions stand for them,
                they stay with the images they were made of.
        """
        corrupted = np.arange(0)
        if self.arrays.corrupted_rows is not None:
            corrupted = np.flatnonzero(np.isin(self.arrays.corrupted_rows, inside))
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
        """Of the labels and the teacher's features: the same for the same images and teacher."""
        digest = hashlib.sha256(self.arrays.labels.tobytes())
        digest.update(self.arrays.teacher_embedding.tobytes())
        return digest.hexdigest()

    def save(self, folder: Path, *, root: str) -> None:
        """Write `golden.json` and `golden.npz`.

        Args:
            folder: where to.
            root: the folder of the images as a reader finds it: absolute, or relative to `folder`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            field.name: value
            for field in fields(Arrays)
            if (value := getattr(self.arrays, field.name)) is not None
        }
        with replacing(folder / "golden.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
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


def load(folder: Path) -> Golden:
    """Read what `Golden.save` wrote.

    Raises:
        InputError: a file is missing, damaged, or of a newer version.
    """
    described = folder / DOCUMENT
    document = read_document(described)
    path = folder / "golden.npz"
    arrays = golden_archive.read(path)
    if missing := _NEEDED - arrays.keys():
        raise InputError(f"{path}: lacks {', '.join(sorted(missing))}")
    named = len(document.images), len(document.classes)
    if wrong := list(golden_archive.mismatches(arrays, *named)):
        raise InputError(f"{path}: does not go with {described.name}: {'; '.join(wrong[:5])}")
    given: dict[str, Any] = {field.name: arrays.get(field.name) for field in fields(Arrays)}
    made = document.corruptions
    if made is not None and made.version != corruptions.VERSION:
        raise InputError(
            f"{described}: its corruptions are of version {made.version}, those of this "
            f"edge-compressor of version {corruptions.VERSION}: figures on them would not "
            "compare. Install the version that made the bundle, or make the bundle again."
        )
    return Golden(
        root=folder / document.root,
        images=document.images,
        ood_images=document.ood_images,
        classes=document.classes,
        arrays=Arrays(**given),
        bank_images=document.bank_images,
        corrupted_px=made.short_side_px if made else 0,
    )


_NEEDED = {
    "labels",
    "teacher_embedding",
    "teacher_ood_inside",
    "student_embedding",
    "bank",
    "bank_labels",
}
