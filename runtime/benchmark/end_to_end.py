"""How long one image takes from its file to an answer: decode, prepare, answer."""

from __future__ import annotations

import time

import numpy as np
from msgspec import Struct

from runtime.backends.base import Session, inputs_of
from runtime.bundle.golden import Golden
from runtime.images.preprocess import Preprocess

MAX_IMAGES = 100


class EndToEnd(Struct, frozen=True):
    """Times of one image after the other. The three steps are medians, as is the whole."""

    images: int
    decode_ms: float
    prepare_ms: float
    answer_ms: float
    median_ms: float
    p95_ms: float
    images_per_s: float


def measure(session: Session, preprocess: Preprocess, golden: Golden) -> EndToEnd:
    """Time decoding, preparing and answering of held-out images, one at a time.

    Args:
        session: already warm.
        preprocess: the student's preprocessing.
        golden: at most MAX_IMAGES of its held-out images are read.
    """
    images = golden.inside()[:MAX_IMAGES]
    times: list[tuple[float, float, float]] = []
    for source in images:
        started = time.perf_counter()
        image = source.open()
        decoded = time.perf_counter()
        inputs = inputs_of(session, preprocess, preprocess.pixels(image)[None])
        prepared = time.perf_counter()
        session.run(inputs)
        answered = time.perf_counter()
        times.append((decoded - started, prepared - decoded, answered - prepared))
    steps_ms = np.array(times) * 1e3  # [N, 3]
    whole_ms = steps_ms.sum(axis=1)
    decode_ms, prepare_ms, answer_ms = np.median(steps_ms, axis=0)
    return EndToEnd(
        images=len(images),
        decode_ms=float(decode_ms),
        prepare_ms=float(prepare_ms),
        answer_ms=float(answer_ms),
        median_ms=float(np.median(whole_ms)),
        p95_ms=float(np.percentile(whole_ms, 95)),
        images_per_s=float(1e3 / whole_ms.mean()),
    )
