"""The receipt as a drawing: a panel a figure, a line a strategy, as SVG by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from compressor.selection.simulation import CHEAT, REFERENCE, Mean, Summary

COLOURS = {
    "cold-paws": "#0f766e",
    "cold-paws-cosine": "#4d8f2f",
    "k-medoids": "#2563c9",
    "k-center": "#c79a00",
    "mini-max": "#c2410c",
    "maxi-min": "#a3456f",
    "typiclust": "#7c3aed",
    REFERENCE: "#5b6470",
    CHEAT: "#5b6470",
}
_WIDTH, _HEIGHT, _GAP = 400, 300, 70
_LEFT, _TOP, _LEGEND = 60, 84, 34

Pick = Callable[[Summary], Mean | None]


@dataclass(frozen=True)
class Panel:
    """One figure against the budget, in the drawing's units."""

    title: str
    pick: Pick
    summaries: Sequence[Summary]
    left: float
    digits: int

    @property
    def budgets(self) -> list[int]:
        """Ascending."""
        return sorted({each.budget for each in self.summaries})

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value drawn."""
        found = [mean for each in self.summaries if (mean := self.pick(each)) is not None]
        low, high = min(each.low for each in found), max(each.high for each in found)
        room = max(high - low, 1e-3) * 0.06
        return low - room, high + room

    def x(self, budget: int) -> float:
        """Budgets on a logarithmic scale: each label tells less than the one before."""
        first, last = self.budgets[0], self.budgets[-1]
        if first == last:
            return self.left + _WIDTH / 2
        share = math.log(budget / first) / math.log(last / first)
        return self.left + 16 + share * (_WIDTH - 32)

    def y(self, value: float) -> float:
        """Upwards."""
        low, high = self.bounds()
        return _TOP + _HEIGHT * (1 - (value - low) / (high - low))


def plot(summaries: Sequence[Summary], name: str) -> str:
    """An SVG of classes found and accuracy where they are known, and of coverage."""
    figures: list[tuple[str, Pick, int]] = [
        ("Accuracy, held-out images", lambda each: each.accuracy, 2),
        ("Classes found", lambda each: each.classes_found, 1),
        ("Share of images within the radius", lambda each: each.within_radius, 2),
    ]
    drawn = [each for each in figures if any(each[1](cell) is not None for cell in summaries)]
    panels = [
        Panel(title, pick, summaries, _LEFT + number * (_WIDTH + _GAP), digits)
        for number, (title, pick, digits) in enumerate(drawn)
    ]
    width = _LEFT + len(panels) * (_WIDTH + _GAP) - _GAP + 24
    strategies = list(dict.fromkeys(each.strategy for each in summaries))
    legend, rows = _legend(strategies, width)
    height = _TOP + _HEIGHT + 70 + rows * 24
    parts = "".join(_panel(each, strategies) for each in panels)
    heading = f"What a choice of labels is worth: {name}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="system-ui, sans-serif" font-size="13">'
        f"<title>{escape(heading)}</title>"
        f'<rect width="100%" height="100%" fill="#ffffff"/>'
        f'<text x="{_LEFT}" y="36" font-size="19" font-weight="600" fill="#22262b">'
        f"{escape(heading)}</text>{parts}{legend}</svg>\n"
    )


def _panel(panel: Panel, strategies: Sequence[str]) -> str:
    right, bottom = panel.left + _WIDTH, _TOP + _HEIGHT
    parts = [f'<text x="{panel.left}" y="{_TOP - 14}" fill="#22262b">{escape(panel.title)}</text>']
    for value in _ticks(*panel.bounds()):
        y = panel.y(value)
        parts.append(f'<path d="M{panel.left} {y:.1f}H{right}" stroke="#e6e4de"/>')
        parts.append(
            f'<text x="{panel.left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#626a73">'
            f"{value:.{panel.digits}f}</text>"
        )
    for budget in panel.budgets:
        parts.append(
            f'<text x="{panel.x(budget):.1f}" y="{bottom + 20}" text-anchor="middle" '
            f'fill="#626a73">{budget}</text>'
        )
    parts.append(
        f'<text x="{(panel.left + right) / 2}" y="{bottom + 40}" text-anchor="middle" '
        'fill="#626a73">labels</text>'
    )
    middle = (len(strategies) - 1) / 2
    parts += [_line(panel, each, 2.5 * (n - middle)) for n, each in enumerate(strategies)]
    return "".join(parts)


def _line(panel: Panel, strategy: str, aside: float) -> str:
    """The means, joined, with the interval as a bar through each; set aside so that none hides."""
    found = [
        (panel.x(each.budget) + aside, mean)
        for each in panel.summaries
        if each.strategy == strategy and (mean := panel.pick(each)) is not None
    ]
    colour = COLOURS.get(strategy, "#22262b")
    joined = " ".join(f"{x:.1f},{panel.y(mean.mean):.1f}" for x, mean in found)
    bars = "".join(f"M{x:.1f} {panel.y(m.low):.1f}V{panel.y(m.high):.1f}" for x, m in found)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{panel.y(m.mean):.1f}" r="3.2"/>' for x, m in found)
    return (
        f'<g stroke="{colour}" fill="{colour}">'
        f'<polyline points="{joined}" fill="none" stroke-width="2" {_dash(strategy)}/>'
        f'<path d="{bars}" stroke-width="1.5" opacity=".55"/>{dots}</g>'
    )


def _dash(strategy: str) -> str:
    """References are not drawn like strategies."""
    return {REFERENCE: 'stroke-dasharray="7 5"', CHEAT: 'stroke-dasharray="2 4"'}.get(strategy, "")


def _legend(strategies: Sequence[str], width: float) -> tuple[str, int]:
    """One entry a strategy, in rows; and how many rows."""
    parts, x, row = [], float(_LEFT), 0
    for strategy in strategies:
        needed = 56 + 7 * len(strategy)
        if x + needed > width and x > _LEFT:
            x, row = float(_LEFT), row + 1
        y = _TOP + _HEIGHT + 66 + row * 24
        parts.append(
            f'<path d="M{x} {y}h24" stroke="{COLOURS.get(strategy, "#22262b")}" '
            f'stroke-width="2.5" {_dash(strategy)}/>'
            f'<text x="{x + 30}" y="{y + 4}" fill="#22262b">{escape(strategy)}</text>'
        )
        x += needed
    return "".join(parts), row + 1


def _ticks(low: float, high: float) -> list[float]:
    """Some five round values between."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(each for each in (1, 2, 5, 10) if each * power >= raw)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]
