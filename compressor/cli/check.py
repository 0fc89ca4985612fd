"""Commands for the device: export candidates, check here or over ssh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compressor.cli.options import FILE, json_option, require_training_packages, set_option
from runtime.__main__ import check as check_here
from runtime.cli import (
    check_folder,
    conclude,
    openvino_option,
    out_option,
    say,
    sustained_option,
)
from runtime.text import command, without_markup

if TYPE_CHECKING:
    from compressor.pipeline.context import Run
    from runtime.results.making import StudentSearch


@click.command()
@click.argument("recipe", type=FILE)
@click.option(
    "--out",
    type=FILE,
    help="Only export the students, untrained, into this folder, to be timed on the device.",
)
@click.option("--plot", type=FILE, help="Also draw the students into this SVG file.")
@click.option(
    "--teachers",
    metavar="MODEL[@PIXELS],...",
    help="Compare teachers for the recipe's student instead.",
)
@set_option
@json_option
def candidates(
    recipe: Path,
    out: Path | None,
    plot: Path | None,
    teachers: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare the students that RECIPE's target suggests: size, latency, faithfulness.

    Faithfulness is what the closed form of a student that has weights keeps of the teacher, on
    training images that it was not solved from: one pass of each, no training. The images are read
    into the folder of the run. Where this machine is not the target and the recipe has no
    student.latency_table, the students are exported to be timed there.
    """
    require_training_packages()
    from compressor.api import candidates as comparison
    from compressor.api.job import open_job
    from compressor.cli.console import Console, set_up_logging
    from compressor.pipeline.settling import latencies
    from runtime.results.scores import to_json

    if (out is not None) + (plot is not None) + (teachers is not None) > 1:
        raise click.UsageError("--out, --plot and --teachers exclude each other")
    set_up_logging()
    with Console() as console:
        job = open_job(recipe, overrides, None, console)
        if out is not None:
            _export_candidates(job, out)
            return
        if teachers is not None:
            of_teachers = comparison.compare_teachers(job, teachers)
        else:
            found = comparison.compare_students(job)
    if teachers is not None:
        from compressor.pipeline.settling.teachers import text

        say(json.dumps(to_json(of_teachers)) if as_json else text(of_teachers))
        return
    say(json.dumps(to_json(found)) if as_json else _text_of(found))
    if plot is not None:
        from runtime.files import write_text
        from runtime.report.html_page import students_svg

        write_text(plot, students_svg(found))
        say(f"wrote {plot}", err=True)
    if not latencies.measurable(job.plan):
        say(f"not the target {job.plan.target_name}: no latency was measured", err=True)
        _export_candidates(job, Path("candidates"))


def _export_candidates(job: Run, out: Path) -> None:
    from compressor.cli.console import note
    from compressor.pipeline.settling.latencies import write_candidates

    write_candidates(job.plan, out, note)
    again = command("python", "-m", "runtime", "latency-table", Path(out.name))
    note(f"{out}\nNext, on the device: {again}")


def _text_of(found: StudentSearch) -> str:
    from runtime.report.sections import students

    lines = [without_markup(line) for line in students.sentences(found)]
    return "\n\n".join([*lines, students.candidates_table(found).markdown])


@click.command()
@click.argument("bundle", type=FILE)
@out_option
@sustained_option
@openvino_option
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
    sustained_s: float,
    openvino: bool,
    on: str | None,
    python: str,
    no_install: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Verify BUNDLE, run it on this machine or another and judge it against its requirements."""
    if on is None:
        context.invoke(
            check_here,
            bundle=bundle,
            out=out,
            sustained_s=sustained_s,
            openvino=openvino,
            as_json=as_json,
        )
        return
    if openvino:
        raise click.UsageError("--openvino runs on this machine; without --on, or on that machine")
    from compressor.device import ssh_check

    folder = check_folder(bundle, out)
    options = ssh_check.CheckOptions(python, not no_install, keep, sustained_s)
    report = ssh_check.check(bundle, on, options, folder, lambda line: say(line, err=True))
    conclude(report, bundle, folder, on, as_json=as_json)
