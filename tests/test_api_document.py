"""docs/api.md is true: its names exist, its table of events is that of the code."""

import re
from pathlib import Path

import compressor
import export
import runtime

TEXT = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")


def test_every_function_named_is_public():
    named = set(re.findall(r"\b(compressor|export|runtime)\.(\w+)\(", TEXT))
    assert {("compressor", "compress"), ("export", "to_onnx"), ("runtime", "check")} <= named
    rooms = {"compressor": compressor, "export": export, "runtime": runtime}
    assert all(name in rooms[room].__all__ for room, name in named)


def test_the_table_of_events_is_complete():
    section = TEXT.partition("## Events")[2].partition("## Errors")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE))
    kinds = {kind.__name__: kind for kind in compressor.Event.__subclasses__()}
    assert rows.keys() == kinds.keys()
    for name, fields in rows.items():
        written = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", fields))
        assert written == list(kinds[name].__struct_fields__), name


def test_every_error_is_public():
    section = TEXT.partition("## Errors")[2]
    for name in re.findall(r"`compressor\.(\w+)`", section):
        assert name in compressor.__all__
