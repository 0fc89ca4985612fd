"""Errors, interruptions and verdicts as messages and exit codes: shared by both command lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from runtime.errors import ToolError, from_file_system

if TYPE_CHECKING:
    from runtime.results.report import Report

T = TypeVar("T")

INTERRUPTED = 130

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)


def bar(items: Iterable[T], *, label: str, total: int) -> Iterator[T]:
    """A progress bar on a terminal, nothing elsewhere; see `runtime.progress.Track`."""
    if total < 2 or not sys.stderr.isatty():
        yield from items
        return
    with click.progressbar(items, length=total, label=label, file=sys.stderr) as shown:
        yield from shown


def check_folder(bundle: Path, out: Path | None) -> Path:
    """Return the folder for the report of a check: `out`, or a folder beside the bundle."""
    resolved = bundle.resolve()  # `.` has no name
    return out if out is not None else resolved.parent / f"{resolved.name}-check"


def conclude(report: Report, folder: Path, where: str, *, as_json: bool) -> NoReturn:
    """Print a finished check and exit with the code of its verdict.

    Args:
        report: the report of the check.
        folder: where it was written.
        where: the machine, in words.
        as_json: whether to print the report as one JSON document.
    """
    from runtime.report import markdown as reports
    from runtime.results.scores import to_json

    click.echo(json.dumps(to_json(report)) if as_json else reports.text(report))
    click.echo(
        f"{report.recipe.name} on {where}: {reports.verdict_line(report)}\n"
        f"report: {folder / 'report.html'} (and .md, .json)",
        err=True,
    )
    sys.exit(exit_code(report))


def exit_code(report: Report) -> int:
    """0 if the verdict is passed, 1 if not."""
    return 0 if report.verdict.passed else 1


def guarded(main: click.Command, *, on_interrupt: Callable[[], str] = lambda: "") -> None:
    """Run a command line; a user's mistake becomes a message and an exit code, not a traceback.

    Args:
        main: the click command.
        on_interrupt: returns the text after "interrupted" when the user presses Ctrl-C.
    """
    try:
        with from_file_system():
            code = main.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"\ninterrupted. {on_interrupt()}", err=True)
        sys.exit(INTERRUPTED)
    except ToolError as error:
        _fail(error)
    sys.exit(code or 0)


def _fail(error: ToolError) -> None:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": str(error), "exit_code": error.exit_code}))
    click.echo(f"{click.style('error', fg='red', bold=True)}: {error}", err=True)
    sys.exit(error.exit_code)
