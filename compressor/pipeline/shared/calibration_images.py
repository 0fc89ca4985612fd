"""Images for FP16 and INT8: training images to calibrate, validation images to choose.

No held-out image is among them: the golden set is only for the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressor.data.image_files import open_rgb
from compressor.pipeline.context import Run
from compressor.selection.metric_space import Space, distinct
from compressor.selection.strategies import k_medoids
from runtime import documents
from runtime.arrays import AnyArray, Floats, Ints
from runtime.bundle.schema import EncoderCard
from runtime.documents import plain
from runtime.files import replacing
from runtime.images.image_file import ImageFile
from runtime.images.preprocess import Preprocess
from runtime.sampling import evenly

_SETS = ("selected", "random", "validation")
_MADE = 1
"""Raise it when the same inputs give other images."""
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
    """Choose and decode the images of a run: once, for all steps that ask for them.

    Raises:
        InputError: one of them was moved or changed since the audit.
    """
    from safetensors.numpy import load_file, save_file

    preprocess = documents.read(run.file("student.json"), EncoderCard, what="student").preprocess

    def make(path: Path) -> None:
        with replacing(path) as temporary:
            save_file(_pixels(run, preprocess), temporary)

    key = ["calibration images", _MADE, inputs(run), plain(preprocess)]
    arrays = load_file(run.shared(key, "calibration.safetensors", make))
    images = {name: preprocess.normalise(arrays[name]) for name in _SETS}
    return CalibrationImages(**images, validation_rows=arrays["rows"])


def _pixels(run: Run, preprocess: Preprocess) -> dict[str, AnyArray]:
    """Return each set as uint8 [N, S, S, 3], and the rows of the validation images."""
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
    decoded = {
        row: preprocess.pixels(open_rgb(found.paths[row]))
        for row in sorted({int(row) for chosen in rows.values() for row in chosen})
    }
    sets = {name: np.stack([decoded[int(row)] for row in rows[name]]) for name in _SETS}
    return {**sets, "rows": rows["validation"]}


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


def normalised(paths: Sequence[ImageFile], preprocess: Preprocess) -> Floats:
    """Images as the student sees them, [N, 3, S, S]."""
    return np.stack([preprocess(open_rgb(path)) for path in paths])
