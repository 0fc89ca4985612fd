"""TinTeM against Proteus, cosine regression and supervised, at equal images, epochs and student.

    python benchmarks/methods.py RECIPE... --student cnn --student vit --seeds 3 --out FOLDER

Each recipe names a data set (with labels and `data.ood`) and a teacher. Every method runs through
the stages of `compressor run` up to the held-out images, with the recipe's epochs, once a seed; a
seed decides the validation split, the views, the student's first weights and the order of batches.
Prints a table for each recipe and student, and writes FOLDER/methods.json.

Intervals are 95 % over images and seeds at once: held-out images are drawn with replacement, and so
are the seeds (a two-level bootstrap), so that a difference within them is not a difference. A run
that is there is not run again, so the benchmark can be stopped and continued, and shared between
processes (`--jobs`), each with its share of the cores.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from msgspec import to_builtins

from runtime import metrics
from runtime.benchmark.machine import describe

METHODS = {
    "tintem": [],
    "tintem, paper's form": [
        "distill.head=learned",
        "distill.head_fit=joint",
        "distill.center=false",
    ],
    "proteus": ["distill.method=proteus"],
    "cosine": ["distill.method=cosine"],
    "supervised": ["distill.method=supervised"],
}
"""What each row changes in the recipe."""
STUDENTS = {
    "cnn": ["student.model=mobilenetv3_small_100"],
    "vit": [
        "student.model=vit_tiny_patch16_224",
        "student.args={embed_dim: 128, depth: 6, num_heads: 4}",
        "student.mean=[0.5, 0.5, 0.5]",
        "student.std=[0.5, 0.5, 0.5]",
    ],
}
FIGURES = {
    "kNN": lambda seen: seen["knn_right"].mean(),
    "linear": lambda seen: seen["linear_right"].mean(),
    "kNN agrees": lambda seen: seen["knn_agrees"].mean(),
    "linear agrees": lambda seen: seen["linear_agrees"].mean(),
    "similarity r": lambda seen: similarity(seen),
    "OOD AUROC": lambda seen: metrics.auroc(seen["inside"], seen["outside"]),
    "OOD FPR95": lambda seen: metrics.fpr95(seen["inside"], seen["outside"]),
}
RESAMPLES = 500


@click.command()
@click.argument("recipes", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--student", "students", multiple=True, type=click.Choice(list(STUDENTS)))
@click.option("--method", "methods", multiple=True, type=click.Choice(list(METHODS)))
@click.option("--seeds", default=3, show_default=True, help="from 0 on; at least 3 for intervals")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="laid over each recipe")
@click.option("--jobs", default=1, show_default=True, help="runs at a time; they share the cores")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--one", hidden=True, nargs=3, help="run one cell: student, method, seed")
def main(
    recipes: tuple[Path, ...],
    students: tuple[str, ...],
    methods: tuple[str, ...],
    seeds: int,
    changes: tuple[str, ...],
    jobs: int,
    out: Path,
    one: tuple[str, str, str] | None,
) -> None:
    """Run what is missing, print the tables, write the JSON."""
    if one is not None:
        run_one(recipes[0], one, changes, out)
        return
    cells = list(itertools.product(students or STUDENTS, methods or METHODS, range(seeds)))
    for recipe in recipes:
        run_missing(recipe, cells, changes, jobs, out)
    found = {recipe.stem: tables(recipe, cells, out) for recipe in recipes}
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "changes": list(changes),
        "seeds": seeds,
        "machine": to_builtins(describe()),
        "tables": found,
    }
    (out / "methods.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    click.echo(f"\n{out / 'methods.json'}")


def run_missing(
    recipe: Path, cells: list[Any], changes: tuple[str, ...], jobs: int, out: Path
) -> None:
    """Run each cell in a process of its own, `jobs` at a time."""
    todo = [cell for cell in cells if not (folder_of(recipe, cell, out) / "seen.npz").exists()]
    cores = sorted(os.sched_getaffinity(0))
    running: dict[int, subprocess.Popen[bytes]] = {}
    while todo or running:
        for slot in range(jobs):
            if slot in running:
                code = running[slot].poll()
                if code is None:
                    continue
                if code:
                    raise click.ClickException(f"a run ended with exit code {code}: see above")
                del running[slot]
            if todo:
                cell = todo.pop(0)
                words = [str(each) for each in cell]
                click.echo(f"{recipe.stem}: {', '.join(words)} ({len(todo)} to go)", err=True)
                mine = cores[slot::jobs]
                overrides = itertools.chain(*(("--set", change) for change in changes))
                command = [sys.executable, __file__, str(recipe), "--out", str(out), *overrides]
                running[slot] = subprocess.Popen(
                    [*command, "--one", *words],
                    env={**os.environ, "OMP_NUM_THREADS": str(len(mine))},
                    preexec_fn=lambda mine=mine: os.sched_setaffinity(0, mine),
                )
        for process in running.values():
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                break


def run_one(recipe: Path, cell: tuple[str, str, str], changes: tuple[str, ...], out: Path) -> None:
    """One recipe, student, method and seed: through the stages, and what was seen of it kept."""
    from compressor.pipeline import runner
    from compressor.pipeline.context import Run
    from compressor.recipe import plan as plans

    student, method, seed = cell
    folder = folder_of(recipe, cell, out)
    own = [*STUDENTS[student], *METHODS[method], f"distill.seed={seed}"]
    plan = plans.load(recipe, [*changes, *own])
    run = Run(plan, folder / "run")
    with run.locked():
        runner.run_all(run, until="golden")
    seen = what_was_seen(run.folder)
    log = (run.folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    seen["seconds"] = np.array(run.files.seconds()["distill"])
    seen["epochs"] = np.array(len(log))
    temporary = folder / "seen.tmp.npz"
    np.savez(temporary, **seen)
    temporary.replace(folder / "seen.npz")


def what_was_seen(folder: Path) -> dict[str, Any]:
    """Per held-out image: was it right, did it agree; the embeddings; the OOD scores."""
    from runtime.backends.base import Outputs
    from runtime.bundle import golden
    from runtime.evaluation.subject import linear_logits

    arrays = golden.load(folder / "holdout").arrays
    known = arrays.bank_labels >= 0
    classes = int(arrays.bank_labels.max()) + 1
    student = arrays.student_embedding
    votes = metrics.knn_votes(student, arrays.bank[known], arrays.bank_labels[known], classes)
    linear = linear_logits(arrays, Outputs(student, arrays.student_logits))
    answers = {"knn": votes.argmax(axis=1), "linear": linear.argmax(axis=1)}
    teacher = {"knn": arrays.teacher_knn, "linear": arrays.teacher_logits.argmax(axis=1)}
    seen: dict[str, Any] = {}
    for name, answer in answers.items():
        seen[f"{name}_right"] = answer == arrays.labels
        seen[f"{name}_agrees"] = answer == teacher[name]
    seen["student"], seen["teacher"] = student, arrays.teacher_embedding
    seen["inside"] = metrics.ood_scores(student, arrays.bank)
    seen["outside"] = metrics.ood_scores(arrays.outside.student_embedding, arrays.bank)
    return seen


def tables(recipe: Path, cells: list[Any], out: Path) -> dict[str, Any]:
    """Each student's table, printed and returned."""
    from runtime.text import table

    found: dict[str, Any] = {}
    for student in dict.fromkeys(cell[0] for cell in cells):
        rows = {}
        for method in dict.fromkeys(cell[1] for cell in cells):
            folders = [
                folder_of(recipe, cell, out) for cell in cells if cell[:2] == (student, method)
            ]
            seen = [dict(np.load(folder / "seen.npz")) for folder in folders]
            rows[method] = {name: interval(seen, of) for name, of in FIGURES.items()}
            rows[method]["seconds"] = [float(each["seconds"]) for each in seen]
            rows[method]["epochs"] = [int(each["epochs"]) for each in seen]
        found[student] = rows
        click.echo(f"\n{recipe.stem}, {student}\n")
        cells_of = [
            [method, *(_cell(figures[name]) for name in FIGURES)]
            for method, figures in rows.items()
        ]
        click.echo(table(["method", *FIGURES], cells_of))
    return found


def interval(seen: list[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    """The mean over seeds, and its 95 % interval over seeds and images drawn with replacement."""
    rng = np.random.default_rng(0)
    each = [float(of(one)) for one in seen]
    samples = []
    for _ in range(RESAMPLES):
        drawn = [_resampled(seen[at], rng) for at in rng.integers(0, len(seen), len(seen))]
        samples.append(np.mean([of(one) for one in drawn]))
    low, high = np.percentile(samples, [2.5, 97.5])
    return {"mean": float(np.mean(each)), "low": float(low), "high": float(high), "seeds": each}


def folder_of(recipe: Path, cell: tuple[Any, ...], out: Path) -> Path:
    """Where one cell's run lies."""
    student, method, seed = cell
    return out / recipe.stem / f"{student}-{method.replace(', ', '-').replace(' ', '-')}-{seed}"


def _resampled(seen: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    inside = rng.integers(0, len(seen["inside"]), len(seen["inside"]))
    outside = rng.integers(0, len(seen["outside"]), len(seen["outside"]))
    held_out = [name for name in seen if name not in ("outside", "seconds", "epochs")]
    drawn = {name: seen[name][inside] for name in held_out}
    return {**drawn, "outside": seen["outside"][outside], "rows": inside}


def similarity(seen: dict[str, Any]) -> float:
    """Pearson r of off-diagonal cosines; a pair of an image with its own copy is left out."""
    x, y = (
        (unit := seen[name] / np.linalg.norm(seen[name], axis=1, keepdims=True)) @ unit.T
        for name in ("student", "teacher")
    )
    rows = seen.get("rows", np.arange(len(x)))
    others = rows[:, None] != rows
    return float(np.corrcoef(x[others], y[others])[0, 1])


def _cell(figure: dict[str, Any]) -> str:
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


if __name__ == "__main__":
    main()
