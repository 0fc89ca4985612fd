"""What an image is read from: a file on disk, a member of an archive, a frame of a video."""

from __future__ import annotations

from typing import BinaryIO, Literal, Protocol

from runtime.errors import InputError


class ImageFile(Protocol):
    """What an image is read from. A `pathlib.Path` is one."""

    @property
    def name(self) -> str:
        """Its name, without folders."""

    @property
    def stem(self) -> str:
        """Its name without its suffix."""

    @property
    def suffix(self) -> str:
        """The end of its name, with the dot; a TGA is known by it."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open its content: an image file's.

        Raises:
            OSError: it cannot be read.
        """

    def read_bytes(self) -> bytes:
        """Return its content, as a copy of it is to be written to disk.

        Raises:
            OSError: it cannot be read.
        """


class ImageRoot(Protocol):
    """Where images are found by their names. A `pathlib.Path` of a folder is one."""

    def __truediv__(self, name: str, /) -> ImageFile:
        """The image of a name."""


def content_of(image: ImageFile) -> bytes:
    """Return the content of an image that was read before, to be copied.

    Raises:
        InputError: it cannot be read any more; the message names it.
    """
    try:
        return image.read_bytes()
    except OSError as error:
        raise InputError(
            f"{image}: cannot be read: {error.strerror or error}\n  It was readable before: was it "
            "moved or changed? Run the same command again."
        ) from error
