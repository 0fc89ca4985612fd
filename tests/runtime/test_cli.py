"""The command line of the device: exit codes, one JSON document on stdout, never a traceback."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

import runtime
from runtime.backends.ort_library import import_onnxruntime
from runtime.bundle import bundle
from runtime.cli import INTERRUPTED, bar, exit_code, guarded
from runtime.errors import ImageError, InputError, MissingDependencyError, ToolError
from runtime.files import write_text


def command(*arguments, cwd, options=()):
    """`python OPTIONS -m runtime ARGUMENTS` in a process of its own."""
    return subprocess.run(
        [sys.executable, *options, "-m", "runtime", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(runtime.__file__).parents[1])},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(sound_bundle, tmp_path):
    return shutil.copytree(sound_bundle, tmp_path / "bundle")


@pytest.mark.parametrize("watched", [True, False])
def test_a_bar_is_drawn_on_a_terminal_only_and_passes_everything_on(monkeypatch, watched):
    told = io.StringIO()
    told.isatty = lambda: watched
    monkeypatch.setattr(sys, "stderr", told)
    assert list(bar(iter("abc"), label="checking", total=3)) == list("abc")
    assert ("checking" in told.getvalue() and "100%" in told.getvalue()) == watched


# --- python -m runtime -----------------------------------------------------------------------


def test_help(tmp_path):
    done = command("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Check a bundle on this device, and predict with its student." in done.stdout
    assert "check" in done.stdout
    done = command("check", "-h", cwd=tmp_path)
    assert done.returncode == 0
    for option in ("BUNDLE", "--out", "--json"):
        assert option in done.stdout


def test_version(tmp_path):
    done = command("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.strip() == f"edge-compressor runtime, version {runtime.__version__}"


def test_passed(folder):
    done = command("check", folder, "--json", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"]["passed"] is True
    written = folder.parent / "bundle-check"
    assert json.loads((written / "report.json").read_text(encoding="utf-8")) == found
    page = f"{written / 'report.html'} (and .md, .json)"
    assert f"tiny on this machine: passed\nreport: {page}\n" == done.stderr


TRAINING = {"torch", "torchvision", "timm", "sklearn", "onnx", "onnxscript", "pydantic", "rich"}


def test_missed_and_no_training_package_imported(make_bundle, tmp_path):
    words = "check", make_bundle(require={"size_mb": 1e-6}), "--json", "--out", "report"
    done = command(*words, cwd=tmp_path, options=["-X", "importtime"])
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert {"runtime.evaluation.check", "onnxruntime"} <= imported
    assert not imported & (TRAINING | {"compressor", "export"})
    assert done.returncode == 1
    assert json.loads(done.stdout)["verdict"]["passed"] is False
    assert "tiny on this machine: failed (missed size_mb)" in done.stderr
    assert (tmp_path / "report" / "report.md").is_file()


def test_for_people(folder):
    """In the bundle itself, where `.` has no name: the report lies beside it all the same."""
    done = command("check", ".", cwd=folder)
    assert done.returncode == 0, done.stderr
    requirements, ledger, *_ = done.stdout.strip().split("\n\n")  # a busy machine is warned of
    assert requirements.startswith("| requirement ")
    heading, _, *figures = ledger.splitlines()
    assert heading.split() == ["|", "stage", "|", "teacher", "|", "student", "|", "onnx-fp32", "|"]
    assert figures[-1].startswith("| p95 ms ")
    assert (folder.parent / "bundle-check" / "report.json").is_file()
    bundle.load(folder)  # nothing was written into it


def refused(done, code):
    """The message on stderr, after the word `error`."""
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr.removeprefix("error: ").strip()


def test_no_bundle(tmp_path):
    done = command("check", "nowhere", cwd=tmp_path)
    assert refused(done, 2).startswith("nowhere: not a bundle (it has no manifest.json).")
    assert done.stdout == ""


def test_an_error_is_one_json_document_too(folder):
    (folder / "extra").write_bytes(b"")
    done = command("check", folder, "--json", cwd=folder)
    said = refused(done, 2)
    assert json.loads(done.stdout) == {"error": said, "exit_code": 2}
    assert "not in the manifest: extra" in said


def test_something_missing_on_this_machine(make_bundle, tmp_path):
    if "CUDAExecutionProvider" in import_onnxruntime().get_available_providers():
        pytest.skip("CUDA may start here")
    done = command("check", make_bundle(provider="cuda"), "--json", cwd=tmp_path)
    said = refused(done, 3)
    assert json.loads(done.stdout) == {"error": said, "exit_code": 3}
    assert "started CPUExecutionProvider" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "Error: Missing argument 'BUNDLE'."),
        (["chekc"], "Error: No such command 'chekc'."),
        (["check", "x", "--jsno"], "Error: No such option"),
        (["check", "x", "--out", "file"], "Directory 'file' is a file."),
        ([], "Commands:"),
    ],
)
def test_a_wrong_command_line(tmp_path, arguments, said):
    (tmp_path / "file").write_bytes(b"")
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: python -m runtime" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# --- the guard -------------------------------------------------------------------------------


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
        (errno.EACCES, 2, "/x/y: Permission denied. Choose another folder with --out."),
        (errno.EROFS, 2, "/x/y: Read-only file system. Choose another folder with --out."),
        (errno.ENOTDIR, 2, "/x/y: Not a directory. Choose another folder with --out."),
        (errno.EEXIST, 2, "/x/y: File exists. Choose another folder with --out."),
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
    assert err == f"error: {tmp_path / 'run'}: File exists. Choose another folder with --out.\n"


def test_a_write_to_a_full_disk_that_names_no_file(monkeypatch, capsys):
    error = OSError(errno.ENOSPC, "No space left on device")
    code, _, err = guard(monkeypatch, capsys, raising(error))
    assert (code, err[:33]) == (3, "error: a file: no space left on t")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), RuntimeError("a bug")])
def test_a_bug_stays_a_traceback(monkeypatch, error):
    monkeypatch.setattr(sys, "argv", ["tool"])
    with pytest.raises(type(error), match=str(error.args[-1])):
        guarded(click.command()(raising(error)))


def test_done(monkeypatch, capsys):
    assert guard(monkeypatch, capsys, lambda: None) == (0, "", "")
    assert guard(monkeypatch, capsys, raising(SystemExit(1)))[0] == 1


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_exit_code_of_a_report(passed, code):
    assert exit_code(SimpleNamespace(verdict=SimpleNamespace(passed=passed))) == code


# --- pack and unpack ------------------------------------------------------------------------


def test_a_bundle_travels_as_one_file(folder, tmp_path):
    done = command("pack", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Next, on the device: python -m runtime unpack bundle.tar" in done.stderr
    (tmp_path / "device").mkdir()
    done = command("unpack", folder.parent / "bundle.tar", cwd=tmp_path / "device")
    assert done.returncode == 0, done.stderr
    assert "Next: python -m runtime check bundle" in done.stderr
    done = command("check", "bundle", cwd=tmp_path / "device")
    assert done.returncode == 0, done.stderr
    (folder / "bundle.json").write_text("{}")
    assert command("pack", folder, cwd=tmp_path).returncode == 2
