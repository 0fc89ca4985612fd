"""SIGKILL and Ctrl-C in the real command line, in every stage."""

import json
import signal
import subprocess
import sys
import time

import pytest

STUDENTS = {
    "cnn": {},
    "vit": {
        "student.model": "vit_tiny_patch16_224",
        "student.args": {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2},
        "student.embedding": None,
    },
}


def start(recipe, out):
    words = [sys.executable, "-u", "-m", "compressor", "run", str(recipe), "--out", str(out)]
    return subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A shell that starts the tests in the background has them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def stop_when(process, line_start, how, *, after_s=0.0):
    """Send a signal once a line on stderr begins so; everything that was said."""
    said = []
    with process:
        for line in process.stderr:
            said.append(line)
            if line.startswith(line_start):
                time.sleep(after_s)
                process.send_signal(how)
                break
        said += process.stderr.readlines()
    return "".join(said)


def finish(process):
    """Wait for the end; the exit code and everything that was said."""
    with process:
        said = process.communicate(timeout=300)[1]
    return process.returncode, said


@pytest.mark.timeout(900)
@pytest.mark.parametrize("student", ["cnn", "vit"])
def test_killed_in_every_stage_it_ends_with_the_same_bits(
    write_recipe, tmp_path, student, monkeypatch
):
    # Without the shared cache, where the killed run would find what the undisturbed one made.
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "0")
    changes = {"distill.epochs": 12, "distill.views": 2, "distill.checkpoint_s": 0}
    recipe = write_recipe({**changes, **STUDENTS[student]})
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert finish(start(recipe, undisturbed))[0] == 0
    # In the training twice: at its beginning, and after some epochs.
    report = json.loads((undisturbed / "report.json").read_text(encoding="utf-8"))
    moments = [f"{stage}: " for stage in report["timings_s"]] if student == "cnn" else ["distill: "]
    for moment in [*moments[:4], "epoch 5: ", *moments[4:]]:
        process = start(recipe, killed)
        said = stop_when(process, moment, signal.SIGKILL, after_s=0.05)
        assert process.returncode == -signal.SIGKILL, f"{moment} never came:\n{said}"
    code, said = finish(start(recipe, killed))
    assert code == 0, said
    for name in ("student.safetensors", "embeddings.safetensors", "probes.safetensors"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not list((killed / ".work").iterdir())
    assert not list(killed.rglob("*.tmp"))


@pytest.mark.timeout(300)
def test_ctrl_c_ends_with_130_and_says_how_to_continue(write_recipe, tmp_path):
    changes = {"distill.epochs": 500, "distill.checkpoint_s": 0, "distill.workers": 1}
    out = tmp_path / "out"
    process = start(write_recipe(changes), out)
    said = stop_when(process, "epoch 2: ", signal.SIGINT)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "to continue: compressor run" in said
    assert "Traceback" not in said
    again = start(write_recipe(changes), out)
    said = stop_when(again, "continuing after step", signal.SIGKILL)
    assert "unchanged, skipped" in said
