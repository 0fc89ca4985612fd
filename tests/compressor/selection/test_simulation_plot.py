"""The chart of a simulation, read back from its SVG."""

import xml.etree.ElementTree as ET

import matplotlib
import pytest

from compressor.recipe.choices import STRATEGIES
from compressor.selection.simulation import Mean, Summary
from compressor.selection.simulation_plot import plot

SVG = "{http://www.w3.org/2000/svg}"
NAME = "roses & <tulips> $x$ 花"  # markup, mathematics, a glyph that our font lacks


def summary(strategy, budget, accuracy):
    mean = None if accuracy is None else Mean(accuracy, accuracy - 0.1, accuracy + 0.1)
    known = None if accuracy is None else Mean(budget / 10, budget / 10, budget / 10)
    flat = Mean(0.5, 0.5, 0.5)
    return Summary(strategy, budget, 10, flat, flat, known, mean, None)


@pytest.fixture(scope="module")
def summaries():
    return [
        summary(strategy, budget, 0.4 + n / 50 + budget / 1000)
        for n, strategy in enumerate((*STRATEGIES, "invented"))
        for budget in (10, 20, 100)
    ]


def texts_of(drawing):
    return [text.text for text in drawing.iter(f"{SVG}text")]


def lines_of(drawing):
    return [group.get("id") for group in drawing.iter(f"{SVG}g") if ": " in group.get("id", "")]


def test_every_strategy_has_a_line_in_every_panel(summaries):
    drawing = ET.fromstring(plot(summaries, NAME))
    heading = f"What a selection of labels is worth: {NAME}"
    assert drawing.find(f"{SVG}title").text == heading
    texts = texts_of(drawing)
    assert heading in texts
    assert {*STRATEGIES, "invented"} <= set(texts)
    assert {"Accuracy, held-out images", "Classes found", "10", "20", "100"} <= set(texts)
    lines = lines_of(drawing)
    assert len(lines) == len(set(lines)) == 3 * (len(STRATEGIES) + 1)


def test_without_labels_coverage_alone_is_drawn():
    drawing = ET.fromstring(plot([summary("random", 10, None), summary("random", 20, None)], "x"))
    assert len(lines_of(drawing)) == 1
    assert not any("Accuracy" in text for text in texts_of(drawing))


def test_a_single_budget_is_drawn():
    assert len(lines_of(ET.fromstring(plot([summary("random", 10, 0.5)], "x")))) == 3


def test_the_same_numbers_give_the_same_bytes_whatever_the_user_has_set(summaries):
    first = plot(summaries, NAME)
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9}):
        assert plot(summaries, NAME) == first
        assert matplotlib.rcParams["font.size"] == 30


def test_every_strategy_has_a_colour():
    colours = {choice.colour for choice in STRATEGIES.values()}
    assert len(colours) == len(STRATEGIES) - 1  # the two references differ by their dashes
