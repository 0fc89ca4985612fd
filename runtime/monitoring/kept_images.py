"""The images most worth labelling, kept within a limit of disk space, each with a note beside it.

The note is written before its image and removed after it. So a process that is stopped leaves at
most a note without an image, or a temporary file; the next start removes both.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct, structs, to_builtins

from runtime import documents
from runtime.arrays import Floats
from runtime.files import json_text, replacing, write_text
from runtime.images.kinds import HEAD_BYTES, KINDS, kind_of
from runtime.prediction.image_input import ImageInput, opened

ALIKE = 0.98
"""Two images with a higher cosine are the same scene: the more interesting one is kept."""


class Note(Struct, frozen=True):
    """What is written beside a kept image."""

    image: str
    """Its file."""
    interest: float
    """From 0 to 1: how much a label of it may teach."""
    seen: str
    """When, UTC."""
    label: str | None
    confidence: float | None
    is_outlier: bool | None
    likeness: float
    embedding: list[float]
    student: str = ""
    """Digest of the student that answered, see `Bundle.student_digest`; empty in older notes."""


@dataclass(frozen=True)
class _Kept:
    note: Note
    bytes: int
    unit: Floats


class KeptImages:
    """A folder of images, the most interesting ones of all that were offered."""

    def __init__(self, folder: Path, limit_mb: float) -> None:
        """Take what the folder holds.

        Args:
            folder: is made if it is not there.
            limit_mb: images and notes together, 10^6 bytes.

        Raises:
            InputError: a note cannot be read; the message names it.
        """
        self.folder, self.limit = folder, int(limit_mb * 1e6)
        self._kept: dict[str, _Kept] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(".*.tmp"):
            if not _being_written(path):
                path.unlink(missing_ok=True)
        for path in sorted(folder.glob("*.json")):
            self._take(path)
        self._make_room()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """What they take, with their notes."""
        return sum(each.bytes for each in self._kept.values())

    def offer(self, image: ImageInput, note: Note) -> bool:
        """Keep an image if it is more interesting than those that must go for it.

        Of images alike to a student one is kept. Other students' are not compared with it: their
        embeddings may mean other things, or be of another width. An image that would take all the
        room is not kept, nor is a file that can no longer be read.

        Args:
            image: as `Student.predict` takes it.
            note: `image` is how its name begins.

        Returns:
            Whether it is kept.
        """
        least = min((each.note.interest for each in self._kept.values()), default=0.0)
        if self.bytes >= self.limit and note.interest <= least:
            return False
        unit = _unit(note.embedding)
        own = [each for each in self._kept.values() if each.note.student == note.student]
        twins = [each for each in own if float(each.unit @ unit) > ALIKE]
        if any(twin.note.interest >= note.interest for twin in twins):
            return False
        content = _content(image)
        if content is None:
            return False
        note = structs.replace(note, image=self._free(note.image, _suffix(image)))
        text = json_text(to_builtins(note))
        gone = self._to_give_up(len(content) + len(text.encode()), note.interest, twins)
        if gone is None:
            return False
        beside = self._beside(note.image)
        _write(self.folder / note.image, content, beside, text)
        self._take(beside)
        for each in gone:
            self._remove(each.note.image)
        return True

    def _to_give_up(
        self, size: int, interest: float, twins: Sequence[_Kept]
    ) -> Sequence[_Kept] | None:
        """Return what must go for an image of so many bytes; None if that is not worth it."""
        gone = {each.note.image: each for each in twins}
        over = self.bytes + size - self.limit - sum(each.bytes for each in twins)
        for each in sorted(self._kept.values(), key=_interest):
            if over <= 0 or each.note.interest >= interest:
                break
            if each.note.image not in gone:
                gone[each.note.image] = each
                over -= each.bytes
        return tuple(gone.values()) if over <= 0 else None

    def _take(self, beside: Path) -> None:
        """Take an image that lies in the folder by its note; one without an image is removed."""
        note = documents.read(beside, Note, what="the note of a kept image")
        image = self.folder / note.image
        if image.name != note.image or not image.is_file():
            beside.unlink()
            return
        size = image.stat().st_size + beside.stat().st_size
        self._kept[note.image] = _Kept(note, size, _unit(note.embedding))

    def _make_room(self) -> None:
        order = sorted(self._kept.values(), key=lambda each: each.note.interest)
        over = self.bytes - self.limit
        for each in order:
            if over <= 0:
                break
            over -= each.bytes
            self._remove(each.note.image)

    def _remove(self, name: str) -> None:
        del self._kept[name]
        (self.folder / name).unlink(missing_ok=True)
        self._beside(name).unlink(missing_ok=True)

    def _beside(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _free(self, stem: str, suffix: str) -> str:
        names = (f"{stem}{f'-{number}' if number else ''}{suffix}" for number in itertools.count())
        return next(name for name in names if not self._beside(name).exists())


def _interest(kept: _Kept) -> float:
    return kept.note.interest


def _unit(embedding: Sequence[float]) -> Floats:
    vector = np.array(embedding, np.float32)
    unit: Floats = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return unit


_SUFFIXES = {"JPEG": ".jpg", "JPEG2000": ".jp2"}
"""Of kinds of image files; of others it is their name."""


def _suffix(image: ImageInput) -> str:
    if isinstance(image, (str, Path)):
        return Path(image).suffix.lower()
    kind = kind_of(image[:HEAD_BYTES], "") if isinstance(image, bytes) else KINDS["PNG"]
    return "" if kind is None else _SUFFIXES.get(kind.name, f".{kind.name.lower()}")


def _content(image: ImageInput) -> bytes | None:
    """Return the file to keep: of a picture a PNG as the student saw it. None: it is gone."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, (str, Path)):
        try:
            return Path(image).read_bytes()
        except OSError:  # whoever wrote it for the student may have removed it since
            return None
    file = io.BytesIO()
    opened(image, 0).save(file, format="PNG")
    return file.getvalue()


def _write(path: Path, content: bytes, beside: Path, note: str) -> None:
    write_text(beside, note)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except BaseException:  # a full disk, or Ctrl-C
        beside.unlink(missing_ok=True)
        raise


def _being_written(temporary: Path) -> bool:
    """Whether the process that a temporary file is of still runs; the name ends with its id."""
    number = temporary.name.removesuffix(".tmp").rpartition(".")[2]
    if not number.isdecimal() or int(number) == os.getpid():  # in a container it is always the same
        return False
    try:
        os.kill(int(number), 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, PermissionError)
    return True
