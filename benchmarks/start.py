"""The closed form against training, by seconds: what each minute after the teacher's pass buys.

    python benchmarks/start.py RECIPE... --student STUDENT.yaml --out FOLDER

A recipe names images (with labels, and `data.ood`) and a teacher; a student file has the keys of
the section `student:`, with pretrained weights. Rows: what its backbone gives by itself; the
embedding layer solved from the plain images, and from the default views; training from there for a
quarter, a half and all of the default epochs; and a student of the same architecture from scratch
for as many seconds as the longest training took.

Everything is made by the steps of `compressor run`. Seconds are those of the steps `start` and
`distill`, beyond the teacher's pass (`embeddings` and `features`), which has a column of its own.
CPU seconds are those of all cores together, and hardly depend on what else the machine does.
Held-out images decide nothing. Intervals are 95 % over held-out images. Writes FOLDER/start.json
after every row, and goes on from there.
"""

from __future__ import annotations

import json
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

from runtime.benchmark.machine import describe
from runtime.cli import guarded
from runtime.files import write_json
from runtime.text import table

RAW, PLAIN, CLOSED, SCRATCH = "raw features", "closed form, plain", "closed form", "from scratch"
TRAINED = {"trained, 25 %": 0.25, "trained, 50 %": 0.5, "trained, 100 %": 1.0}
LONGEST = "trained, 100 %"
ROWS = (RAW, PLAIN, CLOSED, *TRAINED, SCRATCH)
Row = dict[str, Any]


@click.command()
@click.argument("recipes", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--student", "students", multiple=True, required=True, metavar="FILE",
    type=click.Path(exists=True, path_type=Path),
)  # fmt: skip
@click.option("--row", "wanted", multiple=True, type=click.Choice(ROWS), help="default: all")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="laid over each recipe")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    recipes: tuple[Path, ...],
    students: tuple[Path, ...],
    wanted: tuple[str, ...],
    changes: tuple[str, ...],
    out: Path,
) -> None:
    """Make the rows that are missing, print the tables, write the JSON."""
    path = out / "start.json"
    found: dict[str, Any] = {"tables": {}, "cpu": {}}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
    found |= {"changes": list(changes), "machine": to_builtins(describe())}
    for recipe in recipes:
        for student in students:
            name = f"{recipe.stem}, {student.stem}"
            rows = found["tables"].setdefault(name, {})
            own = [*student_of(student), *changes]
            setting = Setting(recipe, own, out / name, rows, found["cpu"])
            for row in wanted or ROWS:
                if row not in rows:
                    click.echo(f"{name}: {row}", err=True)
                    rows |= setting.make(row)
                    write_json(path, found)
            click.echo(f"\n{name}\n")
            click.echo(printed(rows))
    click.echo(f"\n{path}")


class Setting:
    """One recipe and student: makes rows, each by a run in a folder of its own."""

    def __init__(
        self, recipe: Path, changes: list[str], folder: Path, rows: Row, cpu: dict[str, float]
    ) -> None:
        self.recipe = recipe
        self.changes = [*changes, "check.robustness_images=0"]
        self.folder = folder
        self.rows = rows
        """Those that are there."""
        self.cpu = cpu
        """Processor seconds of steps, by their entries in the store."""

    def make(self, row: str) -> Row:
        """Return a row, and the others that its run gives."""
        if row == PLAIN:
            return self._run(row, ["distill.epochs=0", "distill.views=1"])
        if row in (RAW, CLOSED):
            made = self._run(CLOSED, ["distill.epochs=0"])
            return made if row == CLOSED else {row: made[RAW], "teacher": made["teacher"]}
        if row in TRAINED:
            return self._run(row, [f"distill.epochs={self._epochs(TRAINED[row])}"])
        epochs = self._epochs_from_scratch()
        weights = ["student.weights=none", "student.stages=null", f"distill.epochs={epochs}"]
        return self._run(SCRATCH, weights)

    def _run(self, row: str, changes: list[str]) -> Row:
        folder = self.folder / row.replace(",", "").replace(" %", "").replace(" ", "-")
        # Each row gives its epochs, which are counted with the patience of the recipe
        changes = [*self.changes, *changes, "distill.patience=1x"]
        run = run_to_golden(self.recipe, changes, folder, self.cpu)
        scores = scores_of(folder)
        log = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
        common = {
            "train": len(run.images().part("train")),
            "holdout": len(run.images().part("holdout")),
            "teacher": self._cost(run, "embeddings", "features"),
        }
        # The log begins with the start, which is no epoch, if there is one
        epochs = len(log) - ("start" in run.files.seconds())
        own = {**self._cost(run, "start", "distill"), "epochs": epochs}
        start = {**self._cost(run, "start"), "epochs": 0}
        made = {row: {**common, **own, "scores": scores["student"]}}
        for name, title in (("raw", RAW), ("teacher", "teacher")):
            if name in scores:
                none = {**self._cost(run), "epochs": 0}
                made[title] = {**common, **none, "scores": scores[name]}
        if "closed_form" in scores:
            made[f"start of: {row}"] = {**common, **start, "scores": scores["closed_form"]}
        return made

    def _cost(self, run: Any, *steps: str) -> dict[str, float]:
        """Return the seconds of some steps, by the clock and of the processor."""
        clock = run.files.seconds()
        there = [step for step in steps if step in clock]
        cpu = (self.cpu.get(run.files.record(step).entry, clock[step]) for step in there)
        return {"seconds": sum(clock[step] for step in there), "cpu_seconds": sum(cpu)}

    def _epochs(self, share: float) -> int:
        """Return a share of the epochs that the recipe would have."""
        from compressor.pipeline import runner

        run = opened(self.recipe, self.changes, self.folder / CLOSED.replace(" ", "-"))
        with run.locked():
            runner.run_all(run, until="images")
        images = len(run.images().part("train"))
        return max(1, round(share * run.plan.recipe.distill.epochs_for(images)))

    def _epochs_from_scratch(self) -> int:
        """Return the epochs that take as long as start and training of the longest row did."""
        if LONGEST not in self.rows:
            self.rows |= self.make(LONGEST)
        longest = self.rows[LONGEST]
        start = self.rows[f"start of: {LONGEST}"]["cpu_seconds"]
        epoch = (longest["cpu_seconds"] - start) / longest["epochs"]
        return max(1, round(longest["cpu_seconds"] / epoch))


def printed(rows: Row) -> str:
    """Return the table of one recipe and student."""
    cells = []
    for name in ("teacher", *ROWS):
        if name not in rows:
            continue
        row = rows[name]
        spent = (row["teacher"]["cpu_seconds"], row["cpu_seconds"], row["seconds"])
        seconds = [f"{each:.0f}" for each in spent]
        cells.append([name, str(row["epochs"]), *seconds, *cells_of(row["scores"])])
    return table(["", "epochs", "teacher, CPU s", "then, CPU s", "then, s", *SCORES], cells)


if __name__ == "__main__":
    guarded(main)
