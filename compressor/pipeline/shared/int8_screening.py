"""INT8 screening: how well an INT8 file does on validation images.

The held-out images stay unseen. The probes have seen the validation images, the teacher's as much
as the student's; so the result is a hint, which decides whether INT8 is worth more work, and no
metric of a report.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from compressor.pipeline.context import Run
from runtime import metrics
from runtime.backends.base import Outputs
from runtime.backends.registry import open_session
from runtime.results.making import Int8Decision, Screening

if TYPE_CHECKING:
    from compressor.pipeline.shared.calibration_images import CalibrationImages
    from compressor.recipe.schema import Require

_BATCH = 32


class ScreeningResult(Screening, frozen=True):
    """Metrics on validation images; None if there are no labels for them."""

    def missed(self, require: Require) -> list[str]:
        """Return the gates of the recipe that the file would miss."""
        missed = []
        for name in ("agreement", "similarity_correlation"):
            wanted, got = getattr(require, name), getattr(self, name)
            if wanted is not None and got is not None and got < wanted:
                missed.append(name)
        drop = require.accuracy_drop
        if drop is not None and self.accuracy_drop is not None and self.accuracy_drop > drop:
            missed.append("accuracy_drop")
        return missed

    def better_than(self, other: ScreeningResult) -> bool:
        """Return whether it agrees more often; without labels, whether it correlates better."""
        if self.agreement is not None and other.agreement is not None:
            mine, others = (self.agreement, other.agreement)
            if mine != others:
                return mine > others
        return self.similarity_correlation > other.similarity_correlation


class ScreeningDocument(Struct, frozen=True):
    """int8_screening.json: plain INT8, how it was made and how well it does."""

    decision: Int8Decision
    screening: ScreeningResult


def screen(run: Run, path: Path, images: CalibrationImages) -> ScreeningResult:
    """Run an ONNX file on the validation images and compare it with the teacher."""
    from compressor.probes.fit import deployed_probe

    session, rows = open_session(path, provider="cpu"), images.validation_rows
    pixels = images.validation
    answered = [session.run(pixels[n : n + _BATCH]) for n in range(0, len(pixels), _BATCH)]
    answers = Outputs.joined(answered)
    teacher = run.tensors("embeddings.safetensors")["images"][rows]
    similarity = float(metrics.pair_correlation(answers.embedding, teacher))
    probe = deployed_probe(run.tensors("probes.safetensors"), "teacher")
    if probe is None or answers.logits is None:
        return ScreeningResult(None, None, similarity)
    got, wanted = answers.logits.argmax(axis=1), probe.logits(teacher).argmax(axis=1)
    labels = run.images().labels[rows]
    return ScreeningResult(float((got == wanted).mean()), _drop(got, wanted, labels), similarity)


def _drop(
    got: npt.NDArray[np.int64], teacher: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]
) -> float | None:
    known = labels >= 0
    if not known.any():
        return None
    right = [(answers == labels)[known].mean() for answers in (teacher, got)]
    return float(right[0] - right[1])
