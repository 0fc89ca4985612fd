"""to_label.csv: written again, it loses no label that somebody has typed into it."""

from compressor.selection.handoff import files
from compressor.selection.handoff.label_sheet import LabelSheet, Row


def sheet(**labels):
    """A sheet of `a.png` and of whatever else has a label."""
    first = Row(1, "a.png", labels.pop("a", ""), True, 1, "", 0.0)
    return LabelSheet((first,), {f"{name}.png": label for name, label in labels.items()})


def test_a_label_that_the_new_file_lacks_stays_in_the_old_one(tmp_path):
    path = tmp_path / files.CSV
    assert files.write_csv(sheet(b="cat"), path) is None
    assert files.write_csv(sheet(b="cat"), path) is None
    typed = path.read_text(encoding="utf-8-sig").replace("a.png,,", "a.png,dog,")
    path.write_text(typed)
    assert files.write_csv(sheet(a="dog", b="cat", c="cat"), path) is None  # all are there
    path.write_text(typed)
    kept = files.write_csv(sheet(a="cat", b="cat"), path)
    assert kept == tmp_path / "to_label.old-1.csv"
    assert kept.read_text() == typed
    assert "a.png,cat," in path.read_text(encoding="utf-8-sig")
    path.write_text(typed)
    assert files.write_csv(sheet(a="dog"), path) == tmp_path / "to_label.old-2.csv"  # b is gone
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "to_label.csv", "to_label.old-1.csv", "to_label.old-2.csv",
    ]  # fmt: skip
