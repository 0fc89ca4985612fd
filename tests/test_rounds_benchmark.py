"""benchmarks/rounds.py runs from end to end on embeddings made by hand."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "rounds.py"


def make_run(folder):
    """A run of three classes that embeddings tell apart, and images that are not of the task."""
    rng = np.random.default_rng(0)
    truth = np.arange(180) % 3
    centres = rng.standard_normal((4, 8)).astype(np.float32) * 2
    inside = centres[truth] + rng.standard_normal((180, 8)).astype(np.float32)
    outside = centres[3] + rng.standard_normal((20, 8)).astype(np.float32)
    folder.mkdir()
    save_file({"images": inside, "ood": outside}, folder / "embeddings.safetensors")
    save_file({"student": inside, "student_ood": outside}, folder / "probes.safetensors")
    images = [
        {"label": int(label), "split": "holdout" if number % 4 == 0 else "train"}
        for number, label in enumerate(truth)
    ]
    document = {"images": images, "classes": ["a", "b", "c"]}
    (folder / "dataset.json").write_text(json.dumps(document))
    return folder


def test_two_rounds_are_played_with_every_way_of_labelling(tmp_path):
    run = make_run(tmp_path / "made")
    words = ["--seeds", "2", "--first", "40", "--labels", "12", "--budget", "6", "--keep-mb", "0.4"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(run), *words, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| round 1") == 3
    cells = json.loads((tmp_path / "out" / "rounds.json").read_text())["cells"]
    assert len(cells) == 3 * 2
    for cell in cells:
        assert 0 < cell["kept"] < cell["stream images"]
        assert 0.3 < cell["round 1"] <= 1
        for way in ("kept, chosen", "kept, interesting", "kept, random", "stream, random"):
            assert 0.3 < cell[way]["accuracy"] <= 1
            assert (cell[way]["strange"] > 0) <= (cell["stream"] == "10 % strange")
    unseen = [cell for cell in cells if cell["stream"] == "a new class"]
    assert all(cell["kept, interesting"]["classes"] == 3 for cell in unseen)
