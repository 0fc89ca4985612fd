"""How long each step of a run will take: counted work times rates measured here.

Steps without countable work (making the files, checking them) take as long as they last did in this
folder; where they were never made, their time is not known, and nothing is invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compressor.distillation.pace.cost import Cost
from compressor.distillation.pace.rates import Rates
from compressor.pipeline.storage.records import StepRecord
from compressor.pipeline.work import ImageCounts
from runtime.images import corruptions


@dataclass(frozen=True)
class Pace:
    """How fast a run is here."""

    rates: Rates
    corrupt_s: float
    """Seconds to corrupt an image in every way."""
    training: Cost
    """Seconds of teacher on views, closed form and training."""
    on_cpu: bool
    """Whether networks take the processors from the threads that read images."""


@dataclass(frozen=True)
class Sizes:
    """How much there is to do."""

    files: int
    """To decode, whether they can be used or not."""
    counts: ImageCounts
    students: int
    """Students that look at every image: the trained one and the one before training."""
    decoded: int
    """Training images that are kept decoded: all, or none where the disk has no room."""


def first_bundle_seconds(sizes: Sizes, pace: Pace) -> float:
    """Return the seconds of a bundle before the training: closed form and probes of one view."""
    rates, counts = pace.rates, sizes.counts
    solving = counts.train * rates.start_view_s + rates.solve_s
    looked_at = counts.images + counts.outside
    return solving + looked_at * _of_file(rates.student_s, pace)


def step_seconds(
    sizes: Sizes, pace: Pace, made: Mapping[str, StepRecord]
) -> dict[str, float | None]:
    """Return the seconds of every step, if nothing is cached; None: not known.

    Args:
        sizes: numbers of images.
        pace: how fast the run is here.
        made: what the folder's earlier run has made, by step.
    """
    rates, counts = pace.rates, sizes.counts
    looked_at = counts.images + counts.outside
    every = len(corruptions.cells())
    seconds: dict[str, float | None] = {
        step: made[step].seconds if step in made else None
        for step in ("golden", "to_onnx", "fp16", "int8_screening", "int8", "camera", "ncnn",
                     "litert", "engines", "bundle", "check")
    }  # fmt: skip
    return seconds | {
        "images": (sizes.files + counts.outside) * rates.decode_s,
        "embeddings": looked_at * _of_file(rates.teacher_s, pace),
        "pixels": sizes.decoded * rates.decode_s,
        "features": pace.training.teacher_s,
        "start": pace.training.start_s,
        "distill": pace.training.student_s,
        "probes": looked_at * _of_file(sizes.students * rates.student_s, pace),
        "robustness": counts.corrupted
        * (every * (rates.teacher_s + rates.student_s) + 2 * pace.corrupt_s),
    }


def _of_file(pass_s: float, pace: Pace) -> float:
    """Return the seconds of a pass over a file: decoding takes the same processors, or others."""
    decode_s = pace.rates.decode_s
    return pass_s + decode_s if pace.on_cpu else max(pass_s, decode_s)
