"""Which images to label first: `compressor label`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from compressor.cli.options import FILE, json_option, require_training_packages, set_option
from runtime.cli import out_option, say
from runtime.errors import InputError


@click.command()
@click.argument("recipe", type=FILE)
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    metavar="N",
    help="Select N more than are labelled or proposed. Default: up to label.budget in all.",
)
@click.option(
    "--from",
    "device",
    type=FILE,
    metavar="FOLDER",
    help="Choose among the images that runtime.Monitor kept there; copies them. docs/monitor.md.",
)
@click.option(
    "--holdout",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also ask for labels of N held-out images in all, drawn at random: accuracy needs them.",
)
@click.option(
    "--simulate",
    is_flag=True,
    help="Select nothing; measure what each strategy would have given (needs all labels).",
)
@out_option
@set_option
@json_option
def label(
    recipe: Path,
    budget: int | None,
    device: Path | None,
    holdout: int | None,
    simulate: bool,
    out: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Choose which images of RECIPE to label first: to_label.html, to_label.csv, to_label.json.

    Works in the folder of the run and adds to what was proposed there before. `compressor run`
    continues with the labels.
    """
    require_training_packages()
    from compressor.api import job as jobs
    from compressor.cli.console import Console, print_result, set_up_logging
    from compressor.pipeline import simulation_report

    if simulate and (budget, device, holdout) != (None, None, None):
        raise InputError(
            "--simulate measures budgets of its own; leave --budget, --from and --holdout out"
        )
    set_up_logging()
    with Console() as console:
        job = jobs.open_job(recipe, overrides, out, console)
        if not simulate:
            result = jobs.choose_images(job, budget, device, holdout)
        else:
            document = jobs.simulate_labelling(job)
            say(json.dumps(document) if as_json else simulation_report.text(document))
            return
    print_result(result, as_json=as_json)
