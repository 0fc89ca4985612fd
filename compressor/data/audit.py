"""The audit of a folder: which files are usable images, of which class, in which split."""

from __future__ import annotations

import csv
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import get_args

from PIL import Image

from compressor.data import dataset
from compressor.data.dataset import Dataset, ImageRecord, ImageSet, OodImage, Split
from compressor.data.image_files import DecodedInfo, files_below, inspect
from compressor.data.labels import UNLABELLED, index_classes, read_class_names
from compressor.data.split import assign_splits
from runtime.errors import InputError
from runtime.files import replacing
from runtime.images.decode import UNIDENTIFIED
from runtime.progress import Track, silent

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditSettings:
    """How the images of a folder are labelled and split."""

    labels: str
    """`folders`, `none`, or the path of a CSV with the columns image,label."""
    holdout: float | Path
    """The share to hold out, or a separate folder of held-out images."""
    validation: float
    """The share of the rest that chooses the best checkpoint."""
    seed: int
    """The seed of the split."""
    exclude: Sequence[Path] = ()
    """Folders below the images folder that are not part of the task."""
    labelling: bool = False
    """Labels are still being given: any number of classes is accepted, and the split ignores
    labels."""


@dataclass(frozen=True)
class Rejected:
    """A file that cannot be used, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Duplicate:
    """An image with the same pixels as another one, which is used instead."""

    id: str
    twin: str


@dataclass(frozen=True)
class Audit:
    """The result: the usable images, the rejected files, the duplicates."""

    images: ImageSet
    rejected: tuple[Rejected, ...]
    duplicates: tuple[Duplicate, ...]

    def counts(self) -> dict[str, int]:
        """Return how many images there are of each kind, with the names of the report."""
        splits = Counter(record.split for record in self.images.records)
        return {
            "images": len(self.images),
            **{split: splits[split] for split in get_args(Split)},
            "labelled": sum(record.label != UNLABELLED for record in self.images.records),
            "classes": len(self.images.classes),
            "rejected": len(self.rejected),
            "duplicates": len(self.duplicates),
        }

    def save(self, folder: Path, *, ood: Mapping[Path, DecodedInfo | str]) -> None:
        """Write dataset.json, rejected.csv and duplicates.csv.

        Args:
            folder: where to write them.
            ood: what `inspect` returned for the out-of-distribution files.
        """
        outside = {_id_of(path, self.images.root): result for path, result in ood.items()}
        document = Dataset(
            counts=self.counts(),
            classes=self.images.classes,
            images=self.images.records,
            ood_images=tuple(
                OodImage(name, result.pixels_sha256)
                for name, result in sorted(outside.items())
                if isinstance(result, DecodedInfo)
            ),
        )
        dataset.save(document, folder)
        rejected = [(file.id, file.reason) for file in self.rejected]
        rejected += [(name, result) for name, result in outside.items() if isinstance(result, str)]
        _write_csv(folder / "rejected.csv", ("image", "reason"), rejected)
        duplicates = [(image.id, image.twin) for image in self.duplicates]
        _write_csv(folder / "duplicates.csv", ("image", "used_instead"), duplicates)

    def require_usable(self, *, max_rejected: float, min_images: int) -> None:
        """Refuse a folder with too many unusable images or too few usable ones.

        Raises:
            InputError: says which, with the first reasons.
        """
        damaged = [file for file in self.rejected if _was_meant_as_image(file)]
        usable, root = len(self.images) + len(self.duplicates), self.images.root
        share = len(damaged) / max(1, len(damaged) + usable)
        if share > max_rejected:
            first = "\n  ".join(f"{file.id}: {file.reason}" for file in damaged[:5])
            raise InputError(
                f"{root}: {len(damaged)} of {len(damaged) + usable} images cannot be used "
                f"({share:.0%}; data.max_rejected is {max_rejected:.0%})\n  {first}\n"
                "  All are in rejected.csv. Repair or remove them, or raise data.max_rejected."
            )
        if len(self.images) < min_images:
            raise InputError(
                f"{root}: {len(self.images)} usable images; at least {min_images} are needed "
                f"(data.min_images). {len(self.rejected)} files were rejected (rejected.csv says "
                f"why), {len(self.duplicates)} are duplicates."
            )
        for split in get_args(Split):
            if not len(self.images.part(split)):
                raise InputError(f"{root}: no image is left for the {split} split; add images")


def audit(root: Path, settings: AuditSettings, track: Track = silent) -> Audit:
    """Decode every file below the images folder once and split the usable ones.

    Args:
        root: the images folder.
        settings: how to label and split.
        track: shows the progress.

    Raises:
        InputError: there are no files, or the labels do not fit the images.
    """
    labels, holdout = settings.labels, settings.holdout
    if holdout == root:
        raise InputError(
            f"{root}: both data.images and data.holdout; hold out another folder, or a share"
        )
    files = _files(root, settings)
    ids = {path: _id_of(path, root) for _, path in files}
    if not files:
        raise InputError(f"{root}: no files in this folder")

    names = read_class_names(labels, files, ids)  # before the slow decoding: a typo shows at once
    results = inspect([path for _, path in files], track)
    rejected = tuple(
        Rejected(ids[path], reason) for path, reason in results.items() if isinstance(reason, str)
    )
    usable = {ids[path] for path, info in results.items() if isinstance(info, DecodedInfo)}
    # With nothing usable, `require_usable` says why; an error about classes would only distract.
    fewest = 0 if settings.labelling else 2
    classes, label_of = index_classes(labels, names, usable, fewest=fewest) if usable else ((), {})
    records = [
        ImageRecord(
            id=ids[path],
            pixels_sha256=info.pixels_sha256,
            width=info.width,
            height=info.height,
            label=label_of.get(ids[path], UNLABELLED),
            split="train" if folder == root else "holdout",
        )
        for folder, path in files
        if isinstance(info := results[path], DecodedInfo)
    ]
    records, duplicates = _drop_duplicates(records)
    share = None if isinstance(holdout, Path) else holdout
    # A label that comes later must not move an image to another split: the student and the
    # teacher's features depend on the splits.
    stratified = not settings.labelling and all(r.label != UNLABELLED for r in records)
    records = assign_splits(
        records, share, settings.validation, settings.seed, stratified=stratified
    )
    return Audit(ImageSet(root, classes, tuple(records)), rejected, duplicates)


def _files(root: Path, settings: AuditSettings) -> list[tuple[Path, Path]]:
    """Each file of the task, after the folder (images or held-out) that it was found in."""
    folders = [root, settings.holdout] if isinstance(settings.holdout, Path) else [root]
    skipped = [*settings.exclude, *folders]  # one folder may be inside the other
    files = [(folder, path) for folder in folders for path in files_below(folder, skipped)]
    if settings.labels in ("folders", "none"):
        return files
    return [(folder, path) for folder, path in files if path != Path(settings.labels)]


def _was_meant_as_image(rejected: Rejected) -> bool:
    """Whether its content or its name is an image's: notes and archives do not count as lost."""
    suffix = PurePosixPath(rejected.id).suffix.lower()
    return rejected.reason != UNIDENTIFIED or suffix in Image.registered_extensions()


def _id_of(path: Path, root: Path) -> str:
    relative = os.fsencode(Path(os.path.relpath(path, root)).as_posix())
    return relative.decode("utf-8", "backslashreplace")


def _drop_duplicates(
    records: Iterable[ImageRecord],
) -> tuple[list[ImageRecord], tuple[Duplicate, ...]]:
    """Keep one image of each set with equal pixels: a training image if there is one, first by id.

    Labels do not decide which one is kept. It gets the first label that one of the set has.
    """
    first: dict[str, ImageRecord] = {}
    duplicates = []
    for record in sorted(records, key=lambda record: (record.split == "holdout", record.id)):
        twin = first.setdefault(record.pixels_sha256, record)
        if twin is record:
            continue
        duplicates.append(Duplicate(record.id, twin.id))
        if twin.label == UNLABELLED:
            first[record.pixels_sha256] = replace(twin, label=record.label)
        elif record.label not in (UNLABELLED, twin.label):
            logger.warning("same pixels, two classes: %s and %s", record.id, twin.id)
    return sorted(first.values(), key=lambda record: record.id), tuple(duplicates)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
