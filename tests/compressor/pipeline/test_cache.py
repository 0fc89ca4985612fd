"""Files that runs share: the very bytes kept, within the limit, and never a run that fails."""

import errno
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.cli import app
from compressor.pipeline import cache as caching
from compressor.pipeline.cache import Cache
from runtime.errors import InputError


def key(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", 1000)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def keep(cache, run, number, content=b"content", *, used=None):
    """Keep a new file under a key; say when it was last used. Gives the path of the entry."""
    path = run / f"{number}.made"
    path.write_bytes(content)
    cache.keep(key(number), path)
    entry = cache.folder / f"{key(number)}.{sha256(content)}"
    if used is not None:
        os.utime(entry, (used, used))
    return entry


def kept(cache):
    return [entry.key for entry in cache.entries()]


# --- fetch and keep --------------------------------------------------------------------------


def test_what_was_kept_is_fetched(cache, run):
    entry = keep(cache, run, 1, b"features")
    assert entry.is_file()
    assert cache.fetch(key(1), run / "below" / "fetched")
    assert (run / "below" / "fetched").read_bytes() == b"features"
    assert not cache.fetch(key(2), run / "other")
    assert not (run / "other").exists()
    assert sorted(path.name for path in run.rglob("*")) == ["1.made", "below", "fetched"]
    assert list(cache.folder.iterdir()) == [entry]


def test_nothing_is_fetched_from_a_cache_that_is_not_there(cache, run):
    assert not cache.fetch(key(1), run / "fetched")
    assert cache.entries() == []
    assert cache.clear() == 0
    assert not cache.folder.exists()


def test_the_disk_holds_the_bytes_once(cache, run):
    entry = keep(cache, run, 1)
    cache.fetch(key(1), run / "fetched")
    assert entry.samefile(run / "1.made")
    assert entry.samefile(run / "fetched")


def test_a_fetched_file_replaces_what_is_there_and_may_be_fetched_again(cache, run):
    keep(cache, run, 1, b"new")
    path = run / "fetched"
    path.write_bytes(b"old")
    for _ in range(2):
        assert cache.fetch(key(1), path)
        assert path.read_bytes() == b"new"
    assert {path.name for path in run.iterdir()} == {"1.made", "fetched"}


def test_a_run_that_replaces_its_file_leaves_the_entry_alone(cache, run):
    entry = keep(cache, run, 1, b"mine")
    (run / "new").write_bytes(b"something else")
    (run / "new").replace(run / "1.made")
    assert entry.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS]
)
def test_where_the_disk_cannot_link_it_copies(cache, run, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    entry = keep(cache, run, 1, b"features")
    assert cache.fetch(key(1), run / "fetched")
    assert (run / "fetched").read_bytes() == b"features"
    assert len({path.stat().st_ino for path in (entry, run / "1.made", run / "fetched")}) == 3


def test_a_copy_never_writes_into_the_link_that_a_killed_process_left(cache, run, monkeypatch):
    (run / "precious").write_bytes(b"precious")
    cache.folder.mkdir()
    left = cache.folder / f".{key(1)}.{sha256(b'content')}.{os.getpid()}.tmp"
    left.hardlink_to(run / "precious")

    def refuse(*_, **__):
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    keep(cache, run, 1)
    assert (run / "precious").read_bytes() == b"precious"
    assert kept(cache) == [key(1)]


def test_a_symlink_is_kept_as_the_file_it_leads_to(cache, run):
    (run / "file").write_bytes(b"content")
    (run / "link").symlink_to("file")
    cache.keep(key(1), run / "link")
    (entry,) = cache.entries()
    assert not entry.path.is_symlink()
    assert entry.path.samefile(run / "file")


def test_a_key_that_is_there_is_left_as_it_is(cache, run):
    entry = keep(cache, run, 1, b"first", used=1000)
    (run / "second").write_bytes(b"second")
    cache.keep(key(1), run / "second")
    assert list(cache.folder.iterdir()) == [entry]
    assert entry.stat().st_mtime == 1000


def test_a_key_is_a_sha256(cache, run):
    (run / "file").touch()
    with pytest.raises(ValueError, match="'features' is no hex sha256"):
        cache.keep("features", run / "file")
    assert not cache.folder.exists()


def test_off_it_neither_fetches_nor_keeps(cache, run):
    keep(cache, run, 1)
    off = Cache(cache.folder, 0)
    assert not off.fetch(key(1), run / "fetched")
    keep(off, run, 2)
    assert kept(off) == [key(1)]


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damaged", [b"", b"c0ntent", b"content and more"])
def test_a_damaged_entry_is_removed_with_a_warning(cache, run, caplog, damaged):
    entry = keep(cache, run, 1)
    entry.write_bytes(damaged)
    (run / "fetched").write_bytes(b"old")
    assert not cache.fetch(key(1), run / "fetched")
    assert (run / "fetched").read_bytes() == b"old"
    assert caplog.messages == [f"{entry}: damaged; removed from the cache"]
    assert not entry.exists()
    keep(cache, run, 1)
    assert cache.fetch(key(1), run / "fetched")


def test_of_two_entries_of_a_key_the_whole_one_is_fetched(cache, run):
    whole = keep(cache, run, 1, b"whole")
    damaged = cache.folder / f"{key(1)}.{sha256(b'other')}"
    damaged.write_bytes(b"0ther")
    os.utime(damaged, (1, 1))
    assert cache.fetch(key(1), run / "fetched")
    assert (run / "fetched").read_bytes() == b"whole"
    assert list(cache.folder.iterdir()) == [whole]


# --- the limit -------------------------------------------------------------------------------


def test_least_recently_used_goes_first(cache, run):
    for number, used in ((1, 3000), (2, 1000), (3, 2000)):
        keep(cache, run, number, bytes(300), used=used)
    assert kept(cache) == [key(2), key(3), key(1)]
    keep(cache, run, 4, bytes(400))
    assert kept(cache) == [key(3), key(1), key(4)]


def test_to_fetch_is_to_use(cache, run):
    for number, used in ((1, 1000), (2, 2000)):
        keep(cache, run, number, bytes(400), used=used)
    assert cache.fetch(key(1), run / "fetched")
    assert kept(cache) == [key(2), key(1)]
    keep(cache, run, 3, bytes(400))
    assert set(kept(cache)) == {key(1), key(3)}


def test_an_old_file_is_used_when_it_is_kept(cache, run):
    keep(cache, run, 1, used=time.time() - 60)
    (run / "old").write_bytes(b"old")
    os.utime(run / "old", (1000, 1000))
    cache.keep(key(2), run / "old")
    assert kept(cache) == [key(1), key(2)]


def test_as_large_as_the_limit_is_kept_alone(cache, run):
    keep(cache, run, 1)
    keep(cache, run, 2, bytes(1000))
    assert kept(cache) == [key(2)]


def test_larger_than_the_limit_is_not_kept_and_drives_nothing_out(cache, run, caplog):
    keep(cache, run, 1)
    with caplog.at_level(logging.INFO, logger="compressor.pipeline.cache"):
        keep(cache, run, 2, bytes(1001))
    assert kept(cache) == [key(1)]
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.message.startswith("2.made (0.0 MB) is not kept for other runs: it is larger")


def test_the_one_just_kept_stays_even_if_the_clock_went_back(cache, run):
    keep(cache, run, 1, bytes(600), used=time.time() + 3600)
    keep(cache, run, 2, bytes(600))
    assert kept(cache) == [key(2)]


operations = st.lists(
    st.tuples(st.sampled_from(["keep", "fetch"]), st.integers(0, 4), st.binary(max_size=12)),
    max_size=25,
)


@settings(deadline=None, max_examples=60)  # each step waits for the disk
@given(operations, st.integers(0, 20))
def test_any_sequence_stays_within_the_limit_and_gives_the_bytes_kept(
    tmp_path_factory, sequence, limit
):
    place = tmp_path_factory.mktemp("any")
    cache, there = Cache(place / "cache", limit), {}
    for number, (operation, name, content) in enumerate(sequence):
        path = place / str(number)
        if operation == "keep":
            path.write_bytes(content)
            before = kept(cache)
            cache.keep(key(name), path)
            if key(name) not in before:
                there[key(name)] = content
            assert (key(name) in kept(cache)) == (key(name) in before or 0 < limit >= len(content))
        else:
            fetched = cache.fetch(key(name), path)
            assert fetched == (key(name) in kept(cache)) == path.exists()
            assert not fetched or path.read_bytes() == there[key(name)]
        assert sum(entry.size_bytes for entry in cache.entries()) <= limit
        assert set(kept(cache)) <= set(there)


ONE_OF_SEVERAL = """
import sys, random
from pathlib import Path
from compressor.pipeline.cache import Cache
cache, run, fetched = Cache(Path(sys.argv[1]), 3000), Path(sys.argv[2]), 0
for _ in range(150):
    number = random.randrange(5)
    content = bytes([number]) * 1000
    if cache.fetch(f"{number:064}", run / "fetched"):
        assert (run / "fetched").read_bytes() == content
        fetched += 1
    else:
        (run / "made").unlink(missing_ok=True)
        (run / "made").write_bytes(content)
        cache.keep(f"{number:064}", run / "made")
assert fetched
"""


def test_processes_at_once_do_not_disturb_each_other(cache, tmp_path):
    words, started = [sys.executable, "-c", ONE_OF_SEVERAL, str(cache.folder)], []
    for number in range(3):
        run = tmp_path / str(number)
        run.mkdir()
        started.append(subprocess.Popen([*words, str(run)], stderr=subprocess.PIPE, text=True))
    for process in started:
        with process:
            assert process.communicate(timeout=60)[1] == ""  # no traceback and no warning
        assert process.returncode == 0
    assert not list(cache.folder.glob(".*"))
    assert 0 < sum(entry.size_bytes for entry in cache.entries()) <= 3000


# --- a cache that cannot be used -------------------------------------------------------------


def test_a_folder_that_cannot_be_is_a_warning_not_an_error(run, caplog):
    (run / "file").touch()
    folder = run / "file" / "cache"
    cache = Cache(folder, 1000)
    assert not cache.fetch(key(1), run / "fetched")
    keep_path = run / "made"
    keep_path.write_bytes(b"content")
    cache.keep(key(1), keep_path)
    assert keep_path.read_bytes() == b"content"
    cannot, not_kept = caplog.messages
    assert cannot == f"{folder}: cannot be used as a cache: Not a directory"
    assert not_kept.startswith(f"{folder}: Not a directory; made is not kept for other runs.")
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_full_disk_is_a_warning_and_leaves_nothing(cache, run, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    keep(cache, run, 1)
    assert "No space left on device; 1.made is not kept" in caplog.text
    assert list(cache.folder.iterdir()) == []


def test_a_file_to_keep_that_is_not_there_is_an_error(cache, run):
    with pytest.raises(FileNotFoundError):
        cache.keep(key(1), run / "never made")


def test_an_entry_that_vanishes_meanwhile_was_not_there(cache, run, monkeypatch, caplog):
    entry = keep(cache, run, 1)
    listed = cache.entries()
    entry.unlink()
    monkeypatch.setattr(Cache, "entries", lambda _: listed)
    assert not cache.fetch(key(1), run / "fetched")
    assert cache.clear() == 0
    cache._make_room(cache.folder / "another")
    assert caplog.messages == []


def test_other_files_in_the_folder_are_left_alone(cache, run, monkeypatch):
    monkeypatch.setattr(caching, "_LEFT_OVER_AFTER_S", -1)
    cache.folder.mkdir()
    others = [cache.folder / name for name in (".theirs.1.tmp", "photo.png", key(1))]
    for other in others:
        other.write_bytes(bytes(2000))
    keep(cache, run, 1)
    assert kept(cache) == [key(1)]
    cache.clear()
    assert sorted(cache.folder.iterdir()) == sorted(others)


def test_what_a_killed_process_left_is_removed_after_a_day(cache, run, monkeypatch):
    cache.folder.mkdir()
    left = cache.folder / f".{key(1)}.{key(2)}.12345.tmp"
    left.touch()
    os.utime(left, (1000, 1000))  # the link to an old file, made just now
    keep(cache, run, 1)
    assert left.exists()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    keep(cache, run, 2)
    assert not left.exists()
    assert len(kept(cache)) == 2


# --- clear -----------------------------------------------------------------------------------


def test_clear_says_what_the_disk_gets_back_and_runs_keep_theirs(cache, run):
    keep(cache, run, 1, bytes(300))
    keep(cache, run, 2, bytes(500))
    (run / "1.made").unlink()
    assert cache.clear() == 300
    assert list(cache.folder.iterdir()) == []
    assert (run / "2.made").read_bytes() == bytes(500)


# --- the environment -------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Set variables of the environment, of which none are set but HOME."""
    for name in ("EDGE_COMPRESSOR_CACHE", "EDGE_COMPRESSOR_CACHE_GB", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def set_them(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        return Cache.from_environment()

    return set_them


def test_the_folder_follows_from_the_environment(environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert environment().folder == tmp_path / "home" / ".cache" / "edge-compressor"
    assert environment(XDG_CACHE_HOME="").folder == tmp_path / "home/.cache/edge-compressor"
    assert environment(XDG_CACHE_HOME="/xdg").folder == Path("/xdg/edge-compressor")
    assert environment(EDGE_COMPRESSOR_CACHE="/mine").folder == Path("/mine")
    assert environment(EDGE_COMPRESSOR_CACHE="mine").folder == tmp_path / "mine"


@pytest.mark.parametrize(
    ("gigabytes", "limit"),
    [("", 20_000_000_000), ("3", 3_000_000_000), ("0.5", 500_000_000), ("0", 0), ("1e-9", 1)],
)
def test_the_limit_follows_from_the_environment(environment, gigabytes, limit):
    assert environment().limit_bytes == 20_000_000_000
    assert environment(EDGE_COMPRESSOR_CACHE_GB=gigabytes).limit_bytes == limit


@pytest.mark.parametrize("nonsense", ["-1", "20 GB", "much", "nan", "inf", "-inf", "1e999"])
def test_no_number_of_gigabytes_is_an_error(environment, nonsense):
    with pytest.raises(InputError, match=f"EDGE_COMPRESSOR_CACHE_GB is '{nonsense}'; a number"):
        environment(EDGE_COMPRESSOR_CACHE_GB=nonsense)


def test_without_a_home_a_folder_must_be_named(environment, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(InputError, match="name a folder in EDGE_COMPRESSOR_CACHE"):
        environment()
    assert environment(XDG_CACHE_HOME="/xdg").folder == Path("/xdg/edge-compressor")
    assert environment(EDGE_COMPRESSOR_CACHE="/mine").folder == Path("/mine")


# --- compressor cache ------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capfd):
    """Type `compressor cache`; exit code, stdout and stderr."""
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")  # as the command itself sets them, but undone afterwards

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["compressor", "cache", *words])
        with pytest.raises(SystemExit) as ended:
            app.main()
        return ended.value.code, *capfd.readouterr()

    return command


@pytest.fixture
def filled(monkeypatch, run):
    """The environment's cache, with a file that a run holds too and one that none does."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    cache = Cache.from_environment()
    keep(cache, run, 1, bytes(1_200_000), used=1_700_000_000)
    keep(cache, run, 2, bytes(300_000), used=1_700_086_400)
    (run / "1.made").unlink()
    yield cache
    monkeypatch.undo()
    time.tzset()


def test_command__says_where_how_much_and_what_to_type(filled, command):
    code, out, err = command()
    assert code == 0
    assert out.splitlines() == [
        f"folder   {filled.folder}",
        "used     1.5 MB of 20.0 GB",
        "entries  2, last used 2023-11-14T22:13:20+00:00 (oldest) "
        "to 2023-11-15T22:13:20+00:00 (newest)",
    ]
    assert err == "Next: compressor cache --clear removes them\n"
    assert len(kept(filled)) == 2


def test_command__clears(filled, command):
    code, out, err = command("--clear")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"folder   {filled.folder}",
        "used     0.0 MB of 20.0 GB",
        "entries  0",
        "freed    1.2 MB; files that folders of runs hold too are still there",
    ]
    assert kept(filled) == []


def test_command__json(filled, command):
    document = json.loads(command("--json")[1])
    assert document == {
        "folder": str(filled.folder),
        "size_bytes": 1_500_000,
        "limit_bytes": 20_000_000_000,
        "entries": 2,
        "oldest_use": "2023-11-14T22:13:20+00:00",
        "newest_use": "2023-11-15T22:13:20+00:00",
    }
    cleared = json.loads(command("--clear", "--json")[1])
    assert cleared["freed_bytes"] == 1_200_000
    assert (cleared["entries"], cleared["oldest_use"], cleared["newest_use"]) == (0, None, None)


def test_command__an_empty_cache_that_is_off(command, monkeypatch):
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "0")
    code, out, err = command()
    assert (code, err) == (0, "")
    assert "used     0.0 MB and switched off by EDGE_COMPRESSOR_CACHE_GB\nentries  0\n" in out
    assert not Cache.from_environment().folder.exists()


def test_command__wrong_input_is_exit_code_2(command, monkeypatch, run):
    (run / "file").touch()
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(run / "file"))
    code, out, err = command()
    assert (code, out) == (2, "")
    assert f"{run / 'file'}: Not a directory. Name another folder in EDGE_COMPRESSOR_CACHE." in err
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "much")
    code, out, err = command("--json")
    assert code == 2
    assert "EDGE_COMPRESSOR_CACHE_GB is 'much'" in json.loads(out)["error"]


def test_command__loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['compressor', 'cache']\n"
        "from compressor.cli.app import commands\n"
        "commands.main(standalone_mode=False)\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'rich', 'PIL'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "[]"
