"""A bundle: one folder with everything the device needs, verified before it is believed.

manifest.json       sha256 of every other file
bundle.json         what it is: files, preprocessing, classes, target, requirements, provenance
student.*.onnx      the student
golden/             held-out images and the answers to them
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundle.schema import mistakes
from runtime.errors import InputError
from runtime.files import read_json, read_versioned, sha256_of, stays_below
from runtime.images.preprocess import Preprocess

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Artifact:
    """One deployable file of the student."""

    stage: str
    """Its line in the ledger, such as `onnx-fp32`."""
    path: Path
    precision: str
    sha256: str

    @property
    def is_engine(self) -> bool:
        """Whether TensorRT opens it, and not ONNX Runtime."""
        return self.path.suffix == ".engine"

    def runs_on(self, provider: str) -> str:
        """What runs it where ONNX Runtime has this provider: its name in the ledger."""
        return "tensorrt-engine" if self.is_engine else provider

    @property
    def size_mb(self) -> float:
        """Size of the file in megabytes (10^6 bytes)."""
        return self.path.stat().st_size / 1e6


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and, if it came through `load`, verified."""

    folder: Path
    document: dict[str, Any]
    """bundle.json as it stands."""

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The deployable files, in the order of the ledger."""
        return tuple(
            Artifact(
                stage=entry["stage"],
                path=self.folder / entry["file"],
                precision=entry["precision"],
                sha256=entry["sha256"],
            )
            for entry in self.document["artifacts"]
        )

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes what the student sees."""
        return Preprocess.from_dict(self.document["preprocess"])


def load(folder: Path) -> Bundle:
    """Read a bundle and verify every file of it.

    Raises:
        InputError: it is no bundle, is of a newer version, or a file is missing, altered or extra.
    """
    if folder.suffix == ".tar" and folder.is_file():
        raise InputError(f"{folder}: packed. First: python -m runtime unpack {folder}")
    if not (folder / "manifest.json").is_file():
        raise InputError(
            f"{folder}: not a bundle (it has no manifest.json).\n"
            "  A run writes one into its `bundle/` folder: runs/NAME/bundle"
        )
    verify(folder)
    path = folder / "bundle.json"
    document = read_versioned(path, newest=SCHEMA_VERSION, what="bundle")
    if wrong := list(mistakes(document)):
        shown = "\n  ".join(wrong[:10])
        raise InputError(f"{path}: does not describe a bundle\n  {shown}")
    _refuse_outside(path, (entry["file"] for entry in document["artifacts"]))
    _refuse_strangers(folder)
    return Bundle(folder, document)


def verify(folder: Path) -> None:
    """Compare every file of a bundle with its manifest.

    Raises:
        InputError: a name points outside, or a file is missing, altered or not in the manifest.
    """
    path = folder / "manifest.json"
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise InputError(f"{path}: not a manifest")
    wanted: dict[str, str] = manifest["files"]
    _refuse_outside(path, wanted)
    for file in folder.rglob("*"):
        if file.is_symlink():
            raise InputError(f"{file}: a link, which may point outside the bundle; refused")
    there = {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and file != path
    }
    problems = [f"missing: {name}" for name in sorted(wanted.keys() - there)]
    problems += [f"not in the manifest: {name}" for name in sorted(there - wanted.keys())]
    problems += [
        f"altered: {name}"
        for name in sorted(wanted.keys() & there)
        if sha256_of(folder / name) != wanted[name]
    ]
    if problems:
        shown = "\n  ".join(problems[:10])
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise InputError(
            f"{folder}: the bundle is not what its manifest says\n  {shown}{more}\n"
            "  Copy it again, whole (rsync -a, or scp -r)."
        )


def _refuse_strangers(folder: Path) -> None:
    """A golden set must look at nothing but the images that travel with it."""
    path = folder / "golden" / "golden.json"
    document = read_json(path)
    if not isinstance(document, dict) or document.get("root") != ".":
        raise InputError(f"{path}: its images must lie beside it; refused")
    named = (document.get(key) for key in ("images", "ood_images"))
    _refuse_outside(path, (str(name) for each in named if isinstance(each, list) for name in each))


def _refuse_outside(path: Path, names: Iterable[str]) -> None:
    for name in names:
        if not stays_below(name):
            raise InputError(f"{path}: {name!r} points outside the bundle; refused")
