"""Files on disk: which ones are found, what decoding them shows."""

import pytest

from compressor.data.image_files import inspect, open_rgb
from compressor.data.layout.listing import files_below
from image_folders import write
from runtime.errors import ImageError, InputError


def test_files_below__in_depth_sorted_and_nothing_hidden(root):
    names = ["b.png", "a/z.png", "a/b/c/deep.png", "ä ö/猫.png", ".hidden.png", ".cache/x.png"]
    names += ["a/.thumbs/x.png", "a/.DS_Store"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    found = [path.relative_to(root).as_posix() for path in files_below(root)]
    assert found == ["a/b/c/deep.png", "a/z.png", "b.png", "ä ö/猫.png"]


def test_files_below__leaves_out_the_folders_told(root):
    for name in ("a/1.png", "a/runs/2.png", "runs/3.png", "runs-old/4.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    found = files_below(root, [root / "runs"])
    assert found == [root / "a/1.png", root / "a/runs/2.png", root / "runs-old/4.png"]


def test_files_below__a_folder_that_is_itself_hidden_or_told_is_still_searched(tmp_path):
    folder = tmp_path / ".photos"
    folder.mkdir()
    (folder / "1.png").touch()
    assert files_below(folder, [folder]) == [folder / "1.png"]


def test_inspect__shows_its_progress_and_keeps_the_order(root):
    write(root, "b.png", "a.png")
    (root / "c.png").touch()
    shown = []

    def track(items, *, label, total):
        shown.append((label, total))
        yield from items

    looks = inspect([root / "c.png", root / "b.png", root / "a.png"], track)
    assert shown == [("decoding every image", 3)]
    assert [path.name for path in looks] == ["c.png", "b.png", "a.png"]
    assert looks[root / "c.png"] == "empty file (0 bytes)"
    assert (looks[root / "a.png"].width, looks[root / "a.png"].height) == (6, 5)


def test_open_rgb__reads_what_the_audit_found_usable(root):
    write(root, "1.png")
    assert open_rgb(root / "1.png").mode == "RGB"


def test_open_rgb__a_file_changed_since_is_an_error_with_the_way_out(root):
    (root / "1.png").touch()
    with pytest.raises(InputError, match="was usable when the images were audited") as caught:
        open_rgb(root / "1.png")
    assert not isinstance(caught.value, ImageError)
    assert str(caught.value).startswith(f"{root / '1.png'}: empty file (0 bytes)")
    assert "Run the same command again." in str(caught.value)


def test_files_below__links_to_folders_are_followed_each_real_folder_once(tmp_path):
    real, linked = tmp_path / "elsewhere", tmp_path / "images"
    write(real, "a.png")
    linked.mkdir()
    (linked / "red").symlink_to(real, target_is_directory=True)
    (real / "round").symlink_to(linked, target_is_directory=True)
    assert files_below(linked) == [linked / "red" / "a.png"]
