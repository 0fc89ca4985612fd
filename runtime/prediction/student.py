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

from runtime import metrics
from runtime.arrays import Floats
from runtime.backends.base import Provider, SessionOptions, Widths, inputs_of, require_widths
from runtime.backends.limits import require_answer
from runtime.backends.openvino.backend import OpenVino
from runtime.backends.registry import backend_of
from runtime.bundle import bundle as bundles
from runtime.bundle import golden
from runtime.bundle.bundle import Artifact, Bundle
from runtime.errors import InputError
from runtime.prediction.image_input import ImageInput, as_list, opened
from runtime.prediction.prediction import Neighbour, Prediction

if TYPE_CHECKING:
    from runtime.backends.base import Outputs, Session
    from runtime.bundle.golden import Golden

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
        self.file = bundle.recommended.stage
        """Which of its files answers, by its ledger entry; `load` knows it."""
        self.session = session
        self.bank = bank
        self.neighbours = neighbours if bank.images else 0
        self.preprocess = bundle.preprocess
        self.classes: tuple[str, ...] = bundle.classes
        self.ood_threshold = bundle.document.ood_threshold
        """Likeness under which an image is an outlier; None where none is told."""

    @property
    def no_outliers(self) -> str:
        """Why no image is called an outlier; empty where outliers are told."""
        if self.ood_threshold is not None:
            return ""
        found = self.bundle.document.outliers
        if found is None:
            return "outliers are not told: bundle.json has no threshold for them"
        low, high = found.auroc_ci
        return (
            "outliers are not told: this student recognised images that are not of its task no "
            f"better than by chance (AUROC {found.auroc:.3f}, {low:.3f} to {high:.3f})"
        )

    def predict(self, images: ImageInput | Sequence[ImageInput]) -> list[Prediction]:
        """Predict one image, several images, or an array uint8 [B, H, W, 3].

        Raises:
            InputError: a file cannot be read, or an array is not an image; the message names it.
        """
        inputs = as_list(images)
        predictions: list[Prediction] = []
        for start in range(0, len(inputs), BATCH):
            batch = enumerate(inputs[start : start + BATCH], start)
            pixels = [self.pixels(image, number) for number, image in batch]
            predictions += self.predict_pixels(np.stack(pixels))
        return predictions

    def pixels(self, image: ImageInput, number: int = 0) -> npt.NDArray[np.uint8]:
        """Return what the network sees of an image, uint8 [S, S, 3].

        Args:
            image: a file, a picture or an array.
            number: by which an error names one that has no name.

        Raises:
            InputError: it is not an image; the message names the file, or its number.
        """
        return self.preprocess.pixels(opened(image, number))

    def predict_pixels(self, pixels: npt.NDArray[np.uint8]) -> list[Prediction]:
        """Predict images that are already resized and cropped: uint8 [B, S, S, 3].

        Raises:
            InputError: an answer is not finite, or an embedding is zero.
        """
        return self.answers(self.session.run(inputs_of(self.session, self.preprocess, pixels)))

    def answers(self, outputs: Outputs) -> list[Prediction]:
        """Return what the network's outputs for a batch mean.

        Raises:
            InputError: an embedding is not finite, or zero.
        """
        try:
            cosines = metrics.normalise(outputs.embedding) @ self.bank.unit.T
        except ValueError as error:
            raise InputError(self._unusable("embedding", str(error))) from error
        probabilities: list[Floats | None] = [None] * len(cosines)
        if outputs.logits is not None:
            if outputs.logits.shape[1] != len(self.classes):
                raise InputError(
                    f"{self.bundle.folder}: bundle.json names {len(self.classes)} classes, but the "
                    f"student answers {outputs.logits.shape[1]}. Copy the bundle again."
                )
            if not np.isfinite(outputs.logits).all():
                raise InputError(self._unusable("logits", "not all are finite"))
            probabilities = list(np.exp(metrics.log_softmax(outputs.logits)).astype(np.float32))
        rows = zip(outputs.embedding, cosines, probabilities, strict=True)
        return [self._prediction(*row) for row in rows]

    def _unusable(self, what: str, why: str) -> str:
        return (
            f"{self.bundle.folder}: the student's {what} cannot be used: {why}.\n"
            "  `python -m runtime check` says which files of the bundle work here."
        )

    def _prediction(
        self, embedding: Floats, cosines: Floats, probabilities: Floats | None
    ) -> Prediction:
        best = None if probabilities is None else int(probabilities.argmax())
        likeness = float(cosines.max())
        nearest = self.bank.nearest(cosines, self.neighbours)
        return Prediction(
            label=None if best is None else self.classes[best],
            confidence=None if probabilities is None else float(probabilities[best]),
            is_outlier=None if self.ood_threshold is None else likeness < self.ood_threshold,
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
    openvino: bool = False,
) -> Student:
    """Open a bundle's student.

    Args:
        path: the bundle's folder.
        file: which of its files, by its ledger entry (`onnx-int8`) or its name; None: the one that
            the bundle recommends (older bundles recommend none: their first, in float32). It is
            never replaced by another one.
        provider: where it must run; None: the target's.
        threads: CPU threads within one operator; None: the target's.
        neighbours: how many training images each prediction names.
        openvino: whether OpenVINO runs it, on the CPU, in place of ONNX Runtime.

    Raises:
        InputError: this is not a bundle, it is damaged, it has no such file, or that file cannot
            answer an image here; the message names the bundle's other files.
        MissingDependencyError: the backend is not installed or its provider did not start.
    """
    bundle = bundles.load(Path(path))
    target, artifact = bundle.target, _file_of(bundle, file)
    found = golden.load(bundle.folder / "golden")
    try:
        require_answer(artifact.path, bundle.preprocess.size_px)
        options = SessionOptions(
            provider or target.provider,
            threads or target.threads,
            precision=artifact.precision,
        )
        session: Session = (
            OpenVino().open_as(artifact.path, artifact.precision, options)
            if openvino
            else backend_of(artifact.path).open(artifact.path, options)
        )
        student = Student(bundle, session, Bank.of(found), neighbours=neighbours)
        student.file = artifact.stage
        side = bundle.preprocess.size_px
        black = np.zeros((1, side, side, 3), np.uint8)
        first = session.run(inputs_of(session, bundle.preprocess, black))
        require_widths(first, artifact.path, widths_of(found))
        student.predict_pixels(black)
    except InputError as error:
        raise InputError(f"{error}{_others(bundle, artifact, chosen=file is not None)}") from error
    return student


def widths_of(golden_set: Golden) -> Widths:
    """Return how wide the answers of a golden set's student are."""
    arrays = golden_set.arrays
    logits = 0 if arrays.student_logits is None else arrays.student_logits.shape[1]
    return Widths(arrays.student_embedding.shape[1], logits)


def _others(bundle: Bundle, artifact: Artifact, *, chosen: bool) -> str:
    """The way out where a file cannot be used."""
    others = [each.stage for each in bundle.artifacts if each.stage != artifact.stage]
    what = "was asked for" if chosen else "is the one that the bundle recommends"
    way = f" Others, if you want one of them: --file {' | '.join(others)}" if others else ""
    return f"\n  {artifact.stage} {what}; no other is taken in its place.{way}"


def _file_of(bundle: Bundle, file: str | None) -> Artifact:
    if file is None:
        return bundle.recommended
    for artifact in bundle.artifacts:
        if file in (artifact.stage, artifact.path.name):
            return artifact
    names = ", ".join(artifact.stage for artifact in bundle.artifacts)
    raise InputError(f"{bundle.folder}: has no file {file!r}; it has {names}")
