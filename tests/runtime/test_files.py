"""Files that are whole or not there, and fingerprints that see every change."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.documents import read_json
from runtime.errors import InputError
from runtime.files import replacing, require_writable, sha256_of, size_of, write_json, write_text


def test_replacing_makes_the_folders_and_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write():
        with replacing(path) as temporary:
            temporary.write_bytes(b"half of the n")
            raise failure

    with pytest.raises(failure):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_whether_a_folder_could_be_written_is_known_without_making_it(tmp_path):
    require_writable(tmp_path / "a" / "b")
    assert [*tmp_path.iterdir()] == []
    (tmp_path / "file").write_text("")
    for taken in ("file", "file/below"):
        with pytest.raises(NotADirectoryError):
            require_writable(tmp_path / taken)


def test_a_writer_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_bytes() == b"old"


def test_text_is_utf_8(tmp_path):
    write_text(tmp_path / "text", "Löwenzahn\n")
    assert (tmp_path / "text").read_bytes() == "Löwenzahn\n".encode()


def test_json_round_trip_keeps_the_order_and_the_letters(tmp_path):
    path, document = tmp_path / "x.json", {"z": 1, "a": [1.5, None, "Löwenzahn"], "m": {"k": True}}
    write_json(path, document)
    assert list(read_json(path)) == ["z", "a", "m"]
    assert read_json(path) == document
    text = path.read_text(encoding="utf-8")
    assert "Löwenzahn" in text
    assert text.endswith("}\n")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text("[]\n ,1e-"),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("[]\n 1,"), inner),
    )
)
def test_lists_of_numbers_on_one_line_change_no_value(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "document.json"
    write_json(path, value)
    assert read_json(path) == value


def test_a_long_list_of_numbers_takes_one_line(tmp_path):
    path = tmp_path / "document.json"
    write_json(path, {"times_ms": [1.25, 1e-07, -3], "names": ["a", "b"]})
    text = path.read_text("utf-8")
    assert '  "times_ms": [1.25, 1e-07, -3],\n' in text
    assert '"names": [\n    "a",\n' in text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_number(tmp_path, number):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        write_json(path, {"a": [number]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_read_json_says_what_is_wrong(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        read_json(tmp_path / "none.json")
    for content in (b"", b"{'a': 1}", b"\xff\xfe\x00"):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(InputError, match=r"x\.json: not a JSON file \("):
            read_json(tmp_path / "x.json")


def test_sha256_of_a_file_is_the_plain_one(tmp_path):
    content = bytes(range(256)) * 10_000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").write_bytes(b"")
    assert sha256_of(tmp_path / "empty") == hashlib.sha256().hexdigest()


def tree(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_sha256_of_a_folder_sees_names_and_bytes(tmp_path):
    files = {"a": b"1", "below/b": b"2", "below/c": b""}
    same = tree(tmp_path / "same", dict(reversed(files.items())))
    expected = sha256_of(tree(tmp_path / "first", files))
    assert sha256_of(same) == expected
    others = {
        "other bytes": {**files, "below/b": b"3"},
        "another name": {"a": b"1", "below/d": b"2", "below/c": b""},
        "another place": {"a": b"1", "b": b"2", "below/c": b""},
        "bytes swapped": {"a": b"2", "below/b": b"1", "below/c": b""},
        "one less": {"a": b"1", "below/b": b"2"},
        "one more": {**files, "d": b""},
        "nothing": {},
    }
    digests = {expected}
    for name, each in others.items():
        (tmp_path / name).mkdir()
        digests.add(sha256_of(tree(tmp_path / name, each)))
    assert len(digests) == 1 + len(others)


def test_size(tmp_path):
    folder = tree(tmp_path / "folder", {"a": b"123", "below/b": b"45", "c": b""})
    assert size_of(folder / "a") == 3
    assert size_of(folder) == 5
