"""A process joins what its launcher says, and refuses what cannot be."""

import pytest
import torch

from compressor.distributed.group import ALONE
from compressor.distributed.joining import join, require_gpus
from runtime.errors import InputError, MissingDependencyError


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
    require_gpus(2)
    with pytest.raises(MissingDependencyError, match="3 processes and 2 GPUs"):
        require_gpus(3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    require_gpus(3)  # on the CPU
