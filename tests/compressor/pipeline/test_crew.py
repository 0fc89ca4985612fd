"""Processes that wait for work: what they tell, and that the first can go on alone."""

import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest

from compressor.distributed import group as groups
from compressor.distributed.group import ALONE, Group, LostProcessError
from compressor.pipeline import crew
from runtime.errors import InputError, MissingDependencyError


class Scripted(Group):
    """The second of two processes; the first says what a test wants."""

    calls: list

    def called(self):
        return "come" if self.calls else "leave"

    def of_first(self, value):
        return self.calls.pop(0)

    def leave(self):
        self.calls.append("left")


@pytest.fixture
def second():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    group = Scripted(1, 2)
    object.__setattr__(group, "calls", [])
    yield group
    groups.be(ALONE)
    for number, handler in handlers.items():
        signal.signal(number, handler)


PLAN = SimpleNamespace(recipe=SimpleNamespace())


def call(work, folder, *arguments, disk_plan=None):
    return SimpleNamespace(
        plan=PLAN, folder=folder, disk_plan=disk_plan, work=work, arguments=arguments
    )


def test_each_call_is_answered_with_a_look_at_the_files_as_they_are(second, tmp_path):
    seen = []

    def work(run, number):
        seen.append((number, run.files.writable, groups.current() is second))
        seen.append(run.files)

    second.calls.extend([call(work, tmp_path, 1), call(work, tmp_path, 2)])
    crew.follow(second)
    assert [seen[0], seen[2]] == [(1, False, True), (2, False, True)]
    assert seen[1] is not seen[3]
    assert second.calls == ["left"]


def test_what_the_first_keeps_on_the_disk_is_told(second, tmp_path):
    seen = []

    def work(run):
        seen.append(vars(run).get("disk_plan"))

    calls = [call(work, tmp_path, disk_plan=each) for each in (None, "kept", None)]
    second.calls.extend(calls)
    crew.follow(second)
    assert seen == [None, "kept", "kept"]


def test_the_first_tells_what_it_keeps_on_the_disk(tmp_path):
    sent = []
    leader = replace(Group(0, 2))
    object.__setattr__(leader, "call", lambda word: None)
    object.__setattr__(leader, "of_first", sent.append)
    run = SimpleNamespace(plan=PLAN, folder=tmp_path)
    with crew.led(leader):
        crew.together(run, lambda run: None)
        run.disk_plan = "kept"
        crew.together(run, lambda run: None)
        groups.be(ALONE)  # nobody to leave
    assert [each.disk_plan for each in sent] == [None, "kept"]


def fails_with(error):
    def work(run):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (InputError("a.jpg: cut short"), InputError, "rank 1 of 2 processes: a.jpg: cut short"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
            MissingDependencyError,
            "rank 1 of 2 processes: the GPU's memory is full",
        ),
        (MemoryError(), MissingDependencyError, "rank 1 of 2 processes: out of memory"),
        (LostProcessError("gone"), LostProcessError, "^gone"),
        (ValueError("ours"), RuntimeError, "rank 1 of 2 processes: ValueError: ours"),
    ],
    ids=["input", "memory of the GPU", "memory", "lost", "a bug"],
)
def test_what_goes_wrong_is_told_with_the_process(second, tmp_path, error, kind, told):
    second.calls.append(call(fails_with(error), tmp_path))
    with pytest.raises(kind, match=told):
        crew.follow(second)


def test_after_a_failure_the_first_goes_on_alone():
    said = []
    leader = replace(Group(0, 2))
    object.__setattr__(leader, "call", said.append)
    object.__setattr__(leader, "of_first", lambda value: value)
    run = SimpleNamespace(plan=None, folder=None)
    with pytest.raises(KeyboardInterrupt), crew.led(leader):
        assert crew.together(run, lambda run, x: x + 1, 1) == 2
        assert groups.current() is leader
        with pytest.raises(InputError):
            crew.together(run, fails_with(InputError("no")))
        assert groups.current() is ALONE
        raise KeyboardInterrupt
    assert said == ["come", "come", "leave"]
