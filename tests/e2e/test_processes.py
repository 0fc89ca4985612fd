"""`compressor run --processes 2`: one is killed, the run says so, and one process ends it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from compressor.api.job import open_job
from compressor.distillation.epochs import read_log
from compressor.pipeline.runner import run_all
from compressor.pipeline.settling.training_defaults import with_training_defaults
from runtime.documents import read_json

STARTED = [sys.executable, "-m", "compressor", "run"]


def ranks(launcher):
    children = psutil.Process(launcher.pid).children()
    return {each.environ().get("RANK"): each for each in children if each.is_running()}


def test_a_killed_process_ends_the_run_and_one_alone_continues(write_recipe, tmp_path):
    recipe = write_recipe({"distill.epochs": 6, "distill.checkpoint_s": 0, "distill.views": 2})
    folder, cache = tmp_path / "run", Path(os.environ["EDGE_COMPRESSOR_CACHE"])
    launcher = subprocess.Popen(
        [*STARTED, str(recipe), "--processes", "2", "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    try:
        while launcher.poll() is None and not [*cache.glob("work/*/checkpoint.pt")]:
            time.sleep(0.05)
        ranks(launcher)["1"].kill()
        told = launcher.communicate(timeout=120)[0].decode()
    finally:
        launcher.kill()
    assert launcher.returncode == 3, told
    assert "rank 1 of 2 processes was killed by SIGKILL" in told
    assert "the same command continues" in told and "Traceback" not in told
    assert not (folder / "student.safetensors").exists()

    notes = []
    job = with_training_defaults(open_job(recipe, [], folder, notes.append))
    with job.locked():
        assert run_all(job, until="distill") == "done"
    assert any("continuing after step" in getattr(note, "text", "") for note in notes)
    assert (folder / "student.safetensors").exists()
    assert len(read_log(folder / "train.jsonl")) == 6
    assert "processes" not in read_json(folder / "training.json")  # it ended with one
