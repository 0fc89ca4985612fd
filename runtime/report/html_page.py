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

from runtime.errors import ImageError, InputError
from runtime.evaluation import metric_table
from runtime.evaluation.metric_table import Metric
from runtime.images.decode import MOST_MEGAPIXELS, decode
from runtime.images.image_file import ImageFile, ImageRoot
from runtime.report import first_look, sentences, tables
from runtime.report.drawings import charts
from runtime.report.drawings import students as students_drawing
from runtime.report.drawings.charts import CurveChart, DotChart, SeverityChart
from runtime.report.drawings.scatter import NARROW, WIDE, ScatterChart
from runtime.report.sections import looks as looks_section
from runtime.report.sections import rounds, worth
from runtime.report.sections.looks import LooksView
from runtime.report.view import View, view_of
from runtime.results.findings import Answer, Disagreement, RobustnessEntry
from runtime.results.ledger import LedgerEntry
from runtime.results.making import StudentSearch
from runtime.results.report import Report
from runtime.text import without_markup

_TEMPLATES = Path(__file__).parent / "templates"
_THUMBNAIL_PX = 224
_QUALITY = 78


@dataclass(frozen=True)
class Drawing:
    """A chart with its title and caption."""

    title: str
    caption: str
    chart: DotChart | SeverityChart | CurveChart | ScatterChart
    narrow: ScatterChart | None = None
    """The same for a phone, where it needs one."""


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


def render(report: Report, images: ImageRoot | None) -> str:
    """Return the whole page.

    Args:
        report: what `check` found.
        images: where the golden set's images lie; None leaves their pictures out.
    """
    view = view_of(report)
    looks = looks_section.view(
        report.looks, lambda name: thumbnail(images / name) if images is not None else ""
    )
    return (
        environment()
        .get_template("report.html")
        .render(
            view=view,
            report=report,
            titles=_titles(view, looks),
            first=_first(view),
            drawings=_drawings(report, report.ledger, metric_table.METRICS, "at each step"),
            before=_before_training(view),
            loss_note=sentences.losses(report),
            worth_rule=worth.RULE,
            rounds_note=rounds.HOW_TO_READ,
            most=[_card(shown, images) for shown in view.disagreements.most],
            unsure=[_card(shown, images) for shown in view.disagreements.unsure],
            corrupted=_corrupted(view),
            curve=_curve(report),
            looks=looks,
            students=None if report.student_search is UNSET else _students(report.student_search),
        )
    )


def _titles(view: View, looks: LooksView) -> dict[str, str]:
    """The parts that this page has, by the name that a link gives them."""
    report = view.report
    parts: Sequence[tuple[str, str, object]] = (
        ("warnings", "Warnings", view.warnings),
        ("requirements", "Requirements", True),
        ("differs", "Where the file differs most from the teacher", view.disagreements),
        ("label", "What to label next", view.label_next),
        ("kept", "What was kept at each step", True),
        ("worth", "Was it worth it?", view.worth),
        ("gap", "Was the gap still closing?", view.learning_curve),
        ("why", "Why this student", view.student_search),
        ("rounds", "Rounds of labels", view.rounds),
        ("classes", "Classes", view.classes or looks.matrices),
        ("maps", "How teacher and file see the images", looks.maps),
        ("outliers", "Images of another task", looks.outliers),
        ("corrupted", "Corrupted images", report.robustness is not UNSET),
        ("speed", "Speed", view.speed),
        ("precision", "Precision of each file", view.precision),
        ("scores", "All scores", True),
        ("made", "Data, networks and machine", True),
    )
    return {name: title for name, title, there in parts if there}


@cache
def environment() -> Environment:
    """Return what fills the templates: escapes every value, refuses a name that is not given."""
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["plain"] = without_markup  # sentences are Markdown
    made.filters["words"] = _words
    return made


def _words(sentence: str) -> list[tuple[bool, str]]:
    """A Markdown sentence of ours in parts, and whether each is bold."""
    parts = sentence.split("**")
    return [(at % 2 == 1, without_markup(part)) for at, part in enumerate(parts)]


# --- drawings --------------------------------------------------------------------------------


def _drawings(
    report: Report, entries: Sequence[LedgerEntry], metrics: Sequence[Metric], where: str
) -> list[Drawing]:
    """A chart of each metric that has one, where any entry has the metric."""
    found = list[Drawing]()
    for metric in metrics:
        if metric.chart is None or not any(metric.of(entry) for entry in entries):
            continue
        caption = metric.chart.caption
        of_outliers = "out-of-distribution images" in metric.needs
        if of_outliers and report.golden.ood_source == "corruptions":
            caption = f"strongly corrupted held-out images stand in for others; {caption}"
        label = f"{metric.chart.title} {where}, with 95 % intervals"
        chart = charts.dots(entries, metric, label=label)
        found.append(Drawing(metric.chart.title, caption, chart))
    return found


def _first(view: View) -> Drawing | None:
    wide, narrow = (first_look.chart(view.report, view.worth, width) for width in (WIDE, NARROW))
    if wide is None:
        return None
    title, caption = first_look.caption(view.report, wide)
    return Drawing(title, caption, wide, narrow)


def _before_training(view: View) -> list[Drawing]:
    found = view.worth
    if found is None:
        return []
    return _drawings(view.report, found.entries, found.metrics, "before and after training")


def _curve(report: Report) -> Drawing | None:
    found = report.learning_curve
    if found is UNSET:
        return None
    title = f"{tables.validation_score(found.score)} after each epoch"
    chart = charts.curve(found, label=title)
    caption = f"Dot: epoch {found.kept_epoch}, which was kept. Shaded: the epochs that are judged."
    caption += f" {sentences.CURVE_END}"
    return Drawing(title, caption, chart)


def _students(search: StudentSearch) -> Drawing | None:
    if not search.compared:
        return None
    title = "r of the closed form against the teacher, by latency and size"
    caption = (
        "Area of a dot: MB. Line through it: 95 % interval over images. Hollow: does not fit. "
        "Broken line: the limit."
    )
    wide, narrow = (students_drawing.pareto(search, label=title, width=w) for w in (WIDE, NARROW))
    return Drawing(title, caption, wide, narrow)


def students_svg(search: StudentSearch) -> str:
    """Return the drawing of compared candidates as an SVG file of its own.

    Raises:
        InputError: no candidate was compared.
    """
    drawing = _students(search)
    if drawing is None:
        raise InputError("no candidate has weights, so there is no faithfulness to draw")
    template = environment().get_template("charts.html")
    css = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    drawn: str = template.module.scatter(drawing.chart, style=css, kind="alone")  # type: ignore[attr-defined]
    return drawn.strip() + "\n"


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


def _card(found: Disagreement, images: ImageRoot | None) -> Card:
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
        picture=thumbnail(images / found.image) if images is not None else "",
        label="" if found.label is UNSET or found.label is None else found.label,
        distance=found.distance,
        answers=answers,
    )


def thumbnail(path: ImageFile) -> str:
    """Return a small JPEG in a `data:` address; empty where the image cannot be read any more."""
    try:
        image = decode(path, max_megapixels=MOST_MEGAPIXELS)
    except ImageError:
        return ""
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
