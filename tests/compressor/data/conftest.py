"""Folders of images that several tests of the audit share."""

import pytest

from image_folders import audit, write


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def flowers(tmp_path_factory):
    """Three classes of 20, 10 and 6 images."""
    folder = tmp_path_factory.mktemp("flowers")
    for name, count in (("aster", 20), ("rose", 10), ("tulip", 6)):
        write(folder, *(f"{name}/{number:02d}.png" for number in range(count)))
    return folder


@pytest.fixture
def with_damage(root):
    """Ten usable images, a copy of one, six damaged ones, and two files that are no images."""
    write(root, *(f"good{number}.png" for number in range(10)))
    (root / "good twin.png").write_bytes((root / "good0.png").read_bytes())
    for number in range(6):
        (root / f"bad{number}.png").touch()
    (root / "readme.txt").write_text("about these photographs")
    (root / "list.csv").write_text("a,b")
    return audit(root)
