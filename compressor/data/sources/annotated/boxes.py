"""Images with annotated boxes: each image with its one class, or each box as an image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from compressor.data.sources.rendered import TO_DECODE, TO_KEEP, png
from compressor.data.sources.source import Source
from runtime.errors import ImageError, InputError
from runtime.images.decode import MOST_MEGAPIXELS, decode
from runtime.images.image_file import ImageFile

_SAME_SHAPE = 0.02
"""Largest difference of the two ratios of width to height, as a share, for rounded sizes."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box and its class."""

    key: str
    """Names it among the boxes of its image: the annotation's id, or its line."""
    label: str
    left: float
    top: float
    right: float
    bottom: float
    """As shares of the upright image's width and height, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """An image and its boxes."""

    name: str
    """Its path relative to the folder of all images."""
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None
    """Width and height that the boxes were drawn in, where the annotations say it."""
    held_out: bool = False


class BoxedImages(Source):
    """Images with boxes, whole: the class of an image is the class of all its boxes."""

    has_labels = True

    def __init__(
        self, address: str, folder: Path, images: Sequence[Annotated], notes: Sequence[str] = ()
    ) -> None:
        """Sort the images.

        Args:
            address: of the annotations.
            folder: that the images' names are relative to.
            images: all of them.
            notes: on what the annotations left out.

        Raises:
            InputError: there are none, or two have one name.
        """
        super().__init__(address)
        self.folder: Path = folder
        self._images = {image.name: image for image in images}
        if not images:
            raise InputError(f"{address}: names no images")
        if len(self._images) < len(images):
            counts = Counter(image.name for image in images)
            name, times = counts.most_common(1)[0]
            raise InputError(f"{address}: {name} is there {times} times")
        self._names = sorted(self._images)
        self.notes = [*notes, *self._told()]

    def _told(self) -> list[str]:
        several = sum(len({box.label for box in i.boxes}) > 1 for i in self._images.values())
        none = sum(not image.boxes for image in self._images.values())
        lines = [f"{several} images with boxes of several classes: without a class"]
        return (lines if several else []) + ([f"{none} images without a box"] if none else [])

    @property
    def names(self) -> Sequence[str]:
        """The name of each image, sorted."""
        return self._names

    def annotated(self, name: str) -> Annotated:
        """Return an image with its boxes."""
        return self._images[name]

    def open(self, name: str) -> BinaryIO:
        """Open the file of an image."""
        return (self.folder / self._images[name].name).open("rb")

    def __truediv__(self, name: str) -> ImageFile:
        """The file of an image."""
        return self.folder / name

    def labels(self) -> Mapping[str, str]:
        """Return the class of each image whose boxes are all of one."""
        return {
            name: image.boxes[0].label
            for name, image in self._images.items()
            if len({box.label for box in image.boxes}) == 1
        }

    def held_out(self) -> frozenset[str]:
        """Return the images of the parts that are not for training."""
        return frozenset(name for name, image in self._images.items() if image.held_out)

    def fingerprint(self) -> object:
        """Return names, boxes, and sizes and times of the files."""
        found = []
        for name in self.names:
            path, image = self.folder / name, self._images[name]
            boxes = [
                [box.key, box.label, box.left, box.top, box.right, box.bottom]
                for box in image.boxes
            ]
            try:
                status = path.stat()
                found.append([name, status.st_size, status.st_mtime_ns, image.held_out, boxes])
            except OSError:  # the audit names it
                found.append([name, -1, 0, image.held_out, boxes])
        return found


class Crops(Source):
    """The boxes of images, each an image of its own with the class of its box.

    A crop is named after its image and its box: `street.jpg/17.png`. Its content is a PNG of the
    upright image's pixels.
    """

    has_labels = True

    def __init__(self, whole: BoxedImages) -> None:
        """Name the crops.

        Raises:
            InputError: there are no boxes.
        """
        super().__init__(whole.address)
        self._whole, self._images = whole.folder, dict[str, tuple[Annotated, Box]]()
        for name in whole.names:
            image = whole.annotated(name)
            for box in image.boxes:
                self._images[f"{name}/{box.key}.png"] = (image, box)
        if not self._images:
            raise InputError(f"{self.address}: data.crops is true, but there are no boxes")
        self._names = sorted(self._images)
        self._fingerprint = whole.fingerprint
        images = len({image.name for image, _ in self._images.values()})
        self.notes = [f"{len(self._names)} boxes of {images} images, each an image (data.crops)"]

    @property
    def names(self) -> Sequence[str]:
        """The name of each crop, sorted."""
        return self._names

    def open(self, name: str) -> BinaryIO:
        """Cut the box out of its image.

        Raises:
            ImageError: the image cannot be used, or has another shape than the annotations say.
        """
        return png(self._crop(name), TO_DECODE)

    def read(self, name: str) -> bytes:
        """Return a crop as a compressed PNG."""
        return png(self._crop(name), TO_KEEP).getvalue()

    def _crop(self, name: str) -> Image.Image:
        image, box = self._images[name]
        whole = _decoded(self._whole / image.name)
        _require_shape(image, whole.size)
        (left, right), (top, bottom) = (
            _whole_pixels(box.left, box.right, whole.width),
            _whole_pixels(box.top, box.bottom, whole.height),
        )
        return whole.crop((left, top, right, bottom))

    def folders(self, name: str) -> tuple[str, ...]:
        """Return the folders around the image that the crop is of."""
        return tuple(name.split("/")[:-2])

    def labels(self) -> Mapping[str, str]:
        """Return the class of each box."""
        return {name: box.label for name, (_, box) in self._images.items()}

    def held_out(self) -> frozenset[str]:
        """Return the crops of the parts that are not for training."""
        return frozenset(name for name, (image, _) in self._images.items() if image.held_out)

    def fingerprint(self) -> object:
        """Return that of the whole images and their boxes."""
        return self._fingerprint()


def clipped(box: Box) -> Box | None:
    """Return the part of a box that is inside the image; None if nothing is."""
    left, right = max(0.0, box.left), min(1.0, box.right)
    top, bottom = max(0.0, box.top), min(1.0, box.bottom)
    values = (left, top, right, bottom)
    if not all(map(math.isfinite, values)) or left >= right or top >= bottom:
        return None
    return Box(box.key, box.label, *values)


@lru_cache(maxsize=4)  # the crops of one image follow each other
def _decoded(path: Path) -> Image.Image:
    return decode(path, max_megapixels=MOST_MEGAPIXELS)


def _require_shape(image: Annotated, size: tuple[int, int]) -> None:
    """Refuse an image whose boxes were drawn in one of another shape, such as one not upright."""
    if image.size is None:
        return
    (width, height), (wide, high) = size, image.size
    if abs(width * high - height * wide) > _SAME_SHAPE * width * high:
        raise ImageError(
            f"{width} x {height} pixels when upright, but its boxes were drawn in {wide} x {high}"
        )


def _whole_pixels(low: float, high: float, side: int) -> tuple[int, int]:
    """Return the whole pixels that a stretch of a side touches: one at least."""
    first = min(side - 1, math.floor(low * side))
    return first, max(first + 1, min(side, math.ceil(high * side)))
