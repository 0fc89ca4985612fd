"""What a disk takes in a second: every byte has reached it, and no file stays."""

import errno
import os
import resource
import shutil
import time
from itertools import count
from types import SimpleNamespace

import pytest

from compressor.distillation.pace import disk
from compressor.distillation.pace.disk import write_seconds

BLOCK = 1 << 23


def test_each_block_is_on_the_disk_before_the_next(tmp_path, monkeypatch):
    sizes, clock = [], count()
    monkeypatch.setattr(disk, "AT_LEAST_S", 100)
    monkeypatch.setattr(os, "fsync", lambda number: sizes.append(os.fstat(number).st_size))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    left = SimpleNamespace(free=35 * BLOCK)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: left)
    seconds = write_seconds(tmp_path)
    assert sizes == [BLOCK, 2 * BLOCK, 3 * BLOCK]  # no more than a tenth of what is free
    assert seconds == pytest.approx(4 / (3 * BLOCK))
    assert list(tmp_path.iterdir()) == []


def test_it_ends_after_its_time(tmp_path, monkeypatch):
    blocks, clock = [], count(step=0.3)
    monkeypatch.setattr(os, "fsync", blocks.append)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    write_seconds(tmp_path)
    assert len(blocks) == 3


@pytest.mark.parametrize(("room", "known"), [(0, False), (BLOCK // 2, True), (3 * BLOCK, True)])
def test_a_limit_of_the_size_of_files_is_no_error(tmp_path, room, known):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        seconds = write_seconds(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (seconds > 0) == known


def test_another_error_is_one(tmp_path, monkeypatch):
    def refuses(number):
        raise OSError(errno.EIO, "input or output error")

    monkeypatch.setattr(os, "fsync", refuses)
    with pytest.raises(OSError, match="input or output"):
        write_seconds(tmp_path)
