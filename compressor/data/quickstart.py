"""The quickstart: a small data set of digits, with its recipe, its teacher and its student."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from compressor.recipe.target import recipes_folder
from runtime.errors import InputError
from runtime.files import replacing

DIGITS_FOR_TRAINING = 898
"""The first of scikit-learn's 1,797 digits trained teacher and student; only the others are
written."""


def digit_image(digit: npt.NDArray[np.float64]) -> Image.Image:
    """Turn one of scikit-learn's digits, [8, 8] from 0 to 16, into a greyscale image of 32 px."""
    grey = np.round(digit * (255 / 16)).astype(np.uint8)
    return Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC)


def write_quickstart(folder: Path) -> int:
    """Write the embedded example and return its number of images.

    The images are the digits that neither network was trained on, as `digits/CLASS/NUMBER.png`.

    Raises:
        InputError: the folder contains other files.
    """
    from sklearn.datasets import load_digits

    source = recipes_folder() / "quickstart"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: not a folder; name another one")
    if folder.exists() and any(folder.iterdir()) and not (folder / "cpu.yaml").is_file():
        raise InputError(f"{folder}: contains other files; name another folder")
    digits = load_digits()
    for name in ("cpu.yaml", "teacher.safetensors", "student.safetensors"):
        if (folder / name).resolve() != (source / name).resolve():
            with replacing(folder / name) as temporary:
                shutil.copyfile(source / name, temporary)
    written = range(DIGITS_FOR_TRAINING, len(digits.images))
    for number in written:
        path = folder / "digits" / str(digits.target[number]) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = digit_image(digits.images[number])
        if not path.exists():  # an unchanged modification time lets a run reuse its cache
            with replacing(path) as temporary:
                image.save(temporary, format="PNG")
    return len(written)
