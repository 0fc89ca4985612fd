"""How faithfully a network with weights follows a teacher on the user's images, before training.

One pass of each over a sample of the training images; then the closed form, judged on images that
it was not solved from. Held-out images are not looked at. Everything is kept in the store, by the
content that it follows from, so that it is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from compressor.data.dataset import ImageSet
from compressor.pipeline.context import Run
from compressor.pipeline.settling.agreement import Answers, accuracy, agreement, answers
from compressor.pipeline.step import NETWORK_LIBRARIES
from compressor.pipeline.storage.digests import digest
from compressor.recipe.schema import Student, Teacher
from runtime import metrics
from runtime.arrays import Floats
from runtime.errors import InputError
from runtime.files import replacing
from runtime.metrics import Estimate
from runtime.sampling import evenly

MOST_IMAGES = 1_000
"""Images of the sample, at most: evenly over the training part."""
_VERSION = 1
"""Raise it when the same networks and images give another result."""


@dataclass(frozen=True)
class Faithfulness:
    """A closed-form student against its teacher."""

    similarity: Estimate
    """r: the correlation of the cosines between images, angles measured from the mean."""
    agreement: tuple[Estimate, Estimate] | None
    """By kNN and by a linear probe; None without labels."""
    accuracy: tuple[Estimate, Estimate] | None
    """Of the student, by kNN and by a linear probe."""


@dataclass(frozen=True)
class Sample:
    """Some of a run's training images, and what networks make of them."""

    run: Run
    _read: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    @cached_property
    def images(self) -> ImageSet:
        """Return the images, evenly over the training part."""
        train = self.run.images().part("train")
        rows = evenly(len(train), MOST_IMAGES)
        return replace(train, records=tuple(train.records[row] for row in rows))

    def faithfulness(self, student: Student, teacher: Teacher) -> Faithfulness:
        """Judge the closed form of a student that has weights.

        Raises:
            InputError: weights that do not fit, or features that are not finite or all the same.
            MissingDependencyError: hub weights that are neither cached nor reachable.
        """
        key = [*self._student_key(student), *self._teacher_key(teacher)]
        found = self._kept(key, "left_out", lambda: self._left_out(student, teacher))["answers"]
        centred = self.teacher(teacher)
        own, others = self._answers(key, found), self.teacher_answers(teacher)
        return Faithfulness(
            similarity=metrics.similarity_correlation(found, centred),
            agreement=agreement(own, others) if own and others else None,
            accuracy=accuracy(own) if own else None,
        )

    def teacher(self, spec: Teacher) -> Floats:
        """Return the teacher's features less their mean, [N, D].

        Raises:
            InputError: as for `faithfulness`.
            MissingDependencyError: as for `faithfulness`.
        """
        key = self._teacher_key(spec)
        found = self._kept(key, "teacher", lambda: {"features": self._pass_teacher(spec)})
        centred: Floats = found["features"] - found["features"].mean(axis=0)
        return centred

    def teacher_answers(self, spec: Teacher) -> Answers | None:
        """Return what probes of the teacher answer; None without labels."""
        return self._answers(self._teacher_key(spec), self.teacher(spec))

    def _answers(self, key: list[object], embedding: Floats) -> Answers | None:
        labels, classes = self.images.labels, len(self.images.classes)

        def make() -> dict[str, Any]:
            found = answers(embedding, labels, classes)
            return {} if found is None else vars(found)

        labelled = ["answers", digest([labels.tolist(), classes]), metadata.version("scikit-learn")]
        kept = self._kept([*key, *labelled], "answers", make)
        return Answers(**kept) if kept else None

    # --- passes -------------------------------------------------------------------------------

    def _left_out(self, student: Student, teacher: Teacher) -> dict[str, Any]:
        import torch

        from compressor.distillation.start.left_out import left_out

        key = self._student_key(student)
        own = self._kept(key, "student", lambda: self._pass_student(student))
        pooled, blocks = torch.from_numpy(own["pooled"]), own["blocks"].tolist()
        self.run.note(f"solving {student.model}")
        found = left_out(pooled, blocks, torch.from_numpy(self.teacher(teacher)))
        return {"answers": found.answers.numpy()}

    def _pass_student(self, spec: Student) -> dict[str, Any]:
        from torch import nn

        from compressor.models.embed import embed
        from compressor.models.embedding_net import EmbeddingNet
        from compressor.models.encoder import create_student
        from compressor.models.features import widths_of

        encoder = create_student(spec, seed=0)
        backbone, stages = encoder.module.backbone, encoder.module.stages
        blocks = widths_of(backbone, encoder.preprocess.size_px, stages)
        pooled = replace(
            encoder, dim=sum(blocks), module=EmbeddingNet(backbone, nn.Identity(), stages)
        )
        label = f"{spec.model} on training images"
        found = embed(
            pooled, self.images.paths, self.run.compute(), label=label, track=self.run.track
        )
        if not np.isfinite(found).all():
            raise InputError(
                f"{spec.model}: its features of training images are not finite before any "
                f"training.\n  Are its weights ({spec.weights}) damaged, or of another model?"
            )
        return {"pooled": found, "blocks": np.array(blocks)}

    def _pass_teacher(self, spec: Teacher) -> Floats:
        import torch

        from compressor.distillation.teacher_features import require_finite
        from compressor.models.compute import teacher_dtype
        from compressor.models.embed import embed
        from compressor.models.encoder import load_teacher

        encoder, compute = load_teacher(spec), self.run.compute()
        wanted = self.run.plan.recipe.distill.teacher_precision
        precision = teacher_dtype(wanted, compute, transformer=encoder.is_transformer)
        found = embed(
            encoder,
            self.images.paths,
            compute,
            label=f"{spec.model} on training images",
            precision=precision,
            track=self.run.track,
        )
        require_finite(torch.from_numpy(found), precision or torch.float32)
        return found

    # --- the store ----------------------------------------------------------------------------

    def _student_key(self, spec: Student) -> list[object]:
        return ["student", self.run.network_digest(spec), *self._common]

    def _teacher_key(self, spec: Teacher) -> list[object]:
        from compressor.models.compute import teacher_dtype

        wanted = self.run.plan.recipe.distill.teacher_precision
        precision = str(teacher_dtype(wanted, self.run.compute(), transformer=True))
        return ["teacher", self.run.network_digest(spec), precision, *self._common]

    @cached_property
    def _common(self) -> list[object]:
        versions = {name: metadata.version(name) for name in NETWORK_LIBRARIES}
        return [_VERSION, digest(self.images.keys), versions, self.run.device_type()]

    def _kept(
        self, key: list[object], name: str, make: Callable[[], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return arrays from the store, made if it has none of this key."""
        from safetensors.numpy import load_file, save_file

        def write(path: Path) -> None:
            arrays = {key: np.ascontiguousarray(array) for key, array in make().items()}
            with replacing(path) as temporary:
                save_file(arrays, temporary)

        found: dict[str, Any] = load_file(
            self.run.shared([name, *key], f"{name}.safetensors", write)
        )
        return found
