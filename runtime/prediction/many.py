"""Many images at once: folders and patterns are listed, and one bad image is not the end."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw, ImageFont

from runtime.bundle.bundle import require_outside
from runtime.errors import InputError
from runtime.images.kinds import has_image_suffix
from runtime.prediction import streams
from runtime.prediction.image_input import opened
from runtime.prediction.prediction import Prediction
from runtime.prediction.streams import Stream
from runtime.prediction.student import BATCH, Student
from runtime.progress import Track, silent


@dataclass(frozen=True)
class Named:
    """An image to be predicted."""

    path: Path
    below: Path
    """Its name below the folder that was named; its own name otherwise."""
    frame: npt.NDArray[np.uint8] | None = None
    """[H, W, 3], RGB: of a video or a camera; None of a file."""
    address: str = ""
    """Of such a frame: the stream's name and the time."""

    @property
    def name(self) -> str:
        """Its whole name, as it is printed."""
        return self.address or str(self.path)


@dataclass(frozen=True)
class Answer(Named):
    """The prediction of an image, or why there is none."""

    prediction: Prediction | None = None
    error: str = ""


def find_images(words: Sequence[Path]) -> list[Named]:
    """Return the images that files, folders and patterns name, each once, in the order of words.

    Args:
        words: a file is taken whatever its name; a folder gives the images below it, sorted,
            without hidden ones, and links to folders are followed; what does not exist and has
            `*`, `?` or `[` is a pattern, where `**` stands for any folders.

    Raises:
        InputError: there is no image in a folder, a folder cannot be read, or nothing matches a
            pattern.
    """
    found = dict[Path, Named]()
    for word in words:
        if word.is_dir():
            named = list(_below(word))
            if not named:
                raise InputError(f"{word}: no image lies in this folder")
        elif not word.exists() and glob.has_magic(str(word)):
            # Path.glob takes no absolute pattern
            matching = sorted(glob.glob(str(word), recursive=True))  # noqa: PTH207
            named = [Named(path, Path(path.name)) for path in map(Path, matching) if path.is_file()]
            if not named:
                raise InputError(f"{word}: no file matches this pattern")
        else:
            named = [Named(word, Path(word.name))]
        for each in named:
            found.setdefault(each.path, each)
    return list(found.values())


def predict(
    student: Student, images: Sequence[Named], *, track: Track = silent
) -> Iterator[Answer]:
    """Yield the answer of each image in its order, as soon as its batch is done.

    Args:
        student: as `load` opened it.
        images: as `find_images` found them.
        track: shows progress.
    """
    tracked = iter(track(images, label="predicting", total=len(images)))
    while batch := list(itertools.islice(tracked, BATCH)):
        pixels = [_pixels(student, named.path) for named in batch]
        sound = [each for each in pixels if not isinstance(each, InputError)]
        answers = iter(each_answer(student, sound))
        for named, each in zip(batch, pixels, strict=True):
            answer = each if isinstance(each, InputError) else next(answers)
            yield _answer(named, answer)


def predict_frames(
    student: Student, stream: Stream, *, every_s: float = 1.0, most: int | None = None
) -> Iterator[Answer]:
    """Yield the answers to frames of a video or a camera, each as soon as it is there.

    Args:
        student: as `load` opened it.
        stream: as `streams.stream_of` found it.
        every_s: seconds from one frame to the next; 0: all.
        most: the number after which to stop; None: at the end.

    Raises:
        InputError: see `streams.frames`; what was yielded before holds.
    """
    last = Path(stream.last_part)
    for frame in streams.frames(stream, every_s=every_s, most=most):
        at = f"#t={frame.seconds:.3f}"
        named = Named(last, last.with_name(f"{last.name}{at}"), frame.pixels, f"{stream.name}{at}")
        (answer,) = each_answer(student, [student.pixels(frame.pixels)])
        yield _answer(named, answer)


def all_of(
    student: Student,
    images: Sequence[Named],
    videos: Sequence[Stream],
    *,
    every_s: float,
    most: int | None,
    track: Track = silent,
) -> Iterator[Answer]:
    """Yield the answers to images, then to each video or camera; one that fails is an answer too.

    Args:
        student: as `load` opened it.
        images: as `find_images` found them.
        videos: as `streams.stream_of` found them.
        every_s: seconds from one frame to the next; 0: all.
        most: frames of each video or camera, at most; None: to its end.
        track: shows progress of the images.
    """
    yield from predict(student, images, track=track)
    for video in videos:
        try:
            yield from predict_frames(student, video, every_s=every_s, most=most)
        except InputError as error:
            yield Answer(Path(video.name), Path(video.name), None, video.name, None, str(error))


def _answer(named: Named, found: Prediction | InputError) -> Answer:
    of = (named.path, named.below, named.frame, named.address)
    if not isinstance(found, InputError):
        return Answer(*of, found)
    why = str(found)
    return Answer(*of, None, why if named.name in why else f"{named.name}: {why}")


def require_new(folder: Path, bundle: Path) -> None:
    """Refuse a folder that holds anything: copies are written over nothing.

    Raises:
        InputError: it exists and is not empty, is no folder, or lies in the bundle.
    """
    require_outside(bundle, folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"--annotate {folder}: is there already; name a new or an empty folder")


def annotate(answer: Answer, folder: Path) -> Path:
    """Write a copy of an image with its answer on it, as JPEG, and return its path.

    Args:
        answer: with a prediction.
        folder: where to.

    Raises:
        InputError: its file can no longer be read.
    """
    if answer.prediction is None:
        raise ValueError("an image without a prediction has nothing to show")
    image = opened(answer.path if answer.frame is None else answer.frame, 0)
    size = max(12, min(image.size) // 16)
    left, top, right, bottom = (size // 3, size // 4, size // 3, size // 4)
    font, words = ImageFont.load_default(size), _words(answer.prediction)
    drawing = ImageDraw.Draw(image)
    box = drawing.textbbox((left, top), words, font=font)
    colour = (180, 84, 26) if answer.prediction.is_outlier else (31, 111, 107)
    drawing.rectangle((0, 0, box[2] + right, box[3] + bottom), fill=colour)
    drawing.text((left, top), words, fill=(255, 255, 255), font=font)
    path = folder / answer.below.with_name(f"{answer.below.name}.jpg")
    number = 1
    while path.exists():  # of another folder that was named
        number += 1
        path = path.with_name(f"{answer.below.name}.{number}.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="JPEG", quality=90)
    return path


def _words(prediction: Prediction) -> str:
    parts = [prediction.label or f"likeness {prediction.likeness:.2f}"]
    if prediction.confidence is not None:
        parts.append(f"{100 * prediction.confidence:.0f} %")
    return " ".join([*parts, "?"] if prediction.is_outlier else parts)


def _below(folder: Path) -> Iterator[Named]:
    seen = set[str]()  # real folders: a link may lead to one above it
    for place, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            if has_image_suffix(name) and not name.startswith("."):
                path = Path(place, name)
                yield Named(path, path.relative_to(folder))


def _unreadable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # removed in the meantime
    raise InputError(f"{error.filename}: this folder cannot be read: {error.strerror}") from error


def _pixels(student: Student, path: Path) -> npt.NDArray[np.uint8] | InputError:
    try:
        return student.pixels(path)
    except InputError as error:
        return error


def each_answer(
    student: Student, pixels: Sequence[npt.NDArray[np.uint8]]
) -> Sequence[Prediction | InputError]:
    """Predict a batch; where that fails, each image alone, so that the others are answered.

    Args:
        student: as `load` opened it.
        pixels: [B] of uint8 [S, S, 3], what the network sees of each image.
    """
    if not pixels:
        return []
    try:
        return student.predict_pixels(np.stack(pixels))
    except InputError as error:
        if len(pixels) == 1:
            return [error]
        return [each_answer(student, [each])[0] for each in pixels]
