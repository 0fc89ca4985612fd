"""Tables of the report: which columns, which cells."""

import pytest

from runtime.evaluation.metric_table import METRICS
from runtime.report import tables
from runtime.report.cells import Cell, Table, score_cell
from runtime.report.view import requirements_table, view_of
from runtime.results.scores import Score


def texts(table):
    return [[str(cell) for cell in row] for row in table.rows]


def test_requirements(document, read):
    why = "undecided (this score could not be measured on these images)"
    assert texts(requirements_table(view_of(read(document)).requirements)) == [
        ["parity_cosine_min", "at least 0.999", "1", "yes"],
        ["size_mb", "at most 1", "1.51", "**no**"],
        ["ood_auroc", "at least 0.9", "-", why],
    ]


def test_the_ledger_has_the_metrics_that_any_entry_has(document, read):
    table = tables.ledger(read(document).ledger, METRICS, intervals=False)
    assert table.headings == (
        "stage",
        "linear accuracy",
        "similarity correlation",
        "lowest parity cosine",
        "size MB",
        "median ms",
        "p95 ms",
    )
    assert texts(table) == [
        ["teacher", "0.951", "", "", "22.50", "", ""],
        ["student", "0.900", "0.800", "", "1.50", "", ""],
        ["onnx-fp32", "0.900", "0.800", "0.999999", "1.51", "1.23", "2.35"],
    ]


def test_scores_have_their_intervals(document, read):
    markdown = tables.ledger(read(document).ledger, METRICS).markdown
    assert "0.951 (0.930 to 0.970)" in markdown
    assert "0.800 (0.750 to 0.840)" in markdown


def test_without_labels_there_is_no_column_of_answers(document, read):
    for entry in document["ledger"]:
        del entry["accuracy_linear"], entry["accuracy_linear_ci"]
    headings = tables.ledger(read(document).ledger, METRICS).headings
    assert not [name for name in headings if "accuracy" in name or "agreement" in name]
    assert "similarity correlation" in headings


def test_a_broken_file_has_empty_cells_and_still_its_parity(document, read):
    document["ledger"][2] = {
        "stage": "onnx-fp32",
        "broken": "its answers are not all finite",
        "parity_cosine_min": -1.0,
        "size_mb": 1.51,
    }
    last = texts(tables.ledger(read(document).ledger, METRICS))[-1]
    assert last == ["onnx-fp32", "", "", "-1.000000", "1.51"]


@pytest.mark.parametrize(
    ("score", "options", "expected"),
    [
        (Score(0.5, 0.4, 0.6), {}, "0.500 (0.400 to 0.600)"),
        (Score(0.5, 0.4, 0.6), {"interval": False}, "0.500"),
        (Score(7.0, 7.0, 7.0), {"digits": 2}, "7.00"),
        (Score(0.05, -0.01, 0.1), {"signed": True}, "+0.050 (-0.010 to +0.100)"),
        (Score(-0.0001, -0.1, 0.1), {"signed": True}, "0.000 (-0.100 to +0.100)"),
        (None, {}, ""),
    ],
)
def test_a_score_as_a_cell(score, options, expected):
    assert str(score_cell(score, **options)) == expected


def test_every_line_of_a_table_is_equally_wide_and_no_name_ends_a_cell():
    lines = Table.of(["a", "long heading"], [["a|b", "1"], ["x", Cell("")]]).markdown.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].startswith("| a\\|b |")


def test_a_turned_table_has_its_columns_as_rows():
    turned = Table.of(["stage", "score"], [["teacher", "1"], ["student", "2"]]).turned()
    assert turned == Table.of(["stage", "teacher", "student"], [["score", "1", "2"]])
