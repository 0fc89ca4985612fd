"""The chart of a simulation: one panel per measure, one line per strategy, against the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compressor.recipe.choices import STRATEGIES
from compressor.selection import charts
from compressor.selection.simulation import ORACLE, REFERENCE, Mean, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = {REFERENCE: (0, (5, 3)), ORACLE: (0, (1, 2))}
"""Strategies to compare with are not drawn like the others."""
_APART = 0.012
"""Share of the budget by which lines are moved aside, so that no interval hides another."""

Measure = Callable[[Summary], Mean | None]
_PANELS: tuple[tuple[str, Measure], ...] = (
    ("Accuracy, held-out images", lambda summary: summary.accuracy),
    ("Classes found", lambda summary: summary.classes_found),
    ("Share of images within the radius", lambda summary: summary.within_radius),
)


def plot(summaries: Sequence[Summary], name: str) -> str:
    """Return an SVG of accuracy and classes found, where they are known, and of coverage.

    Args:
        summaries: see `summarise`.
        name: of the recipe.
    """
    from matplotlib.figure import Figure

    known = [
        (title, measure)
        for title, measure in _PANELS
        if any(measure(summary) is not None for summary in summaries)
    ]
    heading = f"What a selection of labels is worth: {name}"
    with charts.style():
        figure = Figure(figsize=(4.6 * len(known), 4.8), layout="constrained")
        panels = figure.subplots(1, len(known), squeeze=False)[0]
        for axes, (title, measure) in zip(panels, known, strict=True):
            axes.set_title(title)
            _draw(axes, summaries, measure)
        figure.suptitle(heading, x=0.01, ha="left", fontsize=14, fontweight="bold")
        handles, labels = panels[0].get_legend_handles_labels()
        columns = (2, 5, 9)[len(known) - 1]
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False)
        return charts.svg(figure, heading)


def _draw(axes: Axes, summaries: Sequence[Summary], measure: Measure) -> None:
    """Draw the mean of each strategy with its 95 % interval, budgets on a logarithmic scale."""
    budgets = sorted({summary.budget for summary in summaries})
    strategies = list(dict.fromkeys(summary.strategy for summary in summaries))
    for number, strategy in enumerate(strategies):
        points = [
            (summary.budget, mean)
            for summary in summaries
            if summary.strategy == strategy and (mean := measure(summary)) is not None
        ]
        aside = 1 + _APART * (number - (len(strategies) - 1) / 2)
        means = [mean.mean for _, mean in points]
        line, _, _ = axes.errorbar(
            [budget * aside for budget, _ in points],
            means,
            yerr=(
                [mean.mean - mean.low for _, mean in points],
                [mean.high - mean.mean for _, mean in points],
            ),
            label=strategy,
            color=STRATEGIES[strategy].colour if strategy in STRATEGIES else charts.INK,
            linestyle=_DASHES.get(strategy, "solid"),
            marker="o",
            markersize=4,
            elinewidth=1,
        )
        line.set_gid(f"{strategy}: {axes.get_title('left')}")
    axes.set_xscale("log")
    axes.set_xticks(budgets, [str(budget) for budget in budgets])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("labels")
    axes.grid(axis="y")
