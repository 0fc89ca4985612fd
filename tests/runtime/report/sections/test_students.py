"""Why this student: the table, the words and the drawing of candidates that were compared."""

import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from msgspec import UNSET

from runtime.errors import InputError
from runtime.report import html_page
from runtime.report.drawings import students as chart
from runtime.report.sections import students as words
from runtime.results.making import MeasuredStudent, StudentSearch
from runtime.results.scores import Score

SVG = "{http://www.w3.org/2000/svg}"


def student(model, mb, ms, r=None, *, fits=True, pareto=False, weights="a file"):
    found = UNSET if r is None else Score(r, r - 0.02, r + 0.02)
    return MeasuredStudent(
        model, mb, ms, ms, 20, fits, found, weights=weights, pareto=pareto if r else UNSET
    )


def search(*students, **changes):
    return StudentSearch(
        chosen="small", why="it fits", measured=students, images=401, teacher="vit", **changes
    )


THREE = (
    student("big", 20.0, 9.0, 0.90, fits=False, pareto=True),
    student("small", 8.0, 4.0, 0.85, pareto=True),
    student("slow", 9.0, 5.0, 0.80),
    student("bare", 5.0, 2.0, weights="no weights: none on the hub"),
)


def test_the_table_has_the_most_faithful_first_and_those_without_weights_last():
    table = words.candidates_table(search(*reversed(THREE)))
    assert table.headings == ("model", "MB", "p95 ms", "r", "Pareto front", "fits")
    rows = [[str(cell) for cell in row] for row in table.rows]
    assert rows[0] == ["big", "20.00", "9.00", "0.900 (0.880 to 0.920)", "yes", "no"]
    assert [row[0] for row in rows] == ["big", "small", "slow", "bare"]
    assert rows[3][3:] == ["", "", "yes"]


def test_the_words_name_the_images_and_who_was_not_compared():
    lead, how, without = words.sentences(search(*THREE))
    assert lead == "`small`: it fits."
    assert "on 401 training images" in how
    assert without == "`bare` was not compared: no weights: none on the hub."


def test_without_any_weights_the_order_of_the_target_stays():
    found = search(student("b", 2.0, None), student("a", 1.0, None))
    assert words.sentences(found) == ["`small`: it fits. Untrained, the most capable first:"]
    table = words.candidates_table(found)
    assert [str(row[0]) for row in table.rows] == ["b", "a"]
    assert table.headings == ("model", "MB", "p95 ms", "fits")
    with pytest.raises(InputError, match="no candidate has weights"):
        html_page.students_svg(found)


def test_the_drawing_has_a_dot_for_each_that_was_compared_and_the_limit():
    found = chart.pareto(search(*THREE, limits={"latency_p95_ms": 6.0}), label="r")
    places = {spot.name: spot for spot in found.spots}
    assert set(places) == {"big", "small", "slow"}
    assert places["small"].x < found.at_most < places["big"].x
    assert places["big"].y < places["small"].y < places["slow"].y  # up is more faithful
    assert places["big"].radius > places["slow"].radius > places["small"].radius
    kinds = {name: (spot.kind, spot.hollow) for name, spot in places.items()}
    assert kinds == {
        "big": ("student", True), "small": ("deployed", False), "slow": ("teacher", False),
    }  # fmt: skip


def test_names_do_not_cover_each_other():
    rows = [student(f"model-{n}", 5.0, 3.0, 0.8 + n / 1000) for n in range(5)]
    heights = sorted(spot.name_y for spot in chart.pareto(search(*rows), label="r").spots)
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 13


def test_without_latencies_it_is_drawn_by_size():
    found = [student("a", 4.0, None, 0.8), student("b", 9.0, None, 0.9)]
    drawn = chart.pareto(search(*found, limits={"size_mb": 5.0}), label="r")
    a, b = sorted(drawn.spots, key=lambda spot: spot.name)
    assert drawn.unit == "MB"
    assert a.x < drawn.at_most < b.x


def test_a_file_of_its_own_is_svg_that_needs_no_page():
    root = ET.fromstring(html_page.students_svg(search(*THREE, limits={"latency_p95_ms": 6.0})))
    assert root.tag == f"{SVG}svg"
    assert len(root.findall(f".//{SVG}circle")) == 3
    style = root.find(f"{SVG}style").text
    assert "svg circle" in style
    assert not re.search(r"url\(|@import", style)
