"""The user's images: every file decoded once, the unusable named, duplicates set aside, split."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from compressor.data.labels import UNLABELLED, classes_of, names_of
from compressor.data.split import Split, cut
from runtime.errors import ImageError, InputError
from runtime.files import read_json, replacing, write_json
from runtime.images.decode import UNIDENTIFIED, decode
from runtime.progress import Track, silent

logger = logging.getLogger(__name__)

_CLASSES_SHOWN = 30


@dataclass(frozen=True)
class Photo:
    """One usable image."""

    id: str
    """Path relative to the images folder, with forward slashes."""
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

    root: Path
    classes: tuple[str, ...]
    photos: tuple[Photo, ...]

    def __len__(self) -> int:
        return len(self.photos)

    def part(self, *splits: Split) -> ImageSet:
        """The images of some splits only."""
        kept = tuple(photo for photo in self.photos if photo.split in splits)
        return replace(self, photos=kept)

    @property
    def paths(self) -> list[Path]:
        """Where each image lies."""
        return [self.root / photo.id for photo in self.photos]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """[N], UNLABELLED (-1) where the class is not known."""
        return np.array([photo.label for photo in self.photos], np.int64)

    def class_counts(self) -> str:
        """How many images each class has, to read; the smallest classes of very many."""
        counts = Counter(photo.label for photo in self.photos if photo.label != UNLABELLED)
        rarest = sorted(counts.items(), key=lambda each: (each[1], each[0]))[:_CLASSES_SHOWN]
        words = ", ".join(f"{self.classes[label]} {count}" for label, count in sorted(rarest))
        more = len(counts) - len(rarest)
        return f"{words} and {more} more classes" if more else words

    @property
    def keys(self) -> list[str]:
        """What seeds an image's views: its pixels, so a new name changes nothing."""
        return [photo.pixels_sha256 for photo in self.photos]


@dataclass(frozen=True)
class Rejected:
    """A file that cannot be used, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Duplicate:
    """An image whose pixels are those of another one, which is used instead."""

    id: str
    twin: str


@dataclass(frozen=True)
class Audit:
    """What was found in a folder."""

    images: ImageSet
    rejected: tuple[Rejected, ...]
    duplicates: tuple[Duplicate, ...]

    def counts(self) -> dict[str, int]:
        """How many of each kind, as the report has it."""
        splits = Counter(photo.split for photo in self.images.photos)
        return {
            "images": len(self.images),
            **{split: splits[split] for split in get_args(Split)},
            "labelled": sum(photo.label != UNLABELLED for photo in self.images.photos),
            "classes": len(self.images.classes),
            "rejected": len(self.rejected),
            "duplicates": len(self.duplicates),
        }

    def save(self, folder: Path, *, ood: Mapping[Path, Look | str]) -> None:
        """Write dataset.json, rejected.csv and duplicates.csv.

        Args:
            folder: where to.
            ood: out-of-distribution files as `inspect` found them.
        """
        outside = {_id_of(path, self.images.root): look for path, look in ood.items()}
        document = {
            "schema_version": 1,
            "counts": self.counts(),
            "classes": list(self.images.classes),
            "images": [vars(photo) for photo in self.images.photos],
            "ood_images": [
                {"id": name, "pixels_sha256": look.pixels_sha256}
                for name, look in sorted(outside.items())
                if isinstance(look, Look)
            ],
        }
        write_json(folder / "dataset.json", document)
        rejected = [(each.id, each.reason) for each in self.rejected]
        rejected += [(name, look) for name, look in outside.items() if isinstance(look, str)]
        _write_csv(folder / "rejected.csv", ("image", "reason"), rejected)
        duplicates = [(each.id, each.twin) for each in self.duplicates]
        _write_csv(folder / "duplicates.csv", ("image", "used_instead"), duplicates)


def load(folder: Path, root: Path) -> tuple[ImageSet, dict[str, int]]:
    """Read dataset.json back, with its counts."""
    document = read_json(folder / "dataset.json")
    photos = tuple(Photo(**each) for each in document["images"])
    return ImageSet(root, tuple(document["classes"]), photos), document["counts"]


def audit(
    root: Path,
    *,
    labels: str,
    holdout: float | Path,
    validation: float,
    seed: int,
    exclude: Sequence[Path] = (),
    labelling: bool = False,
    track: Track = silent,
) -> Audit:
    """Decode every file below `root` once and split what is usable.

    Args:
        root: the images folder.
        labels: `folders`, `none`, or the path of a CSV with the columns image,label.
        holdout: share to hold out, or a folder of its own.
        validation: share of the rest for choosing the best checkpoint.
        seed: of the split.
        exclude: folders below `root` that are no part of the task.
        labelling: labels are still being given: any number of classes will do, and the split
            looks at none of them.
        track: shows the progress.

    Raises:
        InputError: no files at all, or the labels do not fit the images.
    """
    if holdout == root:
        raise InputError(f"{root}: both data.images and data.holdout; hold out another or a share")
    folders = [root, holdout] if isinstance(holdout, Path) else [root]
    skipped = [*exclude, *folders]  # one may lie within the other
    found = [(folder, path) for folder in folders for path in files_below(folder, skipped)]
    if labels not in ("folders", "none"):
        found = [(folder, path) for folder, path in found if path != Path(labels)]
    ids = {path: _id_of(path, root) for _, path in found}
    if not found:
        raise InputError(f"{root}: no files in this folder")

    names = names_of(labels, found, ids)  # before the long look: a typo is told at once
    looks = inspect([path for _, path in found], track)
    rejected = tuple(
        Rejected(ids[path], look) for path, look in looks.items() if isinstance(look, str)
    )
    usable = {ids[path] for path, look in looks.items() if isinstance(look, Look)}
    # With nothing usable, `enforce` tells why; classes would only be a distraction.
    fewest = 0 if labelling else 2
    classes, label_of = classes_of(labels, names, usable, fewest=fewest) if usable else ((), {})
    photos = [
        Photo(
            id=ids[path],
            pixels_sha256=look.pixels_sha256,
            width=look.width,
            height=look.height,
            label=label_of.get(ids[path], UNLABELLED),
            split="train" if folder == root else "holdout",
        )
        for folder, path in found
        if isinstance(look := looks[path], Look)
    ]
    photos, duplicates = _set_aside_duplicates(sorted(photos, key=lambda photo: photo.id))
    share = None if isinstance(holdout, Path) else holdout
    # A label given later must move no image between the parts: students and features depend on it.
    stratified = not labelling and all(photo.label != UNLABELLED for photo in photos)
    photos = cut(photos, share, validation, seed, stratified=stratified)
    return Audit(ImageSet(root, classes, tuple(photos)), rejected, duplicates)


def enforce(found: Audit, *, max_rejected: float, min_images: int) -> None:
    """Refuse a folder with too many unusable images or too few usable ones.

    Raises:
        InputError: says which, with the first reasons.
    """
    damaged = [each for each in found.rejected if _was_meant_as_image(each)]
    usable, root = len(found.images) + len(found.duplicates), found.images.root
    share = len(damaged) / max(1, len(damaged) + usable)
    if share > max_rejected:
        first = "\n  ".join(f"{each.id}: {each.reason}" for each in damaged[:5])
        raise InputError(
            f"{root}: {len(damaged)} of {len(damaged) + usable} images cannot be used "
            f"({share:.0%}; data.max_rejected is {max_rejected:.0%})\n  {first}\n"
            "  All are in rejected.csv. Mend or remove them, or raise data.max_rejected."
        )
    if len(found.images) < min_images:
        raise InputError(
            f"{root}: {len(found.images)} usable images; at least {min_images} are wanted "
            f"(data.min_images). {len(found.rejected)} files were rejected (rejected.csv says "
            f"why), {len(found.duplicates)} are duplicates."
        )
    for split in get_args(Split):
        if not len(found.images.part(split)):
            raise InputError(f"{root}: no image is left for the {split} part; add images")


def _was_meant_as_image(rejected: Rejected) -> bool:
    """By what it holds or by its name: notes and archives among the images are no lost images."""
    suffix = PurePosixPath(rejected.id).suffix.lower()
    return rejected.reason != UNIDENTIFIED or suffix in Image.registered_extensions()


def _unreadable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # not there, or gone meanwhile: the caller finds no files
    raise InputError(f"{error.filename}: this folder cannot be read: {error.strerror}") from error


def files_below(folder: Path, skipped: Sequence[Path] = ()) -> list[Path]:
    """All files below a folder, sorted; hidden ones and those below `skipped` left out.

    Links to folders are followed, each real folder once.
    """
    files, seen = [], set[str]()
    for where, names, file_names in os.walk(folder, followlinks=True, onerror=_unreadable):
        here = Path(where)
        if (real := os.path.realpath(where)) in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(n for n in names if not n.startswith(".") and here / n not in skipped)
        files += [here / name for name in file_names if not name.startswith(".")]
    return sorted(files)


@dataclass(frozen=True)
class Look:
    """What one look at a usable file gave."""

    pixels_sha256: str
    width: int
    height: int


def inspect(paths: Sequence[Path], track: Track = silent) -> dict[Path, Look | str]:
    """Decode every file once: a `Look` for a usable one, else the reason as text."""
    with warnings.catch_warnings(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        # Pillow's warnings about odd files: what matters of them is in the rejection's reason.
        warnings.simplefilter("ignore")
        looks = track(pool.map(_look, paths), label="decoding every image", total=len(paths))
        return dict(zip(paths, looks, strict=True))


def _id_of(path: Path, root: Path) -> str:
    relative = os.fsencode(Path(os.path.relpath(path, root)).as_posix())
    return relative.decode("utf-8", "backslashreplace")


def _look(path: Path) -> Look | str:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name or path is not UTF-8: rename it"
    try:
        image = decode(path)
    except ImageError as error:
        return str(error)
    return Look(pixels_sha256(image), image.width, image.height)


def pixels_sha256(image: Image.Image) -> str:
    """Of an image's size and upright RGB pixels."""
    header = f"{image.width}x{image.height} ".encode()
    return hashlib.sha256(header + image.tobytes()).hexdigest()


def _set_aside_duplicates(
    photos: Iterable[Photo],
) -> tuple[list[Photo], tuple[Duplicate, ...]]:
    """Keep one of each set of equal pixels: one to train on, first by id.

    Which one is kept does not depend on labels; it takes the first label that one of them has.
    """
    first: dict[str, Photo] = {}
    duplicates = []
    for photo in sorted(photos, key=lambda photo: (photo.split == "holdout", photo.id)):
        twin = first.setdefault(photo.pixels_sha256, photo)
        if twin is photo:
            continue
        duplicates.append(Duplicate(photo.id, twin.id))
        if twin.label == UNLABELLED:
            first[photo.pixels_sha256] = replace(twin, label=photo.label)
        elif photo.label not in (UNLABELLED, twin.label):
            logger.warning("same pixels, two classes: %s and %s", photo.id, twin.id)
    return sorted(first.values(), key=lambda photo: photo.id), tuple(duplicates)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def open_rgb(path: Path) -> Image.Image:
    """Decode an image that the audit found usable.

    Raises:
        InputError: it was moved or changed since.
    """
    try:
        return decode(path)
    except ImageError as error:
        raise InputError(
            f"{path}: {error}\n  It was usable when the images were audited: was it moved or "
            "changed during the run? Run the same command again."
        ) from error
