"""Recipes to begin with: one for a folder of the user's, one that runs with nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from compressor.recipe.document import dump
from compressor.recipe.target import recipes_folder
from runtime.errors import InputError
from runtime.files import replacing

DIGITS_FOR_TEACHER = 898
"""Of scikit-learn's 1,797 digits, the first ones taught the teacher; only the rest are written."""


def starter_recipe(folder: Path, *, relative_to: Path) -> str:
    """A commented recipe for a folder of images, as YAML text."""
    images = dump({"images": Path(os.path.relpath(folder.resolve(), relative_to)).as_posix()})
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in folder.resolve().name)
    classes = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")]
    labels = "folders" if len(classes) >= 2 else "none"
    why = f"{len(classes)} class folders were found" if labels == "folders" else "no class folders"
    asked = (
        "#label:                     # which images to label first: `compressor label THIS_FILE`\n"
    )
    asked += "#  budget: 50               # the run then waits until so many images have a label\n"
    gates = "" if labels == "none" else "\n  agreement: 0.85          # with the teacher's answers"
    return f"""\
# Written by `compressor init`. All keys: `compressor schema`.
# Look before you leap: compressor run THIS_FILE --dry-run
name: {name.strip("-.") or "recipe"}-cpu
data:
  {images.rstrip()}
  labels: {labels:<18} # folders | a CSV with columns image,label | none  ({why})
  holdout: 0.2             # share never trained or tuned on, or a folder
  # ood: other-images      # images that are not of this task: measures whether the student notices
teacher:
  model: vit_small_patch14_dinov2.lvd142m   # any timm model
  weights: hub             # hub | a local .safetensors or weights-only .pth
  image_size: 224          # DINOv2's own is 518, five times the work
student:
  model: mobilenetv3_small_100              # any timm model
  image_size: 224
  embedding: 192
distill:
  method: tintem           # to compare with: proteus | cosine | supervised
  # epochs: 60             # by default as many as show the student 60,000 views
  # views: 8               # an image itself, then augmentations; by default more of few images
  seed: 0
{asked}# export: {{precisions: [fp32, fp16, int8]}}   # docs/precision.md
# check: {{robustness_images: 50}}   # held-out images also looked at corrupted; 0 leaves it out
target: cpu                # `compressor targets` lists them
require:                   # gates: a run that misses one ends with exit code 1
  latency_p95_ms: 20{gates}
"""


def digit_image(digit: npt.NDArray[np.float64]) -> Image.Image:
    """One of scikit-learn's digits, [8, 8] with values 0 to 16, as a greyscale image of 32 px."""
    grey = np.round(digit * (255 / 16)).astype(np.uint8)
    return Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC)


def write_quickstart(folder: Path) -> int:
    """Write the embedded example; returns how many images.

    The images are the digits that the teacher has not seen, as `digits/CLASS/NUMBER.png`.

    Raises:
        InputError: the folder holds something else.
    """
    from sklearn.datasets import load_digits

    source = recipes_folder() / "quickstart"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: not a folder; name another one")
    if folder.exists() and any(folder.iterdir()) and not (folder / "cpu.yaml").is_file():
        raise InputError(f"{folder}: holds other files; name another folder")
    digits = load_digits()
    for name in ("cpu.yaml", "teacher.safetensors"):
        if (folder / name).resolve() != (source / name).resolve():
            with replacing(folder / name) as temporary:
                shutil.copyfile(source / name, temporary)
    written = range(DIGITS_FOR_TEACHER, len(digits.images))
    for number in written:
        path = folder / "digits" / str(digits.target[number]) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = digit_image(digits.images[number])
        if not path.exists():  # the times of the files tell a run that nothing has changed
            with replacing(path) as temporary:
                image.save(temporary, format="PNG")
    return len(written)
