"""The protocol of a source: stable names, the content of each image, and what is known of them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Literal

from runtime.errors import ImageError
from runtime.images.image_file import ImageFile

MOST_BYTES = 1_000_000_000
"""The largest content of one image: it is read into memory at once."""


class Source(ABC):
    """Images that are no files of a folder: what the steps of a run need to know of them.

    A name is a relative path with forward slashes. It is the id of the image everywhere, so it
    depends on nothing but the source.
    """

    notes: Sequence[str] = ()
    """Sentences on what was left out, or looks odd."""
    folder: Path | None = None
    """Where the names are paths of files: the folder that they are relative to."""
    has_labels: bool = False
    """Whether it says the class of its images, for `data.labels: source`."""

    def __init__(self, address: str) -> None:
        self.address = address
        """As it is shown: without credentials."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The name of each image, sorted."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open the content of an image: an image file's.

        Raises:
            KeyError: there is no image of this name.
            OSError: it cannot be read.
            InputError: what it lies in cannot be read: a damaged shard, an endpoint that refuses.
        """

    @abstractmethod
    def fingerprint(self) -> object:
        """Return a JSON value that changes when images or labels do."""

    def _require_small(self, size: int) -> None:
        """Refuse content that would fill the memory, such as a bomb in an archive.

        Raises:
            ImageError: it is larger than any image file.
        """
        if size > MOST_BYTES:
            raise ImageError(f"absurdly large: {size / 1e6:,.0f} MB; the limit is 1,000 MB")

    def read(self, name: str) -> bytes:
        """Return the content of an image, as a copy of it is to be written to disk."""
        with self.open(name) as file:
            return file.read()

    def where(self, name: str) -> str:
        """Return where an image lies, for messages."""
        return f"{self.address}/{name}"

    def folders(self, name: str) -> tuple[str, ...]:
        """Return the folders around an image, which may name its class."""
        return tuple(name.split("/")[:-1])

    def labels(self) -> Mapping[str, str]:
        """Return the class of each image that has one, by its name."""
        return {}

    def held_out(self) -> frozenset[str]:
        """Return the images that the source itself holds out."""
        return frozenset()

    def __truediv__(self, name: str) -> ImageFile:
        """The image of a name."""
        return Member(name, self)

    def __str__(self) -> str:
        """The address, without credentials."""
        return self.address


@dataclass(frozen=True, order=True, slots=True)
class Member:
    """An image of a source."""

    id: str
    source: Source = field(compare=False)

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.id.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """Its name without its suffix."""
        return self.name.removesuffix(self.suffix)

    @property
    def suffix(self) -> str:
        """The end of its name, with the dot."""
        before, dot, end = self.name.rpartition(".")
        return dot + end if before else ""

    def open(self, mode: Literal["rb"] = "rb", /) -> BinaryIO:
        """Open its content."""
        return self.source.open(self.id)

    def read_bytes(self) -> bytes:
        """Return its content, as a copy of it is to be written to disk."""
        return self.source.read(self.id)

    def __str__(self) -> str:
        """Where it lies: for messages."""
        return self.source.where(self.id)


Root = Path | Source
"""A folder of images, or another source of them."""
HELD_OUT, OUTSIDE, RETURNED = "@holdout", "@ood", "@returned"
"""The first part of the ids of images that have another root than the images to train on."""


@dataclass(frozen=True)
class Roots:
    """Where the images of a run are. It finds every image of them by its id."""

    images: Root
    holdout: Root | None = None
    ood: Root | None = None
    returned: Path | None = None
    """The folder of images that came back from devices."""

    @property
    def root(self) -> Path | Roots:
        """Where ids are found: the images folder, if folders are all there is."""
        return self.images if isinstance(self.images, Path) and not self._prefixes else self

    @cached_property
    def _prefixes(self) -> dict[str, Root]:
        """The roots whose ids begin with a word of their own: those not relative to a folder."""
        others = {HELD_OUT: self.holdout, OUTSIDE: self.ood, RETURNED: self.returned}
        in_folder = isinstance(self.images, Path)
        return {
            word: root
            for word, root in others.items()
            if root is not None and not (in_folder and isinstance(root, Path))
        }

    @property
    def folder(self) -> Path | None:
        """The folder that all ids are paths in; None where there is no such folder."""
        if self._prefixes:
            return None
        return self.images if isinstance(self.images, Path) else self.images.folder

    def id_of(self, file: ImageFile, root: Root) -> str:
        """Return the id of an image.

        Args:
            file: the image.
            root: of these roots, the one in which it was found.
        """
        word = next((word for word, each in self._prefixes.items() if each == root), None)
        name = name_of(file, self.images if word is None else root)
        return name if word is None else f"{word}/{name}"

    def begin_of_ids(self, root: Root) -> str:
        """Return what the ids of all images of a root begin with: of one of these roots."""
        word = next((word for word, each in self._prefixes.items() if each == root), None)
        if word is not None:
            return f"{word}/"
        return f"{name_of(root, self.images)}/" if isinstance(root, Path) else ""

    def __truediv__(self, name: str) -> ImageFile:
        """The image of an id."""
        word, _, rest = name.partition("/")
        root = self._prefixes.get(word) if word.startswith("@") else None
        return self.images / name if root is None else root / rest

    def __str__(self) -> str:
        """Where the images to train on are."""
        return str(self.images)


def name_of(file: ImageFile, root: Root) -> str:
    """Return the name of an image of a root: for a file, its path relative to the folder."""
    if isinstance(file, Member):
        return file.id
    folder, path = str(root if isinstance(root, Path) else root.folder), str(file)
    inside = path.startswith(f"{folder}/")  # ten times as fast as `relpath`
    relative = path[len(folder) + 1 :] if inside else Path(os.path.relpath(path, folder)).as_posix()
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


def clean(name: str) -> str:
    """Return a name, such as a member's, as a relative path that leads nowhere else."""
    if not name.startswith(("/", ".")) and "//" not in name and "/." not in name:
        return name
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
