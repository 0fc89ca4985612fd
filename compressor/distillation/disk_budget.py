"""What a run keeps on disk so as not to make it again, within the recipe's limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compressor.data.dataset import ImageSet
from compressor.data.image_store import store_bytes
from compressor.models.encoder import Encoder
from compressor.models.features import Grid
from compressor.recipe.schema import Distill
from runtime.errors import InputError
from runtime.text import amount

CUT_FROM = 2
"""Views are cut from images of twice the side that the networks see: a crop of a quarter of the
area is as fine as they see, a smaller one is enlarged."""


@dataclass(frozen=True)
class Economy:
    """What is kept of teacher, images and views, and what it will take."""

    grid: Grid | None
    """The student's grid, which the teacher's maps are brought to; None learns without maps."""
    online: bool
    """Whether the teacher looks at every view when the student does, and nothing is kept."""
    stored: bool
    """Whether the decoded images are kept."""
    rendered: bool
    """Whether the student's views are kept while it trains, to be shown again."""
    side_px: int
    """Views are cut from images shrunk to this short side."""
    bytes: int
    """What will be kept on disk."""
    lines: tuple[str, ...]
    """What a user should know of it."""


@dataclass
class _Room:
    """What `distill.disk_gb` allows, what of it is taken, and what was said of that."""

    limit: float
    taken: int
    lines: list[str]

    def take(self, wanted: int) -> bool:
        """Whether there is room for so many bytes; they are then taken."""
        fits = self.taken + wanted <= self.limit
        self.taken += wanted if fits else 0
        return fits


def economise(spec: Distill, train: ImageSet, teacher: Encoder, student: Encoder) -> Economy:
    """Decide what is kept: features, then token maps, then decoded images, then views.

    Raises:
        InputError: token maps are asked for, and teacher and student have none that go together.
    """
    require_maps(spec, teacher, student)
    room = _Room(spec.disk_gb * 1e9, 0, [])
    over = f"of distill.disk_gb ({spec.disk_gb:g})"
    grid, online = _features_kept(spec, len(train), teacher, student, room)

    side = CUT_FROM * max(teacher.preprocess.size_px, student.preprocess.size_px)
    images = store_bytes(train, side)
    stored = room.take(images)
    room.lines.append(
        f"decoded images: {amount(images)}"
        if stored
        else f"decoded images would take {amount(images)}, over what is left {over}: "
        "files are decoded again for every view"
    )

    views = spec.views_for(len(train))
    shown_again = not online and views < spec.epochs_for(len(train))
    pixels = 3 * student.preprocess.size_px**2 * views * len(train)
    rendered = shown_again and room.take(pixels)
    if shown_again:
        room.lines.append(
            f"the student's views, while it trains: {amount(pixels)}"
            if rendered
            else f"the student's views would take {amount(pixels)}, over what is left {over}: "
            "each is cut again whenever it is shown"
        )
    return Economy(grid, online, stored, rendered, side, room.taken, tuple(room.lines))


def _features_kept(
    spec: Distill, images: int, teacher: Encoder, student: Encoder, room: _Room
) -> tuple[Grid | None, bool]:
    """The grid of the maps that are learnt, and whether the teacher must run at every step."""
    if spec.method == "supervised":
        return None, False
    grid = None
    if spec.token_maps != "off":
        if reason := _no_maps(spec, teacher, student):
            room.lines.append(f"learning from the pooled features alone: {reason}")
        elif student.map_shape is not None:
            grid = student.map_shape[:2]
    if spec.teacher == "online":
        return grid, True

    views = images * spec.views_for(images)
    pooled = 4 * views * teacher.dim
    maps = 2 * views * teacher.dim * math.prod(grid) if grid else 0
    over = f"over distill.disk_gb ({spec.disk_gb:g})"
    if pooled > room.limit:
        room.lines.append(
            f"the teacher's features of {views:,} views would take {amount(pooled)}, {over}: "
            "the teacher runs at every step instead"
        )
        return grid, True
    if pooled + maps > room.limit:
        required = spec.token_maps == "on"
        instead = "the teacher runs at every step instead"
        room.lines.append(
            f"token maps of {views:,} views would take {amount(maps)}, {over}: "
            + (instead if required else "learning from the pooled features alone")
        )
        if required:
            return grid, True
        grid, maps = None, 0
    room.take(pooled + maps)
    each = f"{(pooled + maps) / views / 1e3:,.1f} KB a view"
    room.lines.append(f"teacher features of {views:,} views: {amount(pooled + maps)} ({each})")
    return grid, False


def require_maps(spec: Distill, teacher: Encoder, student: Encoder) -> None:
    """Refuse `token_maps: on` where teacher and student have none that go together.

    Raises:
        InputError: so it is.
    """
    if spec.token_maps != "on" or spec.method == "supervised":
        return
    if reason := _no_maps(spec, teacher, student):
        raise InputError(f"distill.token_maps is on, but {reason}; set it to auto or off")


def _no_maps(spec: Distill, teacher: Encoder, student: Encoder) -> str | None:
    """Why token maps cannot be used, or None."""
    if teacher.map_shape is None:
        return f"the teacher {teacher.name} has no feature map"
    if student.map_shape is None:
        return f"the student {student.name} has no feature map"
    if teacher.map_shape[2] != teacher.dim:
        return (
            f"the teacher's map is {teacher.map_shape[2]} wide and its embedding {teacher.dim}, "
            "and one head serves both"
        )
    ours, theirs = student.map_shape[:2], teacher.map_shape[:2]
    if ours != theirs and not spec.resample:
        return (
            f"the teacher's map is {theirs[0]} x {theirs[1]}, the student's {ours[0]} x {ours[1]}, "
            "and distill.resample is off"
        )
    return None
