"""A text file with one path a line."""

import os

import pytest

from compressor.data.sources.opened import opened
from image_folders import audit, ids, write
from runtime.errors import InputError


@pytest.fixture
def listed(tmp_path):
    """Write a list beside `photos`, and open it."""

    def listed(*lines, end="\n"):
        (tmp_path / "list.txt").write_text(end.join(lines) + end, newline="")
        return opened(tmp_path / "list.txt")

    return listed


def test_paths_are_relative_to_the_list_or_absolute(listed, tmp_path):
    names = [f"photos/{kind}/{n}.png" for kind in ("cat", "dog") for n in range(4)]
    write(tmp_path, *names, "elsewhere/1.png")
    source = listed(*names[1:], "", f"{tmp_path}/{names[0]}", "./photos//cat/1.png")
    assert list(source.names) == names
    assert source.notes == ("1 lines name an image again",)
    assert (source / names[0]).read_bytes() == (tmp_path / names[0]).read_bytes()
    assert str(source / names[0]) == str(tmp_path / names[0])
    found = audit(source, labels="folders")
    assert found.images.classes == ("cat", "dog")
    assert ids(found) == names


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    write(tmp_path, "a.png", "b.png")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.png\r\nb.png\r\n")
    assert list(opened(tmp_path / "list.txt").names) == ["a.png", "b.png"]


def test_a_path_that_is_not_there_counts_as_a_broken_image(listed, tmp_path):
    names = [f"{n}.png" for n in range(5)]
    write(tmp_path, *names)
    found = audit(listed(*names, "6.png"))
    assert [(each.id, each.reason) for each in found.rejected] == [
        ("6.png", "cannot be read: No such file or directory")
    ]


def test_a_pipe_is_not_waited_for(listed, tmp_path):
    write(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = audit(listed("a.png", "pipe.png"))
    assert [(each.id, each.reason) for each in found.rejected] == [
        ("pipe.png", "empty file (0 bytes)")
    ]


def test_the_fingerprint_changes_with_a_file_of_the_list(listed, tmp_path):
    write(tmp_path, "a.png")
    source = listed("a.png", "gone.png")
    before = source.fingerprint()
    os.utime(tmp_path / "a.png", (1, 1))
    assert source.fingerprint() != before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty list of images"),
        (b"\n  \n", "an empty list of images"),
        (b"\xff\xfe\x00a", "not UTF-8 text, so not a list of images"),
        (b"a.png\0b.png\n", "not a list of images: it has NUL characters"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, content, said):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        opened(path)
    assert str(caught.value) == f"{path}: {said}"
