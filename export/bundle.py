"""Everything the device needs, in one folder with a manifest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends import engine_manifest as passports
from runtime.bundle.golden import Golden
from runtime.files import sha256_of, write_json, write_text
from runtime.images import preprocessing_check
from runtime.images.decode import decode
from runtime.images.preprocess import Preprocess
from runtime.sampling import evenly

BUNDLE_NAME = "bundle"
ENGINES = "engines"
FEWEST_IMAGES = 16
CONTRACT_IMAGES = 8
"""Golden images whose pixels after resize and crop travel too, to prove the preprocessing."""


@dataclass(frozen=True)
class Cap:
    """How much of the held-out images travels."""

    images: int
    """At most so many, and so many out-of-distribution ones."""
    mb: float
    """All of them together, 10^6 bytes; there are never fewer than FEWEST_IMAGES."""


def write(
    folder: Path,
    document: Mapping[str, Any],
    files: Sequence[tuple[str, str, Path]],
    golden: Golden,
    cap: Cap,
) -> None:
    """Write a bundle into a new folder.

    Args:
        folder: is made; what a killed attempt left there is removed.
        document: bundle.json without its `artifacts`.
        files: stage, precision and path of each deployable file.
        golden: all held-out images.
        cap: how much of them travels.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    artifacts = []
    for stage, precision, path in files:
        name = _carry(path, folder)
        artifacts.append(
            {"stage": stage, "file": name, "precision": precision, "sha256": sha256_of(path)}
        )
    write_json(folder / "bundle.json", {**document, "artifacts": artifacts})
    preprocess = Preprocess.from_dict(document["preprocess"])
    _copy_golden(thinned(golden, cap), preprocess, folder / "golden")
    write_text(folder / "README.md", _readme(document, artifacts))
    seal(folder)


def seal(folder: Path) -> None:
    """Write the manifest of everything that lies in a bundle now."""
    manifest = folder / "manifest.json"
    written = sorted(each for each in folder.rglob("*") if each.is_file() and each != manifest)
    digests = {path.relative_to(folder).as_posix(): sha256_of(path) for path in written}
    write_json(manifest, {"files": digests})


def engines_in(folder: Path) -> list[tuple[str, str, Path]]:
    """Stage, precision and path of the engines in a folder, as `write` takes them."""
    found = []
    for path in sorted(folder.glob("*.engine")):
        passport = passports.load(path)
        sm = passport.compute_capability.replace(".", "")
        found.append((f"{passport.flavour}-{passport.precision}-sm{sm}", passport.precision, path))
    return found


def pending(flavour: str, precision: str) -> dict[str, str]:
    """The ledger's entry of an engine that only the device itself can build."""
    return {
        "stage": f"{flavour}-{precision}",
        "precision": precision,
        "not_run": f"not built yet: on the device, compressor engine {BUNDLE_NAME} "
        f"--flavour {flavour}",
    }


def _carry(path: Path, folder: Path) -> str:
    """Copy a file with what lies beside it under its name; its name in the bundle."""
    below = folder / ENGINES if path.suffix == ".engine" else folder
    below.mkdir(exist_ok=True)
    for each in (path, *path.parent.glob(f"{path.name}.*")):
        shutil.copyfile(each, below / each.name)
    return (below / path.name).relative_to(folder).as_posix()


def thinned(golden: Golden, cap: Cap) -> Golden:
    """As many held-out and out-of-distribution images as the cap allows, evenly over their order.

    The order is by name, so every class folder gives its share.
    """
    most = cap.images
    while True:
        outside = evenly(len(golden.ood_images), most)
        chosen = golden.only(evenly(len(golden.images), most), outside)
        names = (*chosen.images, *chosen.ood_images)
        size = sum((golden.root / name).stat().st_size for name in names)
        if size <= cap.mb * 1e6 or most <= FEWEST_IMAGES:
            return chosen
        most = max(FEWEST_IMAGES, min(most - 1, int(most * cap.mb * 1e6 / size)))


def _copy_golden(golden: Golden, preprocess: Preprocess, folder: Path) -> None:
    """Copy the images, and note what the desk makes of the first of them."""
    root = golden.root
    inside = [_copy(root / name, folder, "images", n) for n, name in enumerate(golden.images)]
    outside = [_copy(root / name, folder, "ood", n) for n, name in enumerate(golden.ood_images)]
    first = [decode(folder / name) for name in inside[:CONTRACT_IMAGES]]
    pixels = np.stack([preprocess.pixels(image) for image in first])
    carried = replace(
        golden,
        images=tuple(inside),
        ood_images=tuple(outside),
        arrays=replace(golden.arrays, pixels=pixels),
    )
    carried.save(folder, root=".")
    preprocessing_check.save(folder, inside[:CONTRACT_IMAGES], preprocess)


def _copy(source: Path, folder: Path, below: str, number: int) -> str:
    """Copy an image under a name that is safe on any device; its name there."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", source.stem)[:60]
    carried = f"{below}/{number:05d}-{stem}{source.suffix.lower()}"
    (folder / below).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / carried)
    return carried


def _readme(document: Mapping[str, Any], artifacts: Sequence[Mapping[str, Any]]) -> str:
    files = "\n".join(f"- `{each['file']}` ({each['precision']})" for each in artifacts)
    backend = "gpu" if document["target"]["provider"] == "cuda" else "cpu"
    return f"""# {document["name"]}

A student of `{document["teacher"]["model"]}`, made with edge-compressor.

{files}
- `bundle.json`: preprocessing, classes, target, requirements, provenance
- `golden/`: held-out images with the answers of teacher and student

On the device, install edge-compressor's wheel with its `{backend}` extra (no torch comes with it),
and in this folder's parent:

    python -m runtime check {BUNDLE_NAME}               # verify it, run it, compare with teacher
    python -m runtime predict {BUNDLE_NAME} photo.jpg   # ask the student
    python -m runtime pack {BUNDLE_NAME}                # one .tar, to be carried further

The teacher's licence: {document["teacher"].get("license") or "not stated"}.
"""
