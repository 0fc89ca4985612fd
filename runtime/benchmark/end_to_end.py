"""How long one image takes from its file to an answer: decode, prepare, answer."""

from __future__ import annotations

import time

import numpy as np
from msgspec import Struct

from runtime.backends.base import Session, inputs_of
from runtime.benchmark.percentiles import Interval, percentile
from runtime.bundle.bundle import Bundle
from runtime.bundle.golden import Golden
from runtime.prediction.student import Bank, Student

MAX_IMAGES = 100
_WARM = 3
"""Requests before the first that counts: they open libraries and fill caches."""


class EndToEnd(Struct, frozen=True, omit_defaults=True):
    """Times of whole requests, one image after the other.

    The four parts are means, so that they add up to `mean_ms`. In older reports, which have no
    `model_ms`, they are medians, and `answer_ms` is the network.
    """

    images: int
    decode_ms: float
    """From the file to upright RGB pixels."""
    prepare_ms: float
    """Resize, crop, normalise."""
    answer_ms: float
    """From the network's outputs to label, probability, nearest training images and outlier."""
    median_ms: float
    p95_ms: float
    images_per_s: float
    model_ms: float | None = None
    """The network."""
    mean_ms: float | None = None
    """The sum of the four parts."""
    p95_ms_ci: Interval | None = None
    """95 % interval, from the order statistics; None under 59 images, and in older reports."""


def measure(bundle: Bundle, session: Session, golden: Golden) -> EndToEnd:
    """Time whole requests as `Student.predict` answers them, one image at a time.

    Args:
        bundle: the student's.
        session: one of its files.
        golden: at most MAX_IMAGES of its held-out images are read.
    """
    images = golden.inside()[:MAX_IMAGES]
    student = Student(bundle, session, Bank.of(golden), neighbours=3)
    preprocess, times = bundle.preprocess, list[tuple[float, ...]]()
    for source in [*images[:_WARM], *images]:
        started = time.perf_counter()
        image = source.open()
        decoded = time.perf_counter()
        inputs = inputs_of(session, preprocess, preprocess.pixels(image)[None])
        prepared = time.perf_counter()
        outputs = session.run(inputs)
        embedded = time.perf_counter()
        student.answers(outputs)
        answered = time.perf_counter()
        times.append((started, decoded, prepared, embedded, answered))
    parts_ms = np.diff(np.array(times[len(times) - len(images) :]), axis=1) * 1e3  # [N, 4]
    whole_ms = parts_ms.sum(axis=1)
    decode_ms, prepare_ms, model_ms, answer_ms = map(float, parts_ms.mean(axis=0))
    mean_ms = decode_ms + prepare_ms + model_ms + answer_ms
    p95 = percentile(whole_ms, 0.95)
    return EndToEnd(
        images=len(images),
        decode_ms=decode_ms,
        prepare_ms=prepare_ms,
        model_ms=model_ms,
        answer_ms=answer_ms,
        mean_ms=mean_ms,
        median_ms=float(np.median(whole_ms)),
        p95_ms=p95.ms,
        p95_ms_ci=p95.ci,
        images_per_s=1e3 / mean_ms,
    )
