"""Commands for the device: export candidates, check here or over ssh, compare reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from compressor.cli.options import FILE, json_option, require_training_packages, set_option
from runtime.__main__ import check as check_here
from runtime.cli import check_folder, conclude, out_option


@click.command()
@click.argument("recipe", type=FILE)
@click.option("--out", type=FILE, default=Path("candidates"), show_default=True, help="Folder.")
@set_option
def candidates(recipe: Path, out: Path, overrides: tuple[str, ...]) -> None:
    """Export the students that RECIPE's target suggests, untrained, to be timed on the device."""
    require_training_packages()
    from compressor.cli.console import note, set_up_logging
    from compressor.pipeline import student_search
    from compressor.recipe import plan as plans

    set_up_logging()
    student_search.write_candidates(plans.load(recipe, overrides), out, note)
    note(f"{out}\nNext, on the device: python -m runtime latency-table {out.name}")


@click.command()
@click.argument("bundle", type=FILE)
@out_option
@click.option("--on", metavar="USER@HOST", help="Check on that machine, over ssh.")
@click.option(
    "--python", default="python3", show_default=True, help="With --on: the Python of that machine."
)
@click.option(
    "--no-install",
    is_flag=True,
    help="With --on: install nothing; that Python has the packages and a backend (Jetson).",
)
@click.option("--keep", is_flag=True, help="With --on: do not remove the folder.")
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
    from compressor.device import ssh_check

    folder = check_folder(bundle, out)
    options = ssh_check.CheckOptions(python, install=not no_install, keep=keep)
    report = ssh_check.check(bundle, on, options, folder, lambda line: click.echo(line, err=True))
    conclude(report, folder, on, as_json=as_json)


@click.command()
@click.argument("reports", metavar="REPORT...", type=FILE, nargs=-1, required=True)
@click.option("--not-worse", is_flag=True, help="Exit 1 if a score is worse than in the first.")
@json_option
def compare(reports: tuple[Path, ...], not_worse: bool, as_json: bool) -> None:
    """Show reports side by side and say what is better or worse than in the first one.

    REPORT: a report.json, or the folder of a run or of a check. A difference within the 95 %
    intervals is called not distinguishable.
    """
    from runtime.report import compare as comparison

    loaded = [comparison.load(path) for path in reports]
    names = [str(path) for path in reports]
    if as_json:
        click.echo(json.dumps(comparison.document(names, loaded)))
    else:
        click.echo(comparison.text(names, loaded))
    changes = [change for other in loaded[1:] for change in comparison.changes(loaded[0], other)]
    worse = [change.figure for change in changes if change.outcome == "worse"]
    if not_worse and worse:
        click.echo(f"worse: {', '.join(dict.fromkeys(worse))}", err=True)
        sys.exit(1)
