"""Where the time of a run goes, and how near it is to its floor.

    python benchmarks/economy.py RECIPE --out FOLDER [--set KEY=VALUE] [--random-teacher MODEL]

The floor of a run is what only the two networks would take:

    views x N / (teacher's forward rate) + epochs x N / (student's step rate)

both rates on tensors that lie ready in memory, measured here before and after the runs. Then the
real command runs three times, each in a process of its own: with an empty cache, again in a new
folder with the cache that the first run filled, and for a few epochs with the teacher online, from
which its whole run is reckoned (the table says so). Prints tables and writes FOLDER/economy.json.

Machines are noisy: compare the figures of one run of this file with each other, not with another
day's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
from shared.processes import finished  # type: ignore[import-not-found]

from runtime.cli import guarded

_BATCH = 64  # of the teacher, as the tool has it; the student's is the recipe's


@click.command()
@click.argument("recipe", type=click.Path(exists=True, path_type=Path))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="laid over the recipe")
@click.option("--random-teacher", metavar="MODEL", help="a timm model at 224 px, random weights")
@click.option("--online-epochs", default=2, show_default=True, help="0 leaves that run out")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--rates", hidden=True, type=click.Path(path_type=Path))
def main(
    recipe: Path,
    changes: tuple[str, ...],
    random_teacher: str | None,
    online_epochs: int,
    out: Path,
    rates: Path | None,
) -> None:
    """Measure, print, write."""
    if rates is not None:
        rates.write_text(json.dumps(bare_rates(recipe, changes)), encoding="utf-8")
        return
    out.mkdir(parents=True, exist_ok=True)
    if random_teacher:
        changes = (*changes, *random_weights(random_teacher, out))
    # A gate or a target says nothing of time, and an undecided one would end with exit code 1.
    changes = (*changes, "require={}")
    before = rates_in_a_process(recipe, changes, out)
    cold = timed_run("empty cache", recipe, changes, out, fresh_cache=True)
    warm = timed_run("cache of the first run", recipe, changes, out)
    runs = [cold, warm]
    if online_epochs:
        online = (*changes, "distill.teacher=online", f"distill.epochs={online_epochs}")
        runs.append(timed_run("teacher online", recipe, online, out))
    after = rates_in_a_process(recipe, changes, out)
    document = reckon(before, after, runs, online_epochs)
    (out / "economy.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    show(document)
    click.echo(f"\n{out / 'economy.json'}")


def bare_rates(recipe: Path, changes: tuple[str, ...]) -> dict[str, float]:
    """Images a second of the teacher's pass and of the student's step, on tensors at hand."""
    import torch

    from compressor.distillation.methods.losses import cosine_distance
    from compressor.distillation.schedule import parameter_groups
    from compressor.models.compute import (
        Compute,
        autocast,
        keep_freed_memory,
        teacher_dtype,
        training_dtype,
    )
    from compressor.models.encoder import create_student, load_teacher
    from compressor.recipe import plan as plans

    spec = plans.load(recipe, list(changes)).recipe
    compute = Compute.choose(spec.distill.device, spec.distill.workers)
    device = compute.device
    keep_freed_memory()
    teacher = load_teacher(spec.teacher)
    student = create_student(spec.student.model_copy(update={"weights": "none"}), seed=0)
    sides = (teacher.preprocess.size_px, student.preprocess.size_px)
    teacher_type = teacher_dtype(
        spec.distill.teacher_precision,
        compute,
        transformer=teacher.is_transformer,
    )
    student_type = training_dtype(spec.distill.precision, compute)
    batch = spec.distill.batch or 32
    teacher_images, student_images = (
        torch.randn(count, 3, side, side, device=device).to(memory_format=torch.channels_last)
        for count, side in zip((_BATCH, batch), sides, strict=True)
    )
    watching = teacher.module.eval().to(device)
    learning = student.module.train().to(device).to(memory_format=torch.channels_last)
    groups = parameter_groups(learning, spec.distill.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    target = torch.randn(batch, student.dim, device=device)

    def forward() -> None:
        with torch.inference_mode(), autocast(teacher_type, compute):
            watching(teacher_images).float().sum().item()

    def step() -> None:
        with autocast(student_type, compute):
            answer = learning(student_images).float()
        loss = cosine_distance(answer, target).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    return {
        "teacher_images_per_s": _rate(forward, _BATCH),
        "student_images_per_s": _rate(step, batch),
    }


def rates_in_a_process(recipe: Path, changes: tuple[str, ...], out: Path) -> dict[str, float]:
    """`bare_rates` without what this process has done before."""
    words = [sys.executable, __file__, str(recipe), "--out", str(out)]
    words += [word for change in changes for word in ("--set", change)]
    finished([*words, "--rates", str(out / "rates.json")])
    rates: dict[str, float] = json.loads((out / "rates.json").read_text(encoding="utf-8"))
    return rates


def timed_run(
    name: str, recipe: Path, changes: tuple[str, ...], out: Path, *, fresh_cache: bool = False
) -> dict[str, Any]:
    """`compressor run` in a new folder: its seconds, its stages, its peak memory."""
    folder, cache = out / name.replace(" ", "-"), out / "cache"
    shutil.rmtree(folder, ignore_errors=True)
    if fresh_cache:
        shutil.rmtree(cache, ignore_errors=True)
    words = [sys.executable, "-m", "compressor", "run", str(recipe), "--out", str(folder)]
    words += [word for change in changes for word in ("--set", change)]
    click.echo(f"{name} ...", err=True)
    started = time.monotonic()
    with (out / "run.log").open("w") as log:
        process = subprocess.Popen(
            words, stdout=log, stderr=log, env={**os.environ, "EDGE_COMPRESSOR_CACHE": str(cache)}
        )
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        raise click.ClickException(f"{name}: the run failed, see {out / 'run.log'}")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line)["seconds"] for line in lines]
    return {
        "name": name,
        "seconds": seconds,
        "stages_s": report["timings_s"],
        "epochs": len(epochs),
        "epoch_s": epochs,
        "images": report["data"]["train"],
        "views": min(report["training"]["views"], len(epochs)),
        "peak_memory_mb": used.ru_maxrss * 1024 / 1e6,
        "machine": report["machine"],
    }


def reckon(
    before: dict[str, float],
    after: dict[str, float],
    runs: list[dict[str, Any]],
    online_epochs: int,
) -> dict[str, Any]:
    """The floor, how far each run is from it, and what the online teacher would have taken."""
    rates = {key: (before[key] + after[key]) / 2 for key in before}
    cold = runs[0]
    images = cold["images"]
    teacher_s = cold["views"] * images / rates["teacher_images_per_s"]
    student_s = cold["epochs"] * images / rates["student_images_per_s"]
    # The teacher's first view of the training images is the embeddings' stage
    to_student = ("images", "embeddings", "pixels", "features", "distill")
    learning = sum(cold["stages_s"][name] for name in to_student)
    document: dict[str, Any] = {
        "rates": rates,
        "rates_before": before,
        "rates_after": after,
        "runs": runs,
        "floor_s": teacher_s + student_s,
        "floor_teacher_s": teacher_s,
        "floor_student_s": student_s,
        "whole_over_floor": cold["seconds"] / (teacher_s + student_s),
        "to_student_over_floor": learning / (teacher_s + student_s),
        "loop_images_per_s": images / (sum(cold["epoch_s"]) / cold["epochs"]),
    }
    if online_epochs:
        online = runs[2]
        an_epoch = sum(online["epoch_s"]) / online["epochs"]
        others = online["seconds"] - sum(online["epoch_s"])
        document["online_whole_s"] = others + an_epoch * cold["epochs"]
        document["sooner_than_online"] = document["online_whole_s"] / cold["seconds"]
    return document


def show(document: dict[str, Any]) -> None:
    """The tables."""
    from runtime.text import table

    runs, rates = document["runs"], document["rates"]
    stages = list(runs[0]["stages_s"])
    rows = [[name, *(f"{run['stages_s'][name]:.1f}" for run in runs)] for name in stages]
    rows.append(["epochs", *(str(run["epochs"]) for run in runs)])
    rows.append(["whole run", *(f"{run['seconds']:.1f}" for run in runs)])
    rows.append(["peak memory, MB", *(f"{run['peak_memory_mb']:,.0f}" for run in runs)])
    click.echo("\nSeconds\n\n" + table(["stage", *(run["name"] for run in runs)], rows))
    cold = runs[0]
    lines = [
        ["teacher, bare", f"{rates['teacher_images_per_s']:.1f} images/s"],
        ["student's step, bare", f"{rates['student_images_per_s']:.1f} images/s"],
        ["training loop", f"{document['loop_images_per_s']:.1f} images/s"],
        ["floor: views", f"{document['floor_teacher_s']:.1f} s"],
        ["floor: epochs", f"{document['floor_student_s']:.1f} s"],
        ["whole run / floor", f"{document['whole_over_floor']:.2f}"],
        ["up to the student / floor", f"{document['to_student_over_floor']:.2f}"],
    ]
    if "online_whole_s" in document:
        what = f"teacher online, {cold['epochs']} epochs (reckoned from {runs[2]['epochs']})"
        lines.append([what, f"{document['online_whole_s']:.1f} s"])
        lines.append(["sooner by", f"{document['sooner_than_online']:.2f} times"])
    click.echo("\n" + table(["", f"{cold['images']} images, {cold['views']} views"], lines))


def random_weights(model: str, out: Path) -> tuple[str, ...]:
    """Changes that make `model` at 224 px with random weights the teacher: they serve for speed."""
    import timm
    import torch
    from safetensors.torch import save_file

    path = (out / f"{model}.safetensors").resolve()
    torch.manual_seed(0)
    save_file(timm.create_model(model, num_classes=0, img_size=224).state_dict(), path)
    return (f"teacher={{model: {model}, weights: {path}, args: {{img_size: 224}}}}",)


def _rate(call: Any, images: int) -> float:
    """Images a second: the median of rounds of about a second, after a warm-up."""
    call()
    call()
    rounds = []
    for _ in range(7):
        started, calls = time.perf_counter(), 0
        while time.perf_counter() - started < 1.5:
            call()
            calls += 1
        rounds.append(calls * images / (time.perf_counter() - started))
    return sorted(rounds)[len(rounds) // 2]


if __name__ == "__main__":
    guarded(main)
