"""What a run keeps on disk so as not to compute it again, within the recipe's limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compressor.encoders import Encoder
from compressor.images import ImageSet
from compressor.recipe import Distill
from compressor.store import store_bytes
from compressor.tokens import Grid
from runtime.errors import InputError
from runtime.files import amount

CUT_FROM = 2
"""Views are cut from images of twice the side that the networks see: a crop of a quarter of the
area is as fine as they see, a smaller one is enlarged."""


@dataclass(frozen=True)
class Economy:
    """What the teacher's features and the decoded images will take, and what is done about it."""

    grid: Grid | None
    """The student's grid, which the teacher's maps are brought to; None learns without maps."""
    online: bool
    """Whether the teacher looks at every view when the student does, and nothing is kept."""
    stored: bool
    """Whether the decoded images are kept."""
    side_px: int
    """Views are cut from images shrunk to this short side."""
    bytes: int
    """What will be kept on disk."""
    lines: tuple[str, ...]
    """What a user should know of it."""


def economise(spec: Distill, train: ImageSet, teacher: Encoder, student: Encoder) -> Economy:
    """Decide what is kept: features first, then token maps, then the decoded images.

    Raises:
        InputError: token maps are asked for, and teacher and student have none that go together.
    """
    limit = spec.disk_gb * 1e9
    count = len(train) * spec.views_for(len(train))
    lines: list[str] = []

    grid = None
    require_maps(spec, teacher, student)
    if spec.method != "supervised" and spec.token_maps != "off":
        if reason := _no_maps(spec, teacher, student):
            lines.append(f"learning from the pooled features alone: {reason}")
        elif student.map_shape is not None:
            grid = student.map_shape[:2]

    pooled = 4 * count * teacher.dim
    maps = 2 * count * teacher.dim * math.prod(grid) if grid else 0
    online, kept = spec.teacher == "online", 0
    if spec.method == "supervised":
        online, pooled, maps = False, 0, 0
    elif not online and pooled > limit:
        online = True
        lines.append(
            f"the teacher's features of {count:,} views would take {amount(pooled)}, over "
            f"distill.disk_gb ({spec.disk_gb:g}): the teacher runs at every step instead"
        )
    elif not online and pooled + maps > limit:
        what = f"token maps of {count:,} views would take {amount(maps)}, over distill.disk_gb"
        if spec.token_maps == "on":
            online = True
            lines.append(f"{what} ({spec.disk_gb:g}): the teacher runs at every step instead")
        else:
            grid = None
            lines.append(f"{what} ({spec.disk_gb:g}): learning from the pooled features alone")
    if not online:
        kept = pooled + (maps if grid else 0)
        if kept:
            each = kept / count
            lines.append(
                f"teacher features of {count:,} views: {amount(kept)} ({each / 1e3:,.1f} KB a view)"
            )

    side = CUT_FROM * max(teacher.preprocess.size_px, student.preprocess.size_px)
    images = store_bytes(train, side)
    stored = kept + images <= limit
    if stored:
        kept += images
        lines.append(f"decoded images: {amount(images)}")
    else:
        lines.append(
            f"decoded images would take {amount(images)}, over what is left of distill.disk_gb "
            f"({spec.disk_gb:g}): files are decoded again for every view"
        )
    return Economy(grid, online, stored, side, kept, tuple(lines))


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
