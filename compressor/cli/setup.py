"""Commands before a run: audit images, write recipes, list targets, show the cache."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from compressor.cli.options import FILE, SOURCE, json_option, require_training_packages
from compressor.recipe.places.addresses import from_here, refuse_missing
from runtime.cli import say
from runtime.errors import InputError
from runtime.text import command


@click.command()
@click.argument("images", type=SOURCE)
@click.option(
    "--labels",
    help="folders, source, none, or a CSV. Default: what comes with the images, or class folders.",
)
@click.option("--class-level", type=int, help="The level of folders that names the classes.")
@json_option
def audit(images: str | Path, labels: str | None, class_level: int | None, as_json: bool) -> None:
    """Decode all IMAGES; name classes, unusable files, duplicates. Writes nothing.

    IMAGES is a folder, or another source: docs/sources.md.
    """
    from compressor.cli.console import Console, note, set_up_logging
    from compressor.data import audit as audits
    from compressor.data.layout.names import class_names
    from compressor.data.sources.opened import opened
    from compressor.events import Reporter
    from compressor.recipe.places.addresses import FEWEST_IMAGES
    from runtime.text import printable

    set_up_logging()
    refuse_missing(images)
    root = opened(from_here(images))
    settings = audits.settings_to_look(root, labels, class_level)
    look = audits.look(root, settings)
    names = class_names(look, root, settings.labels)
    for line in look.described(settings.labels, names):
        note(line)
    with Console() as console:
        result = audits.audit(root, settings, Reporter(console).track)
    counts = result.counts()
    if as_json:
        document = {
            "counts": counts,
            "labels": settings.labels,
            "classes": result.images.classes_by_split(),
            "notes": result.notes,
            "nearly_black": result.nearly_black,
            "rejected": [vars(rejected) for rejected in result.rejected],
            "duplicates": [vars(duplicate) for duplicate in result.duplicates],
        }
        say(json.dumps(document))
        return
    for rejected in result.rejected:
        say(printable(f"rejected   {rejected.id}: {rejected.reason}"))
    for each in result.duplicates:
        how = "has the pixels" if each.why == "same pixels" else "is a shrunken copy"
        say(printable(f"duplicate  {each.id} {how} of {each.twin}"))
    for name in result.nearly_black:
        say(printable(f"black      {name} is nearly black"))
    for name in result.lost_classes:
        say(printable(f"class      {name} has no usable image"))
    say(
        f"{counts['images']} usable images, {counts['rejected']} files rejected, "
        f"{counts['duplicates']} duplicates, {counts['classes']} classes"
    )
    if result.images.classes:
        say(printable(result.images.class_counts()))
    if counts["images"] < FEWEST_IMAGES:
        note(f"a run needs {FEWEST_IMAGES} usable images (data.min_images)")
    note(f"Next: {command('compressor', 'init', images)}")


@click.command()
@click.argument("images", type=SOURCE)
@click.option(
    "--recipe",
    "path",
    type=FILE,
    default=Path("recipe.yaml"),
    show_default=True,
    help="File to write; an existing file is never overwritten.",
)
@click.option("--like", metavar="NAME", help="Start from a recipe that `compressor recipes` lists.")
def init(images: str | Path, path: Path, like: str | None) -> None:
    """Write a commented recipe for IMAGES: a folder, or another source (docs/sources.md)."""
    require_training_packages()
    from compressor.api.first_recipe import (
        first_look,
        recipe_like,
        starter_recipe,
    )
    from compressor.cli.console import note
    from runtime.files import write_text

    refuse_missing(images)
    if path.exists():
        raise InputError(f"{path}: is there already; name another one with --recipe")
    look = first_look(images)
    beside = path.resolve().parent
    write_text(
        path,
        starter_recipe(look, relative_to=beside)
        if like is None
        else recipe_like(like, look, relative_to=beside),
    )
    for line in look.lines:
        note(line)
    shown = command("compressor", "run", path)
    note(f"wrote {path}. Read it, then: {shown} --dry-run")


@click.command()
@click.argument("folder", type=FILE, default=Path("quickstart"))
def quickstart(folder: Path) -> None:
    """Write the embedded example (recipe, two small networks, digits as images) into FOLDER."""
    require_training_packages()
    from compressor.data.quickstart import write_quickstart

    count = write_quickstart(folder)
    say(f"wrote {count} images, two small networks and a recipe into {folder}", err=True)
    say(f"Next: {command('compressor', 'run', folder / 'cpu.yaml')}", err=True)


@click.command()
@json_option
def recipes(as_json: bool) -> None:
    """List the recipes that `init --like NAME` starts from."""
    require_training_packages()
    from compressor.api.first_recipe import examples
    from runtime.text import table

    found = examples()
    say(json.dumps(found) if as_json else table(["recipe", "what for"], list(found.items())))


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
        say(json.dumps(document))
        return
    rows = [
        [
            name,
            device.provider,
            ", ".join(device.precisions),
            ", ".join(device.runtimes),
            device.description,
        ]
        for name, device in devices.items()
    ]
    say(table(["target", "provider", "precisions", "runtimes", "device"], rows))


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
    say(json.dumps(json_schema(), indent=2))


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what this machine can do, and what to install for the rest."""
    from compressor.cli.doctor import examine, text
    from runtime.documents import plain

    findings = examine()
    say(json.dumps(plain(findings)) if as_json else text(findings))


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
    say(json.dumps(msgspec.to_builtins(found)) if as_json else text(found))
    if found.entries:
        say("Next: compressor cache --clear removes them", err=True)
