"""Scores of a student while it learns, on validation images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from compressor.data.dataset import ImageSet
from compressor.data.loading import BATCH, PreprocessedImages, in_batches, load_batches, to_input
from compressor.models.compute import Compute
from compressor.models.embedding_net import EmbeddingNet
from compressor.models.encoder import Encoder
from runtime import metrics
from runtime.arrays import Floats
from runtime.sampling import evenly

MAX_IMAGES = 512
"""Most images that choose the best epoch: they are embedded after every epoch."""


@dataclass(frozen=True)
class Validation:
    """A few images, decoded once, with the teacher's embeddings of them."""

    pixels: Tensor
    teacher: Floats
    labels: npt.NDArray[np.int64]
    classes: int
    student: Encoder
    compute: Compute

    @classmethod
    def load(
        cls,
        images: ImageSet,
        teacher: Floats,
        student: Encoder,
        compute: Compute,
    ) -> Validation:
        """Decode at most MAX_IMAGES of the images; `teacher` [N, Dt] is of all of them.

        The first process of a group scores for all, and alone decodes.
        """
        # Evenly over the whole part: it is in the order of the class folders.
        rows = evenly(len(images), MAX_IMAGES if compute.group.is_first else 1)
        batches = in_batches(rows.tolist())
        dataset = PreprocessedImages(images.paths, student.preprocess)
        pixels = torch.cat([batch for (batch,) in load_batches(dataset, batches, compute.workers)])
        classes = len(images.classes)
        return cls(pixels, teacher[rows], images.labels[rows], classes, student, compute)

    def measure(self, student: EmbeddingNet) -> dict[str, float]:
        """Similarity correlation with the teacher; leave-one-out kNN accuracy with labels.

        No image can be answered rightly whose class no other image has: those only vote. A score
        that fewer than three images decide is left out.
        """
        student.eval()
        group = self.compute.group
        return group.of_first(self._measured(student) if group.is_first else {})

    def _measured(self, student: EmbeddingNet) -> dict[str, float]:
        embedded = self.embed(student.centred)
        # One thread: numpy's others would spin on, on the cores that the next step needs
        with threadpool_limits(1, user_api="blas"):
            return self._scores(embedded)

    def answers(self, student: EmbeddingNet) -> Floats | None:
        """Return what a student gives for the images, [n, D]; None but in the first process."""
        return self.embed(student.centred) if self.compute.group.is_first else None

    def follows_better(self, one: Floats | None, other: Floats | None) -> bool:
        """Return whether `one` follows the teacher clearly better than `other`.

        Clearly: the 95 % interval of the difference of their correlations with the teacher's
        cosines, a paired bootstrap over the images, is above zero.

        Args:
            one: what `answers` gave.
            other: the same of another student.
        """
        better = False
        if one is not None and other is not None:
            with threadpool_limits(1, user_api="blas"):
                scores = (
                    metrics.similarity_correlation(each, self.teacher) for each in (one, other)
                )
                better = metrics.paired_difference(*scores).low > 0
        return self.compute.group.of_first(better)

    def embed(self, network: Callable[[Tensor], Tensor]) -> Floats:
        """Return what a network in evaluation mode gives for the images, [n, D]."""
        with torch.inference_mode():
            parts = [
                network(to_input(part, self.student.preprocess, self.compute.device)).float().cpu()
                for part in torch.split(self.pixels, BATCH)
            ]
        embedded: Floats = torch.cat(parts).numpy()
        return embedded

    def _scores(self, embedding: Floats) -> dict[str, float]:
        scores = {}
        if len(embedding) > 2 and np.all(np.isfinite(embedding)) and np.all(embedding.any(axis=1)):
            scores["similarity"] = metrics.pair_correlation(embedding, self.teacher)
            known = self.labels >= 0
            labels = self.labels[known]
            asked = np.bincount(labels, minlength=self.classes)[labels] > 1
            if asked.sum() > 2:
                votes = metrics.knn_votes_within(embedding[known], labels, self.classes)
                right = votes.argmax(axis=1) == labels
                scores["knn_accuracy"] = float(right[asked].mean())
        return scores
