"""Open the student of a bundle and predict images with it.

import runtime

student = runtime.load("bundle")
for prediction in student.predict(["a.jpg", "b.jpg"]):
    print(prediction.label, prediction.confidence, prediction.is_outlier)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime import metrics
from runtime.arrays import Floats
from runtime.backends.base import Provider, inputs_of
from runtime.backends.registry import open_session
from runtime.bundle import bundle as bundles
from runtime.bundle import golden
from runtime.bundle.bundle import Artifact, Bundle
from runtime.errors import ImageError, InputError
from runtime.images.decode import decode, upright
from runtime.prediction.prediction import Neighbour, Prediction

if TYPE_CHECKING:
    from runtime.backends.base import Session
    from runtime.bundle.golden import Golden

ImageInput = str | Path | Image.Image | npt.NDArray[np.uint8]
"""A file, a Pillow image, or uint8 [H, W, 3] in RGB (from OpenCV's BGR: `frame[:, :, ::-1]`)."""

BATCH = 32
"""Most images in one call of the network."""


@dataclass(frozen=True)
class Bank:
    """The student's embeddings of B training images."""

    unit: Floats
    """[B, D], of length 1."""
    labels: npt.NDArray[np.int64]
    """[B] class indices, -1 where not known."""
    images: tuple[str, ...]
    """[B] names below the folder of the training images; empty in bundles without names."""

    @classmethod
    def of(cls, golden_set: Golden) -> Bank:
        """Return the bank of a golden set."""
        arrays = golden_set.arrays
        return cls(metrics.normalise(arrays.bank), arrays.bank_labels, golden_set.bank_images)

    def nearest(self, cosines: Floats, count: int) -> npt.NDArray[np.int64]:
        """Return the rows of the `count` highest of the cosines [B], the highest first."""
        first = max(0, len(cosines) - count)
        rows = np.argpartition(cosines, min(first, len(cosines) - 1))[first:]
        ordered: npt.NDArray[np.int64] = rows[np.argsort(-cosines[rows], kind="stable")]
        return ordered


class Student:
    """One file of a bundle, loaded. Several threads may use it at once."""

    def __init__(self, bundle: Bundle, session: Session, bank: Bank, *, neighbours: int) -> None:
        """Keep what `load` has opened.

        Args:
            bundle: a verified bundle.
            session: one of its files, opened.
            bank: the training images that an image is compared with.
            neighbours: how many of them each prediction names.
        """
        self.bundle = bundle
        self.session = session
        self.bank = bank
        self.neighbours = neighbours if bank.images else 0
        self.preprocess = bundle.preprocess
        self.classes: tuple[str, ...] = bundle.classes
        if bundle.document.ood_threshold is None:
            raise InputError(
                f"{bundle.folder}: its bundle.json has no `ood_threshold`, so outliers cannot be "
                "told. Make the bundle again with this edge-compressor."
            )
        self.ood_threshold = bundle.document.ood_threshold

    def predict(self, images: ImageInput | Sequence[ImageInput]) -> list[Prediction]:
        """Predict one image, several images, or an array uint8 [B, H, W, 3].

        Raises:
            InputError: a file cannot be read, or an array is not an image; the message names it.
        """
        inputs = _as_list(images)
        predictions: list[Prediction] = []
        for start in range(0, len(inputs), BATCH):
            batch = enumerate(inputs[start : start + BATCH], start)
            pixels = [self.preprocess.pixels(_open(image, number)) for number, image in batch]
            predictions += self.predict_pixels(np.stack(pixels))
        return predictions

    def predict_pixels(self, pixels: npt.NDArray[np.uint8]) -> list[Prediction]:
        """Predict images that are already resized and cropped: uint8 [B, S, S, 3].

        Raises:
            InputError: an embedding is not finite, or zero.
        """
        outputs = self.session.run(inputs_of(self.session, self.preprocess, pixels))
        try:
            cosines = metrics.normalise(outputs.embedding) @ self.bank.unit.T
        except ValueError as error:
            raise InputError(
                f"{self.bundle.folder}: the student's embedding cannot be used: {error}.\n"
                "  `python -m runtime check` says which files of the bundle work here."
            ) from error
        probabilities: list[Floats | None] = [None] * len(cosines)
        if outputs.logits is not None:
            probabilities = list(np.exp(metrics.log_softmax(outputs.logits)).astype(np.float32))
        rows = zip(outputs.embedding, cosines, probabilities, strict=True)
        return [self._prediction(*row) for row in rows]

    def _prediction(
        self, embedding: Floats, cosines: Floats, probabilities: Floats | None
    ) -> Prediction:
        best = None if probabilities is None else int(probabilities.argmax())
        likeness = float(cosines.max())
        nearest = self.bank.nearest(cosines, self.neighbours)
        return Prediction(
            label=None if best is None else self.classes[best],
            confidence=None if probabilities is None else float(probabilities[best]),
            is_outlier=likeness < self.ood_threshold,
            likeness=likeness,
            nearest=tuple(self._neighbour(row, float(cosines[row])) for row in nearest),
            probabilities=probabilities,
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
        file: which of its files, by its ledger entry (`onnx-int8`) or its name; None: the first,
            which is in float32.
        provider: where it must run; None: the target's.
        threads: CPU threads within one operator; None: the target's.
        neighbours: how many training images each prediction names.

    Raises:
        InputError: this is not a bundle, it is damaged, or it has no such file.
        MissingDependencyError: the backend is not installed or its provider did not start.
    """
    bundle = bundles.load(Path(path))
    target = bundle.target
    session = open_session(
        _file_of(bundle, file).path,
        provider=provider or target.provider,
        threads=threads or target.threads,
    )
    bank = Bank.of(golden.load(bundle.folder / "golden"))
    return Student(bundle, session, bank, neighbours=neighbours)


def _file_of(bundle: Bundle, file: str | None) -> Artifact:
    if file is None:
        return bundle.artifacts[0]
    for artifact in bundle.artifacts:
        if file in (artifact.stage, artifact.path.name):
            return artifact
    names = ", ".join(artifact.stage for artifact in bundle.artifacts)
    raise InputError(f"{bundle.folder}: has no file {file!r}; it has {names}")


def _as_list(images: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, (str, Path, Image.Image)):
        return [images]
    return list(images)


def _open(image: ImageInput, number: int) -> Image.Image:
    """Open an image, upright and in RGB.

    Raises:
        InputError: it is not an image; the message names the file, or its number in the call.
    """
    try:
        if isinstance(image, (str, Path)):
            return decode(Path(image))
        if isinstance(image, Image.Image):
            return upright(image)
        return _from_array(image)
    except ImageError as error:
        name = image if isinstance(image, (str, Path)) else f"image {number}"
        raise InputError(f"{name}: {error}") from error


def _from_array(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(
            f"an array of {pixels.dtype} {list(pixels.shape)}; expected uint8 [H, W, 3] in RGB"
        )
    return upright(Image.fromarray(pixels))
