"""A scatter plot: every mark inside, costs in their order, one axis that fits them."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.report.drawings.scatter import Point, scatter
from runtime.results.scores import Score

costs = st.floats(0.001, 1e5)


@st.composite
def points(draw):
    found = []
    for number in range(draw(st.integers(1, 8))):
        low, value, high = sorted(draw(st.tuples(*[st.floats(-1, 1)] * 3)))
        found.append(
            Point(f"p{number}", "student", draw(costs), Score(value, low, high), draw(costs))
        )
    return found


@given(points(), st.none() | costs, st.none() | st.floats(-1, 1))
def test_every_mark_lies_inside_and_in_its_order(found, at_most, at_least):
    drawn = scatter(found, label="r", unit="ms", at_most=at_most, at_least=at_least)
    spots = {spot.name: spot for spot in drawn.spots}
    inside = [drawn.at_most] if at_most is not None else []
    for x in [*inside, *(spot.x for spot in spots.values()), *(step.at for step in drawn.steps)]:
        assert drawn.left <= x <= drawn.width
    level = [drawn.at_least] if at_least is not None else []
    for y in [*level, *(y for spot in spots.values() for y in (spot.low, spot.y, spot.high))]:
        assert 0 <= y <= drawn.floor
    for one in found:
        for other in found:
            if one.cost < other.cost:
                assert spots[one.name].x <= spots[other.name].x
            if one.score.value > other.score.value:
                assert spots[one.name].y <= spots[other.name].y


def test_costs_that_lie_far_apart_have_a_logarithmic_axis():
    def steps(*milliseconds):
        found = [Point(str(ms), "student", ms, Score(0.9, 0.8, 1.0), 1.0) for ms in milliseconds]
        return [step.label for step in scatter(found, label="r", unit="ms").steps]

    assert steps(4.4, 160) == ["2", "5", "10", "20", "50", "100", "200"]
    assert steps(0.314, 2701) == ["0.1", "1", "10", "100", "1000", "10000"]
    assert steps(20, 100) == ["0", "20", "40", "60", "80", "100"]
