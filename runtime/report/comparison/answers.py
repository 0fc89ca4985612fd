"""What a student answers to the held-out images of its bundle, to be set beside another one's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct

from runtime import documents, metrics
from runtime.bundle import golden
from runtime.errors import InputError
from runtime.files import write_json

FILE = "answers.json"


class Answers(Struct, frozen=True, kw_only=True):
    """The answers of one student. answers.json holds them where its bundle is no longer there."""

    digest: str
    """Of the held-out images in the bundle, with their labels and the teacher's embeddings."""
    images: tuple[str, ...]
    labels: tuple[str | None, ...]
    answers: tuple[str, ...]
    confidences: tuple[float, ...]


@dataclass(frozen=True)
class Differing:
    """A held-out image that two students answer differently."""

    image: str
    label: str | None
    was: tuple[str, float]
    """The first one's answer, and its calibrated probability."""
    now: tuple[str, float]

    @property
    def rank(self) -> int:
        """0: was right and is wrong now; 1: the other way round; 2: both wrong, or nobody knows."""
        if self.label is None:
            return 2
        return {(True, False): 0, (False, True): 1}.get(
            (self.was[0] == self.label, self.now[0] == self.label), 2
        )


def read(report: Path) -> Answers | None:
    """Return the answers that lie beside a report; None where neither they nor a bundle do.

    Args:
        report: a report.json, or its folder.

    Raises:
        InputError: they cannot be read.
    """
    folder = report if report.is_dir() else report.parent
    if (folder / FILE).is_file():
        return documents.read(folder / FILE, Answers, what="answers of a student")
    place = pictures(report)
    return None if place is None else of_golden(place)


def pictures(report: Path) -> Path | None:
    """Return the golden set of the bundle beside a report, where its images are."""
    folder = report if report.is_dir() else report.parent
    place = folder / "bundle" / "golden"
    return place if (place / golden.DOCUMENT).is_file() else None


def of_golden(folder: Path) -> Answers | None:
    """Return the answers in a golden set; None of a student without classes."""
    found = golden.load(folder)
    logits = found.arrays.student_logits
    if logits is None or not found.classes:
        return None
    shares = np.exp(metrics.log_softmax(logits))
    best = shares.argmax(axis=1)
    return Answers(
        digest=found.digest,
        images=found.images,
        labels=tuple(found.classes[label] if label >= 0 else None for label in found.arrays.labels),
        answers=tuple(found.classes[each] for each in best),
        confidences=tuple(round(float(each), 4) for each in shares.max(axis=1)),
    )


def save(golden_set: Path, folder: Path) -> None:
    """Write the answers in a golden set into a folder; nothing where there are none."""
    found = of_golden(golden_set) if (golden_set / golden.DOCUMENT).is_file() else None
    if found is not None:
        write_json(folder / FILE, documents.plain(found))


def differing(first: Answers, other: Answers) -> list[Differing]:
    """Return the images answered differently: what was right and is wrong now comes first.

    Raises:
        InputError: the answers are to different images.
    """
    if first.digest != other.digest or first.images != other.images:
        raise InputError("their bundles hold different held-out images, labels or teachers")
    columns = zip(
        first.images,
        first.labels,
        zip(first.answers, first.confidences, strict=True),
        zip(other.answers, other.confidences, strict=True),
        strict=True,
    )
    found = [Differing(*row) for row in columns if row[2][0] != row[3][0]]
    return sorted(found, key=lambda each: (each.rank, -each.now[1]))
