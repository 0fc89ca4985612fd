"""Weights for a machine without network: `compressor fetch`."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from compressor.cli.options import FILE, json_option, require_training_packages, set_option
from runtime.cli import say


@click.command()
@click.argument("recipe", type=FILE)
@click.option(
    "--to", "folder", type=FILE, default=Path("weights"), show_default=True, help="Folder to fill."
)
@set_option
@json_option
def fetch(recipe: Path, folder: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Download the pretrained weights that RECIPE needs, for a machine without network.

    Teacher and student, as far as they come from the hub; for `student.model: auto` every candidate
    of the target. The images need not be here. Copy the folder to the other machine, beside the
    recipe, and name it there as `weights`. Exit code 3: the hub cannot be reached.
    """
    require_training_packages()
    from compressor.api.weights import fetch_networks
    from compressor.cli.console import Console, set_up_logging
    from compressor.events import Reporter
    from compressor.recipe import plan as plans

    set_up_logging()
    with Console() as console:
        networks = plans.load_networks(recipe, overrides)
        found = fetch_networks(networks, folder, Reporter(console))
    if as_json:
        files = msgspec.to_builtins(found.files)
        document = {"folder": str(folder), "files": files, "recipe_lines": found.recipe_lines}
        say(json.dumps(document))
    elif found.files:
        say(found.recipe_lines, nl=False)
    if found.files:
        say(
            f"wrote {folder}. Next: copy it beside the recipe on the other machine, where the "
            "recipe should say the lines above"
            if not as_json
            else f"wrote {folder}",
            err=True,
        )
