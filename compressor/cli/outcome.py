"""How a run's result is printed, and the exit code that it ends with."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from runtime.cli import exit_code

if TYPE_CHECKING:
    from compressor.api.result import RunResult


def print_result(result: RunResult, *, as_json: bool) -> None:
    """Print a result; exit with the code of its verdict if there is one.

    Args:
        result: of a run, or of a choice of images to label.
        as_json: whether stdout gets one JSON document.
    """
    from compressor.cli.console import note
    from runtime.documents import plain
    from runtime.report import markdown
    from runtime.results.scores import to_json

    report = result.report
    if report is None:
        if as_json:
            files = {kind: str(path) for kind, path in result.files.items()}
            click.echo(json.dumps({"selection": plain(result.selection), "files": files}))
        note(f"\n{result.summary}\n{result.next_step}")
        return
    click.echo(json.dumps(to_json(report)) if as_json else markdown.text(report))
    note(f"\n{result.summary}\n{result.next_step}")
    sys.exit(exit_code(report))
