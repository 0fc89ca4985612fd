"""The annotations of COCO: a JSON file with images, boxes and categories.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from compressor.data.layout.class_folders import class_name
from compressor.data.sources.annotated.boxes import Annotated, Box, BoxedImages, clipped
from compressor.data.sources.source import clean
from runtime import documents
from runtime.errors import InputError

_TRIED = 20
"""Images that are looked for in a folder, before it is not the one."""


class _Image(Struct):
    id: int | str
    file_name: str
    width: int = 0
    height: int = 0


class _Annotation(Struct):
    image_id: int | str
    category_id: int | str
    id: int | str | None = None
    bbox: tuple[float, float, float, float] | None = None
    iscrowd: int = 0


class _Category(Struct):
    id: int | str
    name: str


class _Document(Struct):
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


def read(path: Path) -> BoxedImages:
    """Return the images of an annotation file; they may lie beside it or around it.

    Raises:
        InputError: it is no such file, an annotation names what is not there, or the images are
            not found.
    """
    try:
        document = documents.decoded(path.read_bytes(), _Document)
    except ValueError as error:
        raise InputError(f"{path}: not annotations as COCO has them: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    categories = {each.id: class_name(each.name) for each in document.categories}
    images = {each.id: each for each in document.images}
    _require_own_ids(path, "image", [each.id for each in document.images])
    _require_own_ids(path, "category", [each.id for each in document.categories])
    boxes: dict[int | str, list[Box]] = {}
    left_out = Counter[str]()
    for number, each in enumerate(document.annotations):
        where = f"{path}: annotation {number if each.id is None else each.id}"
        if each.category_id not in categories:
            raise InputError(f"{where}: category {each.category_id} is not among the categories")
        if (image := images.get(each.image_id)) is None:
            raise InputError(f"{where}: image {each.image_id} is not among the images")
        of_image = boxes.setdefault(each.image_id, [])
        key = _free(str(number if each.id is None else each.id), of_image)
        box = _box(each, image, key, categories[each.category_id])
        if isinstance(box, str):
            left_out[box] += 1
        else:
            of_image.append(box)
    annotated = [
        Annotated(
            clean(each.file_name),
            tuple(boxes.get(each.id, ())),
            (each.width, each.height) if each.width > 0 and each.height > 0 else None,
        )
        for each in document.images
    ]
    notes = [f"left out: {count} boxes {why}" for why, count in sorted(left_out.items())]
    folder = _folder(path, [each.name for each in annotated])
    return BoxedImages(str(path), folder, annotated, notes)


def _require_own_ids(path: Path, what: str, ids: Sequence[int | str]) -> None:
    """Refuse one id of two: nobody knows whose annotations are whose.

    Raises:
        InputError: names the id.
    """
    for id_, times in Counter(ids).most_common(1):
        if times > 1:
            raise InputError(
                f"{path}: the {what} id {id_} is there {times} times; were several files joined? "
                "Each needs ids of its own"
            )


def _free(key: str, boxes: Sequence[Box]) -> str:
    """Return a key that names one box of its image, and no folder: files are named after it."""
    key, taken = key.replace("/", "_"), {box.key for box in boxes}
    others = (f"{key}-{number}" for number in itertools.count(2))
    return key if key not in taken else next(each for each in others if each not in taken)


def _box(each: _Annotation, image: _Image, key: str, label: str) -> Box | str:
    """Return the box of an annotation, or why it is left out."""
    if each.iscrowd:
        return "around a crowd (iscrowd)"
    if each.bbox is None:  # an annotation of the whole image
        return Box(key, label, 0, 0, 1, 1)
    if image.width <= 0 or image.height <= 0:
        return "of images without width and height"
    left, top, width, height = each.bbox
    right, bottom = (left + width) / image.width, (top + height) / image.height
    box = clipped(Box(key, label, left / image.width, top / image.height, right, bottom))
    return box or "without an area in their image"


def _folder(path: Path, names: Sequence[str]) -> Path:
    """Return the folder of the images: where the first of them are found.

    Raises:
        InputError: they are in none of the usual ones.
    """
    beside, above = path.parent, path.parent.parent
    part = path.stem.rpartition("_")[2]  # instances_train2017 -> train2017
    tried = [beside, beside / "images", above, above / "images", above / part]
    tried += [above / "images" / part, beside / part, beside / "images" / part]
    for folder in tried:
        if any((folder / name).is_file() for name in names[:_TRIED]):
            return folder
    first = f" ({names[0]})" if names else ""
    raise InputError(
        f"{path}: its images{first} are in none of {', '.join(map(str, tried[:5]))} and the like.\n"
        "  Move the file beside the folder of its images, or name that folder after it."
    )
