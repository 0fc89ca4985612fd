"""Drawings of the report as SVG text: dots with intervals, and lines over severities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _ROW, _LEFT = 360, 26, 104
_PLOT = _WIDTH - _LEFT - 52


def dots(entries: Sequence[Mapping[str, Any]], key: str, *, label: str) -> str:
    """A figure of each line of the ledger, 0 to 1, as a dot with its interval.

    Args:
        entries: of the ledger; those without the figure are left out.
        key: of the figure.
        label: for those who cannot see it.
    """
    shown = [entry for entry in entries if key in entry]
    height = _ROW * len(shown) + 20
    parts = [_svg(_WIDTH, height, label)]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = _at(tick)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="2" y2="{height - 18}"/>')
        if tick in (0, 0.5, 1):
            parts.append(f'<text class="tick" x="{x}" y="{height - 4}">{tick:g}</text>')
    for number, entry in enumerate(shown):
        y = _ROW * number + 14
        low, high = (_at(each) for each in entry.get(f"{key}_ci", (entry[key], entry[key])))
        stage, value = entry["stage"], entry[key]
        kind = stage if stage in ("teacher", "student") else "deployed"
        parts.append(
            f'<g class="{kind}"><text class="name" x="{_LEFT - 10}" y="{y + 4}">'
            f'{escape(stage)}</text><line class="range" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
            f'<circle cx="{_at(value)}" cy="{y}" r="4"/>'
            f'<text class="value" x="{_WIDTH}" y="{y + 4}">{value:.3f}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def _at(value: float) -> float:
    return round(_LEFT + _PLOT * min(1.0, max(0.0, value)), 1)


_SIDE, _TALL, _PAD = 190, 120, 26


def severities(lines: Sequence[Mapping[str, Any]], family: int, key: str, *, label: str) -> str:
    """One family of corruptions: a figure of each line from severity 1 to 5, with its interval.

    Args:
        lines: of `robustness` in the report.
        family: its place among the families.
        key: accuracy, agreement or stability.
        label: for those who cannot see it.
    """
    parts = [_svg(_SIDE, _TALL + 20, label)]
    for tick in (0, 0.5, 1):
        y = _down(tick)
        parts.append(f'<line class="grid" x1="{_PAD}" x2="{_SIDE}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="side" x="{_PAD - 5}" y="{y + 4}">{tick:g}</text>')
    for severity in (1, 3, 5):
        x = _across(severity - 1)
        parts.append(f'<text class="tick" x="{x}" y="{_TALL + 16}">{severity}</text>')
    for line in lines:
        found = line["families"][family]
        if key not in found:
            continue
        highs = [_point(n, high) for n, (_, high) in enumerate(found[f"{key}_ci"])]
        lows = [_point(n, low) for n, (low, _) in enumerate(found[f"{key}_ci"])]
        middle = " ".join(_point(n, value) for n, value in enumerate(found[key]))
        parts.append(
            f'<g class="{line["stage"]}"><polygon points="{" ".join([*highs, *lows[::-1]])}"/>'
            f'<polyline points="{middle}"/></g>'
        )
    return "".join([*parts, "</svg>"])


def _across(step: int) -> float:
    return _PAD + 8 + (_SIDE - _PAD - 16) * step / 4


def _down(value: float) -> float:
    return round(6 + (_TALL - 10) * (1 - min(1.0, max(0.0, value))), 1)


def _point(step: int, value: float) -> str:
    return f"{_across(step):g},{_down(value):g}"


def _svg(width: int, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
