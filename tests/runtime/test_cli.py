"""The command line of the device: exit codes, one JSON document on stdout, never a traceback."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from runtime.backends.ort_library import import_onnxruntime
from runtime.bundle import bundle
from runtime.cli import bar
from runtime.errors import InputError


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
    assert f"tiny on this machine: no requirement set\nreport: {page}\n" == done.stderr


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
    sentence, requirements, ledger, *_ = done.stdout.strip().split("\n\n")
    assert sentence.startswith("Your student answers as the teacher does on ")
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


def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(sound_bundle, tmp_path):
    (tmp_path / "file").write_text("")

    def track(items, *, label, total):
        pytest.fail(f"it ran: {label}")

    with pytest.raises(InputError, match="Not a directory"):
        runtime.check(sound_bundle, out=tmp_path / "file" / "report", track=track)
    with pytest.raises(pytest.fail.Exception, match="it ran"):
        runtime.check(sound_bundle, out=tmp_path / "report", track=track)


def test_a_report_below_a_file(folder):
    (folder.parent / "file").write_text("")
    done = command("check", "bundle", "--out", "file/report", cwd=folder.parent)
    assert done.returncode == 2
    assert "Not a directory. Choose another folder." in done.stderr


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
