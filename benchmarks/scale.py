"""Seconds and peak memory of each step of a run, by the number of images and of processes.

    python benchmarks/scale.py --images 1000 --images 10000 --processes 1 --processes 2 --out FOLDER

The images are made: JPEG files of 500 x 375 pixels and about 70 KB, each another cut of one of 200
smooth, noisy pictures. Teacher and student are small (a ViT of two blocks at 64 px, a MobileNetV3
at 32 px), so that what grows with the images is seen, not the networks. The student is trained from
scratch, one epoch of one view; with `--pretrained` it has weights (of random numbers), so that it
is solved in closed form, and learns two epochs from two views with frozen batch norm. Each cell is
`compressor run` of a list file, with an empty cache; memory is the sum over its processes of what
is theirs alone (USS), looked at five times a second. `growth` is how many times longer a step takes
than at the number of images before. How choosing images grows is in `selection_scale.py`. Prints a
table, writes FOLDER/scale.json; a cell that is there is not run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import torch
from msgspec import to_builtins
from PIL import Image
from safetensors.torch import save_file

from runtime.benchmark.machine import describe
from runtime.cli import guarded
from runtime.files import write_json
from runtime.text import table

WIDTH, HEIGHT, BASES, QUALITY = 500, 375, 200, 90
TEACHER: dict[str, Any] = {
    "img_size": 64,
    "patch_size": 16,
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 4,
}
STUDENT = "mobilenetv3_small_050"
STEPS = ("images", "embeddings", "pixels", "features", "start", "distill", "probes")
"""Those that grow with the images; `rest` is all others."""
Cell = dict[str, Any]


def make_images(folder: Path, count: int) -> None:
    """Write images that are all different, those that are not there yet, in folders of 1,000."""
    rng = np.random.default_rng(0)
    bases = [_base(rng) for _ in range(min(BASES, count))]
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"{number:07d}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        own = np.random.default_rng(number)
        left, top = own.integers(0, 100, 2)
        cut = bases[number % len(bases)][top : top + HEIGHT, left : left + WIDTH]
        Image.fromarray(cut).save(path, quality=QUALITY)


def _base(rng: np.random.Generator) -> Any:
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    size = (WIDTH + 100, HEIGHT + 100)
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.int16)
    return (smooth + rng.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8)


def write_recipe(folder: Path, images: Path, count: int, *, pretrained: bool) -> Path:
    """Write a recipe with a teacher of random weights, and such a student if it is pretrained."""
    import timm

    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **TEACHER)
    save_file(model.state_dict(), folder / "teacher.safetensors")
    if pretrained:
        model = timm.create_model(STUDENT, num_classes=0)
        save_file(model.state_dict(), folder / "student.safetensors")
    learns = {"epochs": 2, "views": 2, "mix": 0} if pretrained else {"epochs": 1, "views": 1}
    chosen = folder / f"images-{count}.txt"
    names = sorted(images.rglob("*.jpg"))[:count]
    chosen.write_text("".join(f"{os.path.relpath(name, folder)}\n" for name in names))
    document = {
        "name": f"scale-{count}",
        "data": {"images": chosen.name, "labels": "none", "holdout": 0.02},
        "teacher": {
            "model": "vit_tiny_patch16_224",
            "weights": "teacher.safetensors",
            "args": TEACHER,
        },
        "student": {
            "model": STUDENT,
            "weights": "student.safetensors" if pretrained else "none",
            "image_size": 32,
            "embedding": 32,
        },
        "distill": {**learns, "batch": 64, "token_maps": "off"},
        "export": {"golden_images": 16},
    }
    path = folder / f"recipe-{count}.json.yaml"
    path.write_text(json.dumps(document))
    return path


def measure(recipe: Path, processes: int, work: Path) -> Cell:
    """Run a recipe with an empty cache and return the seconds and the peak memory of its steps."""
    out = work / "run"
    words = ["run", str(recipe), "--out", str(out)]
    if processes > 1:
        words += ["--processes", str(processes)]
    own = {"EDGE_COMPRESSOR_CACHE": str(work / "cache"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "compressor", *words],
        env={**os.environ, **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    began, seen = time.time(), list(_memory(process))
    _, said = process.communicate()
    if process.returncode not in (0, 1):  # 1: a gate that is missed or undecided
        raise click.ClickException(said)
    cell: Cell = {"total_s": round(time.time() - began, 1), "steps": {}}
    for begin, end, name in _steps(out / "events.jsonl", began):
        used = [mb for at, mb in seen if begin <= at <= end] or [0.0]
        known = cell["steps"].setdefault(
            name if name in STEPS else "rest", {"seconds": 0.0, "peak_mb": 0.0}
        )
        known["seconds"] = round(known["seconds"] + end - begin, 2)
        known["peak_mb"] = round(max(known["peak_mb"], *used), 0)
    return cell


def _memory(process: subprocess.Popen[str]) -> Iterator[tuple[float, float]]:
    """Yield the time and the MB that a process and its children hold, until it ends."""
    root = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        for each in (root, *_children(root)):
            try:
                total += each.memory_full_info().uss
            except psutil.Error:  # it has just ended
                continue
        yield time.time(), total / 1e6
        time.sleep(0.2)


def _children(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []


def _steps(events: Path, began: float) -> Iterator[tuple[float, float, str]]:
    """Yield the beginning, the end and the name of each step that a run has made."""
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if event["type"] == "stepended" and event["time"] >= began:
            yield event["time"] - event["seconds"], event["time"], event["step"]


def printed(cells: dict[str, Cell]) -> str:
    """Return the table: a row for each step, of each number of processes and of images."""
    rows = list[list[str]]()
    before = dict[tuple[int, str], tuple[int, float]]()
    for key in sorted(cells, key=lambda key: [int(part) for part in key.split("x")]):
        processes, images = (int(part) for part in key.split("x"))
        for name in (*STEPS, "rest"):
            found = cells[key]["steps"].get(name)
            if found is None:
                continue
            seconds, growth = found["seconds"], ""
            if (processes, name) in before and before[processes, name][1] > 0.5:
                growth = f"{seconds / before[processes, name][1]:.1f}"
            before[processes, name] = images, seconds
            rows.append(
                [
                    f"{images:,}",
                    str(processes),
                    name,
                    f"{seconds:.1f}",
                    growth,
                    f"{found['peak_mb']:,.0f}",
                ]
            )
        rows.append([f"{images:,}", str(processes), "all", f"{cells[key]['total_s']:.1f}", "", ""])
    return table(["images", "processes", "step", "seconds", "growth", "peak MB"], rows)


@click.command()
@click.option("--images", "counts", multiple=True, type=int, default=(1000, 10_000))
@click.option("--processes", multiple=True, type=int, default=(1, 2), show_default=True)
@click.option("--pretrained", is_flag=True, help="a student that has weights")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(counts: tuple[int, ...], processes: tuple[int, ...], pretrained: bool, out: Path) -> None:
    """Run what is missing, print the table, write the JSON."""
    import shutil

    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    path = out / "scale.json"
    cells: dict[str, Cell] = json.loads(path.read_text())["cells"] if path.is_file() else {}
    for count in sorted(counts):
        for number in processes:
            if (key := f"{number}x{count}") in cells:
                continue
            make_images(out / "images", count)
            recipe = write_recipe(out, out / "images", count, pretrained=pretrained)
            work = out / f"work-{key}"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            click.echo(f"{count:,} images, {number} processes", err=True)
            cells[key] = measure(recipe, number, work)
            shutil.rmtree(work)
            write_json(path, {"machine": to_builtins(describe()), "cells": cells})
    click.echo(printed(cells))


if __name__ == "__main__":
    guarded(main)
