"""The table of rounds: what each gained, and what the device saw of its student."""

from msgspec import UNSET, structs

from runtime.report.sections.rounds import table
from runtime.results.rounds import DeviceStream, Round
from runtime.results.scores import Score

FIRST = Round(
    round=1,
    made="2026-11-29T20:00:00Z",
    data="a",
    student="s",
    held_out="h",
    images=400,
    returned=0,
    labels=50,
    held_out_labels=60,
    accuracy=Score(0.7, 0.66, 0.74),
    devices=(DeviceStream("x", 600, 100), DeviceStream("y", 400, 50)),
)
SECOND = structs.replace(
    FIRST, round=2, student="t", returned=40, accuracy=Score(0.8, 0.77, 0.83), devices=()
)


def rows(*rounds):
    return [[str(cell) for cell in row] for row in table(rounds).rows]


def test_each_round_is_compared_with_the_one_before():
    first, second = rows(FIRST, SECOND)
    assert first[1:3] == ["2026-11-29", "400"]
    assert first[4:] == ["0.700 (0.660 to 0.740)", "", "15.0% of 1,000"]
    assert second[2] == "400 (40 returned)"
    assert second[4:] == ["0.800 (0.770 to 0.830)", "better (+0.100)", ""]


def test_scores_on_other_images_or_without_labels_are_not_compared():
    other = structs.replace(SECOND, held_out="i")
    assert rows(FIRST, other)[1][5] == "other held-out images or labels"
    unlabelled = structs.replace(SECOND, accuracy=UNSET)
    assert rows(FIRST, unlabelled)[1][4:6] == ["", ""]


def test_one_round_is_no_table_unless_its_student_was_at_work():
    assert not table([structs.replace(FIRST, devices=())])
    assert len(rows(FIRST)) == 1
