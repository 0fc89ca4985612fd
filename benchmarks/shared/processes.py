"""A part of a benchmark in a process of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import click


def finished(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> str:
    """Run a script to its end and return what it printed; what it says on stderr is shown.

    Args:
        command: Python, the script and its words.
        env: its environment; None: that of this process.

    Raises:
        click.ClickException: it failed; all that it said is on stderr.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env)
    if done.returncode:
        click.echo(done.stdout, err=True, nl=False)
        name = Path(command[1]).name
        raise click.ClickException(f"{name} ended with exit code {done.returncode}: see above")
    return done.stdout
