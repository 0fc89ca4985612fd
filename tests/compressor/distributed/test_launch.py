"""How processes that a launcher has started end, and what is said of it. They import no torch."""

import logging
import os
import signal
import sys

import pytest

from compressor.distributed.joining import LAUNCHED, LOST
from compressor.distributed.launch import launch, outcome
from runtime.errors import MissingDependencyError

ENDS = "import os, sys, time; rank = int(os.environ['RANK']); size = os.environ['WORLD_SIZE']\n"


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Undo what the launcher, a process of its own, leaves: handlers, levels, variables."""
    monkeypatch.setenv(LAUNCHED, "")
    handlers = {number: signal.getsignal(number) for number in (1, 2, 3, 15)}
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.exit(0 if size == '2' else 9)", 0),
        ("time.sleep(60) if rank == 0 else sys.exit(2)", 2),
    ],
    ids=["well", "one refuses its input"],
)
def test_the_exit_code_is_that_of_who_fails(code, expected):
    assert launch([sys.executable, "-c", ENDS + code], 2) == expected


def test_a_killed_process_is_told_with_its_rank_and_the_signal():
    code = "time.sleep(60) if rank == 0 else os.kill(os.getpid(), 9)"
    with pytest.raises(MissingDependencyError, match="rank 1 of 2 processes was killed by SIGKILL"):
        launch([sys.executable, "-c", ENDS + code], 2)
    assert os.environ[LAUNCHED] == "2"


def test_who_was_ended_by_the_launcher_is_not_who_failed():
    assert outcome({0: -signal.SIGTERM, 1: 3}, 2) == 3
    assert outcome({0: 128 + signal.SIGTERM, 1: 2}, 2) == 2
    assert outcome({0: LOST, 1: 70}, 2) == 70
    assert outcome({0: 1}, 2) == 1
    assert outcome({0: 128 + signal.SIGTERM, 1: -signal.SIGTERM}, 2) == 143


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ({0: -signal.SIGSEGV, 1: LOST}, "rank 0 of 2 processes was killed by SIGSEGV"),
        ({0: LOST, 1: -signal.SIGTERM}, "rank 1 was told to stop"),
        ({0: LOST, 1: LOST}, "could not reach each other"),
    ],
)
def test_what_nobody_has_said_is_told(codes, told):
    with pytest.raises(MissingDependencyError, match=told) as error:
        outcome(codes, 2)
    assert "same command continues" in str(error.value)
    assert "memory" not in str(error.value)
