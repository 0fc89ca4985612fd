"""The command line. Every command imports what it needs when it runs."""

from __future__ import annotations

import os
import sys

import click

import runtime
from compressor.cli import check, export, fetch, label, reports, run, setup
from runtime.__main__ import pack, predict, unpack
from runtime.cli import guarded
from runtime.text import command as quoted

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_ABOUT = """\
Distil a vision foundation model into a small student for the edge, and prove what was kept.

\b
compressor init photos        write a recipe for a folder of images
compressor run photos         make a student from images alone: recipe, files, report
compressor fetch recipe.yaml  download weights for a machine without network
compressor label recipe.yaml  choose which images to label first
compressor run recipe.yaml    make the student, its files for the device and the report
compressor check RUN/bundle   check the bundle again, here or on the device
compressor push RUN REPO      share a run: a model hub (private), or a registry of MLflow
compressor runs               the runs of a folder with their figures; `open RUN` shows the page
"""


@click.group(context_settings=CONTEXT, help=_ABOUT)
@click.version_option(runtime.__version__, prog_name="edge-compressor")
def commands() -> None:
    """Hold all commands."""


for command in (
    *(setup.audit, setup.init, setup.quickstart, label.label, run.run, export.export),
    *(export.engine, check.check, check.candidates, predict, pack, unpack),
    *(reports.compare, reports.runs, reports.open_report, reports.push, fetch.fetch),
    *(setup.recipes, setup.targets, setup.schema, setup.doctor, setup.cache),
):
    commands.add_command(command)


def main() -> None:
    """Entry point of `compressor`."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0" if sys.stderr.isatty() else "1")
    again = quoted("compressor", *sys.argv[1:])
    guarded(commands, on_interrupt=lambda: f"What was finished is kept; to continue: {again}")
