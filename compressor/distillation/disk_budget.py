"""The disk budget: what a run keeps so as not to compute it again, within the recipe's limit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from compressor.data.dataset import ImageSet
from compressor.data.image_store import QUALITY, SHORT_SIDES, Packing, store_bytes
from compressor.models.encoder import Encoder
from compressor.models.features import Grid
from compressor.recipe.choices import METHODS
from compressor.recipe.schema import Distill
from runtime.errors import InputError
from runtime.text import amount

FeaturesFrom = Literal["none", "cached", "online"]
"""Where training gets the teacher's features: no teacher; computed once for each view and kept;
computed at every step."""


@dataclass(frozen=True)
class DiskPlan:
    """What a run keeps of teacher, images and views, and how much disk it takes."""

    features: FeaturesFrom
    grid: Grid | None
    """The student's grid, to which the teacher's maps are resampled; None learns without maps."""
    keep_images: bool
    """Whether the decoded images are kept."""
    keep_views: bool
    """Whether the student's views are kept while it trains, to be shown again."""
    side_px: int
    """Views are cut from images shrunk to this short side."""
    bytes: int
    """Size of all that is kept."""
    lines: tuple[str, ...]
    """What a user should know of it."""
    packing: Packing = "raw"
    """How the decoded images are kept."""
    feature_bytes: int = 0
    """Of the features of a view, where they are kept."""
    view_bytes: int = 0
    """Of one of the student's views."""


@dataclass
class _Disk:
    """The limit of `distill.disk_gb`, the bytes that are planned, and the lines for the user."""

    limit_gb: float
    planned: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def over(self) -> str:
        """Words for a size over the limit."""
        return f"over distill.disk_gb ({self.limit_gb:g})"

    @property
    def left(self) -> str:
        """Words for a size over what is left of the limit."""
        return f"more than what is left of distill.disk_gb ({self.limit_gb:g})"

    def fits(self, size: int) -> bool:
        """Return whether so many more bytes are within the limit."""
        return self.planned + size <= self.limit_gb * 1e9

    def keep(self, size: int, what: str, otherwise: str) -> bool:
        """Plan so many bytes if they fit, and add a line about it."""
        if self.fits(size):
            self.planned += size
            self.lines.append(f"{what}: {amount(size)}")
            return True
        self.lines.append(f"{what} would take {amount(size)}, {self.left}: {otherwise}")
        return False


def plan_disk(spec: Distill, train: ImageSet, teacher: Encoder, student: Encoder) -> DiskPlan:
    """Decide what is kept, in this order: features, token maps, decoded images, views.

    Raises:
        InputError: token maps are on, and teacher and student have no maps that fit.
    """
    if spec.disk_gb is None:
        raise ValueError("distill.disk_gb is not settled yet")
    require_maps(spec, teacher, student)
    disk = _Disk(spec.disk_gb)
    features, grid = _plan_features(spec, len(train), teacher, student, disk)
    views = spec.views_for(len(train))
    feature_bytes = disk.planned // max(1, views * len(train))
    view_bytes = 3 * student.preprocess.size_px**2

    side = SHORT_SIDES * max(teacher.preprocess.size_px, student.preprocess.size_px)
    keep_images, packing = _plan_images(train, side, disk)
    keep_views = False
    if features != "online" and views < spec.epochs_for(len(train)):  # each is shown again
        keep_views = disk.keep(
            view_bytes * views * len(train),
            "the student's views during training",
            "each is cut again every time",
        )
    lines = tuple(disk.lines)
    return DiskPlan(
        features,
        grid,
        keep_images,
        keep_views,
        side,
        disk.planned,
        lines,
        packing,
        feature_bytes,
        view_bytes,
    )


def _plan_images(train: ImageSet, side: int, disk: _Disk) -> tuple[bool, Packing]:
    """Return whether decoded images are kept, and how: raw, or as JPEG where raw does not fit."""
    raw, packed = store_bytes(train, side), store_bytes(train, side, "jpeg")
    if disk.fits(raw) or not disk.fits(packed):
        return disk.keep(raw, "decoded images", "files are decoded again for every view"), "raw"
    disk.planned += packed
    disk.lines.append(
        f"decoded images would take {amount(raw)}, {disk.left}: kept as JPEG of quality {QUALITY}, "
        f"about {amount(packed)}"
    )
    return True, "jpeg"


def _plan_features(
    spec: Distill, images: int, teacher: Encoder, student: Encoder, disk: _Disk
) -> tuple[FeaturesFrom, Grid | None]:
    """Return where features come from, and the grid of the maps that are learnt."""
    if not METHODS[spec.method].needs_teacher:
        return "none", None
    grid = _map_grid(spec, teacher, student, disk)
    if spec.teacher == "online":
        return "online", grid
    views = images * spec.views_for(images)
    pooled = 4 * views * teacher.dim
    maps = 2 * views * teacher.dim * math.prod(grid) if grid else 0
    instead = "the teacher runs at every step instead"
    if not disk.fits(pooled):
        disk.lines.append(
            f"the teacher's features of {views:,} views would take {amount(pooled)}, {disk.over}: "
            f"{instead}"
        )
        return "online", grid
    if not disk.fits(pooled + maps):
        required = spec.token_maps == "on"
        disk.lines.append(
            f"token maps of {views:,} views would take {amount(maps)}, {disk.over}: "
            + (instead if required else "learning from the pooled features alone")
        )
        if required:
            return "online", grid
        grid, maps = None, 0
    size = pooled + maps
    disk.planned += size
    per_view = f"{size / views / 1e3:,.1f} KB a view"
    disk.lines.append(f"teacher features of {views:,} views: {amount(size)} ({per_view})")
    return "cached", grid


def _map_grid(spec: Distill, teacher: Encoder, student: Encoder, disk: _Disk) -> Grid | None:
    """Return the student's grid if the maps are to be learnt; else add a line with the reason."""
    if spec.token_maps == "off" or not METHODS[spec.method].uses_maps:
        return None
    if reason := _no_maps(spec, teacher, student):
        disk.lines.append(f"learning from the pooled features alone: {reason}")
        return None
    return None if student.map_shape is None else student.map_shape[:2]


def require_maps(spec: Distill, teacher: Encoder, student: Encoder) -> None:
    """Refuse `token_maps: on` where teacher and student have none that go together.

    Raises:
        InputError: says which of the two has none.
    """
    if spec.token_maps != "on" or not METHODS[spec.method].uses_maps:
        return
    if reason := _no_maps(spec, teacher, student):
        raise InputError(f"distill.token_maps is on, but {reason}; set it to auto or off")


def _no_maps(spec: Distill, teacher: Encoder, student: Encoder) -> str | None:
    """Return why token maps cannot be used; None if they can."""
    if teacher.map_shape is None:
        return f"the teacher {teacher.name} has no feature map"
    if student.map_shape is None:
        return f"the student {student.name} has no feature map"
    if teacher.map_shape[2] != teacher.dim:
        return (
            f"the teacher's map is {teacher.map_shape[2]} wide and its embedding {teacher.dim}, "
            "and one head serves both"
        )
    own, other = student.map_shape[:2], teacher.map_shape[:2]
    if own != other and not spec.resample:
        return (
            f"the teacher's map is {other[0]} x {other[1]}, the student's {own[0]} x {own[1]}, "
            "and distill.resample is off"
        )
    return None
