"""From an image file to an answer, one image at a time: what a camera's frame takes in all."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from runtime.backends.base import Session, inputs_of
from runtime.bundle.golden import Golden
from runtime.images.preprocess import Preprocess

MAX_IMAGES = 100


def measure(session: Session, preprocess: Preprocess, golden: Golden) -> dict[str, Any]:
    """Milliseconds of decoding, preparing and answering, over held-out images as they come.

    Args:
        session: warm already.
        preprocess: of an image.
        golden: whose images are read; at most MAX_IMAGES of them.
    """
    pictures = golden.inside()[:MAX_IMAGES]
    steps: list[tuple[float, float, float]] = []
    for picture in pictures:
        started = time.perf_counter()
        image = picture.open()
        decoded = time.perf_counter()
        inputs = inputs_of(session, preprocess, preprocess.pixels(image)[None])
        prepared = time.perf_counter()
        session.run(inputs)
        answered = time.perf_counter()
        steps.append((decoded - started, prepared - decoded, answered - prepared))
    each = np.array(steps) * 1e3
    whole = each.sum(axis=1)
    decode_ms, prepare_ms, answer_ms = np.median(each, axis=0)
    return {
        "images": len(pictures),
        "decode_ms": float(decode_ms),
        "prepare_ms": float(prepare_ms),
        "answer_ms": float(answer_ms),
        "median_ms": float(np.median(whole)),
        "p95_ms": float(np.percentile(whole, 95)),
        "images_per_s": float(1e3 / whole.mean()),
    }
