"""Shrunken copies count once: by content, whatever they are called and however they were shrunk."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from compressor.data.duplicates import Duplicate
from compressor.data.layout.listing import files_below
from image_folders import audit, ids, picture

FILTERS = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


def scene(seed, width=160, height=120):
    """An image with large shapes, small ones and noise, as a photograph has them."""
    total = np.zeros((height, width, 3))
    for number, cells in enumerate((3, 7, 20)):
        drawn = np.asarray(picture(100 * seed + number, cells, cells).resize((width, height)))
        total += drawn.astype(float) / 2**number
    return Image.fromarray((total / 1.75).astype(np.uint8))


def save(root, name, image, **options):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def shrunken(image, side, how=Image.Resampling.BICUBIC):
    scale = side / max(image.size)
    return image.resize([max(1, round(length * scale)) for length in image.size], how)


@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("side", [64, 100, 150])
def test_a_shrunken_copy_is_set_aside(root, side, how):
    for seed in range(4):
        save(root, f"{seed}.png", scene(seed))
    save(root, "0_small.jpg", shrunken(scene(0), side, how), quality=75)
    found = audit(root)
    assert found.duplicates == (Duplicate("0_small.jpg", "0.png", "shrunken copy"),)
    assert ids(found) == ["0.png", "1.png", "2.png", "3.png"]
    assert found.shrunken == 1


def test_the_largest_is_used_and_takes_the_label(root):
    for name, side in (("a/1.png", 160), ("b.png", 80), ("c.jpg", 60)):
        save(root, name, shrunken(scene(1), side))
    save(root, "again.png", shrunken(scene(1), 80))
    for seed in (2, 3):
        save(root, f"b/{seed}.png", scene(seed))
    found = audit(root, labels="folders")
    twins = {each.id: each.twin for each in found.duplicates}
    assert twins == {"again.png": "a/1.png", "b.png": "a/1.png", "c.jpg": "a/1.png"}
    assert ids(found) == ["a/1.png", "b/2.png", "b/3.png"]


def test_a_copy_in_another_class_is_said(root, caplog):
    save(root, "cat/1.png", scene(1))
    save(root, "dog/1.png", shrunken(scene(1), 80))
    save(root, "dog/2.png", scene(2))
    with caplog.at_level(logging.WARNING):
        audit(root, labels="folders")
    assert caplog.messages == ["a shrunken copy, two classes: dog/1.png and cat/1.png"]


def test_copies_never_lie_on_both_sides_of_a_split(root):
    for seed in range(12):
        save(root, f"train/a/{seed}.png", scene(seed))
        save(root, f"{'val' if seed % 2 else 'train'}/b/{seed}.jpg", shrunken(scene(seed), 70))
    for seed in (20, 21):
        save(root, f"val/b/{seed}.png", scene(seed))
    found = audit(root)
    assert ids(found, "holdout") == ["val/b/20.png", "val/b/21.png"]
    assert len(found.duplicates) == found.shrunken == 12


def test_images_of_one_size_are_no_copies_of_each_other(root):
    """Frames of a fixed camera differ by little, and that may be what they are about."""
    frame = scene(1)
    save(root, "1.png", frame)
    frame.putpixel((5, 5), (255, 0, 0))
    save(root, "2.png", frame)
    save(root, "other size.png", scene(2, 80, 80))
    assert not audit(root).duplicates


def test_a_part_of_an_image_is_another_image(root):
    save(root, "whole.png", scene(1))
    save(root, "part.png", scene(1).crop((20, 15, 140, 105)))
    save(root, "turned.png", shrunken(scene(1), 80).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert not audit(root).duplicates


def test_flat_images_are_not_compared(root):
    for side in (32, 64):
        save(root, f"{side}.png", Image.new("RGB", (side, side), (200, 200, 200)))
    assert not audit(root).duplicates


def test_a_link_to_an_image_is_never_used_instead_of_it(root, caplog):
    for seed in range(3):
        save(root, f"dog/{seed}.png", scene(seed))
    (root / "cat").mkdir()
    (root / "cat" / "0.png").symlink_to(root / "dog" / "0.png")
    save(root, "cat/9.png", scene(9))
    with caplog.at_level(logging.WARNING):
        found = audit(root, labels="folders")
    assert found.duplicates == (Duplicate("cat/0.png", "dog/0.png"),)
    assert caplog.messages == ["same pixels, two classes: cat/0.png and dog/0.png"]
    assert len(files_below(root)) == 5


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 9_999), min_size=2, max_size=8), st.integers(0, 10))
def test_other_images_of_any_size_are_no_copies(tmp_path_factory, seeds, grown):
    root = tmp_path_factory.mktemp("scenes")
    for number, seed in enumerate(sorted(seeds)):
        save(root, f"{seed}.png", scene(seed, 80 + 8 * number * grown, 60 + 6 * number * grown))
    assert not audit(root).duplicates
