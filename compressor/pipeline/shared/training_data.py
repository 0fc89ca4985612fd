"""The training data of a run, read from the outputs of the steps before the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressor.pipeline.context import Run
from compressor.pipeline.shared import teacher_views

if TYPE_CHECKING:
    from compressor.distillation.training_data import TrainingData
    from compressor.models.compute import Compute


def of(run: Run, compute: Compute) -> TrainingData:
    """Return the images, the teacher's features and the validation set of a run.

    Args:
        run: its steps before the training are made.
        compute: where a teacher runs that is asked at every step.
    """
    from compressor.distillation.training_data import TrainingData

    found = run.images()
    embedded = run.tensors("embeddings.safetensors")["images"]
    return TrainingData(
        train=found.part("train"),
        augment=teacher_views.augment(run),
        store=teacher_views.decoded(run),
        keep_views=run.disk_plan.keep_views,
        teacher=teacher_views.feature_source(run, compute),
        validation=found.part("validation"),
        validation_features=embedded[found.rows("validation")],
    )
