"""The learning curve in every form of the report."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.report import html_page, markdown, tables
from runtime.report.drawings import charts
from runtime.results.making import LearningCurve
from runtime.results.scores import to_json

CURVE = {
    "score": "similarity",
    "epochs": list(range(13)),
    "values": [0.70, 0.62, 0.66, 0.70, 0.72, 0.74, 0.76, 0.77, 0.78, 0.79, 0.80, 0.81, 0.805],
    "kept_epoch": 11,
    "verdict": "rising",
    "last": 8,
    "rise": 0.1,
    "rise_ci": [0.08, 0.12],
    "advice": "distill.patience: 3x would go on",
}


@pytest.fixture
def with_curve(document):
    document["learning_curve"] = CURVE
    return document


def test_it_is_read_and_written_again(with_curve, read):
    report = read(with_curve)
    assert report.learning_curve.rise.high == 0.12
    assert to_json(report)["learning_curve"] == CURVE


def test_markdown_and_terminal_say_whether_the_gap_was_closing(with_curve, read):
    said = (
        "Yes: the validation similarity to the teacher changed by +0.100 (+0.080 to +0.120) over "
        "the last 8 of 12 epochs; distill.patience: 3x would go on."
    )
    _, _, section = markdown.markdown(read(with_curve)).partition("## Was the gap still closing?")
    section, _, _ = section.partition("\n## ")
    assert said in section
    assert re.search(r"\| 0 +\| 0.700", section)
    assert re.search(r"\| 11 \(kept\) +\| 0.810", section)
    assert f"Gap still closing? {said}" in markdown.text(read(with_curve))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": "flat", "reached": 6, "rise": 0.001, "rise_ci": [-0.002, 0.004]},
         "No: the validation similarity to the teacher changed by +0.001 (-0.002 to +0.004) over "
         "the last 8 of 12 epochs, and epoch 6 was as good as these; "),
        ({"verdict": "falling", "rise": -0.1, "rise_ci": [-0.2, -0.02], "score": "knn_accuracy"},
         "No, it was opening again: the validation kNN accuracy changed by -0.100 "),
        ({"verdict": "undecided", "last": 12}, "Undecided: the validation similarity to the "
         "teacher changed by +0.100 (+0.080 to +0.120) over 12 epochs; "),
    ],
)  # fmt: skip
def test_every_verdict_has_its_sentence(with_curve, read, changes, said):
    with_curve["learning_curve"] = {**CURVE, **changes}
    assert said in markdown.text(read(with_curve))


def test_a_training_that_is_too_short_is_undecided(with_curve, read):
    short = {**CURVE, "epochs": [1, 2], "values": [0.1, 0.2], "last": 2, "verdict": "undecided"}
    del short["rise"], short["rise_ci"]
    with_curve["learning_curve"] = short
    assert "Undecided after 2 epochs; distill" in markdown.text(read(with_curve))
    assert "Was the gap still closing?" in html_page.render(read(with_curve), None)


def test_without_a_curve_nothing_is_said(document, read):
    report = read(document)
    for text in (markdown.markdown(report), markdown.text(report), html_page.render(report, None)):
        assert "still closing" not in text


def test_the_page_draws_the_curve(with_curve, read):
    page = html_page.render(read(with_curve), None)
    [drawn] = re.findall(r'<svg class="curve student".*?</svg>', page, re.DOTALL)
    [points] = re.findall(r'<polyline points="([^"]*)"', drawn)
    places = [tuple(map(float, point.split(","))) for point in points.split()]
    assert len(places) == 13
    [dot] = re.findall(r'<circle cx="([^"]*)" cy="([^"]*)"', drawn)
    assert tuple(map(float, dot)) == pytest.approx(places[11], abs=0.1)
    assert min(places, key=lambda place: place[1]) == places[11]  # the highest
    [shaded] = re.findall(r'<rect x="([^"]*)"', drawn)
    assert float(shaded) == pytest.approx(places[5][0], abs=0.1)  # from the fifth on
    assert "Dot: epoch 11, which was kept." in page


@pytest.mark.parametrize("width", [1280, 390])
def test_the_drawing_fits_the_page(with_curve, read, tab, tmp_path, width):
    path = tmp_path / "report.html"
    path.write_text(html_page.render(read(with_curve), None), encoding="utf-8")
    tab.open(path, width)
    assert tab.complaints() == []
    assert tab.run("document.documentElement.scrollWidth") <= width


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=40),
    st.integers(0, 39),
)
def test_any_curve_lies_within_its_axes(values, kept):
    found = LearningCurve(
        score="similarity",
        epochs=tuple(range(1, len(values) + 1)),
        values=tuple(values),
        kept_epoch=kept,
        verdict="undecided",
        last=len(values),
        advice="none",
    )
    chart = charts.curve(found, label="curve")
    places = [tuple(map(float, point.split(","))) for point in chart.line.split()]
    assert all(chart.left <= x <= chart.width and 0 <= y <= chart.floor for x, y in places)
    ticks = [float(tick.label) for tick in chart.ticks]
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= min(values) <= max(values) <= ticks[-1]
    assert [tick.at for tick in chart.ticks] == sorted(
        (tick.at for tick in chart.ticks), reverse=True
    )
    table = tables.learning_curve(found)
    assert len(table.rows) == len({row[0].text for row in table.rows}) <= 11
