"""The one reader of JSON: what no file of ours can hold is refused in words, at once."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from runtime import documents
from runtime.errors import InputError

ROOT = Path(__file__).parents[2]


def deep(levels, opening="[", closing="]"):
    return opening * levels + closing * levels


REFUSED = {
    "lists in each other": deep(200),
    "as deep as a stack": deep(5_000),
    "deeper than any stack": deep(100_000),
    "objects in each other": '{"a":' * 200 + "1" + "}" * 200,
    "deep beside what is flat": json.dumps({"a": [1, 2, json.loads(deep(80))]}),
    "a number of many digits": "1" * 400,
    "a number of too many digits to read": "1" * 100_000,
    "a number beyond 64 bits": str(2**64),
    "a number beyond all": "1e999",
    "minus infinity": "-1e999",
    "NaN": "NaN",
    "Infinity": '{"a": [Infinity]}',
    "half of a pair of surrogates": r'{"a": "\ud800"}',
    "half of a pair as a key": r'{"\udfff": 1}',
    "nothing": "",
    "words": "hello",
    "two documents": "{} {}",
    "a comment": "{} // done",
    "another encoding": "{}".encode("utf-16"),
    "bytes that are no text": b'{"a": "\xff"}',
    "a mark of bytes": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.timeout(20)
def test_what_no_file_of_ours_holds_is_refused(tmp_path, name):
    content, path = REFUSED[name], tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"a\.json: not a JSON file \("):
        documents.read_json(path)


@pytest.mark.timeout(60)
def test_what_might_never_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", Path("/dev/zero")):
        with pytest.raises(InputError, match="a pipe or a device"):
            documents.read_json(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MOST_BYTES", 10)
    (tmp_path / "a.json").write_text('{"a": "0123456789"}')
    with pytest.raises(InputError, match="19 bytes; the limit is 10"):
        documents.read_json(tmp_path / "a.json")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(value=values, ascii_only=st.booleans())
def test_everything_else_is_read_as_it_is(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    try:
        text.encode()
    except UnicodeEncodeError:
        ascii_only = None
    found = None
    try:
        found = documents.parse(text)
    except ValueError:
        assert ascii_only is None or any("\ud800" <= each <= "\udfff" for each in str(value))
        return
    assert found == value


class Plain(Struct, frozen=True):
    a: float
    b: tuple[int, ...] = ()


@settings(deadline=None, max_examples=200)
@given(value=values)
def test_any_document_is_a_struct_or_an_input_error(value, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.json"
    try:
        path.write_text(json.dumps({"a": value, "b": value}), encoding="utf-8")
        documents.read(path, Plain, what="thing")
    except InputError as error:
        assert str(error).startswith(str(path))


def test_there_is_no_other_reader():
    """Files of unknown origin go through `documents`; these read what this process has written."""
    own = {
        "compressor/distillation/checkpoint.py",
        "compressor/distillation/epochs.py",
        "compressor/models/backbone_file.py",
        "compressor/pipeline/storage/digests.py",
        "compressor/pipeline/storage/records.py",
        "export/engine/layers.py",
        "export/precision_proof.py",
        "export/samples/reproduce.py",  # a program of its own, in a bundle
        "runtime/backends/limits.py",
        "runtime/backends/ort_nodes.py",
        "runtime/documents.py",
    }
    words = ["grep", "-rlE", r"json\.loads?\(|msgspec\.json\.decode"]
    found = subprocess.run(
        [*words, "--include=*.py", "compressor", "export", "runtime"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert set(found) == own
