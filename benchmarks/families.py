"""A small model of every timm family at 128 px: build, train step, export, parity, INT8.

    python benchmarks/families.py --out FOLDER [--family NAME ...] [--size 128] [--timeout 300]

Each family runs in a process of its own, from scratch, on invented images: the question is whether
it works, not how well. Writes FOLDER/families.json after each family, continues where it stopped,
and ends with a table of passes and reasons.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TypedDict

import click
import numpy as np
import timm
import torch

from compressor.models.encoder import Encoder, create_student
from compressor.recipe.schema import Student
from export import graph, precision_proof
from export.onnx_file import Deployed, export
from export.precision.calibration import calibrate
from export.precision.int8 import Quantiser
from runtime.arrays import Floats
from runtime.backends.registry import open_session
from runtime.cli import guarded
from runtime.files import write_json
from runtime.text import table

STEPS = ("build", "train step", "export", "parity", "INT8")
_SMALL = re.compile(
    r"test_|nano|atto|femto|pico|xxt|xt|tiny|_t0|_t_|xxs|xs|xx_|small|_s0|_m0|_b0|_t8|50|18|26|39|43"
)
_TRIED = 12
"""Models of a family that are counted to find its smallest, those with a small name first."""


class Result(TypedDict):
    """How far a family came."""

    model: str
    parameters: int
    seconds: dict[str, float]
    """Of each step that passed."""
    figures: dict[str, float]
    reason: str
    """Why the next step failed; empty if all passed."""


def smallest(family: str) -> tuple[str, int]:
    """Return the smallest model of a family among those with small names, and its parameters."""
    names = sorted(timm.list_models(module=family), key=lambda name: not _SMALL.search(name))
    counted = []
    for name in names[:_TRIED]:
        with torch.device("meta"):
            model = timm.create_model(name, num_classes=0)
        counted.append((sum(each.numel() for each in model.parameters()), name))
    parameters, name = min(counted)
    return name, parameters


def one(family: str, size_px: int) -> None:
    """Take a family through all steps; print a line of JSON for each that passes."""
    model, parameters = smallest(family)
    print(json.dumps({"model": model, "parameters": parameters}), flush=True)
    images = np.random.default_rng(0).normal(size=(4, 3, size_px, size_px)).astype(np.float32)
    started = time.monotonic()

    def passed(step: str, **figures: float) -> None:
        nonlocal started
        seconds = round(time.monotonic() - started, 1)
        print(json.dumps({"step": step, "seconds": seconds, "figures": figures}), flush=True)
        started = time.monotonic()

    student = create_student(Student(model=model, weights="none", image_size=size_px), seed=0)
    passed("build")
    train_once(student, images)
    passed("train step")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        export(Deployed(student.module, None), size_px, path, {})
        passed("export", mb=round(path.stat().st_size / 1e6, 1))
        passed("parity", difference=require_parity(student, path, images))
        passed("INT8", cosine=int8_cosine(path, images))


def train_once(student: Encoder, images: Floats) -> None:
    """Take a step of gradient descent towards other embeddings, and require that it moved."""
    module = student.module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    wanted = torch.randn(len(images), student.dim, generator=torch.Generator().manual_seed(0))
    loss = (module(torch.from_numpy(images)) - wanted).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    moved = sum(each.grad is not None for each in module.parameters())
    if not moved or not torch.isfinite(loss):
        raise ValueError(f"a loss of {float(loss)}, and gradients for {moved} parameters")
    optimizer.step()
    module.eval()


def require_parity(student: Encoder, path: Path, images: Floats) -> float:
    """Return the largest difference to torch, as a share of the largest value; refuse 1e-3."""
    with torch.inference_mode():
        expected = student.module(torch.from_numpy(images[:3])).numpy()
    got = open_session(path, provider="cpu").run(images[:3]).embedding
    difference = float(np.abs(got - expected).max() / np.abs(expected).max())
    if not difference < 1e-3:
        raise ValueError(f"the file differs from torch by {difference:.2g} of the largest value")
    return float(f"{difference:.2g}")


def int8_cosine(path: Path, images: Floats) -> float:
    """Make the INT8 file without any search; return its lowest cosine with the float32 file."""
    quantiser = Quantiser.of(path, images)
    ranges = calibrate(quantiser.model, images, name="invented", method="minmax")
    made = path.with_name("student.int8.onnx")
    graph.save(quantiser.quantised(ranges, quantiser.layers), made, {})
    precision_proof.prove(made, "int8")
    got = open_session(made, provider="cpu").run(images).embedding
    return round(float(graph.cosines(got, quantiser.expected).min()), 3)


def run(family: str, size_px: int, timeout_s: int) -> Result:
    """Run a family in a process of its own."""
    command = [sys.executable, __file__, "--one", family, "--size", str(size_px)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        printed, said = done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        printed, said = (error.stdout or b"").decode(), f"more than {timeout_s} s"
    result = Result(model="", parameters=0, seconds={}, figures={}, reason="")
    for line in filter(None, printed.splitlines()):
        found = json.loads(line)
        if "model" in found:
            result["model"], result["parameters"] = found["model"], found["parameters"]
        else:
            result["seconds"][found["step"]] = found["seconds"]
            result["figures"] |= found["figures"]
    if len(result["seconds"]) < len(STEPS):
        result["reason"] = _reason(said)
    return result


def _reason(said: str) -> str:
    """Return the message of a traceback, in one line."""
    raised = [line for line in said.splitlines() if re.match(r"[\w.]+(Error|Exception)?: ", line)]
    last = raised[-1] if raised else (said.strip().splitlines() or ["no reason"])[-1]
    return last.removeprefix("runtime.errors.")[:300]


def markdown(results: dict[str, Result]) -> str:
    """Return the table of passes and reasons."""
    rows = []
    for family, result in results.items():
        passed = result["seconds"]
        failed = next((step for step in STEPS if step not in passed), None)
        marks = ["yes" if step in passed else "**no**" if step == failed else "" for step in STEPS]
        cosine = result["figures"].get("cosine")
        marks[-1] = f"{cosine:.3f}" if cosine is not None else marks[-1]
        parameters = f"{result['parameters'] / 1e6:.1f}"
        rows.append([family, result["model"], parameters, *marks, result["reason"]])
    return table(["family", "model", "million", *STEPS, "reason"], rows)


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--family", "families", multiple=True, help="Default: all.")
@click.option("--size", "size_px", default=128, show_default=True)
@click.option("--timeout", "timeout_s", default=300, show_default=True, help="Seconds each.")
@click.option("--one", "one_", hidden=True)
def main(
    out: Path | None, families: tuple[str, ...], size_px: int, timeout_s: int, one_: str | None
) -> None:
    """Take a small model of every timm family through build, train step, export, parity, INT8."""
    if one_ is not None:
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        one(one_, size_px)
        return
    if out is None:
        raise click.UsageError("--out: where families.json is written to")
    path = out / "families.json"
    results: dict[str, Result] = json.loads(path.read_text()) if path.is_file() else {}
    for family in families or timm.list_modules():
        if family not in results and timm.list_models(module=family):
            results[family] = run(family, size_px, timeout_s)
            write_json(path, results)
            print(family, results[family]["reason"] or "all passed", flush=True)
    print(markdown(results))
    whole = sum(not result["reason"] for result in results.values())
    print(f"\n{whole} of {len(results)} families pass every step.")


if __name__ == "__main__":
    guarded(main)
