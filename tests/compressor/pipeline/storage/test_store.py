"""The store: whole entries, within the limit, never one that a live run uses."""

import os
import signal
import subprocess
import sys
import time

import pytest

from compressor.pipeline.storage.digests import digest
from compressor.pipeline.storage.entries import DamagedError, link
from compressor.pipeline.storage.store import Store


def key(number):
    return digest(number)


@pytest.fixture
def store(tmp_path):
    return Store.at(tmp_path / "store", 1000)


def make(store, number, content=b"content", *, verify=False):
    """Make an entry with one file; whether it was made now."""
    write = lambda work: (work / "file").write_bytes(content)  # noqa: E731
    return store.make(key(number), ("file",), write, lambda line: None, verify=verify)[1]


def unused(store, number, content=b"content", *, used_at=None):
    """Make an entry as a run that has ended did."""
    other = Store.at(store.folder, store.limit_bytes)
    make(other, number, content)
    other.close()
    if used_at is not None:
        os.utime(store.folder / "entries" / key(number), (used_at, used_at))


def present(store):
    return [entry.key for entry in store.entries()]


def test_what_was_made_is_found(store):
    assert store.find(key(1)) is None
    assert make(store, 1)
    assert not make(store, 1)
    assert (store.find(key(1)).folder / "file").read_bytes() == b"content"
    assert store.find(key(2)) is None


def test_nothing_is_written_before_something_is_made(store):
    assert store.find(key(1)) is None
    assert store.entries() == []
    store.trim()
    assert store.clear() == 0
    store.close()
    assert not store.folder.exists()


def test_only_outputs_are_kept(store):
    def fill(work):
        (work / "parts").mkdir()
        (work / "parts" / "1.npy").touch()
        (work / "checkpoint.pt").touch()
        (work / "folder").mkdir()
        (work / "folder" / "file").write_text("x")

    entry, _ = store.make(key(1), ("folder",), fill, print)
    assert sorted(path.name for path in entry.folder.iterdir()) == ["folder", "record.json"]
    assert list(entry.record.files) == ["folder/file"]
    assert list((store.folder / "work").iterdir()) == []


def test_a_failed_attempt_keeps_its_work_but_nothing_half_written(store):
    def fails(work):
        (work / "part").write_text("done")
        (work / ".file.1.tmp").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.make(key(1), ("file",), fails, print)
    assert store.find(key(1)) is None
    seen = []

    def fill(work):
        seen.extend(path.name for path in work.iterdir())
        (work / "file").touch()

    store.make(key(1), ("file",), fill, print)
    assert seen == ["part"]


def test_the_seconds_of_killed_attempts_count_until_their_last_file(store):
    def killed(work):
        written = time.time() + 100
        (work / "part").touch()
        os.utime(work / "part", (written, written))
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            store.make(key(1), ("file",), killed, print)
    make(store, 1)
    assert 195 < store.find(key(1)).record.seconds < 300
    assert not list((store.folder / "locks").glob("*.begun"))
    make(store, 2)
    assert store.find(key(2)).record.seconds < 100


# --- links ------------------------------------------------------------------------------------


def make_index(store, number, shards):
    def fill(work):
        (work / "shards").mkdir(exist_ok=True)
        for shard in shards:
            make(store, shard, bytes([shard]) * 100)
            link(work / "shards" / str(shard), store.find(key(shard)).folder / "file")

    return store.make(key(number), ("shards",), fill, print)


def test_an_entry_of_links_costs_nothing_and_has_the_digests_of_its_shards(store):
    entry, _ = make_index(store, 1, [2, 3])
    assert (entry.folder / "shards" / "3").read_bytes() == bytes([3]) * 100
    assert entry.size_bytes == 0
    shard = store.find(key(3)).record.files["file"]
    assert entry.record.files["shards/3"] == shard


def test_an_entry_whose_shard_is_gone_is_made_again_with_that_shard_alone(store):
    make_index(store, 1, [2, 3])
    kept = store.find(key(2)).folder.stat().st_ino
    store.remove(key(3))
    assert store.find(key(1)) is None
    assert make_index(store, 1, [2, 3])[1]
    assert store.find(key(2)).folder.stat().st_ino == kept


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"c0ntent", b"", b"content and more"])
def test_a_damaged_file_is_never_copied(store, tmp_path, content):
    make(store, 1)
    entry = store.find(key(1))
    (entry.folder / "file").write_bytes(content)
    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises(DamagedError, match="file"):
        entry.copy("file", tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"old"


def test_another_size_is_seen_without_reading(store):
    make(store, 1)
    (store.find(key(1)).folder / "file").write_bytes(b"longer than before")
    assert store.find(key(1)) is None
    assert make(store, 1)


def test_a_file_that_is_not_copied_is_verified_when_it_is_asked_for(store):
    make(store, 1)
    (store.find(key(1)).folder / "file").write_bytes(b"c0ntent")
    assert not make(store, 1)
    assert make(store, 1, verify=True)
    assert (store.find(key(1)).folder / "file").read_bytes() == b"content"


# --- the limit --------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first(store):
    for number, used_at in ((1, 3000), (2, 1000), (3, 2000)):
        unused(store, number, bytes(300), used_at=used_at)
    assert present(store) == [key(2), key(3), key(1)]
    unused(store, 4, bytes(400))
    assert present(store) == [key(3), key(1), key(4)]


def test_finding_is_using(store):
    for number, used_at in ((1, 1000), (2, 2000)):
        unused(store, number, bytes(400), used_at=used_at)
    assert Store.at(store.folder, 1000).find(key(1))
    assert present(store) == [key(2), key(1)]


def test_what_a_live_run_uses_stays_until_it_ends(store):
    make(store, 1, bytes(600))
    make(store, 2, bytes(600))
    assert len(present(store)) == 2  # over the limit, but in use
    assert Store.at(store.folder, 1000).clear() == 0
    store.close()
    assert len(present(store)) == 1


def test_links_of_an_entry_in_use_are_in_use(tmp_path):
    store = Store.at(tmp_path / "store", 150)
    make_index(store, 1, [2])
    store.close()
    other = Store.at(store.folder, 150)
    assert other.find(key(1))
    unused(store, 3, bytes(100))
    assert other.find(key(1))


def test_the_keys_of_a_killed_run_protect_nothing(store):
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from compressor.pipeline.storage.store import Store\n"
        "store = Store.at(Path(sys.argv[1]), 1000)\n"
        "store.make(sys.argv[2], ('file',), lambda work: (work / 'file').touch(), print)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(store.folder), key(1)])
    assert killed.returncode == -signal.SIGKILL
    assert present(store) == [key(1)]
    store.clear()
    assert present(store) == []
    assert [path.name for path in (store.folder / "in_use").iterdir()] == [".guard"]


def test_clear_says_how_much_was_removed(store):
    unused(store, 1, bytes(300))
    unused(store, 2, bytes(500))
    assert store.clear() == 800
    assert present(store) == []


def test_work_of_a_killed_run_is_removed_after_a_day(store):
    for age_h in (23, 25):
        left = store.folder / "work" / key(age_h)
        left.mkdir(parents=True)
        (left / "part").touch()
        then = time.time() - age_h * 3600
        os.utime(left, (then, then))
    make(store, 1)
    assert [path.name for path in (store.folder / "work").iterdir()] == [key(23)]


def test_work_of_a_killed_run_in_which_nothing_was_made_is_removed_at_once(store):
    for name in ("begun", "empty"):
        (store.folder / "work" / key(name)).mkdir(parents=True)
    (store.folder / "work" / key("begun") / "part").touch()
    store.close()
    assert [path.name for path in (store.folder / "work").iterdir()] == [key("begun")]


def test_work_that_a_live_run_has_just_begun_stays(store):
    other = Store.at(store.folder, None)

    def fill(work):
        assert not any(work.iterdir())
        begun = store.folder / "locks" / f"{key('file')}.begun"
        os.utime(begun, (0, 0))  # as of work that takes more than a day
        other.close()
        assert begun.exists()
        (work / "file").touch()

    assert store.make(key("file"), ("file",), fill, print)[1]


def test_files_of_older_versions_are_removed_and_others_left_alone(store):
    store.folder.mkdir()
    (store.folder / f"{key(1)}.{key(2)}").touch()
    (store.folder / "photo.png").touch()
    store.trim()
    assert [path.name for path in store.folder.iterdir() if path.is_file()] == ["photo.png"]


# --- two processes ----------------------------------------------------------------------------

SLOW = """
import sys, time
from pathlib import Path
from compressor.pipeline.storage.store import Store

def fill(work):
    print("making", flush=True)
    sys.stdin.readline()
    (work / "file").write_text("made")

store = Store.at(Path(sys.argv[1]), 1000)
made = store.make(sys.argv[2], ("file",), fill, lambda line: print(line, flush=True))[1]
print(made, flush=True)
"""


def test_a_second_process_waits_for_the_first(store):
    words = [sys.executable, "-c", SLOW, str(store.folder), key(1)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **pipes) as first:
        assert first.stdout.readline() == "making\n"
        with subprocess.Popen(words, **pipes) as second:
            waiting = second.stdout.readline()
            assert waiting == "another run is making the same files; waiting for it\n"
            first.stdin.write("go\n")
            first.stdin.close()
            assert first.stdout.readline() == "True\n"
            assert second.stdout.readline() == "False\n"
