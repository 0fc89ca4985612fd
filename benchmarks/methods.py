"""TinTeM against Proteus, cosine regression and supervised, at equal images, epochs and student.

    python benchmarks/methods.py RECIPE... --student STUDENT.yaml --seeds 3 --out FOLDER

Each recipe names a data set (with labels and `data.ood`) and a teacher; a student file has the keys
of the section `student:`, and may start from pretrained weights. Every method runs through the
steps of `compressor run` up to the held-out images, with the recipe's epochs, once a seed; a seed
decides the splits, the views, a new student's first weights and the order of batches. `closed form`
is the start of training alone, `raw` what the student's backbone gives by itself.

Beside accuracy and agreement, the paper's three claims: *robustness*, answers to corrupted held-out
images; *generalisability*, a kNN and a linear probe (C = 1) on the student's embedding of the other
sets, which it never saw, as a mean over these sets; and OOD AUROC. `r` is the correlation of the
cosines with the teacher's, both measured from the mean of the training images.

Intervals are 95 % over images and seeds at once: held-out images are drawn with replacement, and so
are the seeds (a two-level bootstrap), so that a difference within them is not a difference. A run
that is there is not run again, so the benchmark can be stopped and continued, and shared between
processes (`--jobs`), each with its share of the cores. Prints a table for each recipe and student,
and writes FOLDER/methods.json.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from msgspec import to_builtins
from shared.seen import FIGURES, interval, run_one  # type: ignore[import-not-found]

from runtime.benchmark.machine import describe
from runtime.cli import guarded

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
    "closed form": ["distill.epochs=0"],
    "raw": ["distill.epochs=0"],
}
"""What each row changes in the recipe."""
DEFAULT = ("raw", "closed form", "tintem", "proteus", "cosine", "supervised")


@click.command()
@click.argument("recipes", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--student", "students", multiple=True, required=True, metavar="FILE",
    type=click.Path(exists=True, path_type=Path),
)  # fmt: skip
@click.option("--method", "methods", multiple=True, type=click.Choice(list(METHODS)))
@click.option(
    "--other", "others", multiple=True, metavar="RECIPE",
    type=click.Path(exists=True, path_type=Path), help="unseen sets; default: the other recipes",
)  # fmt: skip
@click.option("--seeds", default=3, show_default=True, help="from 0 on; at least 3 for intervals")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="laid over each recipe")
@click.option("--jobs", default=1, show_default=True, help="runs at a time; they share the cores")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--one", hidden=True, nargs=3, help="run one cell: student, method, seed")
def main(
    recipes: tuple[Path, ...],
    students: tuple[Path, ...],
    methods: tuple[str, ...],
    others: tuple[Path, ...],
    seeds: int,
    changes: tuple[str, ...],
    jobs: int,
    out: Path,
    one: tuple[str, str, str] | None,
) -> None:
    """Run what is missing, print the tables, write the JSON."""
    if one is not None:
        cell = (Path(one[0]), one[1], int(one[2]))
        own = [*changes, *METHODS[cell[1]], f"distill.seed={cell[2]}"]
        run_one(recipes[0], cell, own, others, folder_of(recipes[0], cell, out))
        return
    cells = list(itertools.product(students, methods or DEFAULT, range(seeds)))
    for recipe in recipes:
        unseen = [each for each in (others or recipes) if each.stem != recipe.stem]
        words = [word for change in changes for word in ("--set", change)]
        words += [word for each in unseen for word in ("--other", str(each))]
        run_missing(recipe, cells, words, jobs, out)
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
    recipe: Path, cells: list[Any], options: Sequence[str], jobs: int, out: Path
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
                mine = cores[slot::jobs] or cores  # more runs than cores share them
                command = [sys.executable, __file__, str(recipe), "--out", str(out), *options]
                running[slot] = subprocess.Popen(
                    [*command, "--student", words[0], "--one", *words],
                    env={**os.environ, "OMP_NUM_THREADS": str(len(mine))},
                    preexec_fn=lambda mine=mine: os.sched_setaffinity(0, mine),
                )
        for process in running.values():
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                break


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
            if not rows:
                rows["teacher"] = figures(seen, "teacher")
            rows[method] = figures(seen, "student")
            for name in ("seconds", "epochs", "cpu_seconds"):
                rows[method][name] = [float(each[name]) for each in seen]
        found[student.stem] = rows
        images = {name: len(seen[0][key]) for name, key in COUNTED.items() if key in seen[0]}
        found[student.stem]["teacher"]["images"] = images
        told = ", ".join(f"{count} {name}" for name, count in images.items())
        click.echo(f"\n{recipe.stem}, {student.stem} ({told})\n")
        shown = [[name, *(_cell(row[title]) for title in FIGURES)] for name, row in rows.items()]
        click.echo(table(["method", *FIGURES], shown))
    return found


COUNTED = {
    "held out": "teacher_inside",
    "outside": "teacher_outside",
    "corrupted": "teacher_corrupted",
}


def figures(seen: list[dict[str, Any]], who: str) -> dict[str, Any]:
    """Each figure of the teacher or the student, None where it has none."""
    return {title: interval(seen, who, of) for title, of in FIGURES.items()}


def folder_of(recipe: Path, cell: tuple[Any, ...], out: Path) -> Path:
    """Where one cell's run lies."""
    student, method, seed = cell
    name = method.replace(", ", "-").replace(" ", "-")
    return out / recipe.stem / f"{student.stem}-{name}-{seed}"


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


if __name__ == "__main__":
    guarded(main)
