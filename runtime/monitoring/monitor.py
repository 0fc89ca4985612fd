"""Follows a deployed student: tells changes, counts, keeps the images worth labelling.

monitor = runtime.Monitor(student, "monitor")
for path in camera:
    (prediction,) = student.predict(path)
    for alarm in monitor.see(prediction, path):
        print(alarm.text)
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime import metrics
from runtime.arrays import Floats
from runtime.bundle import golden
from runtime.bundle.bundle import require_outside
from runtime.errors import InputError
from runtime.files import write_text
from runtime.monitoring import prometheus
from runtime.monitoring.kept_images import KeptImages, Note
from runtime.monitoring.signals import Reference, Seen, signals
from runtime.prediction.image_input import ImageInput
from runtime.prediction.prediction import Prediction
from runtime.prediction.student import Student

FALSE_ALARMS = 10_000
WINDOW = 200
"""Images that the rolling figures are of; a line is written after so many."""
FEWEST = 20
"""Images as they should be, with fewer of which nothing can be told."""
MEANINGS = {
    "likeness": "images are less like the training images",
    "embedding": "images lie elsewhere among the training images",
    "classes": "classes are answered in another mix",
}


@dataclass(frozen=True)
class Alarm:
    """Something has changed since the monitor began, or since the alarm before."""

    signal: str
    """`likeness`, `embedding` or `classes`."""
    images: int
    """How many had been seen."""
    evidence: float
    """At least the images wanted between two false alarms, times the number of signals."""
    text: str
    """For people."""


class Monitor:
    """Follows the answers of one student. Not for several threads at once."""

    def __init__(
        self,
        student: Student,
        folder: str | Path,
        *,
        reference: Sequence[Prediction] | None = None,
        images_per_false_alarm: int = FALSE_ALARMS,
        keep_mb: float = 200.0,
        seed: int = 0,
    ) -> None:
        """Begin, or go on in the same folder: with its kept images, without its evidence.

        Args:
            student: as `runtime.load` opened it.
            folder: for `events.jsonl`, `metrics.prom` and `kept/`.
            reference: answers to images as they should be, in random order; None: the bundle's
                held-out images. Take some hundred of the device's own first images where its scene
                is another one, so that only later changes are told.
            images_per_false_alarm: while nothing changes, an alarm comes after so many images or
                more, on average over devices.
            keep_mb: disk space for images worth labelling, 10^6 bytes; 0 keeps none.
            seed: decides the order of equal scores.

        Raises:
            InputError: there are fewer than 20 images in the reference, the folder holds notes
                that cannot be read, or it lies in the bundle, which takes no other files.
        """
        self.student, self.folder = student, Path(folder)
        require_outside(student.bundle.folder, self.folder)
        self._student_digest = student.bundle.student_digest
        self.wanted = images_per_false_alarm
        self._reference = _of(reference) if reference is not None else _held_out(student)
        count = len(self._reference.likeness)
        if count < FEWEST:
            raise InputError(
                f"{count} images to compare the stream with are too few: at least {FEWEST}. Give "
                "answers to the device's first images as `reference`."
            )
        rng, classes = np.random.default_rng(seed), student.classes
        self._signals = signals(self._reference, student.bank.unit, len(classes), rng)
        self._class_numbers = {name: number for number, name in enumerate(classes)}
        self.kept = KeptImages(self.folder / "kept", keep_mb) if keep_mb > 0 else None
        self.images = 0
        self.alarms: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.outliers = 0
        self._recent: deque[Prediction] = deque(maxlen=WINDOW)
        self._usual = np.sort(self._reference.likeness)
        start = {"file": student.file, "student": self._student_digest, "reference": count}
        self._write({"event": "start"} | start)

    def see(self, prediction: Prediction, image: ImageInput | None = None) -> tuple[Alarm, ...]:
        """Take the answer to the next image.

        Args:
            prediction: of `student.predict`.
            image: the same image, so that it can be kept; None keeps none.

        Returns:
            What has changed. After an alarm the evidence begins anew.
        """
        self.images += 1
        self._recent.append(prediction)
        self.outliers += bool(prediction.is_outlier)
        if prediction.label is not None:
            self.classes[prediction.label] += 1
        label = self._class_numbers.get(prediction.label or "")
        seen = Seen(prediction.embedding, prediction.likeness, label)
        alarms = tuple(self._alarms(seen))
        for alarm in alarms:
            self._write({"event": "alarm", "signal": alarm.signal, "text": alarm.text})
        if image is not None and self.kept is not None:
            self._offer(self.kept, prediction, image)
        if self.images % WINDOW == 0:
            self._write({"event": "window", **self.figures()})
            self.write_metrics()
        return alarms

    def figures(self) -> dict[str, Any]:
        """Return the rolling figures of the last 200 images, as JSON values."""
        recent = list(self._recent)
        return {
            "images": self.images,
            "of": len(recent),
            "outlier_share": _mean([bool(each.is_outlier) for each in recent]),
            "likeness": _mean([each.likeness for each in recent]),
            "usual_likeness": float(self._usual.mean()),
            "classes": dict(Counter(each.label for each in recent if each.label is not None)),
            "evidence": {name: each.detector.evidence for name, each in self._signals.items()},
            "alarms": dict(self.alarms),
            "kept": len(self.kept) if self.kept is not None else 0,
        }

    def write_metrics(self) -> None:
        """Write `metrics.prom`, which the textfile collector of Prometheus' node exporter reads."""
        write_text(self.folder / "metrics.prom", self.prometheus())

    def prometheus(self) -> str:
        """Return the figures in Prometheus' text format."""
        now = self.figures()
        metric = prometheus.metric
        return "".join(
            (
                metric("images_total", "counter", "Images.", {"": self.images}),
                metric("outliers_total", "counter", "Outliers.", {"": self.outliers}),
                metric("answers_total", "counter", "Images by answer.", self.classes, "label"),
                metric("alarms_total", "counter", "Changes told.", self.alarms, "signal"),
                metric("evidence", "gauge", "Evidence of a change.", now["evidence"], "signal"),
                metric("likeness", "gauge", "Mean likeness.", {"": now["likeness"]}),
                metric("outlier_share", "gauge", "Of recent images.", {"": now["outlier_share"]}),
                metric("kept_images", "gauge", "Worth labelling.", {"": now["kept"]}),
            )
        )

    def _alarms(self, seen: Seen) -> list[Alarm]:
        limit, found = self.wanted * len(self._signals), []
        for name, signal in self._signals.items():
            if (evidence := signal.see(seen)) >= limit:
                self.alarms[name] += 1
                found.append(Alarm(name, self.images, evidence, self._text(name)))
        if found:  # the guarantee is of all signals together
            for signal in self._signals.values():
                signal.detector.forget()
        return found

    def _text(self, name: str) -> str:
        recent = list(self._recent)
        text = f"after {self.images} images: {MEANINGS[name]} than the {len(self._usual)} before"
        if name == "likeness":
            low = self._usual[int(0.05 * len(self._usual))]
            share = np.mean([each.likeness < low for each in recent])
            text += f": {share:.0%} of the last {len(recent)} are as unlike as the strangest 5 %"
        if name == "classes":
            common = Counter(each.label for each in recent).most_common(3)
            text += ": " + ", ".join(f"{label} {n / len(recent):.0%}" for label, n in common)
        return text

    def _offer(self, kept: KeptImages, prediction: Prediction, image: ImageInput) -> None:
        seen = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        kept.offer(
            image,
            Note(
                image=f"{seen}-{self.images:08d}",
                interest=self.interest(prediction),
                seen=seen,
                label=prediction.label,
                confidence=prediction.confidence,
                is_outlier=prediction.is_outlier,
                likeness=prediction.likeness,
                embedding=[round(float(value), 6) for value in prediction.embedding],
                student=self._student_digest,
            ),
        )

    def interest(self, prediction: Prediction) -> float:
        """Return how much a label of an image may teach, from 0 to 1.

        The larger of two: how unsure the student is (1 less the margin between its two most
        probable classes), and how strange the image is (1 less the share of the reference that is
        less like the training images).
        """
        return interest(prediction.probabilities, prediction.likeness, self._usual)

    def _write(self, event: dict[str, Any]) -> None:
        """Append a line to `events.jsonl`; a line that a stopped process left half is ended."""
        path = self.folder / "events.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        moment = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "images": self.images}
        with path.open("a+b") as file:
            if file.tell() and file.seek(-1, 2) and file.read(1) != b"\n":
                file.write(b"\n")
            file.write(json.dumps(moment | event, ensure_ascii=False).encode() + b"\n")


def interest(probabilities: Floats | None, likeness: float, usual: Floats) -> float:
    """Return the interest of an answer: see `Monitor.interest`.

    Args:
        probabilities: [K]; None of a student without classes.
        likeness: cosine to the nearest training image.
        usual: [R] that of the reference, ascending.
    """
    below = np.searchsorted(usual, likeness) / len(usual)
    unsure = 0.0
    if probabilities is not None and len(probabilities) > 1:
        second, first = np.sort(probabilities)[-2:]
        unsure = 1 - float(first - second)
    return round(max(unsure, 1 - float(below)), 6)


def _held_out(student: Student) -> Reference:
    found = golden.load(student.bundle.folder / "golden").arrays
    labels = None if found.student_logits is None else found.student_logits.argmax(axis=1)
    likeness = metrics.ood_scores(found.student_embedding, found.bank)
    return Reference(found.student_embedding, likeness, labels)


def _of(predictions: Sequence[Prediction]) -> Reference:
    known = [each.probabilities for each in predictions if each.probabilities is not None]
    labels = np.array([int(each.argmax()) for each in known]) if known else None
    return Reference(
        np.array([each.embedding for each in predictions]),
        np.array([each.likeness for each in predictions], np.float32),
        labels,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
