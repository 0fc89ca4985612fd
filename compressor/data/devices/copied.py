"""Copies what a device kept to the user's data: only whole, new images of a student that is known.

They get a folder of their own, which is there with all its images or not at all. The device's
folder is only read.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from compressor.data.devices.device_folder import DeviceFolder, LeftOut
from compressor.data.image_files import DecodedInfo, inspect
from compressor.data.layout.returned import NOTES
from runtime import documents
from runtime.errors import InputError
from runtime.files import replacing, write_json
from runtime.monitoring.kept_images import Note
from runtime.progress import Track, silent
from runtime.text import guarded

LEFT_OUT = "left_out.csv"
KNOWN = "known already: the same pixels as"


class ReturnedImage(Struct, frozen=True, kw_only=True):
    """What is known of an image that came back."""

    image: str
    pixels_sha256: str
    interest: float
    seen: str
    """When, UTC."""
    answer: str | None
    confidence: float | None
    is_outlier: bool | None
    student: str
    """Digest of the student that answered."""


class ReturnedDocument(Struct, frozen=True, kw_only=True):
    """returned.json: the images of a folder, the most interesting first."""

    device: str
    """The folder that they were copied from."""
    images: tuple[ReturnedImage, ...]


@dataclass(frozen=True)
class Copied:
    """What was copied, and what was not."""

    folder: Path | None
    """None where there was nothing new."""
    images: tuple[Path, ...]
    """The most interesting first."""
    left_out: tuple[LeftOut, ...]
    known: int
    """How many of those left out are known already."""


def copy(
    found: DeviceFolder,
    into: Path,
    *,
    known: Mapping[str, str],
    students: Container[str],
    max_megapixels: float,
    track: Track = silent,
) -> Copied:
    """Copy the new images of a device into a new folder below `into`.

    Args:
        found: what the device kept.
        into: the folder of all images that came back.
        known: a name for the digest of the pixels of each known image.
        students: digests of the students that may have kept them.
        max_megapixels: the limit of an image's size, in 10^6 pixels.
        track: shows progress.

    Raises:
        InputError: no image can be used, and not because all are known.
    """
    before = earlier(into)
    known = {**known, **before}
    notes = [note for note in found.notes if note.student in students or not note.student]
    left_out = list(found.left_out)
    left_out += [
        LeftOut(note.image, "kept by a student that is not of this run")
        for note in found.notes
        if note not in notes
    ]
    number = 1 + max((int(path.name) for path in _numbered(into)), default=0)
    folder, work = into / f"{number:03d}", into / f".{number:03d}.tmp"
    shutil.rmtree(work, ignore_errors=True)  # of a copy that was stopped
    work.mkdir(parents=True)
    try:
        unread = _copied(found, notes, work, track)
        there = [note for note in notes if note.image not in unread]
        sound, bad, copies = _looked_at(work, there, known, max_megapixels, track)
        left_out += [*unread.values(), *bad]
        if sound:
            document = ReturnedDocument(device=str(found.kept), images=tuple(sound))
            write_json(work / NOTES, documents.plain(document))
            _write_left_out(work / LEFT_OUT, left_out)
            work.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not sound and not copies:
        raise InputError(_nothing(found, left_out))
    images = tuple(folder / each.image for each in sound)
    return Copied(folder if sound else None, images, tuple(left_out), copies)


def _copied(
    found: DeviceFolder, notes: Sequence[Note], work: Path, track: Track
) -> dict[str, LeftOut]:
    """Copy the images; return by name those that cannot be read, as one that is gone since."""
    unread = dict[str, LeftOut]()
    for note in track(notes, label="copying images", total=len(notes)):
        try:
            content = (found.kept / note.image).read_bytes()
        except OSError as error:
            unread[note.image] = LeftOut(note.image, f"cannot be read: {error.strerror}")
        else:
            (work / note.image).write_bytes(content)
    return unread


def earlier(into: Path) -> dict[str, str]:
    """Return a name for the digest of the pixels of each image that came back before."""
    found = dict[str, str]()
    for folder in _numbered(into):
        if (folder / NOTES).is_file():
            document = documents.read(folder / NOTES, ReturnedDocument, what="images that returned")
            found |= {each.pixels_sha256: f"{folder}/{each.image}" for each in document.images}
    return found


def _numbered(into: Path) -> list[Path]:
    if not into.is_dir():
        return []
    return sorted(path for path in into.iterdir() if path.is_dir() and path.name.isdecimal())


def _looked_at(
    work: Path,
    notes: Sequence[Note],
    known: Mapping[str, str],
    max_megapixels: float,
    track: Track,
) -> tuple[list[ReturnedImage], list[LeftOut], int]:
    """Decode the copies; return those that stay, what is removed and why, how many are known."""
    looks = inspect([work / note.image for note in notes], track, max_megapixels=max_megapixels)
    sound, left_out, copies, seen = list[ReturnedImage](), list[LeftOut](), 0, dict(known)
    for note in notes:
        look = looks[work / note.image]
        if isinstance(look, DecodedInfo) and look.pixels_sha256 not in seen:
            seen[look.pixels_sha256] = note.image
            sound.append(_described(note, look))
            continue
        (work / note.image).unlink()
        if isinstance(look, DecodedInfo):
            copies += 1
            left_out.append(LeftOut(note.image, f"{KNOWN} {seen[look.pixels_sha256]}"))
        else:
            left_out.append(LeftOut(note.image, look))
    return sound, left_out, copies


def _described(note: Note, look: DecodedInfo) -> ReturnedImage:
    return ReturnedImage(
        image=note.image,
        pixels_sha256=look.pixels_sha256,
        interest=note.interest,
        seen=note.seen,
        answer=note.label,
        confidence=note.confidence,
        is_outlier=note.is_outlier,
        student=note.student,
    )


def _nothing(found: DeviceFolder, left_out: Sequence[LeftOut]) -> str:
    first = "\n  ".join(f"{each.name}: {each.why}" for each in left_out[:5])
    more = f"\n  and {len(left_out) - 5} more" if len(left_out) > 5 else ""
    return f"{found.kept}: none of {len(left_out)} files can be used\n  {first}{more}"


def _write_left_out(path: Path, left_out: Sequence[LeftOut]) -> None:
    if not left_out:
        return
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "why"))
        writer.writerows((guarded(each.name), guarded(each.why)) for each in left_out)
