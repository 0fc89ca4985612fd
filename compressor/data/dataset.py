"""The images that a run uses: one record per image, in the order of their ids."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from compressor.data.layout.class_counts import count, listed
from compressor.data.layout.labels import UNLABELLED
from runtime import documents
from runtime.files import write_json
from runtime.images.image_file import ImageFile, ImageRoot

Split = Literal["train", "validation", "holdout"]
"""Used for training, to choose the best checkpoint, held out."""
FILE = "dataset.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ImageRecord:
    """One usable image."""

    id: str
    """Path relative to the images folder, with forward slashes; else its name in its source."""
    pixels_sha256: str
    """Of its upright RGB pixels: the same for a copy under another name or in another format."""
    width: int
    height: int
    label: int
    """Index of its class, or UNLABELLED."""
    split: Split


@dataclass(frozen=True)
class ImageSet:
    """Usable images in the order of their ids."""

    root: ImageRoot
    classes: tuple[str, ...]
    records: tuple[ImageRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    def rows(self, *splits: Split) -> npt.NDArray[np.int64]:
        """Row numbers of the images of some splits, in order."""
        return np.flatnonzero([record.split in splits for record in self.records])

    def part(self, *splits: Split) -> ImageSet:
        """Only the images of some splits."""
        return replace(self, records=tuple(self.records[row] for row in self.rows(*splits)))

    @property
    def paths(self) -> list[ImageFile]:
        """What each image is read from."""
        return [self.root / record.id for record in self.records]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """[N], UNLABELLED (-1) where the class is not known."""
        return np.array([record.label for record in self.records], np.int64)

    @property
    def keys(self) -> list[str]:
        """The seed of each image's views: its pixels, so that a new file name changes nothing."""
        return [record.pixels_sha256 for record in self.records]

    def classes_by_split(self) -> dict[str, dict[str, int]]:
        """Count the images of each class in each split."""
        counts = Counter((record.label, record.split) for record in self.records)
        return {
            name: {split: counts[index, split] for split in get_args(Split)}
            for index, name in enumerate(self.classes)
        }

    def class_counts(self) -> str:
        """Text with the number of images of each class; of very many, the smallest classes."""
        labelled = (record for record in self.records if record.label != UNLABELLED)
        return listed(
            count((self.classes[each.label], each.split == "holdout") for each in labelled)
        )


class OodImage(Struct, frozen=True):
    """One usable out-of-distribution image."""

    id: str
    """Path relative to the images folder."""
    pixels_sha256: str


class Dataset(Struct, frozen=True, kw_only=True):
    """The content of dataset.json."""

    schema_version: int = SCHEMA_VERSION
    counts: dict[str, int]
    """How many images of each kind, with the names of the report."""
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What the folders say: a split, what was left out."""
    images: tuple[ImageRecord, ...]
    ood_images: tuple[OodImage, ...]

    def image_set(self, root: ImageRoot) -> ImageSet:
        """Return the usable images; `root` finds each by its id."""
        return ImageSet(root, self.classes, self.images)


def load(folder: Path) -> Dataset:
    """Read dataset.json.

    Raises:
        InputError: it is missing, of a newer version, or a field is wrong.
    """
    return documents.read(folder / FILE, Dataset, what="data set", newest=SCHEMA_VERSION)


def save(dataset: Dataset, folder: Path) -> None:
    """Write dataset.json."""
    write_json(folder / FILE, documents.plain(dataset))
