"""Images as a caller gives them: a folder, paths, or one array; as files that can be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from compressor.data.dataset import ImageRecord, ImageSet, Split
from compressor.data.image_files import DecodedInfo, inspect
from compressor.data.layout.labels import UNLABELLED
from compressor.data.layout.listing import files_below
from compressor.data.sources.opened import opened
from compressor.recipe.places.addresses import from_here, refuse_missing
from runtime.arrays import Ints
from runtime.errors import InputError
from runtime.images.image_file import ImageFile

Images = str | Path | Sequence[str | Path] | npt.NDArray[np.uint8]
"""A folder (searched in depth), another source, files, or uint8 [N, H, W, 3] in RGB."""


def files_of(images: Images, work: Path) -> list[ImageFile]:
    """Return one file for each image; those of an array are written into `work` as PNG.

    Raises:
        InputError: no such folder or source, no file, or an array of another shape or type.
    """
    if isinstance(images, np.ndarray):
        return list(_written(images, work))
    paths: Sequence[ImageFile]
    if isinstance(images, str | Path):
        refuse_missing(images)
        root = opened(from_here(images))
        paths = files_below(root) if isinstance(root, Path) else [root / n for n in root.names]
    elif isinstance(images, Sequence) and all(isinstance(image, str | Path) for image in images):
        paths = [Path(image) for image in images]
    else:
        raise InputError(f"images: expected a folder, a list of files or an array, got {images!r}")
    if not paths:
        where = f"{images}: " if isinstance(images, str | Path) else ""
        raise InputError(f"{where}no images")
    return [path.absolute() if isinstance(path, Path) else path for path in paths]


def records_of(
    files: Sequence[ImageFile], labels: Sequence[int] | Ints | None, split: Split
) -> list[ImageRecord]:
    """Decode every image once and return its record; of equal images, each has its own.

    Args:
        files: the N images; paths are absolute.
        labels: [N] class indices, UNLABELLED (-1) where not known; None: none is known.
        split: of all of them.

    Raises:
        InputError: an image cannot be decoded, or there is another number of labels.
    """
    known = [UNLABELLED] * len(files) if labels is None else [int(label) for label in labels]
    if len(known) != len(files):
        raise InputError(f"{len(files)} images and {len(known)} labels; give one label an image")
    results = inspect(files)
    wrong = [f"{path}: {reason}" for path, reason in results.items() if isinstance(reason, str)]
    if wrong:
        raise InputError(f"{len(wrong)} images cannot be used\n  " + "\n  ".join(wrong[:5]))
    return [
        ImageRecord(str(file), info.pixels_sha256, info.width, info.height, label, split)
        for file, label in zip(files, known, strict=True)
        if isinstance(info := results[file], DecodedInfo)
    ]


class Given:
    """Images that a caller gave, found by where they lie."""

    def __init__(self, files: Sequence[ImageFile]) -> None:
        self._files = {str(file): file for file in files}

    def __truediv__(self, name: str) -> ImageFile:
        """The image that lies at a place."""
        return self._files[name]

    def __str__(self) -> str:
        """How many they are, for messages."""
        return f"{len(self._files)} given images"


def image_set(records: Sequence[ImageRecord], files: Sequence[ImageFile], classes: int) -> ImageSet:
    """Return records of files as a set; its classes are named 0, 1, ..."""
    return ImageSet(Given(files), tuple(str(index) for index in range(classes)), tuple(records))


def _written(images: npt.NDArray[np.uint8], work: Path) -> list[Path]:
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or not images.size:
        raise InputError(
            f"images: an array of {images.dtype} {list(shape)}; expected uint8 [N, H, W, 3] in RGB"
        )
    work.mkdir(parents=True, exist_ok=True)
    paths = [work / f"{row:07d}.png" for row in range(len(images))]
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path, compress_level=1)
    return paths
