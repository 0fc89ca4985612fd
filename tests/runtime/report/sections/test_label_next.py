"""What to label next: what a run lacks, at most five sentences."""

import pytest
from msgspec import UNSET, structs

from runtime.report.sections import label_next
from runtime.results.rounds import Round

ROUND = Round(
    round=1,
    made="2026-11-29T20:00:00Z",
    data="a",
    student="s",
    held_out="h",
    images=400,
    returned=0,
    labels=50,
    held_out_labels=12,
)
CLASSES = {
    "cat": {"train": 30, "validation": 3, "holdout": 6},
    "dog": {"train": 26, "validation": 4, "holdout": 5},
    "gnu": {"train": 3, "validation": 1, "holdout": 1},
}
ANSWERS = {
    "class": "dog", "images": 5, "accuracy_teacher": 1.0, "accuracy_teacher_ci": [0.5, 1.0],
    "accuracy_deployed": 0.6, "accuracy_deployed_ci": [0.2, 0.9], "loss": 0.4,
    "loss_ci": [0.1, 0.7], "agreement": 0.6, "agreement_ci": [0.2, 0.9], "taken_for": "cat",
}  # fmt: skip


@pytest.fixture
def report(document, read):
    document["data"]["classes"] = CLASSES
    document["per_class"] = [ANSWERS]
    document["classes_without_label"] = ["emu"]
    return holding_out(structs.replace(read(document), rounds=(ROUND,)), 100)


def holding_out(report, images):
    """A report of a run that holds out so many images, none of them set apart."""
    golden = structs.replace(report.golden, images=images, set_apart_as_seen_in_training=())
    return structs.replace(report, golden=golden)


def test_what_is_missing_is_said_what_matters_most_first(report):
    held, missing, fewest, worst, more = label_next.lines(report)
    assert "12 have a label" in held
    assert "--holdout 60` asks for more" in held
    assert missing == "**Classes without a label**: emu."
    assert fewest == "**Fewest labels**: gnu 4 (the average is 22)."
    assert "dog, right on 0.600 (0.200 to 0.900) of 5" in worst
    assert "taken for cat" in worst
    assert more.startswith("50 of 400 images to train on have a label")


def test_no_more_held_out_labels_are_asked_for_than_there_are_images(report):
    assert "--holdout 40` asks for more" in label_next.lines(holding_out(report, 40))[0]
    all_of_them = label_next.lines(holding_out(report, 12))[0]
    assert "--holdout" not in all_of_them
    assert "a larger `data.holdout`" in all_of_them


def test_where_all_have_labels_the_next_ones_come_from_devices(report):
    last = structs.replace(ROUND, labels=400, held_out_labels=80)
    (line,) = label_next.lines(
        structs.replace(
            report, rounds=(last,), data=UNSET, per_class=UNSET, classes_without_label=()
        )
    )
    assert "--from FOLDER" in line


def test_a_check_knows_nothing_of_labels(report):
    assert label_next.lines(structs.replace(report, rounds=UNSET)) == []
