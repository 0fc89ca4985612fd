"""Drawings of embeddings and scores: also of a student whose answers are all alike."""

import pytest
from msgspec import UNSET

from runtime.report.drawings.looks import bar_chart
from runtime.results.looks import Histogram


@pytest.mark.parametrize("threshold", [UNSET, 0.97, 5.0])
def test_scores_that_are_all_the_same_are_drawn_in_the_middle(threshold):
    same = Histogram(
        stage="deployed", low=0.97, high=0.97, inside=(0, 5, 0), outside=(0, 7, 0),
        threshold=threshold,
    )  # fmt: skip
    found = bar_chart(same, "likeness")
    assert [tick.label for tick in found.ticks] == ["0.97"]
    assert len(found.inside) == len(found.outside) == 1
