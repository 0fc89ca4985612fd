"""report.html: the report to look at. One file, nothing loaded, nothing sent, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import UNSET
from PIL import Image

from runtime.errors import ImageError
from runtime.evaluation import metric_table
from runtime.images.decode import decode
from runtime.report import charts, sentences
from runtime.report.charts import DotChart, SeverityChart
from runtime.report.view import View, view_of
from runtime.results.findings import Answer, Disagreement, RobustnessEntry
from runtime.results.report import Report

_TEMPLATES = Path(__file__).parent / "templates"
_THUMBNAIL_PX = 224
_QUALITY = 78


@dataclass(frozen=True)
class Drawing:
    """A chart with its title and caption."""

    title: str
    caption: str
    chart: DotChart | SeverityChart


@dataclass(frozen=True)
class Card:
    """An image on which file and teacher differ."""

    name: str
    short_name: str
    picture: str
    """As a `data:` address; empty where it cannot be read any more."""
    label: str
    distance: float
    answers: Sequence[tuple[str, str, Answer]]
    """Style, name and answer of teacher and file; none without labels."""


def render(report: Report, images: Path | None) -> str:
    """Return the whole page.

    Args:
        report: what `check` found.
        images: where the golden set's images lie; None leaves their pictures out.
    """
    view = view_of(report)
    return (
        _environment()
        .get_template("report.html")
        .render(
            view=view,
            report=report,
            drawings=_drawings(report),
            loss_note=sentences.LOSSES,
            most=[_card(shown, images) for shown in view.disagreements.most],
            unsure=[_card(shown, images) for shown in view.disagreements.unsure],
            corrupted=_corrupted(view),
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


# --- drawings --------------------------------------------------------------------------------


def _drawings(report: Report) -> list[Drawing]:
    """A chart of each metric that has one, where any entry has the metric."""
    found = list[Drawing]()
    for metric in metric_table.METRICS:
        if metric.chart is None or not any(metric.of(entry) for entry in report.ledger):
            continue
        caption = metric.chart.caption
        of_outliers = "out-of-distribution images" in metric.needs
        if of_outliers and report.golden.ood_source == "corruptions":
            caption = f"strongly corrupted held-out images stand in for others; {caption}"
        label = f"{metric.chart.title} at each step, with 95 % intervals"
        chart = charts.dots(report.ledger, metric, label=label)
        found.append(Drawing(metric.chart.title, caption, chart))
    return found


@dataclass(frozen=True)
class Corrupted:
    """The drawings of the corruptions: one score under each family."""

    lead: str
    stages: Sequence[str]
    drawings: Sequence[Drawing]


def _corrupted(view: View) -> Corrupted | None:
    found = view.report.robustness
    if found is UNSET:
        return None
    key = _best_known(found.lines)
    drawings = [
        Drawing(
            family,
            "",
            charts.severities(
                found.lines, number, key, label=f"{key} under {family} at severities 1 to 5"
            ),
        )
        for number, family in enumerate(found.families)
    ]
    lead = f"{found.images} held-out images, {found.name}: {key} at severities 1 to 5."
    return Corrupted(lead, [entry.stage for entry in found.lines], drawings)


def _best_known(entries: Sequence[RobustnessEntry]) -> str:
    """Accuracy where any entry has it, else agreement, else stability."""
    keys = ("accuracy", "agreement", "stability")
    return next(key for key in keys if any(key in entry.scores for entry in entries))


# --- images ----------------------------------------------------------------------------------


def _card(found: Disagreement, images: Path | None) -> Card:
    answers = [
        (style, name, answer)
        for style, name, answer in (
            ("teacher", "teacher", found.teacher),
            ("deployed", "file", found.deployed),
        )
        if answer is not UNSET
    ]
    return Card(
        name=found.image,
        short_name=PurePosixPath(found.image).name,
        picture=_thumbnail(images / found.image) if images is not None else "",
        label="" if found.label is UNSET or found.label is None else found.label,
        distance=found.distance,
        answers=answers,
    )


def _thumbnail(path: Path) -> str:
    """Return a small JPEG in a `data:` address; empty where the image cannot be read any more."""
    try:
        image = decode(path)
    except ImageError:
        return ""
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
