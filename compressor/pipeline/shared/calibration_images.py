"""Images for FP16 and INT8: training images to calibrate, validation images to choose.

No held-out image is among them: the golden set is only for the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressor.data.image_files import open_rgb
from compressor.pipeline.context import Run
from compressor.selection.metric_space import Space, distinct
from compressor.selection.strategies import k_medoids
from runtime import documents
from runtime.arrays import Floats, Ints
from runtime.bundle.schema import EncoderCard
from runtime.images.preprocess import Preprocess
from runtime.sampling import evenly

MOST_VALIDATION = 256
"""Validation images that candidates are compared on, at most."""


@dataclass(frozen=True)
class CalibrationImages:
    """Normalised images [N, 3, S, S]."""

    selected: Floats
    """Training images that stand for all: the medoids of the student's embeddings."""
    random: Floats
    """As many drawn at random, to compare with."""
    validation: Floats
    validation_rows: Ints
    """Which of the run's images those are."""


def inputs(run: Run) -> dict[str, object]:
    """Return what decides the images and the ONNX file that they are shown to."""
    recipe, found = run.plan.recipe, run.images()
    return {
        "onnx": run.outputs("to_onnx"),
        "student": run.outputs("probes")["probes.safetensors"],
        "pixels": run.pixels_digest(),
        "splits": [image.split for image in found.records],
        "images": recipe.export.calibration_images,
        "seed": recipe.distill.seed,
    }


def gather(run: Run) -> CalibrationImages:
    """Choose and decode the images of a run.

    Raises:
        InputError: one of them was moved or changed since the audit.
    """
    preprocess = documents.read(run.file("student.json"), EncoderCard, what="student").preprocess
    wanted, seed = run.plan.recipe.export.calibration_images, run.plan.recipe.distill.seed
    embedded, found = run.tensors("probes.safetensors")["student"], run.images()
    train, others = found.rows("train"), found.rows("validation")
    if not len(others):
        others = train
    rows = {
        "selected": train[selected(embedded[train], wanted, seed)],
        "random": train[drawn(len(train), wanted, seed)],
        "validation": others[evenly(len(others), MOST_VALIDATION)],
    }
    paths = found.paths
    images = {
        name: normalised([paths[row] for row in chosen], preprocess)
        for name, chosen in rows.items()
    }
    return CalibrationImages(
        images["selected"], images["random"], images["validation"], rows["validation"]
    )


def selected(embedded: Floats, wanted: int, seed: int) -> Ints:
    """Rows whose embeddings [N, D] stand for all: k-medoids by cosine distance, in order."""
    space = Space.cosine(embedded)
    rows, _ = distinct(space.points)
    budget = min(wanted, len(rows))
    chosen = k_medoids.k_medoids(space.part(rows), budget, np.empty(0, np.int64), seed)
    return np.sort(rows[chosen])


def drawn(count: int, wanted: int, seed: int) -> Ints:
    """Rows of a random choice, in order."""
    rows = np.random.default_rng(seed).permutation(count)[:wanted]
    return np.sort(rows).astype(np.int64)


def normalised(paths: list[Path], preprocess: Preprocess) -> Floats:
    """Images as the student sees them, [N, 3, S, S]."""
    return np.stack([preprocess(open_rgb(path)) for path in paths])
