"""A recipe made: run, export, engine, label."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from compressor.cli.options import FILE, json_option, require_training_packages, set_option
from runtime.cli import exit_code, out_option
from runtime.errors import InputError


@click.command()
@click.argument("recipe", type=FILE)
@out_option
@set_option
@click.option("--target", help="Make it for this target, whatever the recipe names.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and touch nothing.")
@json_option
def run(
    recipe: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    target: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Go the whole way: RECIPE to student, ONNX file, bundle and report.

    What is unchanged since the last run is skipped; a killed run continues. Exit code 0: all
    requirements met. 1: one missed (the report is written). 2: the input is wrong. 3: something is
    missing on this machine. 130: interrupted.
    """
    require_training_packages()
    from compressor.cli.console import Console, set_up_logging
    from compressor.pipeline.context import Run
    from compressor.recipe import plan as plans

    set_up_logging()
    if target is not None:
        of_a_file = target.endswith((".yaml", ".yml"))  # seen from here, not from the recipe
        overrides += (f"target={json.dumps(str(Path(target).resolve()) if of_a_file else target)}",)
    plan = plans.load(recipe, overrides)
    folder = out if out is not None else Path("runs") / plan.recipe.name
    job = Run(plan, folder, observer=Console())
    if dry_run:
        from compressor.pipeline import dry_run as rehearsal
        from compressor.pipeline.student_search import settled

        found = rehearsal.rehearse(settled(job, keep=False))
        click.echo(json.dumps(found) if as_json else rehearsal.text(found))
        return
    _run_stages(job, as_json=as_json)


@click.command()
@click.argument("run_folder", metavar="RUN", type=FILE)
@json_option
def export(run_folder: Path, as_json: bool) -> None:
    """Make the files of a finished RUN again where they are missing or changed, and check them."""
    require_training_packages()
    from compressor.cli.console import Console, set_up_logging
    from compressor.pipeline import runner
    from compressor.pipeline.context import Run
    from compressor.pipeline.student_search import settled
    from compressor.recipe import plan as plans
    from runtime.files import read_json

    set_up_logging()
    origin = run_folder / "recipe.json"
    if not origin.is_file():
        raise InputError(f"{run_folder}: not the folder of a run (it has no recipe.json)")
    written = read_json(origin)
    if not isinstance(written, dict) or not {"path", "overrides"} <= written.keys():
        raise InputError(f"{origin}: not written by a run; is {run_folder} the folder of one?")
    plan = plans.load(Path(written["path"]), written["overrides"])
    job = settled(Run(plan, run_folder, observer=Console()), keep=False)
    if not runner.learnt(job):
        raise InputError(
            f"{run_folder}: its student is not finished, or recipe, images or code have changed "
            f"since.\n  compressor run {written['path']} --out {run_folder} makes it anew."
        )
    _run_stages(job, as_json=as_json)


@click.command()
@click.argument("bundle", type=FILE)
@click.option(
    "--flavour",
    "flavours",
    multiple=True,
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    help="Which TensorRT. Default: what the recipe says. Repeatable.",
)
@click.option(
    "--compute-capability",
    "capabilities",
    multiple=True,
    metavar="X.Y",
    help="GPU that tensorrt-rtx builds for, such as 8.9. Default: the target's. Repeatable.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Which files of the bundle. Default: all. Repeatable.",
)
@click.option(
    "--batches",
    type=click.IntRange(min=1),
    nargs=3,
    metavar="FROM BEST TO",
    help="Batch sizes it takes. Default: the recipe's.",
)
@click.option("--workspace-mb", type=click.IntRange(min=1), help="Most scratch memory of a layer.")
@json_option
def engine(
    bundle: Path,
    flavours: tuple[Any, ...],
    capabilities: tuple[str, ...],
    precisions: tuple[Any, ...],
    batches: tuple[int, int, int] | None,
    workspace_mb: int | None,
    as_json: bool,
) -> None:
    """Build TensorRT engines from the ONNX files of a BUNDLE, into it, each with its manifest.

    Needs no training package. `tensorrt` builds on the device itself; `tensorrt-rtx` needs no GPU.
    """
    from export.engine import bundle_engines
    from runtime import documents
    from runtime.backends import engine_manifest

    wish = bundle_engines.Wish(flavours, capabilities, precisions, batches, workspace_mb)
    made = bundle_engines.add(bundle, wish, tell=lambda line: click.echo(line, err=True))
    found = {str(path): documents.plain(engine_manifest.load(path)) for path in made}
    if as_json:
        click.echo(json.dumps(found))
    for path in made:
        click.echo(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)", err=True)
    click.echo(f"Next, on such a GPU: python -m runtime check {bundle}", err=True)


@click.command()
@click.argument("recipe", type=FILE)
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    metavar="N",
    help="Choose N more than are labelled or proposed. Default: up to label.budget in all.",
)
@click.option(
    "--simulate",
    is_flag=True,
    help="Choose nothing; measure what each strategy would have been worth (needs all labels).",
)
@out_option
@set_option
@json_option
def label(
    recipe: Path,
    budget: int | None,
    simulate: bool,
    out: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say which images of RECIPE to label first: to_label.html, to_label.csv, to_label.json.

    Works in the folder of the run and adds to what was proposed there before. `compressor run`
    goes on from it.
    """
    require_training_packages()
    from compressor.cli.console import Console, set_up_logging
    from compressor.pipeline import runner, simulation_report
    from compressor.pipeline.context import Run
    from compressor.pipeline.steps import selection
    from compressor.recipe import plan as plans

    if simulate and budget is not None:
        raise InputError("--simulate measures budgets of its own; leave --budget out")
    selection.require_packages()
    set_up_logging()
    plan = plans.load(recipe, overrides)
    folder = out if out is not None else Path("runs") / plan.recipe.name
    job = Run(plan, folder, observer=Console())
    with job.locked():
        _write_recipe(job)
        if simulate:
            runner.run_embeddings(job)
        else:
            runner.run_selection(job, budget)
            _hand_out(job, as_json=as_json)
            return
        found = simulation_report.write(job)
    click.echo(json.dumps(found) if as_json else simulation_report.text(found))


def _run_stages(job: Any, *, as_json: bool) -> None:
    from compressor.cli.console import note
    from compressor.pipeline import runner
    from compressor.pipeline.student_search import AUTO, settled
    from runtime.files import size_of
    from runtime.report import markdown
    from runtime.results.report import load
    from runtime.results.scores import to_json

    if job.plan.recipe.student.model == AUTO:
        with job.locked():
            job = settled(job)
    runner.refuse_early(job)
    with job.locked():
        _write_recipe(job)
        if runner.run_all(job) == "waiting":
            _hand_out(job, as_json=as_json)
            return
    found = load(job.folder)
    click.echo(json.dumps(to_json(found)) if as_json else markdown.text(found))
    bundle = job.folder / "bundle"
    note(
        f"\n{job.plan.recipe.name}: {markdown.verdict_line(found)}\n"
        f"  report  {job.folder / 'report.html'} (and .md, .json)\n"
        f"  bundle  {bundle} ({size_of(bundle) / 1e6:.1f} MB)\n"
        f"Next: copy the bundle to the device and type there\n"
        f"  python -m runtime check bundle"
    )
    sys.exit(exit_code(found))


def _write_recipe(job: Any) -> None:
    from compressor.recipe.document import dump
    from runtime.files import write_json, write_text

    write_json(job.folder / "recipe.json", job.plan.origin)
    write_text(job.folder / "recipe.resolved.yaml", dump(job.plan.recipe.resolved()))


def _hand_out(job: Any, *, as_json: bool) -> None:
    from compressor.cli.console import note
    from compressor.pipeline import labelling

    found = labelling.write_files(job)
    if as_json:
        click.echo(json.dumps(found))
    note(labelling.text(found, job))
    note(labelling.next_step(found, job))
