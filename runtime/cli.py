"""Errors, interruptions and verdicts as messages and exit codes: shared by both command lines."""

from __future__ import annotations

import codecs
import io
import json
import locale
import os
import shlex
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from runtime.errors import ToolError, from_file_system, lacking
from runtime.text import printable, shortened

if TYPE_CHECKING:
    from runtime.results.report import Report

T = TypeVar("T")

NOT_PASSED, BUG, INTERRUPTED, TERMINATED = 1, 70, 130, 143

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.",
)


sustained_option = click.option(
    "--sustained",
    "sustained_s",
    metavar="SECONDS",
    type=click.FloatRange(0, 3600),
    default=0.0,
    help="Run without a pause for so long before anything is timed, to heat the device.",
)


openvino_option = click.option(
    "--openvino", is_flag=True, help="Run the ONNX files in OpenVINO too, and compare."
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


def conclude(report: Report, bundle: Path, folder: Path, where: str, *, as_json: bool) -> NoReturn:
    """Print a finished check and exit with the code of its verdict.

    Args:
        report: the report of the check.
        bundle: what was checked, and so verified.
        folder: where it was written.
        where: the machine, in words.
        as_json: whether to print the report as one JSON document.
    """
    from runtime.bundle import bundle as bundles
    from runtime.report import markdown as reports

    print_report(report, as_json=as_json)
    say(
        f"{report.recipe.name} on {where}: {reports.verdict_line(report)}\n"
        f"report: {folder / 'report.html'} (and .md, .json)",
        err=True,
    )
    usual, best = bundles.read(bundle).recommended.stage, report.recommended.stage
    if best != usual:
        say(
            f"{best} is recommended on {where}. `predict`, `serve` and `runtime.load` take what "
            f"the bundle names, {usual}, unless asked for it: --file {best}",
            err=True,
        )
    sys.exit(exit_code(report))


def print_report(report: Report, *, as_json: bool) -> None:
    """Print a report: for people, or as JSON, and then its warnings go to stderr too.

    Args:
        report: of a run or of a check.
        as_json: whether stdout gets one JSON document.
    """
    from runtime.report import markdown as reports
    from runtime.report.doubts import warnings_of
    from runtime.results.scores import to_json

    say(json.dumps(to_json(report)) if as_json else reports.text(report))
    if as_json:
        for doubt in warnings_of(report):
            say(f"warning: {doubt.lead} {doubt.rest}", err=True)


def exit_code(report: Report) -> int:
    """0 if nothing speaks against the file; NOT_PASSED if a gate is missed or undecided."""
    return 0 if report.verdict.passed else NOT_PASSED


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a text that may have names of files and classes in it: they steer no terminal.

    Args:
        text: what to print.
        err: on stderr, where everything goes that is not a command's result.
        nl: whether a line break follows.
    """
    click.echo(printable(text), err=err, nl=nl)


def use_utf8() -> None:
    """Start this command again in UTF-8, where the locale is of another encoding.

    Names of files and classes are UTF-8 in recipes and bundles. In another encoding Python could
    neither open nor print them.
    """
    encodings = (sys.getfilesystemencoding(), locale.getpreferredencoding(False))
    is_utf8 = all(codecs.lookup(encoding).name == "utf-8" for encoding in encodings)
    # `PYTHONUTF8` tells that this is the second start; other words than typed: not a command.
    typed = sys.orig_argv[len(sys.orig_argv) - len(sys.argv) + 1 :] == sys.argv[1:]
    if is_utf8 or os.environ.get("PYTHONUTF8") == "1" or not typed or os.name != "posix":
        return
    words = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, words, {**os.environ, "PYTHONUTF8": "1"})


def guarded(main: click.Command, *, on_interrupt: Callable[[], str] = lambda: "") -> None:
    """Run a command line; a user's mistake becomes a message and an exit code, not a traceback.

    A full disk or memory is exit code 3, whichever library meets it. What nobody foresaw is 70,
    with the traceback in a file. SIGTERM is 143, as soon as Python sees it.

    Args:
        main: the click command.
        on_interrupt: returns the text after "interrupted" when the user presses Ctrl-C.
    """
    use_utf8()
    _listen_to_sigterm()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that this terminal cannot show
    try:
        with from_file_system():
            code = main.main(standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        say(shown.getvalue(), err=True, nl=False)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        say(f"\ninterrupted. {on_interrupt()}", err=True)
        sys.exit(INTERRUPTED)
    except Terminated:
        say(f"\ntold to stop. {on_interrupt()}", err=True)
        sys.exit(TERMINATED)
    except ToolError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:  # shown, and kept whole in a file
        if (known := lacking(error)) is not None:
            _fail(str(known), known.exit_code)
        _fail(
            f"a bug in edge-compressor: {type(error).__name__}: {error}\n"
            f"  The traceback is in {_traceback_file(error)}; please report it with that file.\n"
            "  What was finished is kept: the same command continues.",
            BUG,
        )
    sys.exit(code or 0)


class Terminated(BaseException):
    """The process was told to stop by SIGTERM."""


def _listen_to_sigterm() -> None:
    """Let SIGTERM end the command as an exception does, so that temporary files are removed."""

    def stop(number: int, frame: object) -> None:
        raise Terminated

    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop)


def _traceback_file(error: BaseException) -> Path:
    """Write the traceback into a file of its own, and return its path."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="edge-compressor-bug-", suffix=".txt", delete=False
    ) as file:
        file.write(f"{shlex.join(sys.argv)}\nPython {sys.version}\n\n")
        file.writelines(traceback.format_exception(error))
    return Path(file.name)


def _fail(message: str, code: int) -> NoReturn:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": shortened(message), "exit_code": code}))
    shown = shortened(printable(message))
    click.echo(f"{click.style('error', fg='red', bold=True)}: {shown}", err=True)
    sys.exit(code)
