"""From images to a checked bundle: `compressor run`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from compressor.cli.options import SOURCE, json_option, require_training_packages, set_option
from compressor.observers.tracking.registry import TRACKERS, require
from compressor.recipe.places.addresses import is_source
from runtime.cli import out_option, say
from runtime.errors import InputError


@click.command()
@click.argument("recipe", type=SOURCE)
@out_option
@set_option
@click.option("--target", help="Use this target instead of the recipe's.")
@click.option(
    "--minutes",
    type=float,
    help="Time for teacher, closed form and training: the epochs that fit, settled once. The same "
    "as --set distill.minutes=M.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    metavar="N",
    help="Share teacher and training among N processes on this machine, a GPU each where there are "
    "GPUs. torchrun and accelerate launch start them on several machines.",
)
@click.option(
    "--track",
    "trackers",
    multiple=True,
    type=click.Choice(TRACKERS),
    help="Send the run to an experiment tracker too; its own environment variables say where. "
    "Repeatable. See docs/tracking.md.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@json_option
def run(
    recipe: str | Path,
    out: Path | None,
    overrides: tuple[str, ...],
    target: str | None,
    minutes: float | None,
    processes: int | None,
    trackers: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run RECIPE from its images to student, ONNX file, bundle and report.

    RECIPE may also be a folder of images, or another source of them: the recipe that `compressor
    init` would write is then written into the run's folder and used. What is unchanged since the
    last run is skipped; a killed run continues. Exit code 0: all requirements met. 1: one missed or
    undecided (the report is written). 2: the input is wrong. 3: something is missing on this
    machine. 130: interrupted.
    """
    require_training_packages()
    from compressor.api import job as jobs
    from compressor.cli.console import Console, print_result, set_up_logging
    from compressor.distributed.group import ALONE
    from compressor.distributed.joining import join
    from compressor.pipeline import crew
    from compressor.pipeline import dry_run as rehearsal
    from runtime.documents import plain

    require(trackers)
    if not dry_run and processes is not None:
        _start(processes)
    group = ALONE if dry_run else join()
    if not group.is_first:
        with _told_by_the_launcher():
            crew.follow(group)
        return
    set_up_logging()
    if target is not None:
        is_file = target.endswith((".yaml", ".yml"))  # seen from here, not from the recipe
        overrides += (f"target={json.dumps(str(Path(target).resolve()) if is_file else target)}",)
    if minutes is not None:
        overrides += (f"distill.minutes={minutes!r}",)
    with Console() as console, ExitStack() as stack:
        if is_source(recipe):
            instead = Path(stack.enter_context(TemporaryDirectory())) if dry_run else None
            recipe, out = _first_recipe(recipe, out, instead)
        job = jobs.open_job(Path(recipe), overrides, out, console, track=trackers)
        if dry_run:
            document = jobs.rehearse(job)
            say(json.dumps(plain(document)) if as_json else rehearsal.text(document))
            return
        with _told_by_the_launcher(), crew.led(group):
            result = jobs.complete(job)
    print_result(result, as_json=as_json)


def _start(processes: int) -> None:
    """Start this command in several processes and end with their exit code, unless this is one.

    Raises:
        InputError: torchrun or accelerate has started another number of them.
        MissingDependencyError: one was killed, or there are fewer GPUs than processes.
    """
    from compressor.distributed.joining import announced
    from compressor.distributed.launch import launch

    started = announced()
    if started == processes:
        return
    if started > 1:
        raise InputError(
            f"--processes {processes}, and a launcher has started {started}; leave --processes out"
        )
    sys.exit(launch([sys.executable, "-m", "compressor", *sys.argv[1:]], processes))


@contextmanager
def _told_by_the_launcher() -> Iterator[None]:
    """End without a word because another process has: `launch` sees it and tells."""
    from compressor.distributed.group import LostProcessError
    from compressor.distributed.joining import LAUNCHED, LOST

    try:
        yield
    except LostProcessError:
        if LAUNCHED not in os.environ:
            raise
        sys.exit(LOST)
    finally:
        if LAUNCHED in os.environ:  # it tells all to stop when one has ended: this one is about to
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _first_recipe(images: str | Path, out: Path | None, instead: Path | None) -> tuple[Path, Path]:
    """Write the recipe for images, into a folder `instead` of the run's if given.

    Returns:
        The recipe, and the run's folder.
    """
    from compressor.api.first_recipe import folder_of, write_first_recipe
    from compressor.cli.console import note

    folder = folder_of(images, out)
    is_there = (folder / "recipe.yaml").exists()
    path, lines = write_first_recipe(images, folder if is_there or instead is None else instead)
    for line in lines:
        note(line)
    return path, folder
