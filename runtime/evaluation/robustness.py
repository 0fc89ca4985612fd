"""What corruptions of the held-out images do to teacher, student and deployed file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import metrics
from runtime.arrays import Doubles, Floats
from runtime.backends.base import Outputs, Session, inputs_of
from runtime.bundle.golden import Golden
from runtime.evaluation.ledger import as_entry
from runtime.images import corruptions
from runtime.images.corruptions import FAMILIES, SEVERITIES
from runtime.images.preprocess import Preprocess
from runtime.metrics import Figure
from runtime.progress import Track

Ints = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Shaken:
    """What one encoder makes of R images, and of their corruptions: F families, S severities."""

    stage: str
    clean: Ints | None
    """[R], its answers to the images as they are; None without a probe."""
    answers: Ints | None
    """[R, F, S]"""
    stability: Floats
    """[R, F, S], cosine of an image's embedding to that of the corrupted image: `stability`."""


def stability(clean: Floats, corrupted: Floats, mean: Floats) -> Floats:
    """Cosine of each image's embedding to those of its corruptions, less the training images' mean.

    It needs no labels. 1: the corruption changes nothing; 0: as far as from any other image. The
    mean is taken off because the cosines of some networks are near 1 whatever they look at.

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
    """[R, F, S] of so many images."""
    return images, len(FAMILIES), len(SEVERITIES)


def measure(
    session: Session, golden: Golden, preprocess: Preprocess, inside: Outputs, *, track: Track
) -> tuple[Ints | None, Floats] | None:
    """A file's answers to every corruption and their stability, both [R, F, S].

    Args:
        session: the file.
        golden: which images are corrupted, and how.
        preprocess: the file's.
        inside: its answers to the held-out images as they are.
        track: shows the progress.

    Returns:
        None where it gives an embedding without a direction.

    Raises:
        InputError: an image cannot be read.
    """
    made, embeddings, answers = golden.corrupted(), [], []
    for picture, each in track(made, label="checking corrupted images", total=len(made)):
        image = picture.open()
        pixels = np.stack([preprocess.pixels(corruption(image)) for corruption in each])
        outputs = session.run(inputs_of(session, preprocess, pixels))
        embeddings.append(outputs.embedding)
        if outputs.logits is not None:
            answers.append(outputs.logits.argmax(axis=1))
    found = np.stack(embeddings)
    if not (np.all(np.isfinite(found)) and np.all(found.any(axis=2))):
        return None
    shape, rows = shape_of(len(made)), golden.arrays.corrupted_rows
    mean = metrics.normalise(golden.arrays.bank).mean(axis=0)
    steady = stability(inside.embedding[rows], found, mean).reshape(shape)
    return (np.stack(answers).reshape(shape) if answers else None), steady


def of_the_desk(golden: Golden) -> list[Shaken]:
    """What teacher and student made of the corruptions, from the golden set."""
    arrays, rows = golden.arrays, golden.arrays.corrupted_rows
    found = []
    for stage, logits, answers, steady in (
        (
            "teacher",
            arrays.teacher_chances,
            arrays.teacher_corrupted_answers,
            arrays.teacher_corrupted_stability,
        ),
        (
            "student",
            arrays.student_logits,
            arrays.student_corrupted_answers,
            arrays.student_corrupted_stability,
        ),
    ):
        if steady is not None and len(steady):
            clean = None if logits is None else logits[rows].argmax(axis=1)
            found.append(Shaken(stage, clean, answers, steady))
    return found


def report(golden: Golden, lines: Sequence[Shaken]) -> dict[str, Any]:
    """The corruptions and what became of each line, as report.json has it.

    Args:
        golden: the held-out images.
        lines: the teacher's first.
    """
    teacher = lines[0]
    rows = golden.arrays.corrupted_rows
    truth = golden.arrays.labels[rows]
    found, falls = list[dict[str, Any]](), dict[str, dict[str, Figure]]()
    for line in lines:
        cells = _cells(line, teacher, truth)
        whole = {name: _mean(values.mean(axis=(1, 2)), name) for name, values in cells.items()}
        falls[line.stage] = _falls(line, whole, truth)
        entry = {"stage": line.stage, **as_entry(whole | falls[line.stage])}
        if line is not teacher:
            lost = {
                f"{name}_beyond_teacher": metrics.difference(figure, falls["teacher"][name])
                for name, figure in falls[line.stage].items()
                if name in falls["teacher"] and name != "accuracy_clean"
            }
            entry |= as_entry(lost)
        entry["families"] = [_family(cells, at, family) for at, family in enumerate(FAMILIES)]
        found.append(entry)
    return {**corruptions.described(), "images": len(truth), "lines": found}


def _cells(line: Shaken, teacher: Shaken, truth: Ints) -> dict[str, npt.NDArray[np.floating]]:
    """Per-image values of every family and severity: each [R, F, S], of labelled images fewer."""
    cells = dict[str, npt.NDArray[np.floating]]()
    known = truth >= 0
    if line.answers is not None and known.any():
        cells["accuracy"] = (line.answers == truth[:, None, None])[known].astype(np.float64)
    if line is not teacher and line.answers is not None and teacher.answers is not None:
        cells["agreement"] = (line.answers == teacher.answers).astype(np.float64)
    return cells | {"stability": line.stability}


def _falls(line: Shaken, whole: dict[str, Figure], truth: Ints) -> dict[str, Figure]:
    """What the corruptions take: accuracy before less accuracy after, one less stability."""
    one = metrics.mean_figure(np.ones(len(truth)))
    falls = {"stability_fall": metrics.difference(one, whole["stability"])}
    known = truth >= 0
    if line.clean is not None and "accuracy" in whole:
        before = metrics.mean_figure((line.clean == truth)[known])
        falls["accuracy_clean"] = before
        falls["accuracy_fall"] = metrics.difference(before, whole["accuracy"])
    return falls


def _family(cells: dict[str, npt.NDArray[np.floating]], at: int, family: str) -> dict[str, Any]:
    """Each figure of a family, a value for each severity."""
    entry: dict[str, Any] = {"family": family}
    for name, values in cells.items():
        figures = [_mean(values[:, at, severity], name) for severity in range(values.shape[2])]
        entry[name] = [each.value for each in figures]
        entry[f"{name}_ci"] = [[each.low, each.high] for each in figures]
    return entry


def _mean(values: npt.NDArray[np.floating], name: str) -> Figure:
    # An image fails its corruptions together: few images say as little as of a yes or no.
    return metrics.mean_figure(values, bounds=None if name == "stability" else (0, 1))
