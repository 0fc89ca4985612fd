"""Commands before a run: audit images, write recipes, list targets, show the cache."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from compressor.cli.options import FILE, json_option, require_training_packages
from runtime.errors import InputError


@click.command()
@click.argument("folder", type=FILE)
@click.option("--labels", default="none", show_default=True, help="folders, none, or a CSV.")
@json_option
def audit(folder: Path, labels: str, as_json: bool) -> None:
    """Decode every file of FOLDER and name the unusable and the duplicates. Writes nothing."""
    from compressor.cli.console import Console, set_up_logging
    from compressor.data.audit import AuditSettings
    from compressor.data.audit import audit as audit_folder
    from compressor.events import Reporter

    set_up_logging()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    source = labels if labels in ("folders", "none") else str(Path(labels).resolve())
    settings = AuditSettings(labels=source, holdout=0.2, validation=0.1, seed=0)
    with Console() as console:
        result = audit_folder(folder.resolve(), settings, Reporter(console).track)
    counts = result.counts()
    if as_json:
        document = {
            "counts": counts,
            "rejected": [vars(rejected) for rejected in result.rejected],
            "duplicates": [vars(duplicate) for duplicate in result.duplicates],
        }
        click.echo(json.dumps(document))
        return
    for rejected in result.rejected:
        click.echo(f"rejected   {rejected.id}: {rejected.reason}")
    for duplicate in result.duplicates:
        click.echo(f"duplicate  {duplicate.id} has the pixels of {duplicate.twin}")
    click.echo(
        f"{counts['images']} usable images, {counts['rejected']} files rejected, "
        f"{counts['duplicates']} duplicates, {counts['classes']} classes"
    )
    click.echo(f"Next: compressor init {folder}", err=True)


@click.command()
@click.argument("folder", type=FILE)
@click.option(
    "--recipe", "path", type=FILE, default=Path("recipe.yaml"), show_default=True,
    help="File to write; an existing file is never overwritten.",
)  # fmt: skip
def init(folder: Path, path: Path) -> None:
    """Write a commented recipe for a FOLDER of images."""
    require_training_packages()
    from compressor.recipe.templates import starter_recipe

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if path.exists():
        raise InputError(f"{path}: is there already; name another one with --recipe")
    from runtime.files import write_text

    write_text(path, starter_recipe(folder, relative_to=path.resolve().parent))
    click.echo(f"wrote {path}. Read it, then: compressor run {path} --dry-run", err=True)


@click.command()
@click.argument("folder", type=FILE, default=Path("quickstart"))
def quickstart(folder: Path) -> None:
    """Write the embedded example (recipe, teacher, scikit-learn's digits as images) into FOLDER."""
    require_training_packages()
    from compressor.data.quickstart import write_quickstart

    count = write_quickstart(folder)
    click.echo(f"wrote {count} images, a teacher and a recipe into {folder}", err=True)
    click.echo(f"Next: compressor run {folder / 'cpu.yaml'}", err=True)


@click.command()
@json_option
def targets(as_json: bool) -> None:
    """List the devices that a recipe can name as its target."""
    require_training_packages()
    from compressor.recipe import target
    from runtime.text import table

    devices = {
        name: target.load(target.recipes_folder() / "targets" / f"{name}.yaml")
        for name in target.names()
    }
    if as_json:
        document = {name: device.model_dump(mode="json") for name, device in devices.items()}
        click.echo(json.dumps(document))
        return
    rows = [
        [name, device.provider, ", ".join(device.precisions), device.description]
        for name, device in devices.items()
    ]
    click.echo(table(["target", "provider", "precisions", "device"], rows))


@click.command()
@click.option(
    "--of",
    "document",
    type=click.Choice(["recipe", "bundle", "report"]),
    default="recipe",
    show_default=True,
    help="The document: a recipe, a bundle's bundle.json, or report.json.",
)
def schema(document: str) -> None:
    """Print the JSON Schema of a recipe (for editors), of bundle.json or of report.json."""
    if document == "recipe":
        require_training_packages()
        from compressor.recipe.schema import json_schema
    elif document == "bundle":
        from runtime.bundle.schema import json_schema
    else:
        from runtime.evaluation.report_schema import json_schema
    click.echo(json.dumps(json_schema(), indent=2))


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can do, and what to install for the rest."""
    from compressor.cli.doctor import examine, text
    from runtime.documents import plain

    findings = examine()
    click.echo(json.dumps(plain(findings)) if as_json else text(findings))


@click.command()
@click.option("--clear", is_flag=True, help="Empty the cache. Run folders stay as they are.")
@json_option
def cache(clear: bool, as_json: bool) -> None:
    """Show the cache that runs share: where it is and how large.

    EDGE_COMPRESSOR_CACHE names the folder, EDGE_COMPRESSOR_CACHE_GB limits its size (20; 0: no
    shared cache, each run has its own).
    """
    from compressor.cli.console import set_up_logging
    from compressor.pipeline.storage.cache import examine, shared_store, text

    set_up_logging()
    found = examine(shared_store(), clear=clear)
    click.echo(json.dumps(msgspec.to_builtins(found)) if as_json else text(found))
    if found.entries:
        click.echo("Next: compressor cache --clear removes them", err=True)
