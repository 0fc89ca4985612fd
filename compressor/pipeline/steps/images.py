"""Step `images`: every file decoded once, the unusable named, duplicates set aside, split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compressor.data import audit as audits
from compressor.data.audit import Audit, AuditSettings
from compressor.data.image_files import DecodedInfo, inspect
from compressor.data.layout import returned
from compressor.data.layout.class_counts import ClassCount
from compressor.data.layout.labels import index_classes
from compressor.data.layout.layout import Layout
from compressor.data.layout.listing import files_below
from compressor.data.layout.names import class_names
from compressor.data.sources.source import Root, Roots
from compressor.distributed import group as groups
from compressor.pipeline.context import Run
from compressor.pipeline.crew import together
from compressor.pipeline.step import Step
from compressor.pipeline.storage.digests import digest
from compressor.recipe.places.addresses import LABEL_WORDS
from runtime.errors import InputError
from runtime.files import sha256_of
from runtime.images.image_file import ImageFile


def _inputs(run: Run) -> dict[str, object]:
    data, spec = run.plan.recipe.data, run.plan.recipe.distill
    labels = _labels(run)
    csv = labels not in LABEL_WORDS
    return {
        # Sizes and times alone could be those of another folder's files.
        "root": str(data.images),
        "files": listing_digest(run.roots, run.folder.resolve()),
        **({"crops": True} if data.crops else {}),
        "labels": sha256_of(Path(labels)) if csv else labels,
        "labelling": run.plan.recipe.label is not None,
        "holdout": str(data.holdout),
        "folders": [data.class_level, data.split_folders],
        "limits": [data.max_rejected, data.min_images, data.max_megapixels],
        "validation": spec.validation,
        "seed": spec.seed,
        **_returned(run),
    }


def _returned(run: Run) -> dict[str, object]:
    """What came back from devices; nothing where nothing did, so that no key changes by it."""
    folder = run.plan.recipe.data.returned
    if folder is None or not folder.is_dir():
        return {}
    labels = folder / returned.LABELS
    return {
        "returned": [
            str(folder),
            listing_digest(Roots(folder), run.folder / "none"),
            sha256_of(labels) if labels.is_file() else None,
        ]
    }


def listing_digest(roots: Roots, skipped: Path) -> str:
    """Return the digest of names, sizes and times of all files; of a source, its own.

    Args:
        roots: where the images are.
        skipped: a folder that is left out.
    """
    found, others = [], list[object]()
    for root in (roots.images, roots.holdout, roots.ood):
        if root is None:
            continue
        if not isinstance(root, Path):
            others.append(root.fingerprint())
            continue
        beside = roots.images if isinstance(roots.images, Path) else root
        for path in files_below(root, [skipped]):
            name = os.path.relpath(path, beside)
            try:
                status = path.stat()
                found.append([name, status.st_size, status.st_mtime_ns])
            except OSError:  # a dangling link: the audit names it
                found.append([name, -1, 0])
    return digest([sorted(found), others] if others else sorted(found))


def _labels(run: Run) -> str:
    """Return `data.labels` as `audit` takes it: none while the file is still to be written."""
    labels, waiting = run.plan.recipe.data.labels, run.plan.recipe.label is not None
    missing = labels not in LABEL_WORDS and not Path(labels).is_file()
    return "none" if waiting and missing else labels


def settings_of(run: Run) -> AuditSettings:
    """Return how the images of a run are found, labelled and split."""
    recipe = run.plan.recipe
    data, own = recipe.data, run.roots.holdout
    return AuditSettings(
        labels=_labels(run),
        holdout=own if own is not None else float(data.holdout),
        validation=recipe.distill.validation,
        seed=recipe.distill.seed,
        exclude=[run.folder.resolve(), *_folders(run.roots.ood)],
        labelling=recipe.label is not None,
        class_level=data.class_level,
        split_folders=data.split_folders == "auto",
        max_megapixels=data.max_megapixels,
        returned=data.returned,
    )


@dataclass(frozen=True)
class Found:
    """The images of a run, before any is decoded."""

    layout: Layout
    classes: dict[str, ClassCount]
    lines: tuple[str, ...]
    """Classes with their counts, what is held out, what was left out."""


def look(run: Run) -> Found:
    """Find the images of a run and their classes. Decodes nothing.

    Raises:
        InputError: as for `audit`, as far as it can be told before decoding.
    """
    settings, root = settings_of(run), run.roots.images
    found = audits.look(root, settings)
    names = class_names(found, root, settings.labels)
    inside = _looked_outside(run)
    if found.images:  # of other files alone the audit says what they are
        _require_enough(run, found, names, settings)
    first, *more = [*found.described(settings.labels, names), *inside]
    return Found(found, found.classes(names), (f"images: {first}", *(f"  {line}" for line in more)))


def _looked_outside(run: Run) -> list[str]:
    """Return a sentence on a `data.ood` within the images folder.

    Raises:
        InputError: it is that folder, or it has no files.
    """
    images, ood, where = run.roots.images, run.roots.ood, run.plan.recipe.data.ood
    if ood is None:
        return []
    folders = [each.resolve() for each in (images, ood) if isinstance(each, Path)]
    if len(folders) == 2 and folders[0] == folders[1]:
        raise InputError(f"{where}: data.ood is data.images; it is for images of another kind")
    if not (files := len(_outside(run))):
        raise InputError(f"{where}: data.ood has no files")
    if len(folders) == 2 and folders[0] in folders[1].parents:
        return [f"data.ood lies in data.images: its {files} files are no images of the task"]
    return []


def _require_enough(
    run: Run, found: Layout, names: Mapping[ImageFile, str], settings: AuditSettings
) -> None:
    """Refuse what no decoding can make enough: under two classes, or under `data.min_images` files.

    Raises:
        InputError: says which.
    """
    by_name = {str(file): name for file, name in names.items()}
    index_classes(settings.labels, by_name, by_name, fewest=0 if settings.labelling else 2)
    files, fewest = len(found.files), run.plan.recipe.data.min_images
    if files < fewest:
        raise InputError(
            f"{run.roots.images}: {files} files; at least {fewest} usable images are needed "
            "(data.min_images)"
        )


def _make(run: Run, work: Path) -> None:
    data, roots = run.plan.recipe.data, run.roots
    decode = partial(_decode, run)
    found = audits.audit(roots.images, settings_of(run), decode=decode)
    outside = _outside(run)
    looked = decode(outside, data.max_megapixels)
    ood = {outside[file]: info for file, info in looked.items()}
    if data.ood and not any(isinstance(info, DecodedInfo) for info in ood.values()):
        raise InputError(f"{data.ood}: data.ood has no usable image among {len(ood)} files")
    ood = _without_images_of_the_task(run, found, ood)
    found.save(work, ood=ood)
    counts, shrunken = found.counts(), found.shrunken
    run.note(
        f"{counts['images']} usable images: {counts['train']} to train on, "
        f"{counts['validation']} to choose the best checkpoint, {counts['holdout']} held out; "
        f"{counts['rejected']} files rejected, {counts['duplicates']} duplicates set aside"
        + (f" ({shrunken} of them shrunken copies)" if shrunken else "")
    )
    if found.images.classes:  # a class misspelt shows here
        run.note(f"usable images of each class: {found.images.class_counts()}")
    for name in found.lost_classes:
        run.warn(f"no usable image of the class {name}: it is left out (rejected.csv says why)")
    if dark := found.nearly_black:
        run.warn(
            f"{len(dark)} of {counts['images']} images are nearly black, such as {dark[0]}. Files "
            "of 16 bits keep their upper 8: scale a camera's 10 or 12 bits to 16 when saving them."
        )
    try:
        found.require_usable(max_rejected=data.max_rejected, min_images=data.min_images)
    except InputError:
        found.save(run.folder, ood=ood)  # so that the user finds rejected.csv
        raise


def _without_images_of_the_task(
    run: Run, found: Audit, ood: Mapping[str, DecodedInfo | str]
) -> dict[str, DecodedInfo | str]:
    """Give a reason in place of each image of `data.ood` that has the pixels of an image.

    Raises:
        InputError: all have.
    """
    task = {record.pixels_sha256: record.id for record in found.images.records}
    left: dict[str, DecodedInfo | str] = {
        name: f"of data.ood, with the pixels of {task[info.pixels_sha256]}, an image of the task"
        if isinstance(info, DecodedInfo) and info.pixels_sha256 in task
        else info
        for name, info in ood.items()
    }
    usable, others = (
        sum(isinstance(info, DecodedInfo) for info in each.values()) for each in (ood, left)
    )
    where = run.plan.recipe.data.ood
    if usable and not others:
        raise InputError(
            f"{where}: all {usable} images of data.ood are images of the task too, pixel by pixel;"
            " it is for images of another kind"
        )
    if same := usable - others:
        run.warn(
            f"data.ood: {same} of {usable} images are images of the task too, pixel by pixel; they"
            " are left out (rejected.csv names them)"
        )
    return left


def _decode(
    run: Run, files: Mapping[ImageFile, str], max_megapixels: float
) -> dict[ImageFile, DecodedInfo | str]:
    """Decode files, given with their ids, in all processes of the run.

    They are told paths and ids: each opens a source that is no folder with what it knows itself, so
    that no credentials travel.
    """
    places = [file if isinstance(file, Path) else id_ for file, id_ in files.items()]
    found = together(run, _decoded, places, max_megapixels)
    return dict(zip(files, found, strict=True))


def _decoded(
    run: Run, places: Sequence[Path | str], max_megapixels: float
) -> list[DecodedInfo | str]:
    files = [place if isinstance(place, Path) else run.roots / place for place in places]
    found = inspect(files, run.track, max_megapixels=max_megapixels, group=groups.current())
    return list(found.values())


def _outside(run: Run) -> dict[ImageFile, str]:
    """Return the images of `data.ood` with their ids."""
    roots, ood = run.roots, run.roots.ood
    if ood is None:
        return {}
    if not isinstance(ood, Path):
        return {ood / name: roots.id_of(ood / name, ood) for name in ood.names}
    skipped = [run.folder.resolve(), *_folders(roots.images), *_folders(roots.holdout)]
    return {path: roots.id_of(path, ood) for path in files_below(ood, skipped)}


def _folders(*roots: Root | None) -> list[Path]:
    return [root for root in roots if isinstance(root, Path)]


STEP = Step(
    name="images",
    summary="decode every file, name the unusable, set duplicates aside, split",
    version=4,
    products=("dataset.json", "rejected.csv", "duplicates.csv"),
    needs=(),
    inputs=_inputs,
    make=_make,
    libraries=("pillow",),
)
