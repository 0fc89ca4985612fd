"""The folder of a `runtime.Monitor`, brought from a device: its images, and what it saw of them.

A copy of it may be incomplete, the device may still be writing, and anybody may have changed it. So
every file is taken for what it is, and what cannot be used is told, never an end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from runtime import documents
from runtime.errors import InputError
from runtime.monitoring.kept_images import Note

KEPT, EVENTS = "kept", "events.jsonl"
_HALF = "half-written: copy the folder again, when the device is not writing"


@dataclass(frozen=True)
class LeftOut:
    """A file that is not used, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Stream:
    """How many images a student saw on the device, and how many of them were outliers."""

    images: int
    outliers: int


@dataclass(frozen=True)
class DeviceFolder:
    """What a device kept."""

    kept: Path
    """Where the images are."""
    notes: tuple[Note, ...]
    """Of the images that are there, the most interesting first."""
    left_out: tuple[LeftOut, ...]
    seen: dict[str, Stream]
    """By the digest of the student; whole windows of 200 images only."""


class _Event(Struct, frozen=True):
    """A line of events.jsonl, as far as it is read here."""

    event: str
    student: str = ""
    of: int = 0
    outlier_share: float = 0.0


def read(folder: Path) -> DeviceFolder:
    """Read what a monitor kept. Decodes no image and changes nothing.

    Args:
        folder: the monitor's, or the folder `kept` in it.

    Raises:
        InputError: there is no such folder, or no note of a monitor in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    kept = folder / KEPT if (folder / KEPT).is_dir() else folder
    names = sorted(path.name for path in kept.iterdir())
    beside = [name for name in names if name.endswith(".json") and not name.startswith(".")]
    if not beside:
        what = "the monitor has kept no image yet" if kept != folder else "no folder of a monitor"
        raise InputError(
            f"{kept}: {what}: it has no note of an image.\n"
            "  `runtime.Monitor` and --monitor of `predict` and `serve` write it: docs/monitor.md."
        )
    notes, left_out = list[Note](), list[LeftOut]()
    for name in beside:
        found = _note(kept, name)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            notes.append(found)
    named = {name.removesuffix(".json") for name in beside}
    others = [name for name in names if name not in named and not name.endswith(".json")]
    left_out += [LeftOut(name, f"without a note, so {_HALF}") for name in others]
    notes.sort(key=lambda note: (-note.interest, note.image))
    where = folder if kept != folder else kept.parent
    return DeviceFolder(kept, tuple(notes), tuple(left_out), _seen(where / EVENTS))


def _note(kept: Path, name: str) -> Note | LeftOut:
    path, image = kept / name, kept / name.removesuffix(".json")
    if path.is_symlink() or image.is_symlink():
        return LeftOut(name, "a link, which may point anywhere")
    try:
        note = documents.read(path, Note, what="the note of a kept image")
    except InputError:
        return LeftOut(name, f"no note that can be read, perhaps {_HALF}")
    if note.image != image.name:
        return LeftOut(name, "a note of an image with another name")
    if not image.is_file():
        return LeftOut(name, f"its image is not there, so {_HALF}")
    return note


def _seen(path: Path) -> dict[str, Stream]:
    """Sum the windows of each student; lines that cannot be read are passed over."""
    seen, student = dict[str, Stream](), ""
    for event in _events(path):
        if event.event == "start":
            student = event.student
        elif event.event == "window" and event.of > 0:
            before = seen.get(student, Stream(0, 0))
            outliers = round(event.outlier_share * event.of)
            seen[student] = Stream(before.images + event.of, before.outliers + outliers)
    return seen


def _events(path: Path) -> Iterator[_Event]:
    if not path.is_file() or path.is_symlink():
        return
    decoder = msgspec.json.Decoder(_Event)
    with path.open("rb") as file:
        for line in file:
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):  # a stopped process left half a line
                continue
