"""The images most worth labelling, kept within a limit of disk space, each with a note beside it.

The note is written before its image and removed after it. So a process that is stopped leaves at
most a note without an image, which the next start removes.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct, structs, to_builtins
from PIL import Image

from runtime import documents
from runtime.arrays import Floats
from runtime.files import replacing, write_json
from runtime.images.kinds import HEAD_BYTES, KINDS, kind_of
from runtime.prediction.image_input import ImageInput

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
        twins = [each for each in self._kept.values() if float(each.unit @ unit) > ALIKE]
        if any(twin.note.interest >= note.interest for twin in twins):
            return False
        note = structs.replace(note, image=self._free(note.image, _suffix(image)))
        beside = self._beside(note.image)
        write_json(beside, to_builtins(note))
        _write(image, self.folder / note.image)
        self._take(beside)
        for twin in twins:
            self._remove(twin.note.image)
        self._make_room()
        return note.image in self._kept

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


def _write(image: ImageInput, path: Path) -> None:
    with replacing(path) as temporary:
        if isinstance(image, (str, Path)):
            shutil.copyfile(image, temporary)
        elif isinstance(image, bytes):
            temporary.write_bytes(image)
        else:
            picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
            picture.save(temporary, format="PNG")
