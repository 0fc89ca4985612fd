"""The table of rounds: whole, and with the report of each round, whenever a run is stopped."""

from types import SimpleNamespace

import pytest

from compressor.pipeline.rounds import table
from runtime.results.report import FILE
from runtime.results.rounds import Round


def test_a_round_is_in_the_table_once_its_report_is_kept(tmp_path):
    (tmp_path / FILE).write_text("{}")
    counts = {"images": 9, "returned": 0, "labels": 9, "held_out_labels": 3}
    this = Round(round=1, made="", data="d", student="s", held_out="h", **counts)
    report = SimpleNamespace(rounds=(this,))
    in_the_way = tmp_path / "rounds/1" / FILE
    in_the_way.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        table.save(tmp_path, report)
    assert table.read(tmp_path) == ()
    in_the_way.rmdir()
    table.save(tmp_path, report)
    assert table.read(tmp_path) == (this,)
    assert [path.name for path in (tmp_path / "rounds/1").iterdir()] == [FILE]
