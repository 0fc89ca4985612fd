"""Maps, curves and the receipt's plot: well-formed, true to scale, small."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from compressor.selection.handoff.drawing import MOST_POINTS, curve_svg, map_svg
from compressor.selection.simulation import Mean, Summary
from compressor.selection.simulation_plot import COLOURS, plot
from compressor.selection.strategies import STRATEGIES

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text):
    return ET.fromstring(text)


def test_a_map_keeps_its_shape_and_marks_the_images():
    corners = np.array([[0, 0], [4, 0], [0, 2], [4, 2], [1, 1]], np.float32)
    drawing = parsed(map_svg(corners, [(3, 1), (0, 2)], np.array([4]), "a <map>"))
    assert drawing.get("aria-label") == "a <map>"
    _, _, width, height = map(int, drawing.get("viewBox").split())
    marks = {each.get("href"): each.find("circle") for each in drawing.findall("a")}
    first, second = marks["#image-1"], marks["#image-2"]
    across = int(first.get("cx")) - int(second.get("cx"))
    down = int(first.get("cy")) - int(second.get("cy"))
    assert across == pytest.approx(2 * down, abs=2)
    assert (width, height) == (1000, pytest.approx(2 * 30 + 470, abs=1))
    assert [each.find("text").text for each in drawing.findall("a")] == ["2", "1"]
    assert drawing.find("path").get("d").count("M") == 5


def test_a_map_of_very_many_images_stays_small():
    points = np.random.default_rng(0).standard_normal((200_000, 2)).astype(np.float32)
    text = map_svg(points, [(7, 1)], np.arange(50_000), "")
    assert parsed(text).find("path").get("d").count("M") == MOST_POINTS
    assert len(text) < 500_000


def test_a_map_of_one_place_is_drawn():
    assert (
        parsed(map_svg(np.zeros((20, 2), np.float32), [(0, 1)], np.array([], int), "")) is not None
    )


def test_a_curve_rises_as_its_shares_do():
    drawing = parsed(curve_svg([0.25, 0.5, 1.0], (4, 9), "a <curve>"))
    texts = [each.text for each in drawing.findall("text")]
    assert texts == ["0%", "50%", "100%", "image 4", "9"]
    line = drawing.find("polyline").get("points")
    x, y = zip(*(map(float, point.split(",")) for point in line.split()), strict=True)
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])
    assert (y[0] - y[1]) == pytest.approx((y[1] - y[2]) / 2, abs=0.1)


def test_a_curve_of_one_image_is_drawn():
    assert parsed(curve_svg([0.5], (1, 1), "")).find("polyline") is not None


def summary(strategy, budget, accuracy):
    mean = None if accuracy is None else Mean(accuracy, accuracy - 0.1, accuracy + 0.1)
    known = None if accuracy is None else Mean(budget / 10, budget / 10, budget / 10)
    flat = Mean(0.5, 0.5, 0.5)
    return Summary(strategy, budget, 10, flat, flat, known, mean, None)


def test_the_receipt_has_a_line_for_every_strategy_in_every_panel():
    cells = [
        summary(strategy, budget, 0.4 + n / 50 + budget / 1000)
        for n, strategy in enumerate(STRATEGIES)
        for budget in (10, 20, 100)
    ]
    drawing = parsed(plot(cells, "roses & <tulips>"))
    assert drawing.find(f"{SVG}title").text == "What a choice of labels is worth: roses & <tulips>"
    lines = drawing.findall(f"{SVG}g/{SVG}polyline")
    assert len(lines) == 3 * len(STRATEGIES)
    texts = [each.text for each in drawing.findall(f"{SVG}text")]
    assert set(STRATEGIES) <= set(texts)
    assert {"Accuracy, held-out images", "Classes found"} <= set(texts)
    width, height = float(drawing.get("width")), float(drawing.get("height"))
    for line in lines:
        for point in line.get("points").split():
            x, y = map(float, point.split(","))
            assert 0 < x < width
            assert 0 < y < height


def test_the_receipt_without_labels_shows_coverage_only():
    drawing = parsed(plot([summary("random", 10, None), summary("random", 20, None)], "x"))
    assert len(drawing.findall(f"{SVG}g/{SVG}polyline")) == 1
    assert "Accuracy" not in "".join(each.text for each in drawing.findall(f"{SVG}text"))


def test_the_receipt_of_a_single_budget_is_drawn():
    assert parsed(plot([summary("random", 10, 0.5)], "x")) is not None


def test_every_strategy_has_a_colour():
    assert set(COLOURS) == set(STRATEGIES)
