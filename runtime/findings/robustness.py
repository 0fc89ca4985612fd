"""What corruptions of the held-out images do to teacher, student and deployed file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.arrays import Doubles, Floats
from runtime.backends.base import Outputs, Session, inputs_of
from runtime.bundle.golden import Golden
from runtime.images import corruptions
from runtime.images.corruptions import FAMILIES, SEVERITIES
from runtime.images.preprocess import Preprocess
from runtime.metrics import Estimate
from runtime.progress import Track
from runtime.results.findings import FamilyResult, Robustness, RobustnessEntry
from runtime.results.scores import Score, as_score, as_scores

Ints = npt.NDArray[np.integer]


@dataclass(frozen=True)
class CorruptedAnswers:
    """One encoder's answers to R images, and to their corruptions: F families, S severities."""

    stage: str
    clean: Ints | None
    """[R], to the images without corruption; None without a probe."""
    answers: Ints | None
    """[R, F, S]"""
    stability: Floats
    """[R, F, S], cosine of an image's embedding to that of the corrupted image: `stability`."""


def stability(clean: Floats, corrupted: Floats, mean: Floats) -> Floats:
    """Cosine of each image's embedding to those of its corruptions, both minus the training mean.

    It needs no labels. 1: the corruption changes nothing; 0: as different as any other image. The
    mean is subtracted because the cosines of some networks are near 1 for all images.

    Args:
        clean: [R, D]
        corrupted: [R, C, D]
        mean: [D], of training embeddings of unit length.
    """
    one = (metrics.normalise(clean) - mean).astype(np.float64)
    flat = metrics.normalise(corrupted.reshape(-1, corrupted.shape[2])) - mean
    other = flat.astype(np.float64).reshape(corrupted.shape)
    products = np.einsum("rd,rcd->rc", one, other)
    lengths = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(other, axis=2)
    cosines: Doubles = np.zeros(products.shape)
    np.divide(products, lengths, out=cosines, where=lengths > 1e-12)
    return cosines.astype(np.float32)


def shape_of(images: int) -> tuple[int, int, int]:
    """Return the shape [R, F, S] for a number of images."""
    return images, len(FAMILIES), len(SEVERITIES)


def measure(
    session: Session,
    golden: Golden,
    preprocess: Preprocess,
    clean: Outputs,
    mean: Floats,
    *,
    track: Track,
) -> CorruptedAnswers | None:
    """Run a file on every corruption.

    Args:
        session: the file.
        golden: which images are corrupted, and how.
        preprocess: the file's.
        clean: its answers to all held-out images without corruption.
        mean: [D], of training embeddings of unit length.
        track: shows the progress.

    Returns:
        None where a value of an answer is not finite, or an embedding has no direction.

    Raises:
        InputError: an image cannot be read.
    """
    made, embeddings, answers = golden.corrupted(), [], []
    for picture, corruptions_of_it in track(
        made, label="checking corrupted images", total=len(made)
    ):
        image = picture.open()
        pixels = np.stack([preprocess.pixels(corrupt(image)) for corrupt in corruptions_of_it])
        outputs = session.run(inputs_of(session, preprocess, pixels))
        embeddings.append(outputs.embedding)
        if outputs.logits is not None:
            if not np.isfinite(outputs.logits).all():
                return None
            answers.append(outputs.logits.argmax(axis=1))
    found = np.stack(embeddings)
    if not (np.all(np.isfinite(found)) and np.all(found.any(axis=2))):
        return None
    shape, rows = shape_of(len(made)), rows_of(golden)
    return CorruptedAnswers(
        "deployed",
        clean=None if clean.logits is None else clean.logits[rows].argmax(axis=1),
        answers=np.stack(answers).reshape(shape) if answers else None,
        stability=stability(clean.embedding[rows], found, mean).reshape(shape),
    )


def from_golden(golden: Golden) -> list[CorruptedAnswers]:
    """Answers of teacher and student to the corruptions, as the golden set holds them."""
    arrays, corrupted = golden.arrays, golden.arrays.corrupted
    if corrupted is None or not len(corrupted.rows):
        return []
    stored = (
        ("teacher", arrays.reference_logits, corrupted.teacher),
        ("student", arrays.student_logits, corrupted.student),
    )
    return [
        CorruptedAnswers(
            stage,
            None if logits is None else logits[corrupted.rows].argmax(axis=1),
            network.answers,
            network.stability,
        )
        for stage, logits, network in stored
    ]


def rows_of(golden: Golden) -> Ints:
    """Return which of the held-out images are corrupted: [R]."""
    corrupted = golden.arrays.corrupted
    return corrupted.rows if corrupted else np.empty(0, np.int64)


def summarise(golden: Golden, encoders: Sequence[CorruptedAnswers]) -> Robustness:
    """Summarise what the corruptions do to each encoder.

    Args:
        golden: the held-out images.
        encoders: the teacher first.
    """
    teacher = encoders[0]
    truth = golden.arrays.labels[rows_of(golden)]
    entries, falls = list[RobustnessEntry](), dict[str, dict[str, Estimate]]()
    for encoder in encoders:
        cells = _cells(encoder, teacher, truth)
        whole = {name: _mean(values.mean(axis=(1, 2)), name) for name, values in cells.items()}
        fall = falls[encoder.stage] = _falls(encoder, whole, truth)
        beyond = dict[str, Estimate]()
        if encoder is not teacher:
            beyond = {
                f"{name}_beyond_teacher": metrics.paired_difference(
                    estimate, falls["teacher"][name]
                )
                for name, estimate in fall.items()
                if name in falls["teacher"] and name != "accuracy_clean"
            }
        families = tuple(_family(cells, n, family) for n, family in enumerate(FAMILIES))
        entries.append(
            RobustnessEntry(encoder.stage, as_scores({**whole, **fall, **beyond}), families)
        )
    return Robustness(
        name=corruptions.described()["name"],
        families={family: tuple(members) for family, members in FAMILIES.items()},
        severities=tuple(SEVERITIES),
        images=len(truth),
        lines=tuple(entries),
    )


def _cells(
    encoder: CorruptedAnswers, teacher: CorruptedAnswers, truth: Ints
) -> dict[str, npt.NDArray[np.floating]]:
    """Values of every image, family and severity: [R, F, S]; accuracy of labelled images only."""
    cells = dict[str, npt.NDArray[np.floating]]()
    known, answers = truth >= 0, encoder.answers
    if answers is not None and known.any():
        cells["accuracy"] = (answers == truth[:, None, None])[known].astype(np.float64)
    if encoder is not teacher and answers is not None and teacher.answers is not None:
        cells["agreement"] = (answers == teacher.answers).astype(np.float64)
    return cells | {"stability": encoder.stability}


def _falls(
    encoder: CorruptedAnswers, whole: dict[str, Estimate], truth: Ints
) -> dict[str, Estimate]:
    """What is lost by the corruptions: accuracy before minus after, one minus stability."""
    one = metrics.mean_estimate(np.ones(len(truth)))
    falls = {"stability_fall": metrics.paired_difference(one, whole["stability"])}
    known = truth >= 0
    if encoder.clean is not None and "accuracy" in whole:
        before = metrics.mean_estimate((encoder.clean == truth)[known])
        falls["accuracy_clean"] = before
        falls["accuracy_fall"] = metrics.paired_difference(before, whole["accuracy"])
    return falls


def _family(cells: dict[str, npt.NDArray[np.floating]], number: int, family: str) -> FamilyResult:
    """Each value of a family, at every severity."""

    def at(name: str, severity: int) -> Score:
        return as_score(_mean(cells[name][:, number, severity], name))

    series = {name: tuple(at(name, n) for n in range(len(SEVERITIES))) for name in cells}
    return FamilyResult(family, series)


def _mean(values: npt.NDArray[np.floating], name: str) -> Estimate:
    # The corruptions of an image fail together, so few images tell as little as yes or no would.
    return metrics.mean_estimate(values, bounds=None if name == "stability" else (0, 1))
