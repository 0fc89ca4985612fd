"""Where the store lies, by the environment; `compressor cache`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compressor.cli import app
from compressor.pipeline.storage.cache import examine, private_store, shared_store, store_for
from compressor.pipeline.storage.digests import digest
from compressor.pipeline.storage.store import Store
from runtime.errors import InputError
from runtime.files import device_cache

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
        return shared_store()

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
    with pytest.raises(
        InputError, match=f"EDGE_COMPRESSOR_CACHE_GB is '{nonsense}'; expected a number"
    ):
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


def fill(number, size, used_at):
    store = shared_store()
    write = lambda work: (work / "file").write_bytes(bytes(size))  # noqa: E731
    entry, _ = store.make(digest(number), ("file",), write, print)
    store.close()
    os.utime(entry.folder, (used_at, used_at))


@pytest.fixture
def filled(monkeypatch):
    """The environment's store, with two entries."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    fill(1, 1_200_000, 1_700_000_000)
    fill(2, 300_000, 1_700_086_400)
    yield shared_store()
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
    assert len(filled.entries()) == 2


def test_command__clears(filled, command):
    code, out, err = command("--clear")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"folder   {filled.folder}",
        "used     0.0 MB of 20.0 GB",
        "entries  0",
        "freed    1.5 MB; finished runs keep their own copies",
    ]
    assert filled.entries() == []


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
    assert cleared["freed_bytes"] == 1_500_000
    assert (cleared["entries"], cleared["oldest_use"], cleared["newest_use"]) == (0, None, None)


def test_command__an_empty_cache_that_is_off(command, monkeypatch):
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "0")
    code, out, err = command()
    assert (code, err) == (0, "")
    assert "used     0.0 MB and switched off by EDGE_COMPRESSOR_CACHE_GB\nentries  0\n" in out
    assert not shared_store().folder.exists()


def test_command__wrong_input_is_exit_code_2(command, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path / "file"))
    code, out, err = command()
    assert (code, out) == (2, "")
    assert (
        f"{tmp_path / 'file'}: Not a directory. Name another folder in EDGE_COMPRESSOR_CACHE."
        in err
    )
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


# --- a store that cannot be used --------------------------------------------------------------


def test_switched_off_a_run_keeps_its_files_to_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "0")
    store = store_for(tmp_path / "run")
    assert store.folder == private_store(tmp_path / "run").folder == tmp_path / "run" / ".store"
    assert store.limit_bytes is None


def test_a_folder_that_cannot_be_is_a_warning_not_an_error(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path / "file" / "cache"))
    store = store_for(tmp_path / "run")
    assert store.folder == tmp_path / "run" / ".store"
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'file' / 'cache'}: cannot be used as a cache: Not a direc")


def test_a_store_of_the_environment_has_its_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path))
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "1")
    store = store_for(tmp_path / "run")
    assert isinstance(store, Store)
    assert (store.folder, store.limit_bytes) == (tmp_path, 1_000_000_000)


def test_clearing_takes_what_files_compiled_here_too(environment, tmp_path):
    environment(EDGE_COMPRESSOR_CACHE=tmp_path / "cache")
    compiled = device_cache("tensorrt-rtx/0123")
    assert compiled.is_relative_to(tmp_path / "cache")
    compiled.parent.mkdir(parents=True)
    compiled.write_bytes(b"12345")
    found = examine(shared_store(), clear=True)
    assert found.freed_bytes == 5
    assert not compiled.exists()
    environment(EDGE_COMPRESSOR_CACHE_GB="0")
    assert device_cache("tensorrt-rtx/0123") is None
