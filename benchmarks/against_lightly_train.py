"""Against LightlyTrain: the same images, teacher and student, for the same time.

    python benchmarks/against_lightly_train.py RECIPE --student STUDENT.yaml \
      --python LIGHTLY/bin/python --epochs 19 --out FOLDER

LIGHTLY is an environment of its own with `lightly-train`, timm and safetensors: it is AGPL, and
nothing of it comes near this project. It trains the student on the recipe's training and validation
images (it chooses no checkpoint by them) with the recipe's teacher, its own defaults and batches of
32, and its time by the clock is taken, imports and all. Then the same student is trained here with
`distill.minutes` set to that time, and to a tenth of it. `--scratch` leaves the student's weights
out on both sides.

What LightlyTrain gives are the pooled features of its network; a second row puts the closed form of
this project on them. Held-out images decide nothing. Writes FOLDER/against_lightly_train.json after
every row, and goes on from there.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click
from msgspec import to_builtins
from shared.cells import (  # type: ignore[import-not-found]
    SCORES,
    cells_of,
    opened,
    run_to_golden,
    scores_of,
    student_of,
)
from shared.processes import finished  # type: ignore[import-not-found]

from compressor.recipe.networks import Network
from runtime.benchmark.machine import describe
from runtime.cli import guarded
from runtime.files import write_json
from runtime.text import table

DRIVER = Path(__file__).parent / "shared" / "lightly_driver.py"
THEIR_SIZE_PX = 224
QUIET = {"LIGHTLY_TRAIN_EVENTS_DISABLED": "1"}
THEIRS, THEIRS_SOLVED = "LightlyTrain", "LightlyTrain, then closed form"
OURS, OURS_TENTH = "this project, equal time", "this project, a tenth of the time"
ROWS = ("teacher", THEIRS, THEIRS_SOLVED, OURS, OURS_TENTH)


@click.command()
@click.argument("recipe", type=click.Path(exists=True, path_type=Path))
@click.option("--student", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--python", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--method", default="distillationv3", show_default=True)
@click.option("--epochs", required=True, type=int, help="of LightlyTrain")
@click.option("--scratch", is_flag=True, help="both sides without the student's weights")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    recipe: Path,
    student: Path,
    python: Path,
    method: str,
    epochs: int,
    scratch: bool,
    out: Path,
) -> None:
    """Make the rows that are missing, print the table, write the JSON."""
    name = f"{recipe.stem}, {student.stem}{', from scratch' if scratch else ''}"
    folder, path = (
        out / name.replace(", ", "-").replace(" ", "-"),
        out / "against_lightly_train.json",
    )
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"tables": {}}
    rows = found["tables"].setdefault(name, {})
    found["machine"] = to_builtins(describe())
    changes = [*student_of(student), "check.robustness_images=0"]
    own = [*changes, "student.weights=none", "student.stages=null"] if scratch else changes

    def keep(row: str, scores: dict[str, Any], seconds: float, passes: int) -> None:
        rows[row] = {"scores": scores, "seconds": seconds, "epochs": passes}
        write_json(path, found)

    if THEIRS not in rows:
        seconds = theirs(recipe, own, folder, python, method, epochs)
        trained = [*changes, f"student.weights={folder / 'student.safetensors'}"]
        scores = our_run(recipe, [*trained, "distill.epochs=0"], folder / "theirs")
        keep("teacher", scores["teacher"], 0, 0)
        keep(THEIRS_SOLVED, scores["student"], seconds, epochs)
        keep(THEIRS, scores["raw"], seconds, epochs)
    minutes = rows[THEIRS]["seconds"] / 60
    for row, share in ((OURS, 1.0), (OURS_TENTH, 0.1)):
        if row not in rows:
            ran = folder / row.replace(", ", "-").replace(" ", "-")
            scores = our_run(recipe, [*own, f"distill.minutes={minutes * share:.3f}"], ran)
            log = (ran / "train.jsonl").read_text(encoding="utf-8").splitlines()
            keep(row, scores["student"], scores["seconds"], len(log) - (not scratch))
    cells = [
        [
            row,
            str(rows[row]["epochs"]),
            f"{rows[row]['seconds']:.0f}",
            *cells_of(rows[row]["scores"]),
        ]
        for row in ROWS
    ]
    click.echo(f"\n{name}\n\n{table(['', 'epochs', 'seconds', *SCORES], cells)}\n\n{path}")


def theirs(
    recipe: Path, changes: list[str], folder: Path, python: Path, method: str, epochs: int
) -> float:
    """Train with LightlyTrain; return the seconds by the clock."""
    from compressor.models.encoder import create_student
    from compressor.pipeline import runner

    run = opened(recipe, [*changes, "distill.epochs=1"], folder / "images")
    with run.locked():
        runner.run_all(run, until="images")
        images, spec = run.images(), run.plan.recipe
        preprocess = create_student(spec.student, seed=0).preprocess
    if preprocess.size_px != THEIR_SIZE_PX:
        raise click.ClickException(
            f"LightlyTrain trains at {THEIR_SIZE_PX} px: so must the student"
        )
    linked = folder / "linked"
    linked.mkdir(parents=True, exist_ok=True)
    for row in images.rows("train", "validation"):
        source = Path(str(images.paths[row])).resolve()
        link = linked / f"{row:06d}{source.suffix}"
        if not link.is_symlink():
            link.symlink_to(source)
    settings = {
        "images": str(linked),
        "work": str(folder),
        "student_out": str(folder / "student.safetensors"),
        "student": _network(spec.student),
        "teacher": _network(spec.teacher),
        "method": method,
        "epochs": epochs,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
    }
    write_json(folder / "settings.json", settings)
    began = time.monotonic()
    command = [str(python), str(DRIVER), str(folder / "settings.json")]
    finished(command, env={**os.environ, **QUIET})
    return time.monotonic() - began


def our_run(recipe: Path, changes: list[str], folder: Path) -> dict[str, Any]:
    """Run the steps up to the held-out images: scores, and the seconds of all that `minutes` is."""
    run = run_to_golden(recipe, changes, folder, {})
    clock = run.files.seconds()
    spent = sum(clock.get(step, 0.0) for step in ("features", "start", "distill"))
    return {**scores_of(folder), "seconds": spent}


def _network(section: Network) -> dict[str, Any]:
    weights = None if section.weights in ("none", "auto", "hub") else str(section.weights)
    return {"model": section.model, "args": dict(section.args), "weights": weights}


if __name__ == "__main__":
    guarded(main)
