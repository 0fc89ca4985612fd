"""What both command lines make of errors: a message and an exit code, never a traceback."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from runtime.cli import BUG, INTERRUPTED, exit_code, guarded
from runtime.errors import ImageError, InputError, MissingDependencyError, ToolError
from runtime.files import write_text
from runtime.results.report import Requirement, Verdict


def guard(monkeypatch, capsys, body, *arguments, **options):
    """Exit code, stdout and stderr of a guarded command that does `body()`."""
    main = click.command()(click.option("--json", "as_json", is_flag=True)(lambda as_json: body()))
    monkeypatch.setattr(sys, "argv", ["tool", *arguments])
    with pytest.raises(SystemExit) as end:
        guarded(main, **options)
    return end.value.code, *capsys.readouterr()


def raising(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ToolError("a: b"), 2),
        (InputError("a: b"), 2),
        (ImageError("a: b"), 2),
        (MissingDependencyError("a: b"), 3),
    ],
)
def test_users_errors_have_a_message_and_a_code(monkeypatch, capsys, error, code):
    assert guard(monkeypatch, capsys, raising(error)) == (code, "", "error: a: b\n")
    got, out, err = guard(monkeypatch, capsys, raising(error), "--json")
    assert (got, err) == (code, "error: a: b\n")
    assert json.loads(out) == {"error": "a: b", "exit_code": code}


@pytest.mark.parametrize("sign", ["x", "\x00", "\u202e", "\n"])
def test_a_message_has_an_end_whatever_it_quotes(monkeypatch, capsys, sign):
    error = InputError(f"labels.csv:3: no such image: {sign * 100_000}\n  Correct the name.")
    code, out, err = guard(monkeypatch, capsys, raising(error), "--json")
    assert code == 2
    for said in (err, json.loads(out)["error"]):
        assert "labels.csv:3: no such image" in said
        assert said.rstrip().endswith("Correct the name.")
        assert len(said) < 6_000


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort])
def test_an_interruption_tells_how_to_go_on(monkeypatch, capsys, interruption):
    code, out, err = guard(
        monkeypatch, capsys, raising(interruption), on_interrupt=lambda: "type it again"
    )
    assert (code, out) == (INTERRUPTED, "")
    assert err.strip() == "interrupted. type it again"


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (errno.ENOSPC, 3, "/x/y: no space left on this disk. What was finished is kept"),
        (errno.EDQUOT, 3, "/x/y: no space left on this disk."),
        (errno.EACCES, 2, "/x/y: Permission denied. Choose another folder."),
        (errno.EROFS, 2, "/x/y: Read-only file system. Choose another folder."),
        (errno.ENOTDIR, 2, "/x/y: Not a directory. Choose another folder."),
        (errno.EEXIST, 2, "/x/y: File exists. Choose another folder."),
    ],
)
def test_what_the_file_system_refuses(monkeypatch, capsys, number, code, said):
    error = OSError(number, os.strerror(number), "/x/y")
    got, _, err = guard(monkeypatch, capsys, raising(error))
    assert got == code
    assert err.startswith(f"error: {said}")


def test_where_a_folder_should_be_made_is_a_file(monkeypatch, capsys, tmp_path):
    (tmp_path / "run").write_bytes(b"")
    code, _, err = guard(monkeypatch, capsys, lambda: write_text(tmp_path / "run" / "x", "text"))
    assert code == 2
    assert err == f"error: {tmp_path / 'run'}: File exists. Choose another folder.\n"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_file_below_proc(monkeypatch, capsys):
    code, _, err = guard(monkeypatch, capsys, lambda: write_text(Path("/proc/new/report"), "text"))
    assert code == 2
    assert err == "error: /proc/new: /proc and the like take no files. Choose another folder.\n"


def test_a_file_that_we_forgot_to_make_is_a_bug(monkeypatch, capsys, tmp_path):
    code, _, err = guard(monkeypatch, capsys, lambda: (tmp_path / "forgotten").read_bytes())
    assert code == BUG
    assert "a bug in edge-compressor: FileNotFoundError" in err


def test_a_write_to_a_full_disk_that_names_no_file(monkeypatch, capsys):
    error = OSError(errno.ENOSPC, "No space left on device")
    code, _, err = guard(monkeypatch, capsys, raising(error))
    assert code == 3
    assert err.startswith("error: a file that was being written: no space left on this disk.")


def test_a_copy_to_a_full_disk_names_what_was_written(monkeypatch, capsys):
    error = OSError(errno.ENOSPC, "No space left on device", "/from/a", None, "/to/b")
    code, _, err = guard(monkeypatch, capsys, raising(error))
    assert code == 3
    assert err.startswith("error: /to/b: no space left on this disk.")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), RuntimeError("a bug")])
def test_a_bug_leaves_its_traceback_in_a_file(monkeypatch, capsys, tmp_path, error):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, out, err = guard(monkeypatch, capsys, raising(error))
    assert (code, out) == (70, "")
    assert "Traceback" not in err and str(error) in err
    (file,) = tmp_path.iterdir()
    assert str(file) in err
    written = file.read_text()
    assert "Traceback (most recent call last)" in written and str(error) in written


def caused_by(error):
    outer = RuntimeError("a library's own words")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory (MemoryError)."),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
         "out of memory ([enforce fail] DefaultCPUAllocator: can't allocate memory: you tried)."),
        (caused_by(MemoryError()), "out of memory (MemoryError)."),
        (caused_by(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore")),
         "the GPU's memory is full (CUDA out of memory. Tried to allocate 2.00 GiB.)."),
        (RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing "
                      "file data/0: file write failed"), "no space left on this disk"),
        (ValueError("I/O error: No space left on device (os error 28)"), "no space left on this"),
        (caused_by(OSError(errno.ENOSPC, "full")), "no space left on this disk"),
    ],
)  # fmt: skip
def test_a_full_disk_or_memory_inside_a_library(monkeypatch, capsys, error, said):
    code, _, err = guard(monkeypatch, capsys, raising(error))
    assert code == 3
    assert said in err and "What was finished is kept" in err


def test_a_package_of_ours_that_is_not_installed(monkeypatch, capsys):
    missing = ModuleNotFoundError("No module named 'msgspec.json'", name="msgspec.json")
    code, _, err = guard(monkeypatch, capsys, raising(missing))
    assert code == 3
    assert "the Python package msgspec is not installed" in err and "pip install msgspec" in err
    ours = ModuleNotFoundError("No module named 'runtime.gone'", name="runtime.gone")
    assert guard(monkeypatch, capsys, raising(ours))[0] == 70  # a bug


STOPPED = """
import sys, time, click
from runtime.cli import guarded
@click.command()
def main():
    print("at work", flush=True)
    time.sleep(60)
guarded(main, on_interrupt=lambda: "type it again")
"""


def test_sigterm_is_exit_code_143():
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "at work\n"
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err == "\ntold to stop. type it again\n"


def test_done(monkeypatch, capsys):
    assert guard(monkeypatch, capsys, lambda: None) == (0, "", "")
    assert guard(monkeypatch, capsys, raising(SystemExit(1)))[0] == 1


@pytest.mark.parametrize(
    ("judged", "passed", "code"),
    [
        ([], True, 0),
        ([True], True, 0),
        ([True, None], True, 0),
        ([True, None], False, 1),
        ([None, False], False, 1),
    ],
)
def test_exit_code_of_a_report(judged, passed, code):
    requirements = tuple(Requirement("a", "at least", 1, 1, each, "") for each in judged)
    assert exit_code(SimpleNamespace(verdict=Verdict(passed, requirements))) == code
