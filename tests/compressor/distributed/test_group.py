"""Dividing work needs nobody else; one process alone gets back what it gives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.distributed import group as groups
from compressor.distributed.group import ALONE, Group, LostProcessError, join
from runtime.errors import InputError, MissingDependencyError


@given(st.integers(0, 40), st.integers(1, 7))
def test_every_item_goes_to_one_process(count, size):
    items, members = list(range(count)), [Group(rank, size) for rank in range(size)]
    cut = [member.cut(items) for member in members]
    assert [item for part in cut for item in part] == items
    assert max(map(len, cut)) - min(map(len, cut)) <= 1
    dealt = [member.dealt(items) for member in members]
    assert sorted(item for part in dealt for item in part) == items
    assert [part[:1] for part in dealt] == [items[rank : rank + 1] for rank in range(size)]


def test_one_alone_gets_back_what_it_gives():
    tensor = torch.rand(3, 2)
    assert ALONE.joined(tensor, 3) is tensor
    assert ALONE.of_first(7) == 7 and ALONE.collected([1, 2]) == [1, 2]
    assert list(ALONE.streamed(iter([1, 2]), 2)) == [1, 2]
    assert ALONE.total_of([0.1]) == [0.1]
    module = torch.nn.Linear(1, 1)
    assert ALONE.replicated(module) is module


def test_without_a_launcher_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join() is ALONE


@pytest.mark.parametrize(
    ("named", "told"),
    [({"WORLD_SIZE": "two"}, "'two'"), ({"WORLD_SIZE": "2"}, "RANK, MASTER_ADDR")],
)
def test_a_launcher_that_says_too_little_is_refused(monkeypatch, named, told):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=told):
        join()


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    groups.require_gpus(2)
    with pytest.raises(MissingDependencyError, match="3 processes and 2 GPUs"):
        groups.require_gpus(3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    groups.require_gpus(3)  # on the CPU


def test_a_lost_process_is_told_and_a_bug_is_not():
    lost = RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:5")
    another = pytest.raises(LostProcessError, match="another process")
    with another as told, groups.told_of_lost_processes():
        raise lost
    assert told.value.exit_code == 3
    with pytest.raises(RuntimeError, match="of our own"), groups.told_of_lost_processes():
        raise RuntimeError("a mistake of our own")
