"""Every mistake in a document is one line: file, key, what was expected, what is there."""

import json
from dataclasses import dataclass

import pytest
from msgspec import Struct

from runtime import documents
from runtime.documents import Count, Number, Text
from runtime.errors import InputError


@dataclass(frozen=True)
class Range:
    low: int
    high: int

    def __post_init__(self):
        if self.high < self.low:
            raise ValueError(f"high: {self.high} is under low {self.low}")


class Inner(Struct, frozen=True, kw_only=True):
    sizes: tuple[Count, ...]
    names: dict[str, Text] = {}
    share: Number = 0.5


class Outer(Struct, frozen=True, kw_only=True):
    schema_version: int
    inner: Inner
    range: Range | None = None


def read(tmp_path, document):
    path = tmp_path / "some.json"
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text, encoding="utf-8")
    return documents.read(path, Outer, what="thing", newest=3)


def sound(**changes):
    return {"schema_version": 3, "inner": {"sizes": [1, 8], **changes}}


def test_a_sound_document_and_keys_of_a_newer_version(tmp_path):
    found = read(tmp_path, sound(color="red") | {"range": {"low": 1, "high": 2}, "more": 1})
    assert (found.inner.sizes, found.inner.share, found.range) == ((1, 8), 0.5, Range(1, 2))
    assert read(tmp_path, documents.plain(found)) == found


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (sound(sizes=["1"]), "inner.sizes[0]: expected int, got str '1'"),
        (sound(sizes=[4, 0]), "inner.sizes[1]: expected int >= 1, got int 0"),
        (sound(sizes=[True]), "inner.sizes[0]: expected int, got bool True"),
        (sound(sizes=None), "inner.sizes: expected array, got null"),
        (sound(names={"a": ""}), "inner.names[...]: expected str of length >= 1"),
        (sound(share=1e300), "inner.share: expected float < 1000000000.0, got float 1e+300"),
        (sound(share="x" * 90), f"inner.share: expected float, got str '{'x' * 60}'"),
        ({"schema_version": 3}, "inner: missing"),
        ({"schema_version": 3, "inner": {}}, "inner.sizes: missing"),
        (sound() | {"range": {"low": 3, "high": 1}}, "range.high: 1 is under low 3"),
        ({"schema_version": 4}, "version 4 of the thing; this edge-compressor reads up to 3."),
        ({"schema_version": "3"}, "does not describe a thing (it has no `schema_version`)"),
        ([], "does not describe a thing (it has no `schema_version`)"),
        ('{"a": NaN}', "not a JSON file (NaN is not a JSON number)"),
        ("[" * 100_000, "not a JSON file"),
        ("", "not a JSON file (Expecting value: line 1 column 1"),
    ],
)
def test_a_mistake_is_named(tmp_path, document, message):
    with pytest.raises(InputError) as caught:
        read(tmp_path, document)
    assert str(caught.value).startswith(f"{tmp_path / 'some.json'}: {message}")


def test_infinity_is_no_number(tmp_path):
    text = json.dumps(sound()).replace("[1, 8]", '[1, 8], "share": 1e999')
    with pytest.raises(InputError, match=r"not a JSON file \(1e999 is beyond all numbers"):
        read(tmp_path, text)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        documents.read(tmp_path / "none.json", Outer, what="thing")
