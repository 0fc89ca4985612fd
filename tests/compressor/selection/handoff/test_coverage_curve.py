"""The curve of a label page, read back from its SVG."""

import re
import xml.etree.ElementTree as ET

import pytest

from compressor.selection.handoff.coverage_curve import coverage_curve

SVG = "{http://www.w3.org/2000/svg}"


def points_of(drawing):
    line = drawing.find(f".//{SVG}g[@id='coverage-by-rank']/{SVG}path")
    return [
        tuple(map(float, pair)) for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", line.get("d"))
    ]


def test_a_curve_rises_as_its_shares_do():
    drawing = ET.fromstring(coverage_curve([0.25, 0.5, 1.0], 4, 6))
    texts = [text.text for text in drawing.iter(f"{SVG}text")]
    assert texts == ["image 4", "6", "0%", "50%", "100%"]
    (x0, y0), (x1, y1), (x2, y2) = points_of(drawing)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.01)
    assert y0 - y1 == pytest.approx((y1 - y2) / 2, abs=0.01)


def test_a_curve_of_one_image_shows_a_dot():
    drawing = ET.fromstring(coverage_curve([0.5], 1, 1))
    assert drawing.find(f".//{SVG}g[@id='coverage-by-rank']//{SVG}use") is not None
    assert "image 1" in [text.text for text in drawing.iter(f"{SVG}text")]


def test_the_same_shares_give_the_same_element():
    first = coverage_curve([0.1, 0.2], 1, 2)
    assert first == coverage_curve([0.1, 0.2], 1, 2)
    assert first.startswith("<svg")
