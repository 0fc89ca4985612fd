"""Which probe to deploy with few labels, and what its probabilities are worth.

    python benchmarks/few_labels.py RUN... --seeds 10 --out FOLDER

RUN is a finished `compressor run` of a data set whose training images are all labelled: the
benchmark forgets most of the labels and looks at the held-out images, for the student's embedding
and, as one of a strong encoder, for the teacher's. Accuracy and calibration error of every kind of
probe at 1, 2, 5 and 10 labels a class, and at 10, 20, 50 and 100 images: drawn by chance, and
chosen as `compressor label` does, on the teacher's embeddings (`cold-paws-cosine`). Then those of
the one that `compressor run` would choose, how often it is the best, and what it loses against the
best. Means over the seeds with 95 % intervals (Student's t). Writes FOLDER/few_labels.json after
every cell, and goes on from there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np

from runtime.cli import guarded

HOW = {"per class": (1, 2, 5, 10), "random": (10, 20, 50, 100), "chosen": (10, 20, 50, 100)}
BUDGETS = [(how, n) for how, counts in HOW.items() for n in counts]
TITLES = {"per class": "a class", "random": "by chance", "chosen": "chosen"}
ENCODERS = ("student", "teacher")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--seeds", default=10, show_default=True)
@click.option("--encoder", "encoders", multiple=True, type=click.Choice(ENCODERS))
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(runs: tuple[Path, ...], seeds: int, encoders: tuple[str, ...], out: Path) -> None:
    """Measure what is missing, print the tables."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "few_labels.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for seed in range(seeds):
        for run in runs:
            for encoder in encoders or ENCODERS:
                for budget in budgets(run):
                    key = name_of(run, encoder, budget, seed)
                    if key in found:
                        continue
                    found[key] = cell(run, encoder, budget, seed)
                    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
                    click.echo(f"{key}: {found[key]['chosen']}", err=True)
    for run in runs:
        for encoder in encoders or ENCODERS:
            click.echo(f"\n### {run.name}, the {encoder}'s embedding\n")
            click.echo(text(found, run, encoder, seeds))


def budgets(run: Path) -> list[tuple[str, int]]:
    """Those that leave at least half of the training images without a label."""
    dataset = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
    most = sum(each["split"] != "holdout" for each in dataset["images"]) / 2
    classes = len(dataset["classes"])
    return [
        (how, count)
        for how, count in BUDGETS
        if count * (classes if how == "per class" else 1) <= most
    ]


def name_of(run: Path, encoder: str, budget: tuple[str, int], seed: int) -> str:
    """Of a cell in the JSON."""
    return f"{run.name} | {encoder} | {budget[0]} {budget[1]} | {seed}"


def cell(run: Path, encoder: str, budget: tuple[str, int], seed: int) -> dict[str, Any]:
    """One draw of labels: held-out figures of the best of every kind, and of the chosen one."""
    from compressor.probes.kinds import KINDS
    from compressor.probes.model_selection import choose, settle

    training, held, labels = material(run, encoder, budget, seed)
    chosen = choose(training, seed=seed)
    probes = {kind: settle(training, chosen.scores, (kind,)).probe for kind in KINDS}
    return {
        "chosen": chosen.candidate.kind,
        "calibrated": chosen.calibrated,
        "labels": len(training.labelled),
        "classes": len(training.present),
        "probes": {kind: figures(probe.logits(held), labels) for kind, probe in probes.items()},
    }


def material(run: Path, encoder: str, budget: tuple[str, int], seed: int) -> Any:
    """What a probe learns from, and the held-out embeddings [N, D] with their labels [N]."""
    from safetensors.numpy import load_file

    from compressor.probes.training_set import TrainingSet
    from runtime.metrics import normalise

    dataset = json.loads((run / "dataset.json").read_text(encoding="utf-8"))
    photos = dataset["images"]
    truth = np.array([each["label"] for each in photos])
    held = np.array([each["split"] == "holdout" for each in photos])
    guide = load_file(run / "embeddings.safetensors")["images"]
    embedded = guide if encoder == "teacher" else load_file(run / "probes.safetensors")[encoder]
    how, count = budget
    if how == "chosen":
        labels = np.full(len(truth[~held]), -1)
        rows = ranked(run, seed)[:count]
        labels[rows] = truth[~held][rows]
    else:
        labels = drawn(truth[~held], len(dataset["classes"]), budget, seed)
    training = TrainingSet(
        normalise(embedded[~held]), guide[~held], labels, len(dataset["classes"])
    )
    return training, embedded[held], truth[held]


@cache
def ranked(run: Path, seed: int) -> Any:
    """Return the rows of training images in the order in which to label them, best first."""
    from safetensors.numpy import load_file

    from compressor.selection.choose import Request, choose

    photos = json.loads((run / "dataset.json").read_text(encoding="utf-8"))["images"]
    held = np.array([each["split"] == "holdout" for each in photos])
    guide = load_file(run / "embeddings.safetensors")["images"][~held]
    most = max(count for how, count in budgets(run) if how == "chosen")
    return choose(guide, Request(budget=most, seed=seed)).chosen


def drawn(truth: Any, classes: int, budget: tuple[str, int], seed: int) -> Any:
    """Labels of the drawn images, -1 for the others. At least two classes are among them."""
    rng, (how, count) = np.random.default_rng(seed), budget
    if how == "per class":
        of_class = [np.flatnonzero(truth == label) for label in range(classes)]
        rows = np.concatenate([rng.choice(each, count, replace=False) for each in of_class])
    else:
        rows = rng.choice(len(truth), count, replace=False)
        while len(np.unique(truth[rows])) < 2:
            rows = rng.choice(len(truth), count, replace=False)
    labels = np.full(len(truth), -1)
    labels[rows] = truth[rows]
    return labels


def figures(logits: Any, labels: Any) -> dict[str, float]:
    """Accuracy and expected calibration error on held-out images."""
    from runtime.metrics import calibration_error

    right = float((logits.argmax(axis=1) == labels).mean())
    return {"accuracy": right, "ece": calibration_error(logits, labels).value}


def text(found: dict[str, Any], run: Path, encoder: str, seeds: int) -> str:
    """A table of accuracies, and one of the choice and its calibration."""
    from runtime.text import table

    cells = defaultdict(list)
    for seed in range(seeds):
        for how, count in budgets(run):
            cells[f"{count} {TITLES[how]}"].append(found[name_of(run, encoder, (how, count), seed)])
    kinds = list(next(iter(cells.values()))[0]["probes"])
    rows = []
    for label, draws in cells.items():
        accuracy = {
            kind: np.array([each["probes"][kind]["accuracy"] for each in draws]) for kind in kinds
        }
        chosen = [each["probes"][each["chosen"]] for each in draws]
        got = np.array([each["accuracy"] for each in chosen])
        best = np.max(list(accuracy.values()), axis=0)
        rows.append(
            [
                label,
                *(interval(accuracy[kind]) for kind in kinds),
                interval(got),
                f"{(got >= best).mean():.0%}",
                interval(best - got),
                interval(np.array([each["ece"] for each in chosen])),
                f"{np.mean([each['calibrated'] for each in draws]):.0%}",
            ]
        )
    tail = ["chosen", "is the best", "loses", "ECE of chosen", "calibrated"]
    return table(["labels", *kinds, *tail], rows)


def interval(values: Any) -> str:
    """Mean and half the width of its 95 % interval over seeds (Student's t)."""
    from scipy.stats import t

    if len(values) < 2:
        return f"{values.mean():.3f}"
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.3f} ± {half:.3f}"


if __name__ == "__main__":
    guarded(main)
