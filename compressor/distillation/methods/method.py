"""What a distillation method is: the target of a batch, and the student's distance from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from torch import Tensor, nn

from compressor.distillation.methods.centring import Centring
from compressor.models.encoder import Encoder
from compressor.models.features import Features
from compressor.recipe.choices import METHODS
from compressor.recipe.schema import Distill

Quality = Literal["similarity", "knn_accuracy"]
"""A validation score: correlation with the teacher's cosines, or accuracy of a kNN probe."""

Target = TypeVar("Target", Features, Tensor)


def _as_it_is(part: Tensor) -> Tensor:
    return part


@dataclass(frozen=True)
class Setup:
    """What a method is built from."""

    spec: Distill
    student: Encoder
    sample: Features | None
    """A centred sample of the teacher's features; maps of the first images in it. None without a
    teacher."""
    classes: int
    """Number of labelled classes."""
    note: Callable[[str], None]
    """Called with a line for the user."""

    @property
    def teacher_sample(self) -> Features:
        """The sample, for a method that needs a teacher.

        Raises:
            ValueError: there is none.
        """
        if self.sample is None:
            raise ValueError(
                f"{self.spec.method} learns from the teacher's features, and there are none"
            )
        return self.sample

    @property
    def map_dim(self) -> int | None:
        """C of the student's feature map; None where teacher or student has no map."""
        if self.sample is None or self.sample.maps is None or self.student.map_shape is None:
            return None
        return self.student.map_shape[2]

    @property
    def map_is_raw(self) -> bool:
        """Whether the map lies before the layer that makes the embedding, as a CNN's does."""
        return not isinstance(self.student.module.embedding, nn.Identity)


@dataclass(frozen=True)
class Sample:
    """Some training images as a method's own layers are solved from them."""

    student: Features
    """The student's features of N views."""
    teacher: Features
    """The teacher's of the same views, centred."""
    labels: Tensor
    """[N], -1 where not known."""


class Method(nn.Module, ABC, Generic[Target]):
    """A distillation method with its heads, which are thrown away after training."""

    gathered: Callable[[Tensor], Tensor] = staticmethod(_as_it_is)
    """Makes the rows of the whole batch of a process's part of it, without a gradient: a loss over
    pairs of images sees all pairs, however many processes share the batch."""
    quality: ClassVar[Quality] = "similarity"
    """The validation score that chooses the best epoch."""

    @classmethod
    def check(cls, spec: Distill, *, teacher_dim: int, student_dim: int) -> None:
        """Refuse widths that the method cannot bring together, before any work is done.

        Raises:
            InputError: names the key of the recipe to change.
        """

    @classmethod
    @abstractmethod
    def build(cls, setup: Setup) -> Self:
        """Make the method's heads. Their first weights come from torch's random generator."""

    @abstractmethod
    def target(self, teacher: Features, labels: Tensor) -> tuple[Tensor | None, Target]:
        """Return what the student must match for a batch, and the loss of a learning head.

        Args:
            teacher: centred features of the B views; [B, 0] for a method without a teacher.
            labels: [B], -1 where not known.

        Returns:
            The scalar loss of the method's own head, None where it has none that learns; and the
            target, without gradient. Of processes that share a batch, the losses sum to its loss.
        """

    @abstractmethod
    def distance(self, student: Features, target: Target) -> Tensor:
        """Return the student's loss of each image, [b]."""

    def embedding_target(self, teacher: Features) -> Tensor | None:
        """Return what the student's embedding is solved for before training, [B, D].

        Only its direction counts.

        Args:
            teacher: centred features of B views.

        Returns:
            None for a method without a teacher: the student's own features are kept as they are.
        """
        return None

    @property
    def is_linear(self) -> bool:
        """Whether `embedding_target` is a linear map of the teacher's features."""
        return False

    def begin(self, sample: Callable[[], Sample]) -> None:
        """Solve the method's own layers for a student whose embedding layer is solved already.

        Training then begins with small gradients (LP-FT, arXiv 2202.10054).

        Args:
            sample: makes what they are solved from, by a pass of the student; a method without
                layers of its own does not call it.
        """

    def solved(self) -> list[nn.Linear]:
        """Return the layers that `begin` solves: by default all that the method has."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Linear)]

    def summary(self, spec: Distill, validation: Features, centring: Centring) -> dict[str, object]:
        """Return what the report says of this method's heads.

        Args:
            spec: the recipe's `distill:`.
            validation: the teacher's features of validation images, not centred.
            centring: what `target` was given features after.
        """
        return {}


def method_class(name: str) -> type[Method[Any]]:
    """Return the class of the method that a recipe names."""
    found: type[Method[Any]] = METHODS[name].load()
    return found
