"""A YOLO data set: a `data.yaml`, folders of images, and a text file of boxes for each image.

Format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from compressor.data.layout.class_folders import class_name
from compressor.data.layout.listing import files_below
from compressor.data.sources.annotated.boxes import Annotated, Box, BoxedImages, clipped
from compressor.data.sources.source import name_of
from compressor.recipe import yaml_text
from compressor.recipe.yaml_text import YamlTextError
from runtime.errors import InputError
from runtime.images.kinds import has_image_suffix

_PARTS = ("train", "val", "test")
_SLACK = 0.01
"""How far a share may lie outside of 0 to 1: programs round."""


def read(path: Path) -> BoxedImages:
    """Return the images of all parts; those of `val` and `test` are held out.

    Raises:
        InputError: a key, a folder or a class is wrong, or a line of boxes.
    """
    document = _document(path)
    names = _names(document.get("names"), path)
    root = path.parent / str(document.get("path") or "")
    root = root if root.is_dir() else path.parent
    images, empty = dict[Path, Annotated](), Counter[str]()
    for part in _PARTS:
        for place in _places(document.get(part), part, path):
            for file in _files(root, place, part, path):
                boxes = _boxes(file, names, empty)
                held = part != "train"
                images.setdefault(file, Annotated(name_of(file, root), boxes, held_out=held))
    notes = [f"left out: {count} boxes {why}" for why, count in sorted(empty.items())]
    return BoxedImages(str(path), root, list(images.values()), notes)


def _document(path: Path) -> dict[str, object]:
    try:
        document = yaml_text.parse(yaml_text.read_text(path), "safe")
    except YamlTextError as error:
        raise InputError(f"{path}:{error.line or 1}: not YAML: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    if not isinstance(document, dict) or not {"train", "names"} <= document.keys():
        raise InputError(f"{path}: not the file of a YOLO data set: no keys `train` and `names`")
    return document


def _names(value: object, path: Path) -> list[str]:
    """Return the classes by their numbers, from a list or from numbers with names."""
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise InputError(f"{path}: names: the numbers are not 0 to {len(value) - 1}")
        value = [value[number] for number in range(len(value))]
    if not isinstance(value, list) or not value:
        raise InputError(f"{path}: names: a list of classes is wanted")
    return [class_name(str(name)) for name in value]


def _places(value: object, part: str, path: Path) -> list[str]:
    """Return the folders or lists of a part; one may be given, or several."""
    if value is None or value == "":
        return []
    places = value if isinstance(value, list) else [value]
    if not all(isinstance(place, str) for place in places):
        raise InputError(f"{path}: {part}: a folder is wanted, or a list of folders")
    return list(places)


def _files(root: Path, place: str, part: str, path: Path) -> list[Path]:
    """Return the images of a folder or of a text file with one path a line."""
    # Roboflow writes ../train/images beside train/
    tried = [root / place, path.parent / place, root / place.removeprefix("../")]
    found = next((each for each in tried if each.exists()), None)
    if found is None:
        raise InputError(f"{path}: {part}: no such folder: {root / place}")
    if found.is_dir():
        return [file for file in files_below(found) if has_image_suffix(file.name)]
    try:
        lines = found.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: {part}: {found} is no list of images") from error
    return [found.parent / line.strip() for line in lines if line.strip()]


def _boxes(image: Path, names: list[str], left_out: Counter[str]) -> tuple[Box, ...]:
    """Return the boxes of an image; no file of boxes means none."""
    path = _label_file(image)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: cannot be read as the boxes of an image") from error
    boxes = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        box = _box(line.split(), names, f"{path}:{number}", str(number))
        if box is None:
            left_out["without an area in their image"] += 1
        else:
            boxes.append(box)
    return tuple(boxes)


def _label_file(image: Path) -> Path:
    """Return the file of boxes: `labels` in place of the last `images`, else beside the image."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _box(cells: list[str], names: list[str], where: str, key: str) -> Box | None:
    """Return the box of a line: class, centre and size; or class and the corners of a polygon."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError as error:
        raise InputError(f"{where}: numbers are wanted, got {' '.join(cells)[:80]!r}") from error
    is_polygon = len(numbers) >= 7 and len(numbers) % 2 == 1
    if not is_polygon and len(numbers) not in (5, 6):  # the sixth: a confidence
        raise InputError(f"{where}: class, centre and size are wanted; got {len(numbers)} numbers")
    kind = numbers[0]
    if not kind.is_integer() or not 0 <= kind < len(names):
        raise InputError(
            f"{where}: class {cells[0]}, but data.yaml names {len(names)} (0 to {len(names) - 1})"
        )
    if not all(math.isfinite(x) and -_SLACK <= x <= 1 + _SLACK for x in numbers[1:5]):
        raise InputError(f"{where}: shares of the image's width and height (0 to 1) are wanted")
    if is_polygon:
        xs, ys = numbers[1::2], numbers[2::2]
        edges = min(xs), min(ys), max(xs), max(ys)
    else:
        x, y, width, height = numbers[1:5]
        edges = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return clipped(Box(key, names[int(kind)], *edges))
