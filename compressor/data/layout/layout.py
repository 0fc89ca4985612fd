"""The layout of an images folder: its files, which of them are held out, and their classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from compressor.data.layout import class_folders, returned
from compressor.data.layout.class_counts import ClassCount, count, described, doubts
from compressor.data.layout.class_folders import Level, class_name
from compressor.data.layout.listing import files_of
from compressor.data.layout.split_folders import Doubt, Folders, Part, find_split
from compressor.data.sources.source import Root, Source
from runtime.errors import InputError
from runtime.images.image_file import ImageFile
from runtime.images.kinds import has_image_suffix


@dataclass(frozen=True)
class Question:
    """What a layout is read for."""

    root: Root
    """The images folder, or another source."""
    holdout: Root | None = None
    """Of held-out images, if they have one of their own."""
    skipped: Sequence[Path] = ()
    """Folders and files that are not part of the task."""
    by_folder: bool = True
    """Whether folders name the classes."""
    class_level: int | None = None
    """The level of folders that does, from 1; None: the only one that could."""
    split_folders: bool = True
    """Whether folders such as train/ and val/ divide the images."""
    propose: bool = False
    """In doubt, take what is most likely and say so, instead of refusing."""
    returned: Path | None = None
    """The folder of images that came back from devices."""


@dataclass(frozen=True)
class Layout:
    """What the folders say, before any image is decoded."""

    files: tuple[tuple[Root, ImageFile], ...]
    """Each file, after the root (images or held-out) that it was found in."""
    held_out: frozenset[ImageFile]
    """Files that folders hold out."""
    is_split: bool
    """Whether train/ and val/ or the like divide the images folder."""
    class_of: Mapping[ImageFile, str]
    """The class of each file, where folders name it."""
    level: int | None
    """The level of folders that names the classes; None: they do not, or only by being alone."""
    levels: tuple[Level, ...]
    """Levels that could name the classes."""
    notes: tuple[str, ...]
    """Sentences on what was left out, divided, or taken for a class."""
    returned: frozenset[Path] = frozenset()
    """Files that came back from devices: to train on, whatever the folders say."""
    returned_folder: Path | None = None
    """Where they lie; None where none came back."""

    @property
    def images(self) -> list[ImageFile]:
        """The files named like images."""
        return [path for _, path in self.files if has_image_suffix(path.name)]

    def classes(self, names: Mapping[ImageFile, str]) -> dict[str, ClassCount]:
        """Count the images of each class.

        Args:
            names: the class of each file that has one.
        """
        named = (path for path in self.images if path in names)
        return count((names[path], path in self.held_out) for path in named)

    def described(self, labels: str, names: Mapping[ImageFile, str]) -> list[str]:
        """Return the images and classes, then all notes, as sentences.

        Args:
            labels: `folders`, `source`, `none`, or the path of a CSV.
            names: the class of each file that has one.
        """
        total, apart = len(self.images), bool(self.held_out)
        if labels == "none":
            return [f"{total} image files, no classes (data.labels: none)", *self.notes]
        counts = self.classes(names)
        source = {"folders": "folders", "source": "its own labels"}.get(labels, Path(labels).name)
        without = total - sum(each.total for each in counts.values())
        rest = f"; {without} without a class" if without else ""
        return [
            f"{total} image files, by {source} {described(counts, apart=apart)}{rest}",
            *doubts(counts, apart=apart),
            *self.notes,
        ]


def read(question: Question) -> Layout:
    """List the files and read their folders.

    Raises:
        InputError: folders cannot be read; or they leave open what a class is, or what is held out.
    """
    roots = [question.root, *([question.holdout] if question.holdout else [])]
    listings = [files_of(root, [*question.skipped, *roots]) for root in roots]
    files = [
        (root, path) for root, (inside, _) in zip(roots, listings, strict=True) for path in inside
    ]
    notes = [line for _, left_out in listings for line in left_out]
    around = {path: folders for inside, _ in listings for path, folders in inside.items()}
    own = [path for root, path in files if root == question.root]
    parts, inner, told = _divided(question, own, around)
    held = {path for root, path in files if root != question.root}
    held |= {path for path, part in parts.items() if part == "holdout"}
    around.update(inner)
    to_train_on = [path for path in around if path not in held]
    level, levels, also = _level(question, _images(around, to_train_on))
    classes = _classes(level, around, held, align=question.class_level is None)
    back = returned.images_in(question.returned)
    if question.returned is not None and back:
        notes.append(f"{len(back)} images came back from devices: {question.returned}")
        files += [(question.returned, path) for path in back]
    return Layout(
        files=tuple(files),
        held_out=frozenset(held),
        is_split=bool(parts),
        class_of=classes if question.by_folder else {},
        level=level,
        levels=tuple(levels),
        notes=(*told, *also, *notes),
        returned=frozenset(back),
        returned_folder=question.returned if back else None,
    )


def _images(around: Mapping[ImageFile, Folders], paths: Iterable[ImageFile]) -> list[Folders]:
    """Return the folders around files named like images; around all of them if none is."""
    named = [around[path] for path in paths if has_image_suffix(path.name)]
    return named or [around[path] for path in paths]


def _divided(
    question: Question, paths: Sequence[ImageFile], around: Mapping[ImageFile, Folders]
) -> tuple[dict[ImageFile, Part], dict[ImageFile, Folders], list[str]]:
    """Return the part of each file, the folders around it without those of the split, and notes."""
    parts, inner = dict[ImageFile, Part](), {path: around[path] for path in paths}
    if not question.split_folders:
        return parts, inner, []
    if not isinstance(question.root, Path) and (own := question.root.held_out()):
        return _own_split(question.root, own, inner)
    notes = []
    while (found := find_split(_images(inner, inner))) is not None:
        if isinstance(found, Doubt):
            if not parts:
                notes.append(_in_doubt(question, found))
            break
        named = dict(found.names)
        at = {
            path: folders[found.level]
            for path, folders in inner.items()
            if len(folders) > found.level
        }
        if not parts:
            parts = {path: named[name] for path, name in at.items() if name in named}
            parts |= {path: "train" for path in inner if path not in parts}
            notes += _told(found.names, parts, outside=len(inner) - len(at))
        for path, name in at.items():
            if name in named:
                folders = inner[path]
                inner[path] = folders[: found.level] + folders[found.level + 1 :]
    return parts, inner, notes


def _own_split(
    root: Source, own: AbstractSet[str], inner: dict[ImageFile, Folders]
) -> tuple[dict[ImageFile, Part], dict[ImageFile, Folders], list[str]]:
    """Return the split that a source has itself."""
    held = {root / name for name in own}
    parts: dict[ImageFile, Part] = {path: "holdout" if path in held else "train" for path in inner}
    told = f"{len(inner) - len(held)} images to train on, {len(held)} held out"
    return parts, inner, [f"the source has a split: {told}; data.holdout is not used"]


def _told(
    names: Sequence[tuple[str, Part]], parts: Mapping[ImageFile, Part], *, outside: int
) -> list[str]:
    counts = Counter(part for path, part in parts.items() if has_image_suffix(path.name))
    train = " and ".join(f"{name}/" for name, part in names if part == "train")
    held = " and ".join(f"{name}/" for name, part in names if part == "holdout")
    lines = [
        f"the folders are a split: {train} to train on ({counts['train']} files), {held} held out "
        f"({counts['holdout']} files); data.holdout is not used"
    ]
    if outside:
        lines.append(f"{outside} files lie outside of these folders: used to train on")
    return lines


def _in_doubt(question: Question, doubt: Doubt) -> str:
    text = f"{question.root}: {doubt.text}"
    if question.by_folder and not question.propose:
        raise InputError(
            f"{text}.\n  Move away what is not of this task, or into the folder for training. Or, "
            "if each of them is a class: data.split_folders: ignore"
        )
    return f"{text}: not used as a split"


def _level(
    question: Question, images: Sequence[Folders]
) -> tuple[int | None, list[Level], list[str]]:
    """Return the level of the classes, those that could be it, and notes."""
    if not question.by_folder:
        return None, [], []
    levels = class_folders.levels_of(images)
    if question.class_level is not None:
        deepest = max(map(len, images), default=0)
        if question.class_level > deepest:
            raise InputError(
                f"{question.root}: data.class_level is {question.class_level}, but images lie at "
                f"most {deepest} folders deep (folders of a split not counted)"
            )
        return question.class_level, levels, []
    if not levels:
        return None, [], []
    if len(levels) == 1:
        return levels[0].number, levels, _deeper_folders(levels[0].number, images)
    best = class_folders.proposed(levels, images)
    choices = "\n  ".join(map(str, levels))
    if question.propose:
        return (
            best.number,
            levels,
            [
                f"folders lie in folders, and each level could name the classes:\n  {choices}\n"
                f"  {best.number} is taken"
            ],
        )
    raise InputError(
        f"{question.root}: folders lie in folders, and each level could name the classes:\n"
        f"  {choices}\n  Write one of these below `data:` in the recipe (most likely "
        f"class_level: {best.number}), or --set data.class_level={best.number}"
    )


def _deeper_folders(level: int, images: Sequence[Folders]) -> list[str]:
    """Say which folders within a class are taken for parts of it, and which level names classes."""
    within = {
        "/".join(folders[:level]): folders[level] for folders in images if len(folders) > level
    }
    if level == 1 and not within:
        return []
    example = f" ({', '.join(f'{a}/{b}' for a, b in sorted(within.items())[:3])})" if within else ""
    below = f"; folders within a class are part of it{example}" if within else ""
    return [f"folders of level {level} name the classes{below}"]


def _classes(
    level: int | None,
    around: Mapping[ImageFile, Folders],
    held: AbstractSet[ImageFile],
    *,
    align: bool,
) -> dict[ImageFile, str]:
    """Return the class of each file that has one.

    Held-out images may have more or fewer folders around them: their level is then the one with
    the classes of the others.
    """
    at = 0 if level is None else level - 1
    trained = {
        path: class_name(folders[at])
        for path, folders in around.items()
        if path not in held and len(folders) > at
    }
    names = set(trained.values())
    deepest = max((len(around[path]) for path in held), default=0)
    known = {
        place: sum(
            len(around[path]) > place and class_name(around[path][place]) in names for path in held
        )
        for place in range(deepest)
    }
    there = max(known, key=lambda place: (known[place], place == at), default=at) if align else at
    return trained | {
        path: class_name(around[path][there]) for path in held if len(around[path]) > there
    }
