"""to_label.html: one page that shows which images to label and why, and downloads the labels.

The page stands alone: pictures, style and script are inside, and its content security policy lets
nothing in or out. The template escapes every value; the script reads names from JSON.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from compressor.data.sources.source import Roots
from compressor.selection.coverage import Coverage
from compressor.selection.handoff.coverage_curve import coverage_curve
from compressor.selection.handoff.label_map import MOST_POINTS, label_map
from compressor.selection.handoff.label_sheet import LabelSheet, Row
from compressor.selection.handoff.thumbnails import MOST_IMAGES, data_uri, side_for
from compressor.selection.label_plan import LabelPlan
from runtime.files import replacing, write_text
from runtime.images.image_file import content_of
from runtime.progress import Track, silent

_HERE = Path(__file__).parent
COPIES = "to_label_images"
"""Folder beside the page with copies of the images that lie in shards and the like."""


@dataclass(frozen=True)
class SelectionCoverage:
    """What a selection covers; rows are those of the pool."""

    plan: LabelPlan
    """Images that still need a label count as chosen, labelled ones as settled."""
    coverage: Coverage
    by_rank: tuple[float, ...]
    """Share of images covered after the first, second, ... image to label."""


@dataclass(frozen=True)
class Origin:
    """The place of a page and of its images."""

    name: str
    """The name of the recipe."""
    root: Path | Roots
    """Where the images are found by their ids."""
    path: Path
    """The file of the page."""

    @property
    def key(self) -> str:
        """Key of the labels in the browser's storage: it depends on the images, not on the page."""
        digest = hashlib.sha256(f"{self.name}\n{self.root}".encode()).hexdigest()
        return f"edge-compressor {digest[:16]}"

    @property
    def folder(self) -> Path:
        """The folder in which people find the images: their own, or one of copies."""
        own = self.root if isinstance(self.root, Path) else self.root.folder
        return self.path.parent / COPIES if own is None else own

    def href(self, image: str) -> str:
        """Return the link from the page to an image's own file, or to its copy."""
        return quote(Path(os.path.relpath(self.folder / image, self.path.parent)).as_posix())

    def copy(self, images: Iterable[str]) -> None:
        """Copy images that lie in no one folder, so that they can be looked at.

        Raises:
            InputError: one was moved or changed since the audit.
        """
        copies = self.folder == self.path.parent / COPIES
        for image in images:
            file, path = self.root / image, self.folder / image
            if copies and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    temporary.write_bytes(content_of(file))


@dataclass(frozen=True)
class Card:
    """An image on the page."""

    row: Row
    href: str
    thumbnail: str
    """A `data:` address."""


def write(
    sheet: LabelSheet, selected: SelectionCoverage | None, origin: Origin, *, track: Track = silent
) -> None:
    """Write the page of all images that still need a label.

    Args:
        sheet: the images.
        selected: what those to train on cover; None where only held-out ones need a label.
        origin: where the page is, and its images.
        track: shows progress.

    Raises:
        InputError: an image was moved or changed since the audit.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    rows = sheet.to_label[:MOST_IMAGES]
    side = side_for(len(rows))
    cards = [
        Card(row, origin.href(row.image), data_uri(origin.root / row.image, side))
        for row in track(rows, label="thumbnails", total=len(rows))
    ]
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("page.html").render(
        name=origin.name,
        root=origin.root,
        count=len(sheet.to_label),
        held_out=len(sheet.open_held_out),
        overview=None if selected is None else _overview(sheet, selected),
        cards=cards,
        data=_script_data(sheet, rows, origin),
        style=Markup(style),
        script=Markup(script),
        script_hash=_hash(script),
    )
    write_text(origin.path, page + "\n")


def _overview(sheet: LabelSheet, selected: SelectionCoverage) -> dict[str, object]:
    """Return what the page says of the choice: where its images lie, and what they cover."""
    from markupsafe import Markup

    plan = selected.plan
    marks = [(int(row), entry.rank) for row, entry in zip(plan.chosen, sheet.open, strict=True)]
    first, last, total = sheet.open[0].rank, sheet.open[-1].rank, len(plan.centre)
    sample = f"a sample of {MOST_POINTS:,} of {total:,}"
    return {
        "total": total,
        "known": len(plan.settled),
        "plan": plan,
        "coverage": selected.coverage,
        "by_rank": selected.by_rank,
        "first_rank": first,
        "last_rank": last,
        "curve": Markup(coverage_curve(selected.by_rank, first, last)),
        "map": None if plan.map is None else label_map(plan.map, marks, plan.settled),
        "drawn": sample if total > MOST_POINTS else f"all {total:,}",
    }


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _script_data(sheet: LabelSheet, rows: Sequence[Row], origin: Origin) -> dict[str, object]:
    """Return what page.js reads: images, classes, and labels given elsewhere or typed earlier."""
    images = {row.image for row in rows}
    listed = (*sheet.rows, *sheet.held_out)
    kept = [row for row in listed if row.label and row.image not in images]
    known = [*((row.image, row.label) for row in kept), *sheet.others.items()]
    typed = [(row.image, row.label) for row in rows if row.label]
    return {
        "key": origin.key,
        "images": [row.image for row in rows],
        "classes": sorted({label for _, label in (*known, *typed)}),
        "known": known,
        "typed": typed,
    }
