"""Step `images`: every file decoded once, the unusable named, duplicates set aside, split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from compressor.data.audit import AuditSettings, audit
from compressor.data.image_files import DecodedInfo, files_below, inspect
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
        "limits": [data.max_rejected, data.min_images],
        "validation": spec.validation,
        "seed": spec.seed,
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


def _make(run: Run, work: Path) -> None:
    data, spec = run.plan.recipe.data, run.plan.recipe.distill
    own = [run.folder.resolve()]
    task = [data.images, *([data.holdout] if isinstance(data.holdout, Path) else [])]
    settings = AuditSettings(
        labels=_labels(run),
        holdout=data.holdout,
        validation=spec.validation,
        seed=spec.seed,
        exclude=own + ([data.ood] if data.ood else []),
        labelling=run.plan.recipe.label is not None,
    )
    found = audit(data.images, settings, run.track)
    outside = files_below(data.ood, [*own, *task]) if data.ood else []
    ood = inspect(outside, run.track)
    if data.ood and not any(isinstance(info, DecodedInfo) for info in ood.values()):
        raise InputError(f"{data.ood}: data.ood has no usable image among {len(ood)} files")
    found.save(work, ood=ood)
    counts = found.counts()
    run.note(
        f"{counts['images']} usable images: {counts['train']} to train on, "
        f"{counts['validation']} to choose the best checkpoint, {counts['holdout']} held out; "
        f"{counts['rejected']} files rejected, {counts['duplicates']} duplicates set aside"
    )
    if run.plan.recipe.label is not None and found.images.classes:
        run.note(f"labels: {found.images.class_counts()}")  # a class misspelt shows here
    try:
        found.require_usable(max_rejected=data.max_rejected, min_images=data.min_images)
    except InputError:
        found.save(run.folder, ood=ood)  # so that the user finds rejected.csv
        raise


STEP = Step(
    name="images",
    summary="decode every file, name the unusable, set duplicates aside, split",
    version=1,
    products=("dataset.json", "rejected.csv", "duplicates.csv"),
    needs=(),
    inputs=_inputs,
    make=_make,
    libraries=("pillow",),
)
