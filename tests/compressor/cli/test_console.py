"""What a person sees of a run: lines where no terminal is, one bar with one ETA where one is."""

import functools
import io
import sys

import pytest

from compressor.cli import console
from compressor.cli.console import HEARTBEAT_S, Console
from compressor.events import (
    Message,
    Progress,
    RunEnded,
    StepEnded,
    StepStarted,
    StepWork,
    WorkPlanned,
)


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def started(step="distill", number=5, total=11):
    return StepStarted(step=step, summary="train the student", number=number, total=total)


def progress(done, total=100, label="distilling"):
    return Progress(step="distill", label=label, done=done, total=total)


def test_steps_and_messages_are_lines(capsys):
    shown = Console(Clock())
    shown(started())
    shown(Message(text="a note"))
    shown(Message(text="may be wrong", level="warning"))
    shown(StepEnded(step="distill", state="made", seconds=12.34))
    shown(StepEnded(step="probes", state="cached", seconds=2.0))
    assert capsys.readouterr().err.splitlines() == [
        "distill: train the student",
        "a note",
        "warning: may be wrong",
        "  done (12.3 s)",
        "  unchanged, skipped (2.0 s then)",
    ]


def test_a_remark_is_printed_once(capsys):
    shown = Console(Clock())
    for _ in range(3):
        shown(Message(text="the same"))
    assert capsys.readouterr().err == "the same\n"


def test_a_heartbeat_comes_at_most_every_30_seconds(capsys):
    clock = Clock()
    shown = Console(clock)
    shown(WorkPlanned(work=(
        StepWork(step="distill", unit="student step", count=100, label="distilling"),
    )))  # fmt: skip
    shown(started())
    capsys.readouterr()
    for done in range(1, 100):
        clock.now += 1
        shown(progress(done))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 99 // HEARTBEAT_S
    assert lines[0] == "  distilling: 30 of 100 (step 5 of 11). ETA: about 70 s"


def test_any_line_puts_the_heartbeat_off(capsys):
    clock = Clock()
    shown = Console(clock)
    shown(started())
    clock.now += HEARTBEAT_S - 1
    shown(Message(text="epoch 1: loss 0.5"))
    clock.now += 2
    shown(progress(3))
    assert "distilling" not in capsys.readouterr().err


def terminal(monkeypatch):
    """Put a terminal of 100 columns in the place of stderr; returns what is written to it."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)  # here: pytest sets its own before each test's call
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(
        console, "_rich_console", functools.cache(console._rich_console.__wrapped__)
    )
    return screen


def test_on_a_terminal_there_is_one_bar_with_the_step_and_the_eta(monkeypatch):
    screen = terminal(monkeypatch)
    clock = Clock()
    with Console(clock) as shown:
        shown(WorkPlanned(work=(
            StepWork(step="distill", unit="student step", count=100, label="distilling"),
        )))  # fmt: skip
        shown(started())
        for done in (1, 50):
            clock.now += 10
            shown(progress(done))
        shown(Message(text="a line above the bar"))
        shown(RunEnded(outcome="done", seconds=20.0))
    text = screen.getvalue()
    assert "step 5 of 11: distilling" in text
    assert "ETA: about 10 s" in text
    assert "a line above the bar" in text


def test_the_bar_is_removed_when_the_command_fails(monkeypatch):
    screen = terminal(monkeypatch)
    with pytest.raises(RuntimeError, match="broken"), Console(Clock()) as shown:
        shown(started())
        raise RuntimeError("broken")
    assert "\x1b[?25h" in screen.getvalue()  # the cursor is shown again
