"""SIGKILL in every step, and Ctrl-C in the real command line."""

import signal
import subprocess
import sys

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


def stop_when(process, line_start, how):
    """Send a signal once a line on stderr begins so; everything that was said."""
    said = []
    with process:
        for line in process.stderr:
            said.append(line)
            if line.startswith(line_start):
                process.send_signal(how)
                break
        said += process.stderr.readlines()
    return "".join(said)


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path

from compressor.events import EpochEnded
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.recipe import plan as plans

moment, steps_of = sys.argv[3], runner.steps_of

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def observe(event):
    if isinstance(event, EpochEnded) and event.text().startswith(moment):
        kill()

def killed(step):
    def make(run, work):
        step.make(run, work)
        assert any(work.iterdir())
        kill()  # its outputs are written, and nothing says so yet
    return replace(step, make=make) if step.name == moment else step

runner.steps_of = lambda run: tuple(map(killed, steps_of(run)))
run = Run(plans.load(Path(sys.argv[1])), Path(sys.argv[2]), observe)
with run.locked():
    runner.run_all(run)
print(" ".join(step.name for step in runner.steps_of(run)))
"""


def run_killed(recipe, out, moment=""):
    """Run, and die in the step `moment`, or at the message that begins so; exit code and stdout."""
    words = [sys.executable, "-c", KILLED, str(recipe), str(out), moment or "never"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(900)
@pytest.mark.parametrize("student", ["cnn", "vit"])
def test_killed_in_every_step_it_ends_with_the_same_bits(
    write_recipe, tmp_path, student, monkeypatch
):
    # Without the shared store, where the killed run would find what the undisturbed one made.
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE_GB", "0")
    changes = {"distill.epochs": 12, "distill.views": 2, "distill.checkpoint_s": 0}
    recipe = write_recipe({**changes, **STUDENTS[student]})
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    code, out = run_killed(recipe, undisturbed)
    assert code == 0, out
    steps = out.split()
    at = steps.index("distill")
    moments = [*steps[:at], "epoch 5: ", *steps[at:]] if student == "cnn" else ["epoch 5: "]
    for moment in moments:
        code, out = run_killed(recipe, killed, moment)
        assert code == -signal.SIGKILL, f"{moment} never came:\n{out}"
    code, out = run_killed(recipe, killed)
    assert code == 0, out
    for name in ("student.safetensors", "embeddings.safetensors", "probes.safetensors"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert not list((killed / ".store" / "work").iterdir())
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
