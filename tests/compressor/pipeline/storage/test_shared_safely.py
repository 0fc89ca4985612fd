"""What another process, a damaged file or a refused folder may do to a store that a run uses."""

from types import SimpleNamespace

import pytest

from compressor.pipeline.context import Run
from compressor.pipeline.storage.cache import examine
from compressor.pipeline.storage.digests import FileDigests, digest
from compressor.pipeline.storage.entries import link
from compressor.pipeline.storage.records import StepRecord
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


def written(store, number, content="content"):
    return make(store, number, lambda work: (work / "file").write_text(content)).key


def test_only_what_is_named_linked_or_used_is_kept(tmp_path):
    private, other = Store.at(tmp_path, None), Store.at(tmp_path, None)
    kept, linked, used, forgotten = (written(private, number) for number in range(4))

    def linking(work):
        link(work / "folder" / "file", private.folder / "entries" / linked / "file")

    linker, _ = private.make(digest("linker"), ("folder",), linking, lambda line: None)
    private.close()
    other.find(used)
    private.keep_only([kept, linker.key])
    assert {entry.key for entry in private.entries()} == {kept, linker.key, linked, used}
    other.close()
    private.keep_only([])
    assert private.entries() == []
    assert not (private.folder / "entries" / forgotten).exists()


def test_without_a_shared_cache_a_run_keeps_what_its_steps_are_made_of(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "0")

    def once(changed):
        """A step that uses one part, made from scratch if `changed` is new."""
        run = Run(SimpleNamespace(), tmp_path / "run")
        with run.locked():
            key = digest(changed)
            with run.files.reading("step", ()):
                part = run.shared(["part", changed], "part", lambda path: path.write_text(changed))
                entry, _ = run.files.store.make(
                    key, ("out",), lambda work: (work / "out").write_text(changed), run.note
                )
            record = StepRecord(key, key, ("out",), (), entry.record.files, 0.0)
            run.files.place("step", record, entry)
        return {key, part.parent.name}

    def entries():
        return {path.name for path in (tmp_path / "run" / ".store" / "entries").iterdir()}

    first = once("first")
    assert entries() == first
    untouched = Run(SimpleNamespace(), tmp_path / "run")
    with untouched.locked():
        untouched.files.store.find(digest("first"))
    assert entries() == first
    second = once("second")
    assert entries() == second


def test_an_interrupted_run_finds_what_it_had_made_in_its_private_store(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "0")
    run = Run(SimpleNamespace(), tmp_path / "run")
    with pytest.raises(KeyboardInterrupt), run.locked():
        made = run.shared("part", "part", lambda path: path.write_text("hours"))
        raise KeyboardInterrupt
    assert made.read_text() == "hours"
