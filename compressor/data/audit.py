"""The audit of a folder: which files are usable images, of which class, in which split."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import get_args

from compressor.data import dataset
from compressor.data.dataset import Dataset, ImageRecord, ImageSet, OodImage, Split
from compressor.data.duplicates import Duplicate, set_aside
from compressor.data.image_files import DecodedInfo, inspect
from compressor.data.layout import layout, returned
from compressor.data.layout.labels import UNLABELLED, index_classes
from compressor.data.layout.layout import Layout, Question
from compressor.data.layout.names import class_names, roots_of
from compressor.data.sources.hints import others_in
from compressor.data.sources.source import Root, Source
from compressor.data.split import assign_splits
from compressor.recipe.places.addresses import LABEL_WORDS
from runtime.errors import InputError
from runtime.files import replacing
from runtime.images.decode import MAX_MEGAPIXELS, UNIDENTIFIED
from runtime.images.image_file import ImageFile
from runtime.images.kinds import has_image_suffix
from runtime.progress import Track, silent
from runtime.text import guarded

Decode = Callable[[Mapping[ImageFile, str], float], dict[ImageFile, DecodedInfo | str]]

FEWEST_IN_TRAINING = 3
"""Images of the smallest batch: statistics of one say nothing, angles need two."""


@dataclass(frozen=True)
class AuditSettings:
    """How the images of a folder are labelled and split."""

    labels: str
    """`folders`, `source`, `none`, or the path of a CSV with the columns image,label."""
    holdout: float | Root
    """The share to hold out, or a separate folder or source of held-out images."""
    validation: float
    """The share of the rest that chooses the best checkpoint."""
    seed: int
    """The seed of the split."""
    exclude: Sequence[Path] = ()
    """Folders below the images folder that are not part of the task."""
    labelling: bool = False
    """Labels are still being given: any number of classes is accepted, and the split ignores
    labels."""
    max_megapixels: float = MAX_MEGAPIXELS
    """The limit of an image's size, in 10^6 pixels."""
    class_level: int | None = None
    """The level of folders that names the classes, from 1; None: the only one that could."""
    split_folders: bool = True
    """Whether folders such as train/ and val/ divide the images, instead of `holdout`."""
    returned: Path | None = None
    """The folder of images that came back from devices; it need not be there."""
    propose: bool = False
    """Where folders leave something open, take what is most likely, instead of refusing."""


@dataclass(frozen=True)
class Rejected:
    """A file that cannot be used, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Audit:
    """The result: the usable images, the rejected files, the duplicates."""

    images: ImageSet
    rejected: tuple[Rejected, ...]
    duplicates: tuple[Duplicate, ...]
    notes: tuple[str, ...] = ()
    """What the folders say: a split, what was left out."""
    lost_classes: tuple[str, ...] = ()
    """Classes of files none of which is usable."""
    nearly_black: tuple[str, ...] = ()
    """Ids of usable images with hardly any light in them."""

    @property
    def shrunken(self) -> int:
        """Number of the duplicates that are shrunken copies."""
        return sum(each.why == "shrunken copy" for each in self.duplicates)

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

    def save(self, folder: Path, *, ood: Mapping[str, DecodedInfo | str]) -> None:
        """Write dataset.json, rejected.csv and duplicates.csv.

        Args:
            folder: where to write them.
            ood: what `inspect` returned for the out-of-distribution files, by their ids.
        """
        document = Dataset(
            counts=self.counts(),
            classes=self.images.classes,
            notes=self.notes,
            images=self.images.records,
            ood_images=tuple(
                OodImage(name, result.pixels_sha256)
                for name, result in sorted(ood.items())
                if isinstance(result, DecodedInfo)
            ),
        )
        dataset.save(document, folder)
        rejected = [(file.id, file.reason) for file in self.rejected]
        rejected += [(name, result) for name, result in ood.items() if isinstance(result, str)]
        _write_csv(folder / "rejected.csv", ("image", "reason"), rejected)
        duplicates = [(image.id, image.twin, image.why) for image in self.duplicates]
        _write_csv(folder / "duplicates.csv", ("image", "used_instead", "why"), duplicates)

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
        if (count := len(self.images.part("train"))) < FEWEST_IN_TRAINING:
            raise InputError(
                f"{root}: {count} images are too few for the train split, which needs "
                f"{FEWEST_IN_TRAINING}; add images, or lower distill.validation or data.holdout"
            )


def settings_to_look(root: Root, labels: str | None, class_level: int | None) -> AuditSettings:
    """Return settings to look at a folder without a recipe: what is open is proposed.

    Args:
        root: the images folder, or another source.
        labels: `folders`, `source`, `none`, a CSV, or None: what the source says of classes, else
            `folders` where there are class folders.
        class_level: the level of folders that names the classes.

    Raises:
        InputError: folders cannot be read.
    """
    if labels not in (None, *LABEL_WORDS):
        labels = str(Path(labels).resolve())
    own = "source" if isinstance(root, Source) and root.has_labels else "folders"
    settings = AuditSettings(
        labels=labels or own,
        holdout=0.2,
        validation=0.1,
        seed=0,
        class_level=class_level,
        propose=True,
    )
    has_classes = labels or own == "source" or len(set(look(root, settings).class_of.values())) > 1
    return settings if has_classes else replace(settings, labels="none")


def look(root: Root, settings: AuditSettings) -> Layout:
    """Return what the folders say, before any image is decoded.

    Raises:
        InputError: there are no files; or folders leave open what a class is, or what is held out.
    """
    labels, holdout = settings.labels, settings.holdout
    if str(holdout) == str(root):
        raise InputError(
            f"{root}: both data.images and data.holdout; hold out another folder, or a share"
        )
    skipped = [*settings.exclude, *([] if labels in LABEL_WORDS else [Path(labels)])]
    if settings.returned is not None:
        skipped.append(settings.returned)
    found = layout.read(
        Question(
            root,
            holdout=None if isinstance(holdout, float) else holdout,
            skipped=skipped,
            by_folder=labels == "folders",
            class_level=settings.class_level,
            split_folders=settings.split_folders,
            propose=settings.propose,
            returned=settings.returned,
        )
    )
    if isinstance(root, Path) and not found.images and (others := others_in(root)):
        named = "\n  ".join(f"images: {each}" for each in others)
        what = "no image files in this folder. Is one of these meant?"
        raise InputError(f"{root}: {what}\n  {named}")
    if not found.files:
        raise InputError(f"{root}: no files in this folder")
    return found


def audit(
    root: Root, settings: AuditSettings, track: Track = silent, decode: Decode | None = None
) -> Audit:
    """Decode every image once and split the usable ones.

    Args:
        root: the images folder, or another source.
        settings: how to label and split.
        track: shows the progress.
        decode: what decodes the files, given them with their ids and the largest size; None:
            `inspect`.

    Raises:
        InputError: there are no files, or folders or labels do not say which class an image has.
    """
    labels, found = settings.labels, look(root, settings)
    where = roots_of(found, root)
    ids = {path: where.id_of(path, each) for each, path in found.files}
    by_path = class_names(found, root, labels)  # before the slow decoding: a typo shows at once
    names = {ids[path]: name for path, name in by_path.items()}
    if labels == "none" and names and found.returned_folder is not None:
        labels = str(found.returned_folder / returned.LABELS)
    limit = settings.max_megapixels
    results = decode(ids, limit) if decode else inspect(list(ids), track, max_megapixels=limit)
    rejected = tuple(
        Rejected(ids[path], reason) for path, reason in results.items() if isinstance(reason, str)
    )
    looks = {ids[path]: info for path, info in results.items() if isinstance(info, DecodedInfo)}
    # With nothing usable, `require_usable` says why; an error about classes would only distract.
    fewest = 0 if settings.labelling else 2
    classes, label_of = index_classes(labels, names, looks, fewest=fewest) if looks else ((), {})
    records = [
        ImageRecord(
            id=ids[path],
            pixels_sha256=info.pixels_sha256,
            width=info.width,
            height=info.height,
            label=label_of.get(ids[path], UNLABELLED),
            split="holdout" if path in found.held_out else "train",
        )
        for path, info in results.items()
        if isinstance(info, DecodedInfo)
    ]
    back = {ids[path] for path in found.returned}
    records, duplicates = set_aside(records, looks, where.root, last=back)
    own = [record for record in records if record.id not in back]
    holdout = settings.holdout
    share = holdout if isinstance(holdout, float) and not found.is_split else None
    # A label that comes later must not move an image to another split: the student and the
    # teacher's features depend on the splits. What came back is trained on, and moves no image.
    stratified = not settings.labelling and all(r.label != UNLABELLED for r in own)
    own = assign_splits(own, share, settings.validation, settings.seed, stratified=stratified)
    records = sorted([*own, *(r for r in records if r.id in back)], key=lambda each: each.id)
    meant = {name for path, name in by_path.items() if has_image_suffix(path.name)}
    lost = tuple(sorted(meant - set(classes))) if looks else ()
    images = ImageSet(where.root, classes, tuple(records))
    dark = tuple(record.id for record in records if looks[record.id].is_nearly_black)
    return Audit(images, rejected, duplicates, found.notes, lost, dark)


def _was_meant_as_image(rejected: Rejected) -> bool:
    """Whether its content or its name is an image's: notes and archives do not count as lost."""
    return rejected.reason != UNIDENTIFIED or has_image_suffix(PurePosixPath(rejected.id).name)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([guarded(cell) for cell in row] for row in rows)
