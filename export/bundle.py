"""Everything the device needs, in one folder with a manifest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np

from export import samples
from runtime import documents, metrics
from runtime.backends.litert import operators
from runtime.backends.ncnn import network
from runtime.backends.nvidia import engine_manifest
from runtime.backends.nvidia.tensorrt_flavour import ENGINE_SUFFIX
from runtime.bundle import bundle as bundles
from runtime.bundle.golden import Golden
from runtime.bundle.schema import (
    ArtifactEntry,
    BundleDocument,
    Manifest,
    OutlierCheck,
    PendingEngine,
    extras,
)
from runtime.documents import Precision
from runtime.evaluation import scores, subject
from runtime.files import sha256_of, write_json, write_text
from runtime.findings.contamination import drop_contaminated
from runtime.images import preprocessing_check
from runtime.images.decode import MOST_MEGAPIXELS, decode
from runtime.images.image_file import ImageFile, content_of
from runtime.images.preprocess import Preprocess
from runtime.sampling import evenly

BUNDLE_NAME = "bundle"
ENGINES = "engines"
_MAIN = (network.SUFFIX, operators.SUFFIX)
"""Endings of the files that a backend opens; those beside them are parts."""
FEWEST_IMAGES = 16
CONTRACT_IMAGES = 8
"""Golden images whose pixels after resize and crop travel too, to prove the preprocessing."""


@dataclass(frozen=True)
class Cap:
    """Limits on the held-out images that travel."""

    images: int
    """Held-out images at most, and the same number of out-of-distribution ones."""
    mb: float
    """All of them together in 10^6 bytes; never fewer than FEWEST_IMAGES."""


@dataclass(frozen=True)
class Deployable:
    """A file to put into a bundle."""

    stage: str
    """Its line in the ledger, such as `onnx-fp32`."""
    precision: Precision
    path: Path
    parts: tuple[Path, ...] = ()
    """Other files that it cannot run without; they lie beside it in the bundle too."""

    def entry(self, name: str) -> ArtifactEntry:
        """Return its entry in bundle.json, where it is called `name`."""
        return ArtifactEntry(
            stage=self.stage,
            file=name,
            precision=self.precision,
            sha256=sha256_of(self.path, *self.parts),
            parts=tuple(part.name for part in self.parts),
        )


def write(
    folder: Path,
    document: BundleDocument,
    files: Sequence[Deployable],
    golden: Golden,
    cap: Cap,
) -> None:
    """Write a bundle into a new folder.

    Args:
        folder: is made; what a killed attempt left there is removed.
        document: bundle.json; its `artifacts` are replaced by `files`.
        files: the deployable files.
        golden: all held-out images.
        cap: how many of them the bundle holds.

    Raises:
        InputError: an image was moved or changed in the meantime.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    artifacts = tuple(file.entry(_copied(file, folder)) for file in files)
    document = msgspec.structs.replace(document, artifacts=artifacts)
    write_json(folder / "bundle.json", documents.plain(document))
    _copy_golden(thinned(golden, cap), document.preprocess, folder / "golden")
    write_text(folder / "README.md", _readme(document))
    samples.copy_into(folder)
    seal(folder)


def outlier_check(golden: Golden) -> OutlierCheck | None:
    """Measure how well the student recognises images that are not of its task.

    Args:
        golden: all held-out images; those that are found in the training set are left out.

    Returns:
        None where it has no images that are not of the task.
    """
    clean, _ = drop_contaminated(golden)
    student = subject.of_student(clean, subject.bank_of(clean))
    found = scores.ood(metrics.auroc, "cosine", student)
    if found is None or clean.ood_source is None:
        return None
    return OutlierCheck(
        source=clean.ood_source,
        images=len(clean.outside()),
        auroc=found.value,
        auroc_ci=(found.low, found.high),
    )


def recommend(draft: Path, folder: Path, stage: str) -> None:
    """Copy a bundle into a new folder, with the file that is to be deployed.

    Args:
        draft: the bundle, verified.
        folder: is made; what a killed attempt left there is removed.
        stage: of the file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(draft, folder)
    named = msgspec.structs.replace(bundles.read(folder).document, recommended=stage)
    write_json(folder / "bundle.json", documents.plain(named))
    seal(folder)


def seal(folder: Path) -> None:
    """Write the manifest of everything that lies in a bundle now."""
    manifest = folder / "manifest.json"
    written = sorted(path for path in folder.rglob("*") if path.is_file() and path != manifest)
    digests = {path.relative_to(folder).as_posix(): sha256_of(path) for path in written}
    write_json(manifest, documents.plain(Manifest(files=digests)))


def engines_in(folder: Path) -> list[Deployable]:
    """Return the engines in a folder."""
    found = []
    for path in sorted(folder.glob(f"*{ENGINE_SUFFIX}")):
        manifest = engine_manifest.load(path)
        sm = manifest.compute_capability.replace(".", "")
        stage = f"{manifest.flavour}-{manifest.precision}-sm{sm}"
        found.append(Deployable(stage, manifest.precision, path))
    return found


def converted_in(folder: Path, name: str) -> list[Deployable]:
    """Return the files for another runtime in a folder, in the order of the precisions.

    Args:
        folder: with one file a precision, and its parts.
        name: of the runtime, as `export.formats` has it.
    """
    found = []
    for precision in get_args(Precision):
        made = sorted(folder.glob(f"student.{precision}.*"), key=lambda path: path.suffix)
        first = [path for path in made if path.suffix in _MAIN]
        if first:
            parts = tuple(path for path in made if path.suffix not in _MAIN)
            found.append(Deployable(f"{name}-{precision}", precision, first[0], parts))
    return found


def pending(flavour: str, precision: Precision) -> PendingEngine:
    """Return the entry of an engine that only the device itself can build."""
    return PendingEngine(
        stage=f"{flavour}-{precision}",
        precision=precision,
        not_run=f"not built yet: on the device, compressor engine {BUNDLE_NAME} "
        f"--flavour {flavour}",
    )


def _copied(file: Deployable, folder: Path) -> str:
    """Copy a file, its parts, and those whose names begin with its own; return its new name."""
    path = file.path
    below = folder / ENGINES if path.suffix == ENGINE_SUFFIX else folder
    below.mkdir(exist_ok=True)
    for each in (path, *file.parts, *path.parent.glob(f"{path.name}.*")):
        shutil.copyfile(each, below / each.name)
    return (below / path.name).relative_to(folder).as_posix()


def thinned(golden: Golden, cap: Cap) -> Golden:
    """Return as many images as the cap allows, sampled evenly.

    The order is by name, so every class folder gives its share.
    """
    most, sizes = cap.images, dict[str, int]()
    while True:
        outside = evenly(len(golden.ood_images), most)
        chosen = golden.only(evenly(len(golden.images), most), outside)
        names = (*chosen.images, *chosen.ood_images)
        for name in names:
            if name not in sizes:
                sizes[name] = _bytes_of(golden.root / name)
        size = sum(sizes[name] for name in names)
        if size <= cap.mb * 1e6 or most <= FEWEST_IMAGES:
            return chosen
        most = max(FEWEST_IMAGES, min(most - 1, int(most * cap.mb * 1e6 / size)))


def _copy_golden(golden: Golden, preprocess: Preprocess, folder: Path) -> None:
    """Copy the images, and save the preprocessed pixels of the first ones."""
    root = golden.root
    inside = [_copy(root / name, folder, "images", n) for n, name in enumerate(golden.images)]
    outside = [_copy(root / name, folder, "ood", n) for n, name in enumerate(golden.ood_images)]
    first = [folder / name for name in inside[:CONTRACT_IMAGES]]
    opened = [decode(path, max_megapixels=MOST_MEGAPIXELS) for path in first]
    pixels = np.stack([preprocess.pixels(image) for image in opened])
    carried = replace(
        golden,
        images=tuple(inside),
        ood_images=tuple(outside),
        arrays=replace(golden.arrays, pixels=pixels),
    )
    carried.save(folder, root=".")
    preprocessing_check.save(folder, inside[:CONTRACT_IMAGES], preprocess)


def _bytes_of(image: ImageFile) -> int:
    if isinstance(image, Path) and image.is_file():
        return image.stat().st_size
    return len(content_of(image))


def _copy(source: ImageFile, folder: Path, below: str, number: int) -> str:
    """Copy an image under a name that is safe on any device; its name there."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", source.stem)[:60]
    carried = f"{below}/{number:05d}-{stem}{source.suffix.lower()}"
    (folder / below).mkdir(parents=True, exist_ok=True)
    (folder / carried).write_bytes(content_of(source))
    return carried


def _readme(document: BundleDocument) -> str:
    files = "\n".join(f"- `{entry.file}` ({entry.precision})" for entry in document.artifacts)
    backend = extras((entry.file for entry in document.artifacts), document.target.provider)
    return f"""# {document.name}

A student of `{document.teacher.model}`, made with edge-compressor.

{files}
- `bundle.json`: preprocessing, classes, target, requirements, provenance
- `golden/`: held-out images with the answers of teacher and student
- `samples/`: programs in Python and C++ that reproduce these answers on their own

On the device, install edge-compressor's wheel with its `{backend}` extra (no torch comes with it),
and in this folder's parent:

    python -m runtime check {BUNDLE_NAME}               # verify it, run it, compare with teacher
    python -m runtime predict {BUNDLE_NAME} photo.jpg   # ask the student
    python -m runtime pack {BUNDLE_NAME}                # one .tar, to be carried further

The teacher's licence: {document.teacher.license or "not stated"}.
"""
