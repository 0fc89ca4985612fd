"""Step `images`: every file decoded once, the unusable named, duplicates set aside, split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor.data import audit as audits
from compressor.data.audit import AuditSettings
from compressor.data.image_files import DecodedInfo, inspect
from compressor.data.layout import returned
from compressor.data.layout.class_counts import ClassCount
from compressor.data.layout.layout import Layout
from compressor.data.layout.listing import files_below
from compressor.data.layout.names import class_names
from compressor.pipeline.context import Run
from compressor.pipeline.step import Step
from compressor.pipeline.storage.digests import digest
from runtime.errors import InputError
from runtime.files import sha256_of


def _inputs(run: Run) -> dict[str, object]:
    data, spec = run.plan.recipe.data, run.plan.recipe.distill
    labels = _labels(run)
    csv = labels not in ("folders", "none")
    folders = [each for each in (data.images, data.holdout, data.ood) if isinstance(each, Path)]
    return {
        # Sizes and times alone could be those of another folder's files.
        "root": str(data.images),
        "files": listing_digest(folders, data.images, run.folder.resolve()),
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
            listing_digest([folder], folder, run.folder / "none"),
            sha256_of(labels) if labels.is_file() else None,
        ]
    }


def listing_digest(folders: Sequence[Path], root: Path, skipped: Path) -> str:
    """Return the digest of names, sizes and times of all files in some folders.

    Args:
        folders: where to look, in depth.
        root: names are relative to it.
        skipped: a folder that is left out.
    """
    found = []
    for folder in folders:
        for path in files_below(folder, [skipped]):
            name = os.path.relpath(path, root)
            try:
                status = path.stat()
                found.append([name, status.st_size, status.st_mtime_ns])
            except OSError:  # a dangling link: the audit names it
                found.append([name, -1, 0])
    return digest(sorted(found))


def _labels(run: Run) -> str:
    """Return `data.labels` as `audit` takes it: none while the file is still to be written."""
    labels, waiting = run.plan.recipe.data.labels, run.plan.recipe.label is not None
    missing = labels != "folders" and not Path(labels).is_file()
    return "none" if waiting and missing else labels


def settings_of(run: Run) -> AuditSettings:
    """Return how the images of a run are found, labelled and split."""
    recipe = run.plan.recipe
    data = recipe.data
    return AuditSettings(
        labels=_labels(run),
        holdout=data.holdout,
        validation=recipe.distill.validation,
        seed=recipe.distill.seed,
        exclude=[run.folder.resolve(), *([data.ood] if data.ood else [])],
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
        InputError: as for `audit`.
    """
    settings, root = settings_of(run), run.plan.recipe.data.images
    found = audits.look(root, settings)
    names = class_names(found, root, settings.labels)
    first, *more = found.described(settings.labels, names)
    return Found(found, found.classes(names), (f"images: {first}", *(f"  {line}" for line in more)))


def _make(run: Run, work: Path) -> None:
    data = run.plan.recipe.data
    own = [run.folder.resolve()]
    task = [data.images, *([data.holdout] if isinstance(data.holdout, Path) else [])]
    found = audits.audit(data.images, settings_of(run), run.track)
    outside = files_below(data.ood, [*own, *task]) if data.ood else []
    ood = inspect(outside, run.track, max_megapixels=data.max_megapixels)
    if data.ood and not any(isinstance(info, DecodedInfo) for info in ood.values()):
        raise InputError(f"{data.ood}: data.ood has no usable image among {len(ood)} files")
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
    try:
        found.require_usable(max_rejected=data.max_rejected, min_images=data.min_images)
    except InputError:
        found.save(run.folder, ood=ood)  # so that the user finds rejected.csv
        raise


STEP = Step(
    name="images",
    summary="decode every file, name the unusable, set duplicates aside, split",
    version=3,
    products=("dataset.json", "rejected.csv", "duplicates.csv"),
    needs=(),
    inputs=_inputs,
    make=_make,
    libraries=("pillow",),
)
