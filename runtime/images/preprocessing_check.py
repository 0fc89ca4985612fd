"""The preprocessing check: digests of every step on the training machine, for a few images.

A device repeats the steps and names the first whose result is not the same to the bit. The
network's own step is not among them: that is parity, which has a tolerance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime.errors import InputError
from runtime.files import read_json, stays_below, write_json
from runtime.images.preprocess import Preprocess
from runtime.images.source import ImageSource

FILE = "contract.json"
STEPS = ("decode", "resize", "crop", "normalise")


def steps(path: Path, preprocess: Preprocess) -> dict[str, str]:
    """Return the hex sha256 of each step's result for an image: sizes and values.

    Raises:
        InputError: it cannot be read.
    """
    decoded = ImageSource(path).open()
    resized = preprocess.resize(decoded)
    cropped = preprocess.crop(resized)
    made = (_pixels(decoded), _pixels(resized), _pixels(cropped), preprocess(decoded))
    return {step: _digest(values) for step, values in zip(STEPS, made, strict=True)}


def save(folder: Path, images: Sequence[str], preprocess: Preprocess) -> None:
    """Write the digests of the steps for some images below a folder."""
    made = [{"image": name, **steps(folder / name, preprocess)} for name in images]
    write_json(folder / FILE, made)


def repeat(folder: Path, preprocess: Preprocess) -> dict[str, Any] | None:
    """Repeat the steps on this machine; None for a golden set without digests.

    Returns:
        `images`: of how many; `first_difference`: the first step that differs in any of them, or
        None; `differ`: the images in which it does.

    Raises:
        InputError: the contract is damaged, or an image cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    wanted = read_json(path)
    if not isinstance(wanted, list) or not all(_is_entry(each) for each in wanted):
        raise InputError(f"{path}: not a contract of preprocessing")
    differing: dict[str, list[str]] = {step: [] for step in STEPS}
    for each in wanted:
        found = steps(folder / Path(each["image"]), preprocess)
        first = next((step for step in STEPS if found[step] != each[step]), None)
        if first is not None:
            differing[first].append(each["image"])
    first = next((step for step in STEPS if differing[step]), None)
    return {
        "images": len(wanted),
        "first_difference": first,
        "differ": differing[first] if first else [],
    }


def _is_entry(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("image"), str):
        return False
    return stays_below(value["image"]) and all(isinstance(value.get(step), str) for step in STEPS)


def _pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image)


def _digest(values: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
