"""The next round's labels: of what the monitor kept, against others of the same stream.

    python benchmarks/rounds.py RUN... --out FOLDER

RUN is a finished `compressor run` of a data set whose training images are all labelled, with
`data.ood`. The benchmark plays two rounds on the embeddings that the run has computed. Round 1
knows a part of the training images and labels some of them at random; a linear probe on the
student's embedding answers. The other training images are the stream. `runtime.Monitor`'s own
rules keep the most interesting ones within a limit. Then some images of the stream get labels, the
probe is fitted again, and its accuracy on the held-out images is compared:

    kept, chosen        of what was kept, as `compressor label --from` chooses (on the teacher)
    kept, interesting   of what was kept, the most interesting first
    kept, random        of what was kept, at random
    sample, chosen      of as many images of the stream, drawn at random, chosen so
    mixed, chosen       of a half of either kind, chosen so
    stream, chosen      of the whole stream, chosen so: what a monitor with room for all gives
    stream, random      of the whole stream, at random

Three streams: the classes of round 1; one class that round 1 never saw; a tenth of the images is
not of the task (of `data.ood`; a label spent on one teaches nothing). Means over the seeds with
95 % intervals (Student's t), and of the paired difference to `stream, random`. Prints tables,
writes FOLDER/rounds.json.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from msgspec import to_builtins

from compressor.probes import linear
from compressor.probes.training_set import TrainingSet
from compressor.selection.choose import Request, choose
from compressor.selection.metric_space import Space, distinct
from runtime.benchmark.machine import describe
from runtime.cli import guarded
from runtime.metrics import log_softmax, normalise
from runtime.monitoring.kept_images import KeptImages, Note
from runtime.monitoring.monitor import interest
from runtime.text import table

STREAMS = ("same classes", "a new class", "10 % strange")
WAYS = (
    "kept, chosen",
    "kept, interesting",
    "kept, random",
    "sample, chosen",
    "mixed, chosen",
    "stream, chosen",
    "stream, random",
)
IMAGE = b"\x89PNG" + bytes(20_000)
"""Stands for an image of 20 kB: what is kept is decided by embeddings and sizes alone."""


@dataclass(frozen=True)
class Material:
    """Embeddings of one run: rows of images of the task, then those that are not of it."""

    teacher: Any
    student: Any
    truth: Any
    """[N + M], -1 for images that are not of the task."""
    train: Any
    held: Any
    classes: int


@dataclass(frozen=True)
class Sizes:
    """How many images."""

    first: int
    """Training images of round 1."""
    labels: int
    """Of them with a label."""
    keep_mb: float
    budget: int
    """Labels of round 2."""


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--seeds", default=10, show_default=True)
@click.option("--first", default=150, show_default=True, help="training images of round 1")
@click.option("--labels", default=50, show_default=True, help="of them with a label")
@click.option("--keep-mb", default=2.0, show_default=True, help="the monitor's limit")
@click.option("--budget", default=25, show_default=True, help="labels of round 2")
def main(
    runs: tuple[Path, ...],
    out: Path,
    seeds: int,
    first: int,
    labels: int,
    keep_mb: float,
    budget: int,
) -> None:
    """Play, print, write."""
    sizes = Sizes(first, labels, keep_mb, budget)
    cells = []
    for run in runs:
        found = material(run)
        for stream in STREAMS:
            for seed in range(seeds):
                cells.append({"run": run.name, "stream": stream, "seed": seed})
                cells[-1] |= play(found, stream, seed, sizes)
            rows = [cell for cell in cells if (cell["run"], cell["stream"]) == (run.name, stream)]
            click.echo(f"\n{run.name}, {stream}: {text(rows)}", err=False)
    document = {"machine": to_builtins(describe()), "sizes": vars(sizes), "cells": cells}
    out.mkdir(parents=True, exist_ok=True)
    (out / "rounds.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    click.echo(f"\n{out / 'rounds.json'}")


def material(run: Path) -> Material:
    """Read what a run has computed."""
    from safetensors.numpy import load_file

    dataset = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
    photos = dataset["images"]
    teacher, student = (load_file(run / f"{name}.safetensors") for name in ("embeddings", "probes"))
    outside = len(teacher["ood"])
    held = np.array([each["split"] == "holdout" for each in photos] + [False] * outside)
    truth = np.array([each["label"] for each in photos] + [-1] * outside)
    return Material(
        teacher=np.concatenate([teacher["images"], teacher["ood"]]),
        student=normalise(np.concatenate([student["student"], student["student_ood"]])),
        truth=truth,
        train=np.flatnonzero(~held & (truth >= 0)),
        held=np.flatnonzero(held),
        classes=len(dataset["classes"]),
    )


def play(found: Material, stream: str, seed: int, sizes: Sizes) -> dict[str, Any]:
    """Play two rounds: accuracies of round 1 and of each way of round 2."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(found.train)
    unseen = rng.integers(found.classes) if stream == "a new class" else -2
    known = rows[found.truth[rows] != unseen]
    start, later = known[: sizes.first], np.setdiff1d(rows, known[: sizes.first])
    if stream == "10 % strange":
        strange = rng.permutation(np.flatnonzero(found.truth < 0))[: len(later) // 9]
        later = np.concatenate([later, strange])
    later, labelled = rng.permutation(later), start[: sizes.labels]
    probe = fitted(found, labelled)
    order = kept(found, probe, start, later, sizes.keep_mb)
    before = accuracy(found, probe)
    result: dict[str, Any] = {"stream images": len(later), "kept": len(order), "round 1": before}
    for way in WAYS:
        taken = choice(found, way, labelled, later, order, sizes.budget, seed)
        useful = taken[found.truth[taken] >= 0]
        after = fitted(found, np.concatenate([labelled, useful]))
        result[way] = {
            "accuracy": accuracy(found, after),
            "strange": int(len(taken) - len(useful)),
            "classes": len(np.unique(found.truth[np.concatenate([labelled, useful])])),
        }
    return result


def fitted(found: Material, rows: Any) -> Any:
    """A linear probe on the student's embedding of some images, with their labels."""
    labels = np.full(len(found.truth), -1)
    labels[rows] = found.truth[rows]
    return linear.fit(TrainingSet(found.student, found.teacher, labels, found.classes), 1.0)


def accuracy(found: Material, probe: Any) -> float:
    """Share of right answers on the held-out images."""
    answers = probe.logits(found.student[found.held]).argmax(axis=1)
    return float((answers == found.truth[found.held]).mean())


def kept(found: Material, probe: Any, start: Any, later: Any, keep_mb: float) -> Any:
    """Rows that the monitor's rules keep of a stream, the most interesting first."""
    bank = found.student[start]
    usual = np.sort((found.student[found.held] @ bank.T).max(axis=1))
    shares = np.exp(log_softmax(probe.logits(found.student[later])))
    likeness = (found.student[later] @ bank.T).max(axis=1)
    folder = Path(tempfile.mkdtemp(prefix="kept-"))
    try:
        images = KeptImages(folder, keep_mb)
        for row, share, like in zip(later, shares, likeness, strict=True):
            worth = interest(share, float(like), usual)
            values = [round(float(value), 6) for value in found.student[row]]
            images.offer(IMAGE, Note(str(row), worth, "", None, None, None, float(like), values))
        notes = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    finally:
        shutil.rmtree(folder)
    notes.sort(key=lambda note: -note["interest"])
    return np.array([int(note["image"].split(".")[0]) for note in notes])


def choice(
    found: Material, way: str, labelled: Any, later: Any, order: Any, budget: int, seed: int
) -> Any:
    """Rows that get a label in round 2."""
    where, _, how = way.partition(", ")
    shuffled = np.random.default_rng(seed + 2000).permutation(later)
    half = order[: len(order) // 2]
    rest = shuffled[~np.isin(shuffled, half)][: len(order) - len(half)]
    mixed = np.concatenate([half, rest])
    pool = {"kept": order, "sample": shuffled[: len(order)], "mixed": mixed}.get(where, later)
    if how == "interesting":
        return pool[:budget]
    if how == "random":
        return np.random.default_rng(seed + 1000).permutation(pool)[:budget]
    rows = np.concatenate([labelled, pool])
    settled = np.arange(len(labelled))
    different = len(distinct(Space.cosine(found.teacher[rows]).points)[0])
    most = min(budget, different - len(labelled))
    asked = Request(budget=most, seed=seed, settled=settled)
    return rows[choose(found.teacher[rows], asked).chosen]


def text(cells: list[dict[str, Any]]) -> str:
    """A table of the ways, best first by nothing: in the order of the list."""
    first = np.array([cell["round 1"] for cell in cells])
    random = np.array([cell["stream, random"]["accuracy"] for cell in cells])
    rows = [["round 1", interval(first), "", "", ""]]
    for way in WAYS:
        of: list[Mapping[str, Any]] = [cell[way] for cell in cells]
        scores = np.array([each["accuracy"] for each in of])
        rows.append(
            [
                way,
                interval(scores),
                "" if way == "stream, random" else interval(scores - random, signed=True),
                f"{np.mean([each['strange'] for each in of]):.1f}",
                f"{np.mean([each['classes'] for each in of]):.1f}",
            ]
        )
    kept_images = np.mean([cell["kept"] for cell in cells])
    lead = f"{kept_images:.0f} kept of {np.mean([cell['stream images'] for cell in cells]):.0f}\n\n"
    headings = ["labels of round 2", "accuracy", "against random", "strange", "classes"]
    return lead + table(headings, rows)


def interval(values: Any, *, signed: bool = False) -> str:
    """Mean and half the width of its 95 % interval over seeds (Student's t)."""
    from scipy.stats import t

    mean = f"{values.mean():{'+' if signed else ''}.3f}"
    if len(values) < 2:
        return mean
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{mean} ± {half:.3f}"


if __name__ == "__main__":
    guarded(main)
