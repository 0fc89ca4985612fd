"""A bundle: one folder with everything the device needs, verified before it is used.

manifest.json       sha256 of every other file
bundle.json         files, preprocessing, classes, target, requirements, provenance
student.*.onnx      the student
student.*.ncnn.*    the same for ncnn, if the recipe asks for it
golden/             held-out images and the answers of teacher and student to them
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runtime import documents
from runtime.bundle import golden
from runtime.bundle.schema import (
    SCHEMA_VERSION,
    BundleDocument,
    Manifest,
    Requirements,
    Target,
)
from runtime.documents import Precision
from runtime.errors import InputError
from runtime.files import sha256_of, stays_below
from runtime.images.preprocess import Preprocess
from runtime.text import amount, command

COPY_AGAIN = "Copy the whole folder again (rsync -a, or scp -r)."


@dataclass(frozen=True)
class Artifact:
    """One deployable file of the student."""

    stage: str
    """Its line in the ledger, such as `onnx-fp32`."""
    path: Path
    precision: Precision
    sha256: str
    parts: tuple[Path, ...] = ()
    """Other files that it cannot run without."""

    @property
    def size_mb(self) -> float:
        """Size of the file and its parts in megabytes (10^6 bytes)."""
        return sum(path.stat().st_size for path in (self.path, *self.parts)) / 1e6


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and, if it came through `load`, verified."""

    folder: Path
    document: BundleDocument
    """bundle.json."""

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The deployable files, in the order of the ledger."""
        return tuple(
            Artifact(
                entry.stage,
                self.folder / entry.file,
                entry.precision,
                entry.sha256,
                tuple(self.folder / name for name in entry.parts),
            )
            for entry in self.document.artifacts
        )

    @property
    def recommended(self) -> Artifact:
        """The file that the run's check recommended; in older bundles the first, in float32."""
        named = self.document.recommended
        return next(each for each in self.artifacts if named in (None, each.stage))

    @property
    def student_digest(self) -> str:
        """Digest of what the student answers to the golden set: of no other student, anywhere."""
        return sha256_of(golden.arrays_path(self.folder / "golden"))

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the student's input."""
        return self.document.preprocess

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the student answers; empty without labels."""
        return self.document.classes

    @property
    def target(self) -> Target:
        """The device that the student is made for."""
        return self.document.target

    @property
    def require(self) -> Requirements:
        """The recipe's gates."""
        return self.document.require


def load(folder: Path) -> Bundle:
    """Read a bundle and verify every file of it.

    Raises:
        InputError: it is no bundle, is of a newer version, or a file is missing, altered or extra.
    """
    if folder.suffix == ".tar" and folder.is_file():
        first = command("python", "-m", "runtime", "unpack", folder)
        raise InputError(f"{folder}: packed. First: {first}")
    if not (folder / "manifest.json").is_file():
        raise InputError(
            f"{folder}: not a bundle (it has no manifest.json).\n"
            "  A run writes one into its `bundle/` folder: runs/NAME/bundle"
        )
    verify(folder)
    found = read(folder)
    for number, entry in enumerate(found.document.artifacts):
        if not (folder / entry.file).is_file():
            raise InputError(
                f"{folder / 'bundle.json'}: artifacts[{number}].file: the bundle has no file "
                f"{entry.file!r}. {COPY_AGAIN}"
            )
    _require_images_inside(folder / "golden")
    return found


def read(folder: Path) -> Bundle:
    """Read what a bundle says of itself; `load` verifies its files too.

    Raises:
        InputError: its bundle.json cannot be read, or is of a newer version.
    """
    path = folder / "bundle.json"
    document = documents.read(path, BundleDocument, newest=SCHEMA_VERSION, what="bundle")
    return Bundle(folder, document)


def require_outside(folder: Path, path: Path) -> None:
    """Refuse a place to write to that lies in a bundle: with one file more it is no bundle.

    Args:
        folder: of the bundle.
        path: to be written; its folder need not be there yet.

    Raises:
        InputError: it lies below the folder.
    """
    if path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{path}: lies in the bundle {folder}, which is sealed: it could not be opened any "
            "more. Name a place beside it."
        )


def verify(folder: Path) -> None:
    """Compare every file of a bundle with its manifest.

    Raises:
        InputError: a name points outside, or a file is missing, altered or not in the manifest.
    """
    path = folder / "manifest.json"
    if path.is_symlink():
        raise InputError(f"{path}: a link, which may point outside the bundle; refused")
    wanted = documents.read(path, Manifest, what="bundle's files").files
    _refuse_outside(path, wanted)
    present = _files_of(folder) - {path.name}
    problems = [f"missing: {name}" for name in sorted(wanted.keys() - present)]
    problems += [f"not in the manifest: {name}" for name in sorted(present - wanted.keys())]
    problems += [
        f"altered: {name}"
        for name in sorted(wanted.keys() & present)
        if sha256_of(folder / name) != wanted[name]
    ]
    if problems:
        shown = "\n  ".join(problems[:10])
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise InputError(
            f"{folder}: the bundle does not match its manifest\n  {shown}{more}\n  {COPY_AGAIN}"
        )


MAX_FILES = 20_000
MAX_BYTES = 4_000_000_000
"""Of all files together; a student for a device and its golden set are a hundredth of it."""


def _files_of(folder: Path) -> set[str]:
    """Return the names of all files below a bundle's folder. None of them is read.

    Raises:
        InputError: a link, a pipe or a device, or more or larger files than a bundle has.
    """
    found, total = set[str](), 0
    for file in folder.rglob("*"):
        if file.is_symlink():
            raise InputError(f"{file}: a link, which may point outside the bundle; refused")
        if file.is_dir():
            continue
        if not file.is_file():  # a pipe or a device: reading it might never end
            raise InputError(f"{file}: neither a file nor a folder; refused")
        found.add(file.relative_to(folder).as_posix())
        total += file.stat().st_size
        if len(found) > MAX_FILES:
            raise InputError(f"{folder}: more than {MAX_FILES:,} files, the most a bundle has")
        if total > MAX_BYTES:
            raise InputError(f"{folder}: more than {amount(MAX_BYTES)}, the most a bundle takes")
    return found


def _require_images_inside(folder: Path) -> None:
    """Refuse a golden set with images from outside the bundle."""
    path = folder / golden.DOCUMENT
    document = golden.read_document(path)
    if document.root != ".":
        raise InputError(f"{path}: its images must lie beside it; refused")
    names = (*document.images, *document.ood_images)
    _refuse_outside(path, names)
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"{path}: the bundle has no image {name!r}. {COPY_AGAIN}")


def _refuse_outside(path: Path, names: Iterable[str]) -> None:
    for name in names:
        if not stays_below(name):
            raise InputError(f"{path}: {name!r} points outside the bundle; refused")
