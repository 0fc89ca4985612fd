"""A bundle's student at work: images in, answers out.

import runtime

student = runtime.load("bundle")
for answer in student.predict(["a.jpg", "b.jpg"]):
    print(answer.label, answer.confidence, answer.is_outlier)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime import metrics
from runtime.arrays import Floats
from runtime.backends.base import Provider, inputs_of, open_session
from runtime.bundle import bundle as bundles
from runtime.bundle import golden
from runtime.bundle.bundle import Artifact, Bundle
from runtime.errors import ImageError, InputError
from runtime.images.decode import decode, upright
from runtime.text import table

if TYPE_CHECKING:
    from runtime.backends.base import Session
    from runtime.bundle.golden import Golden

Picture = str | Path | Image.Image | npt.NDArray[np.uint8]
"""A file, a Pillow image, or uint8 [H, W, 3] in RGB (OpenCV's are BGR: `frame[:, :, ::-1]`)."""

BATCH = 32
"""Images that the network looks at together, at most."""


@dataclass(frozen=True)
class Neighbour:
    """A training image near the one asked about."""

    image: str
    """Its name below the folder the student was trained on."""
    label: str | None
    """None where it has none."""
    cosine: float


@dataclass(frozen=True)
class Bank:
    """What the student says of B training images."""

    unit: Floats
    """[B, D], of length 1."""
    labels: npt.NDArray[np.int64]
    """[B], -1 where not known."""
    images: tuple[str, ...]
    """[B] names below the folder of the training images; empty in bundles that do not say."""

    @classmethod
    def of(cls, found: Golden) -> Bank:
        """The bank of a golden set."""
        arrays = found.arrays
        return cls(metrics.normalise(arrays.bank), arrays.bank_labels, found.bank_images)

    def nearest(self, cosines: Floats, count: int) -> npt.NDArray[np.int64]:
        """Rows of the `count` highest cosines [B], the highest first."""
        far = max(0, len(cosines) - count)
        rows = np.argpartition(cosines, min(far, len(cosines) - 1))[far:]
        ordered: npt.NDArray[np.int64] = rows[np.argsort(-cosines[rows], kind="stable")]
        return ordered


@dataclass(frozen=True)
class Prediction:
    """What the student says of one image."""

    label: str | None
    """None where the student was made without labels."""
    confidence: float | None
    """Calibrated probability of `label` (report.json says whether there were labels enough)."""
    is_outlier: bool
    """Less like the training images than 95 % of unseen images of the task."""
    likeness: float
    """Cosine to the nearest training image; below the bundle's threshold it is an outlier."""
    nearest: tuple[Neighbour, ...]
    """The nearest training images, the nearest first."""
    probabilities: Floats | None
    """[K], in the order of `Student.classes`."""
    embedding: Floats
    """[D]"""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the arrays."""
        return {
            "label": self.label,
            "confidence": self.confidence,
            "is_outlier": self.is_outlier,
            "likeness": self.likeness,
            "nearest": [vars(each) for each in self.nearest],
        }


class Student:
    """One file of a bundle, loaded; safe to be asked by several threads at once."""

    def __init__(self, bundle: Bundle, session: Session, bank: Bank, *, neighbours: int) -> None:
        """Take what `load` found.

        Args:
            bundle: a verified bundle.
            session: one of its files, opened.
            bank: the training images that an answer is compared with.
            neighbours: how many of them each answer names.
        """
        self.bundle = bundle
        self.session = session
        self.bank = bank
        self.neighbours = neighbours if bank.images else 0
        self.preprocess = bundle.preprocess
        self.classes: tuple[str, ...] = tuple(bundle.document["classes"])
        self.ood_threshold: float = bundle.document["ood_threshold"]

    def predict(self, images: Picture | Sequence[Picture]) -> list[Prediction]:
        """Answer each image: one, several, or uint8 [B, H, W, 3].

        Raises:
            InputError: a file cannot be read, or an array is no picture; it is named.
        """
        wanted = _several(images)
        found: list[Prediction] = []
        for start in range(0, len(wanted), BATCH):
            batch = enumerate(wanted[start : start + BATCH], start)
            pixels = [self.preprocess.pixels(_opened(each, number)) for number, each in batch]
            found += self.answer(np.stack(pixels))
        return found

    def answer(self, pixels: npt.NDArray[np.uint8]) -> list[Prediction]:
        """Answer images that are resized and cropped already: uint8 [B, S, S, 3].

        Raises:
            InputError: the student's answer is not finite, or zero.
        """
        outputs = self.session.run(inputs_of(self.session, self.preprocess, pixels))
        try:
            cosines = metrics.normalise(outputs.embedding) @ self.bank.unit.T
        except ValueError as error:
            raise InputError(
                f"{self.bundle.folder}: the student's answer cannot be used: {error}.\n"
                "  `python -m runtime check` says which files of the bundle are sound here."
            ) from error
        chances: list[Floats | None] = [None] * len(cosines)
        if outputs.logits is not None:
            chances = list(np.exp(metrics.log_softmax(outputs.logits)).astype(np.float32))
        rows = zip(outputs.embedding, cosines, chances, strict=True)
        return [self._prediction(*row) for row in rows]

    def _prediction(self, embedding: Floats, cosines: Floats, chances: Floats | None) -> Prediction:
        best = None if chances is None else int(chances.argmax())
        likeness = float(cosines.max())
        nearest = self.bank.nearest(cosines, self.neighbours)
        return Prediction(
            label=None if best is None else self.classes[best],
            confidence=None if chances is None else float(chances[best]),
            is_outlier=likeness < self.ood_threshold,
            likeness=likeness,
            nearest=tuple(self._neighbour(row, float(cosines[row])) for row in nearest),
            probabilities=chances,
            embedding=embedding,
        )

    def _neighbour(self, row: int, cosine: float) -> Neighbour:
        label = int(self.bank.labels[row])
        return Neighbour(self.bank.images[row], self.classes[label] if label >= 0 else None, cosine)


def load(
    path: str | Path,
    *,
    file: str | None = None,
    provider: Provider | None = None,
    threads: int | None = None,
    neighbours: int = 3,
) -> Student:
    """Open a bundle's student.

    Args:
        path: the bundle's folder.
        file: which of its files, by its line in the ledger (`onnx-int8`) or its name; None takes
            the first, in float32.
        provider: where it must run; None takes the target's.
        threads: CPU threads within one operator; None takes the target's.
        neighbours: training images to name with each answer.

    Raises:
        InputError: it is no bundle, is damaged, or has no such file.
        MissingDependencyError: the backend is not installed or its provider did not start.
    """
    bundle = bundles.load(Path(path))
    target = bundle.document["target"]
    session = open_session(
        _chosen(bundle, file).path,
        provider=provider or target["provider"],
        threads=threads or target["threads"],
    )
    bank = Bank.of(golden.load(bundle.folder / "golden"))
    return Student(bundle, session, bank, neighbours=neighbours)


def table_of(images: Sequence[Path], answers: Sequence[Prediction]) -> str:
    """Answers for people: label, confidence, whether it is of the task, and what is near."""
    rows = [
        [
            path.name,
            answer.label or "-",
            "-" if answer.confidence is None else f"{answer.confidence:.3f}",
            f"{answer.likeness:.3f}{' ?' if answer.is_outlier else ''}",
            ", ".join(f"{each.image} ({each.cosine:.2f})" for each in answer.nearest),
        ]
        for path, answer in zip(images, answers, strict=True)
    ]
    return table(["image", "label", "confidence", "likeness", "nearest training images"], rows)


def _chosen(bundle: Bundle, file: str | None) -> Artifact:
    if file is None:
        return bundle.artifacts[0]
    for each in bundle.artifacts:
        if file in (each.stage, each.path.name):
            return each
    there = ", ".join(each.stage for each in bundle.artifacts)
    raise InputError(f"{bundle.folder}: has no file {file!r}; it has {there}")


def _several(images: Picture | Sequence[Picture]) -> list[Picture]:
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, (str, Path, Image.Image)):
        return [images]
    return list(images)


def _opened(picture: Picture, number: int) -> Image.Image:
    """The picture, upright and in RGB.

    Raises:
        InputError: it is none; the message names the file, or its number in the call.
    """
    try:
        if isinstance(picture, (str, Path)):
            return decode(Path(picture))
        if isinstance(picture, Image.Image):
            return upright(picture)
        return _from_array(picture)
    except ImageError as error:
        name = picture if isinstance(picture, (str, Path)) else f"image {number}"
        raise InputError(f"{name}: {error}") from error


def _from_array(pixels: npt.NDArray[Any]) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(
            f"an array of {pixels.dtype} {list(pixels.shape)}; wanted is uint8 [H, W, 3] in RGB"
        )
    return upright(Image.fromarray(pixels))
