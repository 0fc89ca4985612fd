"""The recipe that `compressor init` writes for a folder of images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from compressor.recipe.document import dump

_TEACHER, _STUDENT = "vit_small_patch14_dinov2.lvd142m", "mobilenetv3_small_100"


@dataclass(frozen=True)
class Guess:
    """A value that a first recipe takes for a key, and why."""

    key: str
    value: str
    why: str


def recipe_name(folder: Path) -> str:
    """Return the name of the first recipe for a folder of images."""
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in folder.resolve().name)
    return f"{name.strip('-.') or 'recipe'}-cpu"


def guesses(folder: Path) -> tuple[Guess, ...]:
    """Return what the first recipe for a folder of images assumes."""
    labels, why = _labels(folder)
    return (
        Guess("data.labels", labels, why),
        Guess("teacher.model", _TEACHER, "a general one, trained without labels"),
        Guess("student.model", _STUDENT, "small and fast on any CPU"),
        Guess("target", "cpu", "this machine; `compressor targets` lists others"),
    )


def _labels(folder: Path) -> tuple[str, str]:
    """Return `data.labels` for a folder of images, and why."""
    classes = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    if len(classes) >= 2:
        return "folders", f"{len(classes)} class folders were found"
    return "none", "no class folders"


def starter_recipe(folder: Path, *, relative_to: Path) -> str:
    """Return a commented recipe for a folder of images, as YAML text."""
    images = dump({"images": Path(os.path.relpath(folder.resolve(), relative_to)).as_posix()})
    labels, why = _labels(folder)
    label_section = (
        "#label:                     # which images to label first: `compressor label THIS_FILE`\n"
    )
    label_section += (
        "#  budget: 50               # the run then waits until so many images have a label\n"
    )
    gates = "" if labels == "none" else "\n  agreement: 0.85          # with the teacher's answers"
    return f"""\
# Written by `compressor init`. All keys: `compressor schema`.
# Check the cost first: compressor run THIS_FILE --dry-run
name: {recipe_name(folder)}
data:
  {images.rstrip()}
  labels: {labels:<18} # folders | a CSV with columns image,label | none  ({why})
  holdout: 0.2             # share never trained or tuned on, or a folder
  # ood: other-images      # images that are not of this task: measures whether the student notices
teacher:
  model: {_TEACHER}   # any timm model
  weights: hub             # hub | a local .safetensors or weights-only .pth
  image_size: 224          # DINOv2's own is 518, five times the work
student:
  model: {_STUDENT}              # any timm model
  image_size: 224
  embedding: 192
distill:
  method: tintem           # to compare with: proteus | cosine | supervised
  # epochs: 60             # by default as many as show the student 60,000 views
  # views: 8               # an image itself, then augmentations; by default more for few images
  seed: 0
{label_section}# export: {{precisions: [fp32, fp16, int8]}}   # docs/precision.md
# check: {{robustness_images: 50}}   # held-out images checked under corruptions; 0: none
target: cpu                # `compressor targets` lists them
require:                   # gates: a run that misses one ends with exit code 1
  latency_p95_ms: 20{gates}
"""
