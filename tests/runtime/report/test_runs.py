"""Reports of a folder in one table."""

import json
import os

import pytest

from runtime.errors import InputError
from runtime.report import runs


@pytest.fixture
def folder(tmp_path, document):
    """Three runs, the second one damaged, with a bundle-check inside one, and other things."""
    for number, name in enumerate(["first", "group/second", "third"]):
        place = tmp_path / "runs" / name
        place.mkdir(parents=True)
        document["recipe"]["name"] = name
        (place / "report.json").write_text(json.dumps(document))
        os.utime(place / "report.json", (1e9 + number, 1e9 + number))
    (tmp_path / "runs" / "group" / "second" / "report.json").write_text("{")
    os.utime(tmp_path / "runs" / "group" / "second" / "report.json", (1e9 + 1, 1e9 + 1))
    (tmp_path / "runs" / "not-finished").mkdir()
    (tmp_path / "runs" / "third" / "report.html").write_text("<p>page")
    return tmp_path / "runs"


def test_the_newest_is_first_and_one_that_cannot_be_read_is_a_line(folder):
    found = runs.find(folder)
    assert [each.name for each in found] == ["third", "group/second", "first"]
    rows = runs.table(found).rows
    assert [cell.text for cell in rows[0]][2:6] == [
        "failed",
        "similarity correlation 0.800",
        "2.35",
        "1.5",
    ]
    assert rows[0][3].interval
    assert rows[1][2].text.startswith("unreadable: ")


def test_json_values_have_the_same(folder):
    first, second, _ = runs.document(runs.find(folder))
    assert (first["recipe"], first["p95_ms"], first["size_mb"]) == ("third", 2.345, 1.51)
    assert "error" in second


def test_a_folder_without_runs_says_so(tmp_path, folder):
    for place, said in (
        (tmp_path / "none", "no such folder"),
        (folder / "not-finished", "no report"),
    ):
        with pytest.raises(InputError, match=said):
            runs.find(place)
