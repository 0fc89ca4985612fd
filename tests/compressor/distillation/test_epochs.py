"""train.jsonl is read as it was written; a wrong value is named."""

import pytest

from compressor.distillation.epochs import read_log, write_log
from compressor.events import EpochEnded
from runtime.errors import InputError

LOG = [
    EpochEnded(
        epoch=number,
        epochs=2,
        lr=0.1,
        head_loss=0.0,
        student_loss=0.5,
        scores={"similarity": 0.3},
        best_so_far=number == 0,
        seconds=1.5,
    )
    for number in range(2)
]


def test_a_log_is_read_as_it_was_written(tmp_path):
    write_log(tmp_path / "train.jsonl", LOG)
    assert read_log(tmp_path / "train.jsonl") == LOG


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"lr": 0.1', '"lr": "fast"', "train.jsonl: lr: expected float, got str 'fast'"),
        ('"lr": 0.1, ', "", "train.jsonl: lr: missing"),
        ('"similarity": 0.3', '"similarity": null', "train.jsonl: scores"),
        ('{"epoch": 0', '"epoch": 0', "train.jsonl: line 1: not JSON"),
        ('{"epoch": 0', '[{"epoch": 0', "train.jsonl: line 1: not JSON"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, old, new, message):
    path = tmp_path / "train.jsonl"
    write_log(path, LOG)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_log(path)
