"""Dividing work needs nobody else; one process alone gets back what it gives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.distributed import group as groups
from compressor.distributed.group import ALONE, Group, LostProcessError


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
    module = torch.nn.Linear(1, 1)
    assert ALONE.replicated(module) is module


def test_a_lost_process_is_told_and_a_bug_is_not():
    lost = RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:5")
    another = pytest.raises(LostProcessError, match="another process")
    with another as told, groups.told_of_lost_processes():
        raise lost
    assert told.value.exit_code == 3
    with pytest.raises(RuntimeError, match="of our own"), groups.told_of_lost_processes():
        raise RuntimeError("a mistake of our own")
