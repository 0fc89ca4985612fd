"""The files and messages for a person who labels: shared by `run` and `label`."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from compressor.data.layout import returned
from compressor.pipeline.context import Run
from compressor.pipeline.rounds import measuring, table
from compressor.pipeline.steps import selection
from compressor.recipe.places.addresses import LABEL_WORDS
from compressor.selection import state
from compressor.selection.handoff import files
from compressor.selection.handoff.label_sheet import label_sheet
from compressor.selection.handoff.page import Origin
from compressor.selection.handoff.write import write_label_files
from runtime.report.sections import rounds as rounds_section
from runtime.report.sections.label_next import FEWEST_HELD_OUT
from runtime.text import command


class LabellingProgress(Struct, frozen=True, kw_only=True):
    """Which images are proposed and labelled so far."""

    strategy: str
    seed: int
    images: int
    """Images that can be proposed."""
    proposed: int
    open: int
    """Proposed images that have no label yet."""
    labelled: int
    held_out_labelled: int
    """Held-out images that have a label: accuracy is measured on them."""
    held_out_open: int
    """Held-out images that `--holdout` asked for, and that have no label yet."""
    wanted: int
    """Labels that the recipe's budget asks for."""
    classes: dict[str, int]
    """Labelled images of each class."""
    labels_not_handed_back: int
    """Labels in to_label.csv that are not in the recipe's `data.labels`."""


class LabelFiles(Struct, frozen=True, kw_only=True):
    """What `label --json` prints: the state of labelling, and the files to label in."""

    selection: LabellingProgress
    files: dict[str, str]
    """Path by suffix: `html` (while images are open), `csv`, `json`."""


def write_files(run: Run) -> LabelFiles:
    """Write to_label.* of a run whose step `selection` is made, and return what there is to do.

    Raises:
        InputError: the to_label.csv that is there cannot be read, so labels in it would be lost.
    """
    now, everything = selection.labelling_state(run), run.images()
    embeddings = selection.pool_embeddings(run)
    plan = state.load(now, run.folder)
    typed = files.typed_labels(run.folder, [photo.id for photo in everything.records])
    given = {photo.id for photo in everything.records if photo.label >= 0}
    asked = label_sheet(now, plan, everything, embeddings, typed, measuring.asked(run))
    origin = Origin(run.plan.recipe.name, run.root, run.folder / files.PAGE)
    if kept := write_label_files(asked, plan, embeddings, origin, track=run.track):
        run.note(
            f"{files.CSV} had labels that the new one has not (data.labels says another class, or "
            f"their images are no longer there): the one before is kept as {relative(kept)}"
        )
    written = (files.PAGE, files.CSV, files.TASKS) if asked.to_label else (files.CSV, files.TASKS)
    return LabelFiles(
        selection=LabellingProgress(
            strategy=plan.strategy,
            seed=plan.seed,
            images=len(now.pool),
            proposed=len(now.proposed),
            open=len(now.open),
            labelled=len(now.labelled),
            held_out_labelled=int((everything.part("holdout").labels >= 0).sum()),
            held_out_open=len(asked.open_held_out),
            wanted=selection.wanted(run, now),
            classes=_counts(run),
            labels_not_handed_back=len(typed.keys() - given),
        ),
        files={Path(name).suffix[1:]: str(run.folder / name) for name in written},
    )


def _counts(run: Run) -> dict[str, int]:
    found = run.images()
    return {name: int((found.labels == index).sum()) for index, name in enumerate(found.classes)}


def text(found: LabelFiles, run: Run) -> str:
    """Return what was written, where, and what to type next."""
    chosen, paths = found.selection, found.files
    lines = [
        f"\n{run.plan.recipe.name}: {chosen.open} images to label, {chosen.labelled} of "
        f"{chosen.images:,} labelled ({chosen.strategy})"
    ]
    if chosen.held_out_open:
        lines.append(f"  and {chosen.held_out_open} held-out ones to measure accuracy on")
    if chosen.classes:
        lines.append(f"  classes so far: {run.images().class_counts()}")
    if "html" in paths:
        lines.append(f"  {paths['html']}   open it in a browser, label there, download labels.csv")
        lines.append(f"  {paths['csv']}    or fill its column `label`")
        lines.append(f"  {paths['json']}   or import it into Label Studio (docs/label.md)")
    else:
        lines.append(f"  {paths['csv']}    all labels")
    if left := chosen.labels_not_handed_back:
        lines.append(
            f"  {left} labels in {paths['csv']} are not in data.labels: they are kept there, and "
            "count once data.labels names them."
        )
    if rounds := rounds_section.table(table.read(run.folder)):
        lines.append(rounds.markdown)
    return "\n".join(lines)


def next_step(found: LabelFiles, run: Run, *, came_back: bool = False) -> str:
    """How to go on, from where the labels are expected and how many there are.

    Args:
        found: what was written.
        run: the run.
        came_back: whether the images to label are of a device.
    """
    chosen, recipe = found.selection, relative(Path(run.plan.origin.path))
    again = command("compressor", "run", Path(recipe), *_out(run))
    nothing_open = not (chosen.open or chosen.held_out_open)
    if nothing_open and chosen.labelled >= chosen.wanted:
        return f"Next: {again}"
    labels, back = run.plan.recipe.data.labels, run.plan.recipe.data.returned
    if came_back and back is not None:
        lines = [f"Next: save the labels as {relative(back / returned.LABELS)}, then", f"  {again}"]
    elif labels in LABEL_WORDS:
        beside = relative(Path(run.plan.origin.path).parent / "labels.csv")
        lines = [
            f"Next: save the labels as {beside}, write `labels: labels.csv` into the recipe, then",
            f"  {again}",
        ]
    else:
        lines = [f"Next: save the labels as {relative(Path(labels))}, then", f"  {again}"]
    if run.plan.recipe.label is not None and chosen.labelled:
        lines.append(f"To continue with these: {again} --set label.budget={chosen.labelled}")
    elif run.plan.recipe.label is not None:
        lines.append("With fewer labels: --set label.budget=N; with none: without `label:`.")
    if not (chosen.held_out_labelled or chosen.held_out_open):
        some = min(FEWEST_HELD_OUT, len(run.images().rows("holdout")))
        more = command("compressor", "label", Path(recipe), *_out(run), "--holdout", some)
        lines.append(f"Accuracy needs labels of held-out images too: {more}")
    return "\n".join(lines)


def _out(run: Run) -> tuple[object, ...]:
    usual = Path("runs") / run.plan.recipe.name
    return () if run.folder == usual else ("--out", run.folder)


def relative(path: Path) -> str:
    """Return a path to type in this folder: relative if that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
