"""Everything the device needs, in one folder with a manifest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime.decode import decode
from runtime.files import sha256_of, write_json, write_text
from runtime.golden import Golden, evenly
from runtime.preprocess import Preprocess

BUNDLE_NAME = "bundle"
CONTRACT_IMAGES = 8
"""Golden images whose pixels after resize and crop travel too, to prove the preprocessing."""


def write(
    folder: Path,
    document: Mapping[str, Any],
    files: Sequence[tuple[str, str, Path]],
    golden: Golden,
    *,
    golden_images: int,
) -> None:
    """Write a bundle into a new folder.

    Args:
        folder: is made; what a killed attempt left there is removed.
        document: bundle.json without its `artifacts`.
        files: stage, precision and path of each deployable file.
        golden: all held-out images.
        golden_images: how many of them travel, at most.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    artifacts = []
    for stage, precision, path in files:
        shutil.copyfile(path, folder / path.name)
        artifacts.append(
            {"stage": stage, "file": path.name, "precision": precision, "sha256": sha256_of(path)}
        )
    write_json(folder / "bundle.json", {**document, "artifacts": artifacts})
    preprocess = Preprocess.from_dict(document["preprocess"])
    _copy_golden(thinned(golden, golden_images), preprocess, folder / "golden")
    write_text(folder / "README.md", _readme(document, artifacts))
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sha256_of(path) for path in written}
    write_json(folder / "manifest.json", {"files": digests})


def thinned(golden: Golden, most: int) -> Golden:
    """At most `most` held-out and `most` out-of-distribution images, evenly over their order.

    The order is by name, so every class folder gives its share.
    """
    inside = evenly(len(golden.images), most)
    return golden.only(inside, evenly(len(golden.ood_images), most))


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

    python -m runtime check {BUNDLE_NAME}

It verifies every file, runs the student here, and compares it with the teacher.
"""
