"""report.html: the report to look at. One file, nothing loaded, nothing sent, no script."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from runtime.errors import ImageError
from runtime.evaluation import metric_table
from runtime.images.decode import decode
from runtime.report import charts, sections, speed_page
from runtime.report.tables import THEMES, ledger_cells
from runtime.results.report import Report
from runtime.results.scores import to_json

_HERE = Path(__file__).parent
_THUMBNAIL_PX = 224
_QUALITY = 78


def render(found: Report, images: Path | None) -> str:
    """The whole page.

    Args:
        found: what `check` found.
        images: where the golden set's images lie; None leaves their pictures out.
    """
    report = to_json(found)
    name = escape(report["recipe"]["name"])
    passed = report["verdict"]["passed"]
    recommended = report["recommended"]
    parts = [
        _requirements(report),
        _steps(report),
        _departures(report, images),
        _classes(report),
        _robustness(report),
        _speed(report),
        _everything(report),
    ]
    values = {
        "title": f"{name}: {'passed' if passed else 'failed'}",
        "style": (_HERE / "page.css").read_text(encoding="utf-8"),
        "name": name,
        "verdict": "passed" if passed else "failed",
        "heading": "Passed" if passed else "Failed",
        "lead": f"Recommended: <code>{escape(recommended['file'])}</code>, "
        f"{escape(recommended['why'])}. Target <code>{escape(report['target']['name'])}</code>"
        + (
            "."
            if report["target"]["this_machine"]
            else "; this machine is not it, so latency is of here."
        ),
        "body": "\n".join(part for part in parts if part),
    }
    template = (_HERE / "page.html").read_text(encoding="utf-8")
    # In one pass, so that what is filled in is never taken for a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], template)


# --- requirements and steps ------------------------------------------------------------------


def _requirements(report: Mapping[str, Any]) -> str:
    marks = {True: ("met", "met"), False: ("missed", "missed"), None: ("undecided", "undecided")}
    items = []
    for each in report["verdict"]["requirements"]:
        kind, word = marks[each["passed"]]
        got = "not measured" if each["got"] is None else f"{each['got']:.4g}"
        if interval := each.get("interval"):
            got += f" <small>({interval[0]:.3f} to {interval[1]:.3f})</small>"
        why = f'<p class="why">{escape(each["why"])}</p>' if each["why"] else ""
        items.append(
            f'<li class="{kind}"><span class="pill">{word}</span>'
            f"<b>{escape(each['requirement'])}</b><span>{got}</span>"
            f"<small>{each['rule']} {each['wanted']:g}</small>{why}</li>"
        )
    body = f'<ul class="requirements">{"".join(items)}</ul>'
    if seen := report.get("golden", {}).get("set_apart_as_seen_in_training"):
        body += f'<p class="note">{escape(sections.seen_note(seen))}</p>'
    return _section("Requirements", body)


def _steps(report: Mapping[str, Any]) -> str:
    ledger = report["ledger"]
    cards = []
    for metric in metric_table.METRICS:
        key, drawn_as = metric.key, metric.chart
        if drawn_as is None or not any(key in entry for entry in ledger):
            continue
        title, what = drawn_as.title, drawn_as.caption
        told = what
        if key == "ood_auroc" and report.get("golden", {}).get("ood_source") == "corruptions":
            told = "held-out images corrupted badly stand for them; AUROC, .5 is chance"
        drawn = charts.dots(ledger, key, label=f"{title} at each step, with 95 % intervals")
        cards.append(
            f'<figure class="card"><figcaption><b>{title}</b> {told}</figcaption>{drawn}</figure>'
        )
    headings, rows = sections.losses(report, "loss_against_before")
    loss = ""
    if rows:
        loss = f"<h3>Lost at each step, against the line before</h3>{_table(headings, rows)}"
        loss += f'<p class="note">{sections.LOSS_NOTE}</p>'
    lead = "From the teacher to the deployed file. Bars are 95 % intervals over held-out images."
    return _section(
        "What was kept at each step", f'<div class="charts">{"".join(cards)}</div>{loss}', lead
    )


# --- images ----------------------------------------------------------------------------------


def _departures(report: Mapping[str, Any], images: Path | None) -> str:
    found = report.get("departures") or {}
    if not found.get("most") and not found.get("teacher_unsure"):
        return ""
    cards = "".join(_card(each, images) for each in found["most"])
    body = f'<ol class="images">{cards}</ol>'
    if unsure := found.get("teacher_unsure"):
        note = escape(sections.unsure_note(unsure))
        body += f'<h3>Where the teacher itself is unsure</h3><p class="note">{note}</p>'
        if unsure["most"]:
            cards = "".join(_card(each, images) for each in unsure["most"])
            body += (
                f"<details><summary>The {len(unsure['most'])} of them on which the file departs "
                f'most</summary><ol class="images">{cards}</ol></details>'
            )
    lead = f"Farthest first. Distance: {escape(found['measure'])}."
    return _section("Where the file departs most from the teacher", body, lead)


def _card(each: Mapping[str, Any], images: Path | None) -> str:
    name = escape(each["image"])
    picture = _thumbnail(images / each["image"]) if images is not None else None
    shown = f'<img src="{picture}" alt="{name}">' if picture else "<span>no picture</span>"
    short = escape(PurePosixPath(each["image"]).name)
    told = f'<p class="file" title="{name}">{short}</p>'
    if "teacher" in each:
        label = f"<p>labelled <b>{escape(each['label'])}</b></p>" if each["label"] else ""
        told += label + _bar(each["teacher"], "teacher") + _bar(each["deployed"], "deployed")
    return (
        f'<li class="card"><div class="photo">{shown}<b>{each["distance"]:.2f}</b></div>'
        f'<div class="about">{told}</div></li>'
    )


def _bar(said: Mapping[str, Any], who: str) -> str:
    share = said["confidence"]
    word = "teacher" if who == "teacher" else "file"
    return (
        f'<div class="said {who}"><span>{word}: <b>{escape(said["answer"])}</b></span>'
        f'<span>{share:.0%}</span><i style="width:{share:.0%}"></i></div>'
    )


def _thumbnail(path: Path) -> str | None:
    """An image as a small JPEG in a `data:` address; None where it cannot be read any more."""
    try:
        image = decode(path)
    except ImageError:
        return None
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


# --- classes, corruptions, all figures -------------------------------------------------------


def _classes(report: Mapping[str, Any]) -> str:
    if not report.get("per_class"):
        return ""
    return _section("Classes", _table(*sections.classes(report)), "The largest loss first.")


def _robustness(report: Mapping[str, Any]) -> str:
    robust = report.get("robustness")
    if not robust:
        return ""
    lines = robust["lines"]
    key = "accuracy" if any("accuracy" in line for line in lines) else "stability"
    if key == "stability" and any("agreement" in line for line in lines):
        key = "agreement"
    figures = "".join(
        f"<figure><figcaption><b>{escape(family)}</b></figcaption>"
        + charts.severities(lines, at, key, label=f"{key} under {family} at severities 1 to 5")
        + "</figure>"
        for at, family in enumerate(robust["families"])
    )
    legend = "".join(
        f'<span class="{line["stage"]}"><i class="key"></i>{line["stage"]}</span>' for line in lines
    )
    lead = (
        f"{robust['images']} held-out images, {escape(robust['name'])}: {key} at severities 1 to 5."
    )
    body = (
        f'<p class="legend">{legend}</p><div class="families">{figures}</div>'
        f"{_table(*sections.robustness(robust))}"
    )
    return _section("Corrupted images", body, lead)


def _speed(report: Mapping[str, Any]) -> str:
    told = [line for line in speed_page.lines(report) if not line.startswith("|")]
    if not told:
        return ""
    bold = [re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(line)) for line in told]
    return _section("Speed", "".join(f'<p class="lead">{line}</p>' for line in bold))


def _everything(report: Mapping[str, Any]) -> str:
    parts = []
    for theme, figures in THEMES.items():
        timed = theme == "The file"
        headings, rows = ledger_cells(report, intervals=True, figures=figures, timed=timed)
        if told := [row for row in rows if any(row[1:])]:
            parts.append(f"<h3>{theme}</h3>{_table(headings, told)}")
    headings, rows = sections.losses(report, "loss_against_teacher")
    if rows:
        parts.append(f"<h3>Lost against the teacher</h3>{_table(headings, rows)}")
    body = f"<details><summary>The ledger in numbers</summary>{''.join(parts)}</details>"
    return _section("All figures", body, "report.json has them all.")


def _section(title: str, body: str, lead: str = "") -> str:
    told = f'<p class="lead">{lead}</p>' if lead else ""
    return f"<section><h2>{title}</h2>{told}{body}</section>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    lines = "".join(
        "<tr>" + "".join(f"<td>{_interval(each)}</td>" for each in row) + "</tr>" for row in rows
    )
    inner = f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody>"
    return f'<div class="scroll"><table>{inner}</table></div>'


def _interval(text: str) -> str:
    """A cell whose interval stands smaller under its value."""
    value, bracket, rest = escape(text).partition(" (")
    return f"{value}<small>({rest}</small>" if bracket and " to " in rest else escape(text)
