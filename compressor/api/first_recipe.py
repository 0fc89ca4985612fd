"""A folder of images and no recipe: write the one that `compressor init` would write."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from compressor.data.layout import layout
from compressor.data.layout.class_counts import ClassCount
from compressor.data.layout.layout import Layout, Question
from compressor.data.layout.names import class_names
from compressor.data.sources.hints import others_in
from compressor.data.sources.opened import opened
from compressor.data.sources.source import Source
from compressor.pipeline.storage.run_files import LOCK, require_own
from compressor.recipe import target
from compressor.recipe.document import Document, dump
from compressor.recipe.places import addresses
from compressor.recipe.places.addresses import FEWEST_IMAGES
from runtime.errors import InputError
from runtime.files import write_text
from runtime.images.image_file import ImageFile
from runtime.text import command, printable

FILE = "recipe.yaml"
_NEED_LABELS = ("  agreement:", "  accuracy_drop:")
_TEACHER, _STUDENT = "vit_small_patch14_dinov2.lvd142m", "mobilenetv3_small_100"


@dataclass(frozen=True)
class Guess:
    """A value that a first recipe takes for a key, and why."""

    key: str
    value: str
    why: str


def recipe_name(images: str | Path) -> str:
    """Return the name of the first recipe for a folder or other source of images."""
    address = addresses.from_here(images)
    is_file = addresses.kind_of(address) not in ("folder", "store")
    last = PurePosixPath(address).stem if is_file else PurePosixPath(address).name
    if not any(map(str.isalnum, last)):  # as of clips/*.mp4
        last = PurePosixPath(address).parent.name
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in last)
    return f"{name.strip('-.') or 'recipe'}-cpu"


@dataclass(frozen=True)
class FirstLook:
    """A folder or other source of images, as its folders or its own labels describe it."""

    address: str
    """A folder, or another source; a path in it is absolute."""
    layout: Layout
    names: Mapping[ImageFile, str]
    """The class of each image that has one."""
    has_own_labels: bool
    """Whether the classes come with the images, not from folders."""
    classes: dict[str, ClassCount]
    others: tuple[str, ...] = ()
    """Addresses of other sources in the folder."""

    @property
    def labels(self) -> str:
        """What `data.labels` is best."""
        if self.has_own_labels:
            return "source"
        return "folders" if len(self.classes) > 1 else "none"

    @property
    def why(self) -> str:
        """Why it is."""
        if self.labels == "none":
            return "no class folders"
        if self.labels == "source":
            return f"{len(self.classes)} classes come with the images"
        return f"{len(self.classes)} class folders were found"

    @property
    def lines(self) -> list[str]:
        """Return classes, split and what was left out, as sentences."""
        lines = self.layout.described(self.labels, self.names)
        lines += [f"not read: {each}, which has images too, or boxes" for each in self.others]
        if (files := len(self.layout.files)) < FEWEST_IMAGES:
            lines += [f"{files} files: a run needs {FEWEST_IMAGES} usable images (data.min_images)"]
        return [printable(line) for line in lines]

    @property
    def is_open(self) -> bool:
        """Whether more than one level of folders could name the classes."""
        return self.labels == "folders" and len(self.layout.levels) > 1


def first_look(images: str | Path, skipped: Sequence[Path] = ()) -> FirstLook:
    """Look at images. Decodes nothing; takes what is most likely where it is open.

    Raises:
        InputError: a folder or source cannot be read, or has no images.
    """
    address = addresses.from_here(images)
    root = opened(address)
    found = layout.read(Question(root, skipped=skipped, propose=True))
    others = others_in(root) if isinstance(root, Path) else []
    if not found.images:
        hint = f" Is this meant?\n  {command('compressor', 'init', others[0])}" if others else ""
        where = "folder" if isinstance(root, Path) else "source"
        raise InputError(f"{images}: no image files in this {where}.{hint}")
    own = isinstance(root, Source) and root.has_labels
    names = class_names(found, root, "source") if own else found.class_of
    return FirstLook(address, found, names, own, found.classes(names), tuple(others))


def guesses(look: FirstLook) -> tuple[Guess, ...]:
    """Return what the first recipe for a folder of images assumes."""
    level = Guess("data.class_level", str(look.layout.level), "other levels: see the recipe")
    return (
        Guess("data.labels", look.labels, look.why),
        *([level] if look.is_open else []),
        Guess("teacher.model", _TEACHER, "a general one, trained without labels"),
        Guess("student.model", _STUDENT, "small and fast on any CPU"),
        Guess("student.weights", "auto", "pretrained ones, if they are to be had"),
        Guess("target", "cpu", "this machine; `compressor targets` lists others"),
    )


def folder_of(images: str | Path, out: Path | None) -> Path:
    """Return the run's folder for a folder or other source of images: `out`, else `runs/NAME`.

    Raises:
        InputError: it is not there, or cannot be named like this.
    """
    addresses.refuse_missing(images)
    return out if out is not None else Path("runs") / recipe_name(images)


def write_first_recipe(images: str | Path, folder: Path) -> tuple[Path, list[str]]:
    """Write a recipe for a folder or other source of images into the folder of its run.

    An existing recipe is used unchanged: the user may have edited it.

    Args:
        images: the folder, or another source.
        folder: the run's folder.

    Returns:
        The recipe's path, and lines that say what was guessed and why.

    Raises:
        InputError: the run's folder holds other files, or a recipe for other images.
    """
    path = folder / FILE
    if path.exists():
        _require_same_images(path, images)
        return path, [f"recipe: {path}, which exists already, is used unchanged"]
    require_own(folder)
    look = first_look(images, [folder.resolve()])
    write_text(path, starter_recipe(look, relative_to=folder.resolve()))
    (folder / LOCK).touch()  # from here on it is the folder of a run
    return path, [f"recipe: wrote {path}. What it guesses, to be changed there:", *_lines(look)]


def _lines(look: FirstLook) -> list[str]:
    rows = guesses(look)
    width = max(len(f"{guess.key}: {guess.value}") for guess in rows)
    return [f"  {f'{guess.key}: {guess.value}':<{width}}  ({guess.why})" for guess in rows]


def _require_same_images(path: Path, images: str | Path) -> None:
    data = Document(path).data.get("data")
    written = data.get("images") if isinstance(data, dict) else None
    here = addresses.from_here(images)
    if not isinstance(written, str) or addresses.resolved(written, path.parent) != here:
        raise InputError(
            f"{path}: exists already, and it is a recipe for other images ({written}).\n"
            f"  To run it: {command('compressor', 'run', path)}\n"
            "  Or name a new folder with --out."
        )


def examples() -> dict[str, str]:
    """Return the recipes that come along, by name, with what each is for."""
    paths = sorted((target.recipes_folder() / "examples").glob("*.yaml"))
    return {
        path.stem: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        for path in paths
    }


def recipe_like(name: str, look: FirstLook, *, relative_to: Path) -> str:
    """Return a recipe that comes along, for other images, as YAML text.

    Its own `data.labels: none` and path of a CSV stay, and keys such as `data.ood`.

    Raises:
        InputError: no recipe has this name.
    """
    if name not in (known := examples()):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        raise InputError(f"{name!r} is no recipe of ours; {hint}")
    path = target.recipes_folder() / "examples" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    found, images, level = _data_lines(look, relative_to)
    kept = "labels: folders" not in text or look.labels != "none"
    for line, instead in (
        ("data:\n", f"data:\n{found}"),
        ("  images: photos\n", f"  {images}\n"),
        ("  labels: folders\n", f"  labels: {look.labels}{level}\n"),
    ):
        text = text.replace(line, instead)
    return text if kept else _without_gates_on_labels(text)


def _without_gates_on_labels(text: str) -> str:
    lines = [
        f"  # {line.strip()}   # needs labels" if line.startswith(_NEED_LABELS) else line
        for line in text.splitlines()
    ]
    return "\n".join(lines) + "\n"


def _data_lines(look: FirstLook, relative_to: Path) -> tuple[str, str, str]:
    """Return what was found as comments, the images, and the level of the classes if it is open."""
    address = look.address
    if not addresses.is_remote(address):
        address = Path(os.path.relpath(address, relative_to)).as_posix()
    images = dump({"images": address})
    found = "".join(f"  # {line}\n" for text in look.lines for line in text.splitlines())
    boxes = "\n  # crops: true            # each annotated box is an image, with its class"
    boxes = boxes if addresses.has_boxes(look.address) else ""
    level = f"\n  class_level: {look.layout.level}" if look.is_open else ""
    return found, f"{images.rstrip()}{boxes}", level


def starter_recipe(look: FirstLook, *, relative_to: Path) -> str:
    """Return a commented recipe for a folder or other source of images, as YAML text."""
    labels = look.labels
    found, images, level = _data_lines(look, relative_to)
    holdout = "holdout: 0.2             # share never trained or tuned on, or a folder"
    if look.layout.is_split:
        holdout = "split_folders: auto      # they are the split; ignore: folders like others"
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
name: {recipe_name(look.address)}
data:
{found}  {images}
  labels: {labels:<18} # folders | source | a CSV with columns image,label | none{level}
  {holdout}
  # ood: other-images      # images that are not of this task: measures whether the student notices
teacher:
  model: {_TEACHER}   # any timm model
  weights: hub             # hub | a local .safetensors or weights-only .pth
  image_size: 224          # DINOv2's own is 518, five times the work
student:
  model: {_STUDENT}              # any timm model
  weights: auto            # pretrained ones if they are to be had; `none`: from scratch
  image_size: 224
  embedding: 192
distill:
  method: tintem           # to compare with: proteus | cosine | supervised
  # patience: 3x           # three times the default epochs, and views
  # views: 8               # an image itself, then augmentations; by default from the epochs
  seed: 0
{label_section}# export: {{precisions: [fp32, fp16, int8]}}   # docs/precision.md
# check: {{robustness_images: 50}}   # held-out images checked under corruptions; 0: none
target: cpu                # `compressor targets` lists them
require:                   # gates: one missed or undecided is exit code 1
  latency_p95_ms: 20{gates}
"""
