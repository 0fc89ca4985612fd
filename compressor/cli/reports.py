"""Commands about finished runs: compare, list, open their reports, share them."""

from __future__ import annotations

import json
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compressor.cli.options import FILE, json_option, require_training_packages
from runtime.cli import NOT_PASSED, say
from runtime.errors import InputError
from runtime.text import command

if TYPE_CHECKING:
    from runtime.report.compare import Change
    from runtime.results.report import Report


@click.command()
@click.argument("reports", metavar="REPORT...", type=FILE, nargs=-1, required=True)
@click.option("--not-worse", is_flag=True, help="Exit 1 if a score is worse than in the first.")
@click.option(
    "--html", type=FILE, metavar="PAGE", help="Also write a page: with gates, losses and images."
)
@json_option
def compare(reports: tuple[Path, ...], not_worse: bool, html: Path | None, as_json: bool) -> None:
    """Show reports side by side and say what is better or worse than in the first one.

    REPORT: a report.json, or the folder of a run or of a check. A difference within the 95 %
    intervals is called not distinguishable.
    """
    from runtime.report import compare as comparison

    loaded = [comparison.load(path) for path in reports]
    names = [str(path) for path in reports]
    if as_json:
        say(json.dumps(comparison.document(names, loaded)))
    else:
        say(comparison.text(names, loaded))
    if html is not None:
        _write_page(html, reports, loaded)
    if not_worse:
        _exit_unless_as_good(names, [comparison.changes(loaded[0], other) for other in loaded[1:]])


def _write_page(path: Path, reports: Sequence[Path], loaded: Sequence[Report]) -> None:
    from runtime.files import write_text
    from runtime.report.comparison import page

    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--html {path}: name a file that ends with .html")
    write_text(path, page.render(reports, loaded))
    say(f"{path}   {command('compressor', 'open', path)}", err=True)


def _exit_unless_as_good(names: Sequence[str], judged: Sequence[Sequence[Change]]) -> None:
    """Exit 1 if a report is worse than the first, or cannot be compared with it.

    Args:
        names: of the reports, the first one's first.
        judged: what changed in each of the others.
    """
    worse = [change.figure for found in judged for change in found if change.outcome == "worse"]
    if worse:
        say(f"worse: {', '.join(dict.fromkeys(worse))}", err=True)
        sys.exit(NOT_PASSED)
    unlike = [name for name, found in zip(names[1:], judged, strict=True) if not _scores(found)]
    if unlike or len(names) < 2:
        what = f"no score of {', '.join(unlike)} can be compared with {names[0]}"
        say(f"undecided: {what if unlike else 'there is no second report'}", err=True)
        sys.exit(NOT_PASSED)


def _scores(found: Sequence[Change]) -> Sequence[Change]:
    """Of these, the scores on held-out images."""
    from runtime.evaluation import metric_table

    keys = {metric.key for metric in metric_table.METRICS if metric.compute is not None}
    return [change for change in found if change.figure in keys]


@click.command()
@click.argument("folder", type=FILE, default=Path("runs"))
@json_option
def runs(folder: Path, as_json: bool) -> None:
    """List the runs and checks in FOLDER (default: runs), the newest first, with their figures."""
    from runtime.report import runs as listing

    found = listing.find(folder)
    say(json.dumps(listing.document(found)) if as_json else listing.table(found).markdown)


@click.command("open")
@click.argument("run", type=FILE)
@click.option("--print", "only_print", is_flag=True, help="Print the address, and open nothing.")
def open_report(run: Path, only_print: bool) -> None:
    """Open the page of RUN in a browser: the folder of a run or of a check, or a report.html."""
    page = run / "report.html" if run.is_dir() else run
    if not page.is_file():
        raise InputError(f"{page}: no such page; `compressor runs` lists the runs of a folder")
    address = page.resolve().as_uri()
    say(address)
    if not only_print and not webbrowser.open(address):
        say("no browser could be started: open the address above in one", err=True)


@click.command()
@click.argument("run_folder", metavar="RUN", type=FILE)
@click.argument("repository", required=False)
@click.option(
    "--to",
    metavar="mlflow:NAME",
    help="Register a model in MLflow (MLFLOW_TRACKING_URI), in place of a repository.",
)
@click.option(
    "--public", is_flag=True, help="Let everybody see the repository. Default: private, always."
)
@click.option(
    "--licence",
    "--license",
    metavar="ID",
    help="The student's licence, such as apache-2.0. Default: the one that its weights pass on.",
)
@click.option("--dry-run", is_flag=True, help="Print the model card and send nothing.")
def push(
    run_folder: Path,
    repository: str | None,
    to: str | None,
    public: bool,
    licence: str | None,
    dry_run: bool,
) -> None:
    """Share a finished RUN: bundle, report and a model card, with licence and figures.

    REPOSITORY is OWNER/NAME on the Hugging Face hub, or on what HF_ENDPOINT names. The token is the
    one of `hf auth login` or HF_TOKEN. With --to, the bundle becomes the next version of a pyfunc
    model of MLflow. Exit code 3: no token, or nobody answers.
    """
    require_training_packages()
    from compressor.sharing import push as sharing
    from compressor.sharing import shared_run

    if dry_run:
        run = shared_run.read(run_folder, licence=licence)
        say(run.card, nl=False)
        say(f"would send {run.text()}", err=True)
        return

    def note(line: str) -> None:
        say(line, err=True)

    address = sharing.push(run_folder, repository, to=to, public=public, licence=licence, note=note)
    say(f"pushed: {address}")
