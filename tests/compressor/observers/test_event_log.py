"""events.jsonl and observers in general: an invented one, several, and a broken one."""

import json

import msgspec
import pytest

from compressor import events
from compressor.events import Message, Progress, RunEnded, RunStarted, StepStarted
from compressor.observers.event_log import EventLog
from compressor.observers.fan_out import fan_out

START = RunStarted(name="tiny", folder="runs/tiny", steps=("images",))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_events_are_lines_with_a_time_and_can_be_read_back(tmp_path):
    path = tmp_path / "events.jsonl"
    log = EventLog(path, lambda: 12.3456)
    sent = [START, Message(text="ä"), RunEnded(outcome="done", seconds=1.0)]
    for event in sent:
        log(event)
    written = lines(path)
    assert [line.pop("time") for line in written] == [12.346] * 3
    kinds = {kind.__struct_config__.tag: kind for kind in (RunStarted, Message, RunEnded)}
    assert [msgspec.convert(line, kinds[line["type"]]) for line in written] == sent


def test_nothing_is_written_before_the_run_starts_and_nothing_is_lost(tmp_path):
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log(Message(text="student: auto"))
    assert not path.exists()
    log(START)
    assert [line["type"] for line in lines(path)] == ["message", "runstarted"]


def test_a_run_that_is_started_again_continues_the_file(tmp_path):
    for _ in range(2):
        EventLog(tmp_path / "events.jsonl")(START)
    assert len(lines(tmp_path / "events.jsonl")) == 2


def test_progress_is_a_line_a_second_and_its_end(tmp_path):
    now = [0.0]
    log = EventLog(tmp_path / "events.jsonl", lambda: now[0])
    log(START)
    for done in range(1, 1_001):
        now[0] += 0.01
        log(Progress(step="images", label="decoding", done=done, total=1_000))
    done = [line["done"] for line in lines(tmp_path / "events.jsonl")[1:]]
    assert 10 <= len(done) <= 12
    assert done[-1] == 1_000


def test_an_invented_tracker_is_one_function(tmp_path):
    """What a tracker such as MLflow would be: a callable that takes events."""
    logged = {}

    def tracker(event):
        if isinstance(event, events.EpochEnded):
            logged[event.epoch] = event.scores

    send = fan_out(EventLog(tmp_path / "events.jsonl"), tracker)
    send(START)
    send(
        events.EpochEnded(
            epoch=1, epochs=2, lr=0.1, head_loss=0.0, student_loss=0.5,
            scores={"similarity": 0.9}, best_so_far=True, seconds=1.0,
        )
    )  # fmt: skip
    assert logged == {1: {"similarity": 0.9}}
    assert lines(tmp_path / "events.jsonl")[1]["scores"] == {"similarity": 0.9}


def test_what_a_broken_observer_raises_is_seen():
    def broken(event):
        raise ZeroDivisionError("a bug of the tracker")

    with pytest.raises(ZeroDivisionError, match="a bug of the tracker"):
        fan_out(lambda event: None, broken)(StepStarted(step="a", summary="", number=1, total=1))
