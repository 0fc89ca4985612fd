"""No cell that we write is computed by a spreadsheet, and each is read back as it was."""

import csv
import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compressor.data.layout.label_csv import read_csv
from image_folders import audit, write
from runtime.text import guarded, unguarded

FORMULAS = [
    "=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1|x", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "－1+1",
    '=HYPERLINK("http://evil.example","click")', "=", "-", "-a", "+b.png",
]  # fmt: skip


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_formula_is_guarded(cell):
    assert guarded(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-1", "+1", "-0.5", "1e-3", "-1E5", "a=b", "a-b", "'quoted'", ""])
def test_numbers_and_other_texts_stay_as_they_are(cell):
    assert guarded(cell) == cell == unguarded(cell)


@given(st.text())
@example("'=1")
@example("''=1")
@example("'")
def test_what_is_guarded_is_read_back(text):
    assert unguarded(guarded(text)) == text
    assert not re.match(r"[=@\t\r＝＋－＠]", guarded(text))


def test_rejected_files_and_duplicates_compute_nothing(root, tmp_path):
    write(root, "=1+1.png", "@b.png", "-2+3.png", seed=1)
    (root / "+bad.png").touch()
    audit(root).save(tmp_path, ood={})
    for name in ("rejected.csv", "duplicates.csv"):
        rows = list(csv.reader(io.StringIO((tmp_path / name).read_text("utf-8"))))
        assert len(rows) > 1
        assert not [cell for row in rows for cell in row if cell[:1] in "=+-@" and cell]


def test_names_and_classes_that_are_formulas_are_read_back(tmp_path):
    names = sorted({f"{name.strip()}.png" for name in FORMULAS})
    labels = ["=1+1", "-a", "+1", "'=b", "cat"]
    path = tmp_path / "labels.csv"
    rows = [(name, labels[number % len(labels)]) for number, name in enumerate(names)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label"))
        writer.writerows([guarded(cell) for cell in row] for row in rows)
    assert read_csv(path, names) == dict(rows)
