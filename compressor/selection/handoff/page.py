"""to_label.html: one page that shows what to label and why, and takes the labels down.

It stands alone: pictures, style and script are inside, and its content security policy lets
nothing in or out. Every name of a file is escaped; the script reads them from JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from compressor.selection.coverage import Coverage
from compressor.selection.handoff.drawing import MOST_POINTS, curve_svg, map_svg
from compressor.selection.handoff.sheet import Row, Sheet
from compressor.selection.handoff.thumbnails import MOST_IMAGES, data_uri, side_for
from compressor.selection.label_plan import LabelPlan
from runtime.files import write_text
from runtime.progress import Track, silent

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cover:
    """What the images cover; rows are those of the pool."""

    plan: LabelPlan
    """What is open counts as chosen, what has a label as settled."""
    coverage: Coverage
    reach: tuple[float, ...]
    """Share of images within the radius when labelling stops after the first, second, ... open."""


@dataclass(frozen=True)
class Origin:
    """Where the page belongs."""

    name: str
    """Of the recipe."""
    root: Path
    """The images folder."""
    path: Path
    """Of the page."""

    @property
    def key(self) -> str:
        """Under which a browser keeps the labels typed: the images, not the page's place."""
        digest = hashlib.sha256(f"{self.name}\n{self.root}".encode()).hexdigest()
        return f"edge-compressor {digest[:16]}"

    def href(self, image: str) -> str:
        """From the page to an image's own file."""
        return quote(Path(os.path.relpath(self.root / image, self.path.parent)).as_posix())


def write(sheet: Sheet, cover: Cover, origin: Origin, *, track: Track = silent) -> None:
    """Write the page of all that is still to label.

    Raises:
        InputError: an image was moved or changed since the audit.
    """
    shown = sheet.open[:MOST_IMAGES]
    side = side_for(len(shown))
    cards = [
        _card(row, origin, data_uri(origin.root / row.image, side))
        for row in track(shown, label="thumbnails", total=len(shown))
    ]
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    count = len(sheet.open)
    values = {
        "title": escape(f"{count} images to label: {origin.name}"),
        "script_hash": _hash(script),
        "style": (_HERE / "page.css").read_text(encoding="utf-8"),
        "name": escape(origin.name),
        "heading": f"{count:,} image{'' if count == 1 else 's'} to label next",
        "lead": _lead(sheet, cover.plan),
        "map": _map(sheet, cover.plan),
        "facts": _facts(sheet, cover),
        "cards": "\n".join(cards),
        "rest": _rest(count - len(shown)),
        "foot": f"Images: {escape(str(origin.root))}. Everything on this page stays on this "
        "machine: it loads nothing and sends nothing.",
        "data": _json(_data(sheet, shown, origin)),
        "script": script,
    }
    write_text(origin.path, _filled((_HERE / "page.html").read_text(encoding="utf-8"), values))


def _filled(template: str, values: Mapping[str, str]) -> str:
    """In one pass, so that what is filled in is never taken for a place to fill."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], template)


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(document: object) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(document, ensure_ascii=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(sheet: Sheet, shown: tuple[Row, ...], origin: Origin) -> dict[str, object]:
    listed = {row.image for row in shown}
    kept = [row for row in sheet.rows if row.label and row.image not in listed]
    known = [*((row.image, row.label) for row in kept), *sheet.others.items()]
    typed = [(row.image, row.label) for row in shown if row.label]
    return {
        "key": origin.key,
        "images": [row.image for row in shown],
        "classes": sorted({label for _, label in (*known, *typed)}),
        "known": known,
        "typed": typed,
    }


def _card(row: Row, origin: Origin, thumbnail: str) -> str:
    name = escape(row.image)
    like = (
        f'<span title="{escape(row.nearest_chosen)}">nearest so far: {row.similarity:.2f}</span>'
        if row.nearest_chosen
        else ""
    )
    return (
        f'<li class="card" id="image-{row.rank}" data-rank="{row.rank}"><div class="photo">'
        f'<img src="{thumbnail}" alt="Image {row.rank}: {name}"><b>{row.rank}</b></div>'
        f'<div class="about"><a href="{escape(origin.href(row.image))}" target="_blank" '
        f'rel="noreferrer" title="Open {name}">{name}</a>'
        f"<span>stands for {row.stands_for:,}</span>{like}"
        f'<input type="text" list="known" autocomplete="off" placeholder="class" '
        f'aria-label="Class of image {row.rank}, {name}" disabled></div></li>'
    )


def _lead(sheet: Sheet, plan: LabelPlan) -> str:
    known = len(plan.settled)
    so_far = f" {known:,} have a label already." if known else ""
    return (
        f"Chosen by {escape(plan.strategy)} from {len(plan.centre):,} images, best first: wherever "
        f"you stop, what you have labelled is the best start.{so_far} Label here, or fill the "
        "column <code>label</code> of <code>to_label.csv</code>."
    )


def _map(sheet: Sheet, plan: LabelPlan) -> str:
    if plan.map is None:
        return "<figcaption>Too few images for a map.</figcaption>"
    marks = [(int(row), each.rank) for row, each in zip(plan.chosen, sheet.open, strict=True)]
    total, known = len(plan.map), len(plan.settled)
    drawn = f"a sample of {MOST_POINTS:,} of {total:,}" if total > MOST_POINTS else f"all {total:,}"
    label = f"Map of {drawn} images with the {len(marks)} to label"
    caption = (
        '<span><i class="key open"></i>to label</span> &nbsp; '
        + ('<span><i class="key done"></i>labelled</span> &nbsp; ' if known else "")
        + f'<span><i class="key all"></i>{drawn} images</span><br>'
        "t-SNE of the teacher's embeddings: images that look alike to it lie together. "
        "A mark leads to its image."
    )
    svg = map_svg(plan.map, marks, plan.settled, label)
    return f"{svg}<figcaption>{caption}</figcaption>"


def _facts(sheet: Sheet, cover: Cover) -> str:
    covered, plan = cover.coverage, cover.plan
    centres, total = len(plan.settled) + len(plan.chosen), len(plan.centre)
    what = f"these {centres:,}" if not len(plan.settled) else f"the {centres:,} listed or labelled"
    first, last = sheet.open[0].rank, sheet.open[-1].rank
    near = f"cosine {1 - covered.radius:.2f} or more"
    curve = curve_svg(
        cover.reach,
        (first, last),
        f"Share of images covered, from {cover.reach[0]:.0%} after image {first} "
        f"to {cover.reach[-1]:.0%} after image {last}",
    )
    return f"""\
<div><h2>Coverage</h2>
<div class="figure">{covered.within_radius:.0%} <small>of {total:,} images</small></div>
<p>lie close to one of {what} ({near}). As many drawn at random come to 50 %, by the definition of
close.</p></div>
<div><h2>Where you stop</h2>{curve}
<p>Share of the images that lie close to one you have labelled, after each image.</p></div>
<div><h2>Redundancy</h2>
<div class="figure">{covered.redundancy:.0%} <small>of those to label</small></div>
<p>lie that close to another one of them. The image farthest from all has cosine
{1 - covered.largest_distance:.2f}.</p></div>"""


def _rest(count: int) -> str:
    if count <= 0:
        return ""
    return f'<p class="rest">{count:,} more are in to_label.csv, in the same order.</p>'
