"""The golden set: held-out images with the answers of teacher and student, ready to be compared.

On the desk it names every held-out image where it lies; in a bundle it carries copies of some.
It is the contract between the two: a device that reproduces it behaves like the desk.

    golden.json     names of the images, their labels, the folder they lie in
    golden.npz      the arrays below
    images/         the copies (bundle only)
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError
from runtime.files import read_versioned, replacing, write_json

SCHEMA_VERSION = 1
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# What numpy and zipfile raise on damaged files; TypeError and AttributeError where the file is one
# array instead of an archive of several.
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    TypeError,
    AttributeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Arrays:
    """What is known of N held-out images, M out-of-distribution ones and B of the training set.

    K classes; the teacher is Dt wide, the student D. Without labels the optional ones are None.
    """

    labels: Ints
    """[N], -1 where the label is not known."""
    teacher_embedding: Floats
    """[N, Dt]"""
    teacher_knn: Ints | None
    """[N], the class its kNN answers."""
    teacher_logits: Floats | None
    """[N, K], of its linear probe."""
    teacher_ood_inside: Floats
    """[N], cosine to the nearest training embedding."""
    teacher_ood_outside: Floats | None
    """[M], the same for the out-of-distribution images."""
    student_embedding: Floats
    """[N, D], from torch: what every file made of the student is compared with."""
    student_logits: Floats | None
    """[N, K]"""
    student_ood_embedding: Floats | None
    """[M, D]"""
    bank: Floats
    """[B, D], student embeddings of training images."""
    bank_labels: Ints
    """[B], -1 where not known."""
    teacher_probe: Ints | None = None
    """[N], the class that the teacher's own probe of the deployed kind answers; None where that is
    the linear probe."""
    linear_weight: Floats | None = None
    """[K, D], the student's linear probe, where the logits are of another one."""
    linear_bias: Floats | None = None
    """[K]"""
    pixels: npt.NDArray[np.uint8] | None = None
    """[P, S, S, 3], the first P images after resize and crop on the desk (bundle only)."""


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
        document = {
            "schema_version": SCHEMA_VERSION,
            "root": root,
            "classes": list(self.classes),
            "images": list(self.images),
            "ood_images": list(self.ood_images),
            "bank_images": list(self.bank_images),
        }
        write_json(folder / "golden.json", document)


def evenly(count: int, most: int) -> Ints:
    """At most `most` of `count` rows, evenly over their order."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def load(folder: Path) -> Golden:
    """Read what `Golden.save` wrote.

    Raises:
        InputError: a file is missing, damaged, or of a newer version.
    """
    described = folder / "golden.json"
    document = read_versioned(described, newest=SCHEMA_VERSION, what="golden set")
    if missing := {"root", "classes", "images", "ood_images"} - document.keys():
        raise InputError(f"{described}: lacks {', '.join(sorted(missing))}")
    path = folder / "golden.npz"
    try:
        # Opened here, since np.load leaves a damaged file open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged ({error})") from error
    if missing := _NEEDED - arrays.keys():
        raise InputError(f"{path}: lacks {', '.join(sorted(missing))}")
    given: dict[str, Any] = {field.name: arrays.get(field.name) for field in fields(Arrays)}
    return Golden(
        root=folder / document["root"],
        images=tuple(document["images"]),
        ood_images=tuple(document["ood_images"]),
        classes=tuple(document["classes"]),
        arrays=Arrays(**given),
        bank_images=tuple(document.get("bank_images", ())),
    )


_NEEDED = {
    "labels",
    "teacher_embedding",
    "teacher_ood_inside",
    "student_embedding",
    "bank",
    "bank_labels",
}
