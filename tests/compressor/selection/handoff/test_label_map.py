"""The map of a label page: true to scale, small, one mark per image to label."""

import numpy as np
import pytest

from compressor.selection.handoff.label_map import MOST_POINTS, label_map


def test_a_map_keeps_its_shape_and_marks_the_images():
    corners = np.array([[0, 0], [4, 0], [0, 2], [4, 2], [1, 1]], np.float32)
    drawn = label_map(corners, [(3, 1), (0, 2)], np.array([4]))
    second, first = drawn.marks  # the first lies on top
    assert (first.rank, second.rank) == (1, 2)
    assert first.x - second.x == pytest.approx(2 * (first.y - second.y), abs=2)
    assert (drawn.width, drawn.height) == (1000, pytest.approx(2 * 30 + 470, abs=1))
    assert drawn.cloud.count("M") == 5
    assert len(drawn.known) == 1
    assert drawn.font_size > 0


def test_a_tall_map_is_turned():
    tall = np.array([[0, 0], [2, 4]], np.float32)
    assert label_map(tall, [], np.array([], int)).height < 1000


def test_a_map_of_very_many_images_stays_small():
    points = np.random.default_rng(0).standard_normal((200_000, 2)).astype(np.float32)
    drawn = label_map(points, [(7, 1)], np.arange(50_000))
    assert drawn.cloud.count("M") == MOST_POINTS
    assert len(drawn.known) == MOST_POINTS
    assert len(drawn.cloud) < 100_000


def test_many_marks_have_no_numbers():
    points = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    marks = [(row, row + 1) for row in range(101)]
    assert label_map(points, marks, np.array([], int)).font_size == 0


def test_a_map_whose_images_all_lie_in_one_place():
    drawn = label_map(np.zeros((20, 2), np.float32), [(0, 1)], np.array([], int))
    (mark,) = drawn.marks
    assert 0 < mark.x < drawn.width
    assert 0 < mark.y < drawn.height
