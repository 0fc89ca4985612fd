"""The benchmarks run from end to end on a tiny recipe; their figures are for other machines."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def recipe(write_recipe, tmp_path):
    rng = np.random.default_rng(1)
    (tmp_path / "other").mkdir()
    for number in range(8):
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "other" / f"{number}.png")
    return write_recipe({"data.ood": str(tmp_path / "other"), "distill.epochs": 2})


def run(script, *words):
    command = [sys.executable, str(BENCHMARKS / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=230)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def student(tiny_teacher, tmp_path):
    """A file of a student whose weights are drawn by chance, and as good as any."""
    path, args = tmp_path / "weights.safetensors", {**tiny_teacher["args"], "embed_dim": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = timm.create_model(tiny_teacher["model"], num_classes=0, **args)
    save_file(model.state_dict(), path)
    section = {"model": tiny_teacher["model"], "weights": path.name, "args": args}
    (tmp_path / "small.yaml").write_text(json.dumps({**section, "image_size": 32}))
    return tmp_path / "small.yaml"


def found_images(out):
    """The held-out images of a run of `methods.py`."""
    path = out / "recipe" / "small-tintem-0" / "run" / "dataset.json"
    images = json.loads(path.read_text())["images"]
    return [each for each in images if each["split"] == "holdout"]


@pytest.mark.timeout(600)
def test_start(recipe, student, tmp_path):
    out = tmp_path / "out"
    two_epochs = recipe.read_text().replace("epochs: 2", "shown: 72\n  patience: 0.5x")
    recipe.write_text(two_epochs)
    words = [recipe, "--student", student, "--set", "distill.views=2", "--out", out]
    words += ["--row", "closed form", "--row", "trained, 25 %", "--row", "from scratch"]
    printed = run("start.py", *words)
    rows = json.loads((out / "start.json").read_text())["tables"]["recipe, small"]
    assert rows["trained, 25 %"]["epochs"] == 1
    assert rows["trained, 100 %"]["epochs"] == 2
    assert rows["from scratch"]["epochs"] >= 2
    assert "raw" not in rows["from scratch"]
    for row in rows.values():
        assert row["train"] + row["holdout"] <= 48
        for key in ("accuracy_knn", "accuracy_linear", "ood_auroc"):
            assert 0 <= row["scores"][key] <= 1
    # Of one training all rows before it are the same students
    start = rows["start of: trained, 100 %"]["scores"]
    assert start["accuracy_knn"] == rows["closed form"]["scores"]["accuracy_knn"]
    assert rows["raw features"]["seconds"] == 0
    assert f"{rows['closed form']['scores']['accuracy_linear']:.3f}" in printed
    times = {path: path.stat().st_mtime_ns for path in out.rglob("train.jsonl")}
    assert run("start.py", *words) == printed
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("train.jsonl")}


@pytest.mark.timeout(600)
def test_methods_and_heads(recipe, student, write_recipe, tmp_path):
    out, other = tmp_path / "out", write_recipe(path=tmp_path / "other.yaml")
    words = [recipe, "--student", student, "--method", "tintem", "--method", "raw"]
    words += ["--other", other, "--set", "check.robustness_images=8"]
    words += ["--seeds", 2, "--jobs", 2, "--out", out]
    printed = run("methods.py", *words)
    found = json.loads((out / "methods.json").read_text())["tables"]["recipe"]["small"]
    assert list(found) == ["teacher", "tintem", "raw"]
    assert found["teacher"]["images"]["held out"] == len(found_images(out))
    for row in ("tintem", "raw"):
        for name in ("kNN", "linear", "kNN agrees", "linear agrees", "OOD AUROC", "unseen kNN"):
            assert 0 <= found[row][name]["low"] <= found[row][name]["high"] <= 1
            assert len(found[row][name]["seeds"]) == 2
        assert -1 <= found[row]["r"]["low"] <= found[row]["r"]["high"] <= 1
        assert f"{found[row]['kNN']['mean']:.3f}" in printed
    assert found["tintem"]["epochs"] == [2, 2]
    assert 0 <= found["tintem"]["corrupted"]["mean"] <= 1
    assert found["raw"]["corrupted"] is None
    assert found["teacher"]["r"] is None
    # What is there is not run again.
    times = {path: path.stat().st_mtime_ns for path in out.rglob("seen.npz")}
    assert len(times) == 4
    assert run("methods.py", *words) == printed
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("seen.npz")}

    folder = out / "recipe" / "small-tintem-0" / "run"
    printed = run("heads.py", folder, "--width", 8, "--width", 24, "--steps", 5, "--out", out)
    heads = json.loads((out / "heads.json").read_text())["heads"]
    identity = next(each for each in heads if each["head"] == "identity")
    assert identity["cosine_mae"][0] == 0
    assert identity["cosine_correlation"][0] == pytest.approx(1)
    assert "learned, joint" in printed

    printed = run("few_labels.py", folder, "--seeds", 2, "--out", out)
    cells = json.loads((out / "few_labels.json").read_text())
    assert set(cells) >= {f"run | student | per class {n} | 1" for n in (1, 2, 5)}
    assert cells["run | student | chosen 10 | 0"]["labels"] == 10
    for cell in cells.values():
        assert set(cell["probes"]) == {"propagation", "linear", "prototypes", "voting"}
        assert cell["chosen"] in cell["probes"]
    assert "| 2 a class" in printed
    assert "| 10 chosen" in printed
    assert "| ECE of chosen |" in printed


def test_families(tmp_path):
    out = run("families.py", "--out", tmp_path, "--family", "vision_transformer", "--size", 32)
    found = json.loads((tmp_path / "families.json").read_text())["vision_transformer"]
    assert list(found["seconds"]) == ["build", "train step", "export", "parity", "INT8"]
    assert found["figures"]["difference"] < 1e-3
    assert found["reason"] == ""
    assert "1 of 1 families pass every step." in out


def test_scale(tmp_path):
    words = ("scale.py", "--images", 60, "--processes", 1, "--out", tmp_path)
    out = run(*words)
    cell = json.loads((tmp_path / "scale.json").read_text())["cells"]["1x60"]
    assert {"images", "embeddings", "pixels", "distill", "rest"} <= set(cell["steps"])
    assert cell["steps"]["rest"]["peak_mb"] > 100  # torch alone takes more
    assert sum(each["seconds"] for each in cell["steps"].values()) <= cell["total_s"]
    assert run(*words) == out  # what is there is not run again


@pytest.mark.parametrize(("script", "code"), [("start.py", 2), ("methods.py", 1)])
def test_a_wrong_key_is_told_without_a_traceback(script, code, recipe, student, tmp_path):
    words = [recipe, "--student", student, "--set", "distill.epoch=2", "--out", tmp_path / "out"]
    command = [sys.executable, BENCHMARKS / script, *words]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr  # methods.py: a process of its own has said it
    assert "did you mean epochs" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_benchmark_with_options_is_guarded():
    for path in BENCHMARKS.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "@click.command" in text:
            assert text.endswith('if __name__ == "__main__":\n    guarded(main)\n'), path.name
