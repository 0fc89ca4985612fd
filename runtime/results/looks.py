"""What a check keeps to be looked at: confusions, maps, neighbours, scores of outliers."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

Counts = tuple[tuple[int, ...], ...]
Points = tuple[tuple[float, float], ...]


class Confusion(Struct, frozen=True, kw_only=True):
    """Labelled held-out images by class (rows) and by answer (columns)."""

    classes: tuple[str, ...]
    """Of very many those in which the file errs most often."""
    teacher: Counts
    deployed: Counts
    left_out: int
    """Classes that are not shown."""


class EmbeddingMaps(Struct, frozen=True, kw_only=True):
    """Held-out images on the first two principal components of each network's embedding.

    The file's are turned onto the teacher's, so that the two can be laid side by side.
    """

    teacher: Points
    deployed: Points
    explained_teacher: float
    """Share of the variance that the two components have."""
    explained_deployed: float
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    """Of each image its number in `classes`, -1 where not known."""


class Neighbours(Struct, frozen=True, kw_only=True):
    """A held-out image and those nearest to it among the others."""

    image: str
    teacher: tuple[str, ...]
    deployed: tuple[str, ...]
    shared: int
    """How many both have."""


class Histogram(Struct, frozen=True, kw_only=True):
    """How like the training images the held-out images are, and those that are not of the task."""

    stage: str
    low: float
    high: float
    """Cosine to the nearest training image, at both ends; bins between them are equally wide."""
    inside: tuple[int, ...]
    outside: tuple[int, ...]
    threshold: float | UnsetType = UNSET
    """Under it an image is called an outlier."""


class Looks(Struct, frozen=True, kw_only=True):
    """All of them, as far as the golden set has what they need."""

    confusion: Confusion | UnsetType = UNSET
    maps: EmbeddingMaps | UnsetType = UNSET
    neighbours: tuple[Neighbours, ...] = ()
    outliers: tuple[Histogram, ...] = ()
