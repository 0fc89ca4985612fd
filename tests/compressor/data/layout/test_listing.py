"""Files are listed where they lie: links move none, service folders and hidden files stay out."""

import sys

import pytest

from compressor.data.layout.listing import files_below, list_files


@pytest.fixture
def put(tmp_path):
    """Make files below `images`; gives that folder."""

    def put(*names):
        for name in names:
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "images"

    return put


def names(folder, found):
    return [path.relative_to(folder).as_posix() for path in found.files]


SERVICE = [
    "@eaDir", "@EADIR", "#recycle", "#snapshot", "@tmp", "@Recycle", "$RECYCLE.BIN", "RECYCLER",
    "System Volume Information", "lost+found", "__MACOSX", ".Trash", ".Trash-1000", ".Trashes",
    ".thumbnails", ".@__thumb", "LOST.DIR", "FOUND.000", ".ipynb_checkpoints",
]  # fmt: skip


@pytest.mark.parametrize("service", SERVICE)
@pytest.mark.parametrize("where", ["", "cat/", "cat/deep/"])
def test_service_folders_are_left_out_and_counted(put, service, where):
    root = put(
        "cat/1.png", "cat/deep/2.png", f"{where}{service}/1.png/THUMB.jpg", f"{where}{service}/x"
    )
    found = list_files(root)
    assert names(root, found) == ["cat/1.png", "cat/deep/2.png"]
    assert found.service == {service: 2}
    assert found.left_out() == [f"left out: 2 files in service folders ({service} 2)"]


@pytest.mark.parametrize(
    "name", ["recycle", "trash", "thumbs", "$5", "#1", "@home", "lost", "cache"]
)
def test_folders_that_may_be_classes_are_not_left_out(put, name):
    root = put(f"{name}/1.png")
    assert names(root, list_files(root)) == [f"{name}/1.png"]


def test_hidden_images_are_counted(put):
    root = put("cat/1.png", "cat/._1.png", ".git/a.png", ".git/notes.txt", ".DS_Store")
    assert list_files(root).left_out() == ["left out: 2 hidden images (a dot begins their name)"]


@pytest.mark.parametrize("link", ["aaa", "zzz", "dog/more", "aaa/more"])
def test_a_link_to_a_folder_of_the_set_moves_no_image(put, link):
    root = put("cat/1.png", "cat/2.png", "dog/3.png")
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(root / "cat", target_is_directory=True)
    found = list_files(root)
    assert names(root, found) == ["cat/1.png", "cat/2.png", "dog/3.png"]
    assert found.links == (f"{link} is a link to cat: each image counts once, as part of cat",)


@pytest.mark.parametrize("target", [".", "..", "a", "a/b"])
def test_a_link_to_a_folder_around_it_is_not_followed(put, tmp_path, target):
    root = put("a/b/1.png")
    (tmp_path / "beside.png").touch()
    (root / "a" / "b" / "round").symlink_to(root / target, target_is_directory=True)
    found = list_files(root)
    assert names(root, found) == ["a/b/1.png"]
    assert found.links == ("a/b/round is a link to a folder that it lies in: not followed",)


def test_links_in_a_circle_end(put, tmp_path):
    root = put("a/1.png")
    for one, other in (("x", "y"), ("y", "x"), ("self", "self")):
        (root / one).symlink_to(root / other)
    for one, other in (("p", "q"), ("q", "p")):
        (tmp_path / one).mkdir()
        (tmp_path / one / "2.png").touch()
        (tmp_path / one / "on").symlink_to(tmp_path / other, target_is_directory=True)
    (root / "b").symlink_to(tmp_path / "p", target_is_directory=True)
    found = list_files(root)
    assert names(root, found) == ["a/1.png", "b/2.png", "b/on/2.png", "self", "x", "y"]


def test_links_to_folders_elsewhere_are_followed(put, tmp_path):
    root = put("cat/1.png")
    for name in ("dogs/2.png", "dogs/puppies/3.png", "birds/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (root / "dog").symlink_to(tmp_path / "dogs", target_is_directory=True)
    (root / "a puppy").symlink_to(tmp_path / "dogs" / "puppies", target_is_directory=True)
    (root / "bird").symlink_to(tmp_path / "birds", target_is_directory=True)
    (root / "bird again").symlink_to(tmp_path / "birds", target_is_directory=True)
    found = list_files(root)
    # A link to a folder within another one's target keeps its images.
    assert names(root, found) == ["a puppy/3.png", "bird/4.png", "cat/1.png", "dog/2.png"]
    assert found.links == ("bird again is a link to bird: each image counts once, as part of bird",)


def test_a_link_to_a_folder_that_is_told_to_be_skipped_is_skipped(put, tmp_path):
    root = put("cat/1.png")
    (tmp_path / "other" / "deep").mkdir(parents=True)
    (tmp_path / "other" / "deep" / "2.png").touch()
    (root / "more").symlink_to(tmp_path / "other" / "deep", target_is_directory=True)
    assert files_below(root, [tmp_path / "other"]) == [root / "cat/1.png"]


def test_folders_nested_deeper_than_python_may_recurse(tmp_path):
    folder = tmp_path.joinpath(*["d"] * 400)
    folder.mkdir(parents=True)
    (folder / "1.png").touch()
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        assert files_below(tmp_path) == [folder / "1.png"]
    finally:
        sys.setrecursionlimit(usual)
