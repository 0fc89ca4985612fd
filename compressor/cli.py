"""The command line. Every command imports what it needs when it runs."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

import runtime
from runtime.__main__ import check as check_here
from runtime.__main__ import pack, predict, unpack
from runtime.command import exit_code, guarded, out_option
from runtime.errors import InputError, MissingDependencyError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_FILE = click.Path(path_type=Path)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else."
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the recipe, as in distill.epochs=2. Repeatable.",
)


@click.group(context_settings=CONTEXT)
@click.version_option(runtime.__version__, prog_name="edge-compressor")
def commands() -> None:
    r"""Distil a vision foundation model into a small student for the edge, and prove what was kept.

    \b
    compressor init photos        write a recipe for a folder of images
    compressor label recipe.yaml  say which images to label first
    compressor run recipe.yaml    make the student, its ONNX file and the report
    compressor check RUN/bundle   check the bundle again, here or on the device
    """


@commands.command()
@click.argument("recipe", type=_FILE)
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
    _require_training_packages()
    from compressor import recipe as recipes
    from compressor.console import note, set_up_logging, track
    from compressor.run import Run

    set_up_logging()
    if target is not None:
        of_a_file = target.endswith((".yaml", ".yml"))  # seen from here, not from the recipe
        overrides += (f"target={json.dumps(str(Path(target).resolve()) if of_a_file else target)}",)
    plan = recipes.load(recipe, overrides)
    folder = out if out is not None else Path("runs") / plan.recipe.name
    job = Run(plan, folder, track=track, note=note)
    if dry_run:
        from compressor import dry_run as rehearsal
        from compressor.student_search import settled

        found = rehearsal.rehearse(settled(job, keep=False))
        click.echo(json.dumps(found) if as_json else rehearsal.text(found))
        return
    _run_stages(job, as_json=as_json)


@commands.command()
@click.argument("run_folder", metavar="RUN", type=_FILE)
@json_option
def export(run_folder: Path, as_json: bool) -> None:
    """Make the files of a finished RUN again where they are missing or changed, and check them."""
    _require_training_packages()
    from compressor import pipeline
    from compressor import recipe as recipes
    from compressor.console import note, set_up_logging, track
    from compressor.run import Run
    from compressor.student_search import settled
    from runtime.files import read_json

    set_up_logging()
    origin = run_folder / "recipe.json"
    if not origin.is_file():
        raise InputError(f"{run_folder}: not the folder of a run (it has no recipe.json)")
    written = read_json(origin)
    if not isinstance(written, dict) or not {"path", "overrides"} <= written.keys():
        raise InputError(f"{origin}: not written by a run; is {run_folder} the folder of one?")
    plan = recipes.load(Path(written["path"]), written["overrides"])
    job = settled(Run(plan, run_folder, track=track, note=note), keep=False)
    if not pipeline.learnt(job):
        raise InputError(
            f"{run_folder}: its student is not finished, or recipe, images or code have changed "
            f"since.\n  compressor run {written['path']} --out {run_folder} makes it anew."
        )
    _run_stages(job, as_json=as_json)


@commands.command()
@click.argument("bundle", type=_FILE)
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
    precisions: tuple[str, ...],
    batches: tuple[int, int, int] | None,
    workspace_mb: int | None,
    as_json: bool,
) -> None:
    """Build TensorRT engines from the ONNX files of a BUNDLE, into it, each with its passport.

    Needs no training package. `tensorrt` builds on the device itself; `tensorrt-rtx` needs no GPU.
    """
    from export import engines
    from runtime import passport

    wish = engines.Wish(flavours, capabilities, precisions, batches, workspace_mb)
    made = engines.add(bundle, wish, tell=lambda line: click.echo(line, err=True))
    found = {str(path): passport.load(path).to_dict() for path in made}
    if as_json:
        click.echo(json.dumps(found))
    for path in made:
        click.echo(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)", err=True)
    click.echo(f"Next, on such a GPU: python -m runtime check {bundle}", err=True)


def _run_stages(job: Any, *, as_json: bool) -> None:
    from compressor import pipeline, selecting
    from compressor.console import note
    from compressor.student_search import AUTO, settled
    from runtime import report
    from runtime.files import read_json, size_of

    if job.plan.recipe.student.model == AUTO:
        with job.locked():
            job = settled(job)
    pipeline.refuse_early(job)
    with job.locked():
        _write_recipe(job)
        stages_done = [_tell(progress) for progress in pipeline.run_all(job)]
        if stages_done[-1].stage == selecting.NAME:
            _hand_out(job, as_json=as_json)
            return
    found = read_json(job.folder / "report.json")
    click.echo(json.dumps(found) if as_json else report.text(found))
    bundle = job.folder / "bundle"
    note(
        f"\n{job.plan.recipe.name}: {report.verdict_line(found)}\n"
        f"  report  {job.folder / 'report.md'}\n"
        f"  bundle  {bundle} ({size_of(bundle) / 1e6:.1f} MB)\n"
        f"Next: copy the bundle to the device and type there\n"
        f"  python -m runtime check bundle"
    )
    sys.exit(exit_code(found))


def _write_recipe(job: Any) -> None:
    from compressor.yaml_file import dump
    from runtime.files import write_json, write_text

    write_json(job.folder / "recipe.json", job.plan.origin)
    write_text(job.folder / "recipe.resolved.yaml", dump(job.plan.recipe.resolved()))


def _tell(progress: Any) -> Any:
    from compressor.console import note

    done = "unchanged, skipped" if progress.state == "cached" else "done"
    note(f"  {done} ({progress.seconds:.1f} s{' then' if done != 'done' else ''})")
    return progress


def _hand_out(job: Any, *, as_json: bool) -> None:
    from compressor import labelling
    from compressor.console import note

    found = labelling.write_files(job)
    if as_json:
        click.echo(json.dumps(found))
    note(labelling.text(found, job))
    note(labelling.next_step(found, job))


@commands.command()
@click.argument("recipe", type=_FILE)
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
    _require_training_packages()
    from compressor import pipeline, receipt, selecting
    from compressor import recipe as recipes
    from compressor.console import note, set_up_logging, track
    from compressor.run import Run

    if simulate and budget is not None:
        raise InputError("--simulate measures budgets of its own; leave --budget out")
    selecting.require_packages()
    set_up_logging()
    plan = recipes.load(recipe, overrides)
    folder = out if out is not None else Path("runs") / plan.recipe.name
    job = Run(plan, folder, track=track, note=note)
    with job.locked():
        _write_recipe(job)
        steps = pipeline.run_embeddings(job) if simulate else pipeline.run_selection(job, budget)
        for progress in steps:
            _tell(progress)
        if not simulate:
            _hand_out(job, as_json=as_json)
            return
        found = receipt.write(job)
    click.echo(json.dumps(found) if as_json else receipt.text(found))


@commands.command()
@click.argument("folder", type=_FILE)
@click.option("--labels", default="none", show_default=True, help="folders, none, or a CSV.")
@json_option
def audit(folder: Path, labels: str, as_json: bool) -> None:
    """Decode every file of FOLDER and name the unusable and the duplicates. Writes nothing."""
    from compressor import images
    from compressor.console import set_up_logging, track

    set_up_logging()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    where = labels if labels in ("folders", "none") else str(Path(labels).resolve())
    found = images.audit(
        folder.resolve(), labels=where, holdout=0.2, validation=0.1, seed=0, track=track
    )
    counts = found.counts()
    if as_json:
        document = {
            "counts": counts,
            "rejected": [vars(each) for each in found.rejected],
            "duplicates": [vars(each) for each in found.duplicates],
        }
        click.echo(json.dumps(document))
        return
    for rejected in found.rejected:
        click.echo(f"rejected   {rejected.id}: {rejected.reason}")
    for duplicate in found.duplicates:
        click.echo(f"duplicate  {duplicate.id} has the pixels of {duplicate.twin}")
    click.echo(
        f"{counts['images']} usable images, {counts['rejected']} files rejected, "
        f"{counts['duplicates']} duplicates, {counts['classes']} classes"
    )
    click.echo(f"Next: compressor init {folder}", err=True)


@commands.command()
@click.argument("folder", type=_FILE)
@click.option(
    "--recipe", "path", type=_FILE, default=Path("recipe.yaml"), show_default=True,
    help="File to write; one that is there is never overwritten.",
)  # fmt: skip
def init(folder: Path, path: Path) -> None:
    """Write a commented recipe for a FOLDER of images."""
    _require_training_packages()
    from compressor.starter import starter_recipe

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if path.exists():
        raise InputError(f"{path}: is there already; name another one with --recipe")
    from runtime.files import write_text

    write_text(path, starter_recipe(folder, relative_to=path.resolve().parent))
    click.echo(f"wrote {path}. Read it, then: compressor run {path} --dry-run", err=True)


@commands.command()
@click.argument("folder", type=_FILE, default=Path("quickstart"))
def quickstart(folder: Path) -> None:
    """Write the embedded example (recipe, teacher, scikit-learn's digits as images) into FOLDER."""
    _require_training_packages()
    from compressor.starter import write_quickstart

    count = write_quickstart(folder)
    click.echo(f"wrote {count} images, a teacher and a recipe into {folder}", err=True)
    click.echo(f"Next: compressor run {folder / 'cpu.yaml'}", err=True)


@commands.command()
@click.argument("reports", metavar="REPORT...", type=_FILE, nargs=-1, required=True)
@click.option("--not-worse", is_flag=True, help="Exit 1 where a figure is worse than the first's.")
@json_option
def compare(reports: tuple[Path, ...], not_worse: bool, as_json: bool) -> None:
    """Show reports side by side and say what is better or worse than in the first one.

    REPORT: a report.json, or the folder of a run or of a check. A difference within the 95 %
    intervals is called not distinguishable.
    """
    from runtime import compare as comparison

    loaded = [comparison.load(path) for path in reports]
    names = [str(path) for path in reports]
    if as_json:
        click.echo(json.dumps(comparison.document(names, loaded)))
    else:
        click.echo(comparison.text(names, loaded))
    judged = [each for other in loaded[1:] for each in comparison.changes(loaded[0], other)]
    if not_worse and (worse := [each.figure for each in judged if each.outcome == "worse"]):
        click.echo(f"worse: {', '.join(dict.fromkeys(worse))}", err=True)
        sys.exit(1)


@commands.command()
@click.argument("recipe", type=_FILE)
@click.option("--out", type=_FILE, default=Path("candidates"), show_default=True, help="Folder.")
@set_option
def candidates(recipe: Path, out: Path, overrides: tuple[str, ...]) -> None:
    """Export the students that RECIPE's target suggests, untrained, to be timed on the device."""
    _require_training_packages()
    from compressor import recipe as recipes
    from compressor import student_search
    from compressor.console import note, set_up_logging

    set_up_logging()
    student_search.write_candidates(recipes.load(recipe, overrides), out, note)
    note(f"{out}\nNext, on the device: python -m runtime latency-table {out.name}")


@commands.command()
@click.argument("bundle", type=_FILE)
@out_option
@click.option("--on", metavar="USER@HOST", help="Check it there, over ssh; leaves nothing there.")
@click.option("--python", default="python3", show_default=True, help="With --on: its Python.")
@click.option(
    "--no-install",
    is_flag=True,
    help="With --on: its Python has numpy, Pillow, click and a backend already (a Jetson's).",
)
@click.option("--keep", is_flag=True, help="With --on: leave the folder there.")
@json_option
@click.pass_context
def check(
    context: click.Context,
    bundle: Path,
    out: Path | None,
    on: str | None,
    python: str,
    no_install: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Verify BUNDLE, run it on this machine or another and judge it against its requirements."""
    if on is None:
        context.invoke(check_here, bundle=bundle, out=out, as_json=as_json)
        return
    from compressor import remote
    from runtime import report

    folder = out if out is not None else bundle.resolve().parent / f"{bundle.resolve().name}-check"
    wish = remote.Wish(python, install=not no_install, keep=keep)
    found = remote.check(bundle, on, wish, folder, lambda line: click.echo(line, err=True))
    click.echo(json.dumps(found) if as_json else report.text(found))
    click.echo(
        f"{found['recipe']['name']} on {on}: {report.verdict_line(found)}\n"
        f"report: {folder / 'report.md'}",
        err=True,
    )
    sys.exit(exit_code(found))


@commands.command()
@json_option
def targets(as_json: bool) -> None:
    """List the devices that a recipe can name as its target."""
    _require_training_packages()
    from compressor import target
    from runtime.report import table

    found = {
        name: target.load(target.recipes_folder() / "targets" / f"{name}.yaml")
        for name in target.names()
    }
    if as_json:
        click.echo(json.dumps({name: each.model_dump(mode="json") for name, each in found.items()}))
        return
    rows = [
        [name, each.provider, ", ".join(each.precisions), each.description]
        for name, each in found.items()
    ]
    click.echo(table(["target", "provider", "precisions", "device"], rows))


@commands.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    _require_training_packages()
    from compressor.recipe import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@commands.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can do, and what to install for the rest."""
    from compressor.doctor import examine, text

    found = examine()
    click.echo(json.dumps(found) if as_json else text(found))


@commands.command()
@click.option("--clear", is_flag=True, help="Remove everything in it. Finished runs keep theirs.")
@json_option
def cache(clear: bool, as_json: bool) -> None:
    """Show how much runs keep for each other, and where.

    EDGE_COMPRESSOR_CACHE names the folder, EDGE_COMPRESSOR_CACHE_GB how large it may become (20;
    0 is no cache).
    """
    from compressor.cache import Cache, examine, text
    from compressor.console import set_up_logging

    set_up_logging()
    found = examine(Cache.from_environment(), clear=clear)
    click.echo(json.dumps(found) if as_json else text(found))
    if found["entries"]:
        click.echo("Next: compressor cache --clear removes them", err=True)


for of_the_device in (predict, pack, unpack):
    commands.add_command(of_the_device)


def _require_training_packages() -> None:
    """One message for a base install, instead of an import error somewhere below."""
    from importlib.util import find_spec

    needed = ("pydantic", "ruamel.yaml", "rich", "torch", "timm", "sklearn", "onnx", "safetensors")
    missing = [name for name in needed if not _is_there(find_spec, name)]
    if missing:
        raise MissingDependencyError(
            f"this command needs packages that are not installed: {', '.join(missing)}\n"
            "  pip install 'edge-compressor[train,cpu]'   (with an NVIDIA GPU: [train,gpu])\n"
            "  To check a bundle on a device, `python -m runtime check` needs none of them."
        )


def _is_there(find_spec: Any, name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package around a submodule is missing
        return False


def main() -> None:
    """Entry point of `compressor`."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0" if sys.stderr.isatty() else "1")
    again = shlex.join(["compressor", *sys.argv[1:]])
    guarded(commands, on_interrupt=lambda: f"What was finished is kept; to continue: {again}")


if __name__ == "__main__":
    main()
