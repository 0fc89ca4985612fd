"""What our runtime costs beside the backend alone, and what a machine does from file to answer.

    python benchmarks/overhead.py BUNDLE --out FOLDER [--run RUN]

Three tables, all of the bundle's FP32 file on the CPU:

- a request: ONNX Runtime's own `session.run`, our `Session.run`, our `Student.predict_pixels`
  (normalise, session, probabilities, nearest training images), timed in turns at batch 1 and 8;
- with `--run`, the folder of the run that made the bundle: torch eager for the same student;
- from image file to answer, images a second by threads and batch.

In turns means that each is called once before the first is called again, so that a disturbance of
the machine meets all of them alike; the overhead is the median of the differences within a turn,
with its 95 % interval from order statistics. Writes FOLDER/overhead.json.

This file is not called runtime.py: there it would hide our package from every other benchmark.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
from msgspec import to_builtins

import runtime
from runtime.backends.registry import open_session
from runtime.benchmark.machine import describe
from runtime.cli import guarded
from runtime.text import table

TURNS = 600


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--run", "folder", type=click.Path(exists=True, path_type=Path), help="For torch.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(bundle: Path, folder: Path | None, out: Path) -> None:
    """Measure, print, write."""
    requests = [request(bundle, folder, batch) for batch in (1, 8)]
    rows = [row for each in requests for row in rows_of(each)]
    heads = ["batch", "what", "median ms", "beyond ONNX Runtime alone, ms", "share"]
    click.echo(table(heads, rows) + "\n")
    images = sorted((bundle / "golden" / "images").iterdir())
    whole = [throughput(bundle, images, *each) for each in ((1, 1), (1, 8), (2, 1), (2, 8))]
    cells = [
        [str(each["threads"]), str(each["batch"]), f"{each['images_per_s']:.0f}"] for each in whole
    ]
    click.echo(table(["callers", "batch", "file to answer, images/s"], cells))
    document = {"machine": to_builtins(describe()), "requests": requests, "throughput": whole}
    out.mkdir(parents=True, exist_ok=True)
    (out / "overhead.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    click.echo(f"\n{out / 'overhead.json'}")


def request(bundle: Path, folder: Path | None, batch: int) -> dict[str, Any]:
    """Milliseconds of each way to answer the same batch, all on one thread."""
    student = runtime.load(bundle, provider="cpu", threads=1)
    path = student.bundle.artifacts[0].path
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    bare = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ours = open_session(path, provider="cpu", threads=1)
    side = student.preprocess.size_px
    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
    images = student.preprocess.normalise(pixels)
    name = bare.get_inputs()[0].name
    ways: dict[str, Callable[[], object]] = {
        "onnxruntime": lambda: bare.run(None, {name: images}),
        "Session.run": lambda: ours.run(images),
        "Student.predict_pixels": lambda: student.predict_pixels(pixels),
    }
    if folder is not None:
        ways["torch eager"] = torch_eager(folder, images)
    return {"batch": batch, "ms": in_turns(ways)}


def torch_eager(folder: Path, images: Any) -> Callable[[], object]:
    """The same student as torch runs it."""
    import torch

    from compressor.pipeline.context import Run
    from compressor.recipe import plan as plans

    run = Run(plans.load_again(folder), folder)
    module, shown = run.trained_student().module.eval(), torch.from_numpy(images)
    torch.set_num_threads(1)

    def answer() -> object:
        with torch.inference_mode():
            return module(shown)

    return answer


def in_turns(ways: dict[str, Callable[[], object]]) -> dict[str, Any]:
    """Each way's times over the same turns, and its median difference to the first."""
    for call in ways.values():
        for _ in range(30):
            call()
    times: dict[str, list[float]] = {name: [] for name in ways}
    rng = np.random.default_rng(0)
    for _ in range(TURNS):
        # By chance: what ran just before decides what lies in the processor's caches.
        for name in rng.permutation(list(ways)):
            before = time.perf_counter()
            ways[name]()
            times[str(name)].append((time.perf_counter() - before) * 1e3)
    first = np.array(times[next(iter(ways))])
    found = {}
    for name, each in times.items():
        beyond = np.sort(np.array(each) - first)
        reach = 0.98 * TURNS**0.5  # ranks that hold the median with 95 %
        low, high = beyond[int(TURNS / 2 - reach)], beyond[int(TURNS / 2 + reach)]
        found[name] = {
            "median": float(np.median(each)),
            "beyond": float(np.median(beyond)),
            "beyond_ci": [float(low), float(high)],
        }
    return found


def rows_of(found: dict[str, Any]) -> list[list[str]]:
    """Lines of the table."""
    alone = found["ms"]["onnxruntime"]["median"]
    return [
        [
            str(found["batch"]),
            name,
            f"{each['median']:.3f}",
            f"{each['beyond']:+.4f} ({each['beyond_ci'][0]:+.4f} to {each['beyond_ci'][1]:+.4f})",
            f"{each['beyond'] / alone:+.1%}",
        ]
        for name, each in found["ms"].items()
    ]


def throughput(bundle: Path, images: list[Path], threads: int, batch: int) -> dict[str, Any]:
    """Images a second from file to answer, with so many callers of one student."""
    student = runtime.load(bundle, provider="cpu", threads=1)
    batches = [images[at : at + batch] for at in range(0, len(images), batch)] * 3
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(student.predict, batches[:8]))
        started = time.perf_counter()
        answered = sum(len(each) for each in pool.map(student.predict, batches))
        seconds = time.perf_counter() - started
    return {"threads": threads, "batch": batch, "images_per_s": answered / seconds}


if __name__ == "__main__":
    guarded(main)
