"""What another process, a damaged file or a refused folder may do to a store that a run uses."""

from types import SimpleNamespace

import pytest

from compressor.pipeline.context import Run
from compressor.pipeline.storage.cache import examine
from compressor.pipeline.storage.digests import FileDigests, digest
from compressor.pipeline.storage.store import Store


@pytest.fixture
def store(tmp_path):
    return Store.at(tmp_path / "store", 1000)


def make(store, number, fill):
    return store.make(digest(number), ("file",), fill, lambda line: None)[0]


def test_clearing_leaves_what_is_being_made(store):
    def fill(work):
        (work / "checkpoint").write_text("hours")
        assert Store.at(store.folder, 1000).clear() == 0
        assert (work / "checkpoint").read_text() == "hours"
        (work / "file").write_text("content")

    assert (make(store, 1, fill).folder / "file").read_text() == "content"


def test_work_of_a_killed_attempt_is_continued_though_another_clears_first(store, monkeypatch):
    work = store.folder / "work" / digest(1)
    work.mkdir(parents=True)
    (work / "checkpoint").write_text("hours")
    guarded = store.uses.guarded

    def clear_just_before():
        monkeypatch.setattr(store.uses, "guarded", guarded)
        Store.at(store.folder, 1000).clear()
        return guarded()

    monkeypatch.setattr(store.uses, "guarded", clear_just_before)
    made = make(store, 1, lambda work: (work / "file").write_text("content"))
    assert (made.folder / "file").exists()


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"{}"])
def test_an_entry_that_cannot_be_read_stops_nobody_and_is_removed(store, content):
    broken = store.folder / "entries" / digest("broken")
    broken.mkdir(parents=True)
    (broken / "record.json").write_bytes(content)
    (broken / "file").write_bytes(b"0" * 500)
    make(store, 1, lambda work: (work / "file").write_text("content"))
    assert not broken.exists()
    assert examine(store).entries == 1


def test_the_folder_is_free_again_if_the_cache_cannot_be_tidied(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    heard = []
    run = Run(SimpleNamespace(), tmp_path / "run", heard.append)
    with pytest.raises(KeyError), run.locked():
        monkeypatch.setattr("compressor.pipeline.storage.run_files.RunFiles.close", refuse)
        raise KeyError("the real error")
    assert "the cache could not be tidied" in heard[-1].text
    with Run(SimpleNamespace(), tmp_path / "run").locked():
        pass


def test_a_damaged_memory_of_digests_is_made_again(tmp_path):
    (tmp_path / "digests.json").write_bytes(b'{"\xff": 1}')
    (tmp_path / "weights").write_bytes(b"weights")
    digests = FileDigests(tmp_path / "digests.json")
    assert len(digests.of(tmp_path / "weights", remember=True)) == 64
