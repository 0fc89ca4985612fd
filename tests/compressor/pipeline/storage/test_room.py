"""The limit of a run's large files that follows from the disk."""

import shutil
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.pipeline.storage.room import Room, free_bytes, room_of
from compressor.pipeline.storage.store import Store
from runtime.files import write_text


@pytest.mark.parametrize(
    ("free_gb", "kept_gb", "disk_gb"),
    [
        (29, 0, 5),  # 9.67
        (30, 0, 10),
        (300, 0, 100),
        (3_000_000, 0, 1_000_000),
        (3.1, 0, 1),
        (2.9, 0, 0.5),
        (0.3, 0, 0.1),
        (0, 0, 0.001),  # nothing fits into it
        (40, 20, 20),  # what the first run of 60 GB has left
        (40, 500, 20),  # half of what is free
    ],
)
def test_a_third_of_the_room_in_steps_of_1_2_and_5(tmp_path, free_gb, kept_gb, disk_gb):
    assert Room(tmp_path, round(free_gb * 1e9), round(kept_gb * 1e9)).disk_gb == disk_gb


@given(free=st.integers(10**7, 10**15), share=st.floats(0, 1))
def test_a_run_that_has_stored_its_share_is_given_the_same_again(tmp_path_factory, free, share):
    folder = tmp_path_factory.getbasetemp()
    limit = Room(folder, free, 0).disk_gb
    stored = int(share * limit * 1e9)
    assert 2 / 5 * free / 3 < limit * 1e9 <= free / 3
    assert Room(folder, free - stored, stored).disk_gb == limit


def test_the_disk_of_a_folder_that_is_not_there_yet_is_its_parents(tmp_path, monkeypatch):
    seen = []

    def usage(path):
        seen.append(path)
        return SimpleNamespace(free=7)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert free_bytes(tmp_path / "not" / "yet") == 7
    assert seen == [tmp_path]


def test_what_the_store_holds_counts_and_nothing_is_written(tmp_path):
    store = Store.at(tmp_path / "cache", None)
    assert room_of(store).kept == 0
    assert not store.folder.exists()
    store.make("a" * 64, ("out",), lambda work: write_text(work / "out", "1" * 1000), print)
    assert room_of(store).kept == 1000
