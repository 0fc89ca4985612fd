"""The data that a student is trained on: images, their views, the teacher's features."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.data.dataset import ImageSet
from compressor.data.image_store import ImageStore
from compressor.data.loading import Augmentation, Views
from compressor.distillation.teacher_features import FeatureSource
from compressor.models.encoder import Encoder
from runtime.arrays import Floats


@dataclass(frozen=True)
class TrainingData:
    """Training and validation images, with the teacher's features of them."""

    train: ImageSet
    augment: Augmentation
    store: ImageStore | None
    """The training images decoded; None decodes their files again for every view."""
    keep_views: bool
    """Whether a view is kept when it has been cut, to be shown again."""
    teacher: FeatureSource | None
    """The teacher's features of the views; None for a method without a teacher."""
    validation: ImageSet
    validation_features: Floats
    """[Nv, Dt] of the teacher, images as the device sees them."""

    def views(self, student: Encoder) -> Views:
        """Return the training views at the student's size, after any that the teacher needs."""
        for_teacher = () if self.teacher is None else self.teacher.inputs
        return Views(self.train, self.augment, (*for_teacher, student.preprocess), self.store)
