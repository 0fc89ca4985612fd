"""What there is to look at: confusions, maps, neighbours, scores of outliers, ready to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from runtime.report.drawings.looks import COLOURS, BarChart, MapChart, bar_chart, map_chart
from runtime.results.looks import Confusion, EmbeddingMaps, Histogram, Looks, Neighbours

Picture = Callable[[str], str]
"""A `data:` address by the name of an image; empty where it cannot be read any more."""


@dataclass(frozen=True)
class Square:
    """A cell of a confusion matrix."""

    text: str
    share: float
    """Of the images of the class."""
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix of one network."""

    title: str
    rows: Sequence[tuple[str, Sequence[Square]]]
    """Name of the class, and its images by answer."""


@dataclass(frozen=True)
class Seen:
    """An image by name and picture."""

    name: str
    picture: str


@dataclass(frozen=True)
class Row:
    """An image, and those nearest to it to teacher and file."""

    image: Seen
    teacher: Sequence[Seen]
    deployed: Sequence[Seen]
    shared: int


@dataclass(frozen=True)
class LooksView:
    """Everything to look at; what is not there is empty."""

    matrices: Sequence[Matrix]
    left_out: int
    maps: Sequence[tuple[str, MapChart]]
    legend: Sequence[str]
    neighbours: Sequence[Row]
    outliers: Sequence[tuple[str, BarChart]]


def view(found: Looks | UnsetType, picture: Picture) -> LooksView:
    """Return all that a report has to look at."""
    if found is UNSET:
        found = Looks()
    confusion, maps = found.confusion, found.maps
    return LooksView(
        matrices=[] if confusion is UNSET else _matrices(confusion),
        left_out=0 if confusion is UNSET else confusion.left_out,
        maps=[] if maps is UNSET else _maps(maps),
        legend=[] if maps is UNSET or len(maps.classes) > COLOURS else maps.classes,
        neighbours=[_row(each, picture) for each in found.neighbours],
        outliers=[_histogram(each) for each in found.outliers],
    )


def _matrices(found: Confusion) -> list[Matrix]:
    matrices = []
    for title, counts in (("Teacher", found.teacher), ("File", found.deployed)):
        rows = []
        for number, (name, row) in enumerate(zip(found.classes, counts, strict=True)):
            total = max(1, sum(row))
            cells = [
                Square(str(count) if count else "", round(count / total, 2), at == number)
                for at, count in enumerate(row)
            ]
            rows.append((name, cells))
        matrices.append(Matrix(title, rows))
    return matrices


def _maps(found: EmbeddingMaps) -> list[tuple[str, MapChart]]:
    sides = (
        ("Teacher", found.teacher, found.explained_teacher),
        ("File", found.deployed, found.explained_deployed),
    )
    return [
        (
            f"{title}: {share:.0%} of the variance",
            map_chart(found, points, f"map of {len(points)} held-out images, {title.lower()}"),
        )
        for title, points, share in sides
    ]


def _row(found: Neighbours, picture: Picture) -> Row:
    def seen(names: Sequence[str]) -> list[Seen]:
        return [Seen(name, picture(name)) for name in names]

    (image,) = seen([found.image])
    return Row(image, seen(found.teacher), seen(found.deployed), found.shared)


def _histogram(found: Histogram) -> tuple[str, BarChart]:
    title = "Teacher" if found.stage == "teacher" else "File"
    return title, bar_chart(found, f"likeness to the training images, {title.lower()}")
