"""Run a command in a process of its own: forked from this one, so that nothing is imported again.

What the process says, how it ends and what it takes is that of the real command line: the child
calls the command as its entry point does, and exits.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from drill.case import Case, Outcome
from runtime.benchmark import latency

WALL_S = 120.0
"""From here on a process is stopped: its limit is one of CPU time, for a machine may be busy."""
MOST_ADDRESS_SPACE = 6_000_000_000
"""Beyond that of the parent: the system must survive what the drill finds."""
MOST_FILE = 300_000_000
_LOOK_S = 0.005


def learn_imports(case: Case, folder: Path) -> None:
    """Run a case in a forked process, and import here what it imported: the next ones need not."""
    found = folder.with_suffix(".modules")
    child = os.fork()
    if child == 0:
        _be_the_command(case, folder, found)
    _wait(child, time.monotonic())
    for name in found.read_text().split():
        if name not in sys.modules:
            with contextlib.suppress(ImportError):  # of a module that made another one by hand
                importlib.import_module(name)


def start(case: Case, folder: Path) -> int:
    """Start a case in a forked process, and return its number."""
    child = os.fork()
    if child == 0:
        _be_the_command(case, folder)
    return child


def time_shortly() -> None:
    """Let every command time twenty requests, without warming up: all else stays as it is."""
    real = latency.measure_together
    short = latency.TimingPlan(warmup_s=0, longest_warmup_s=0, max_runs=20)
    latency.measure_together = lambda requests, plan=None: real(requests, short)


def run(case: Case, folder: Path, idle_mb: float = 0.0) -> Outcome:
    """Run a case in its folder, in a forked process.

    Args:
        case: the command.
        folder: from which it is run; what it says goes into files beside it.
        idle_mb: resident memory of a process that does nothing.
    """
    timed_out, status, used = _wait(start(case, folder), time.monotonic())
    return Outcome(
        code=os.waitstatus_to_exitcode(status),
        out=folder.with_suffix(".out").read_text("utf-8", "surrogateescape"),
        err=folder.with_suffix(".err").read_text("utf-8", "surrogateescape"),
        cpu_s=used.ru_utime + used.ru_stime,
        memory_mb=used.ru_maxrss / 1e3 - idle_mb,
        timed_out=timed_out,
    )


def run_anew(case: Case, folder: Path) -> Outcome:
    """Run a case as a user does, in a new process; its memory is not compared."""
    module = {"compressor": "compressor", "runtime": "runtime"}[case.words[0]]
    command = [sys.executable, "-m", module, *case.words[1:]]
    settings = {**os.environ, **case.settings, "TMPDIR": str(_temporary(folder))}
    settings.pop("ORT_DISABLE_TELEMETRY", None)  # of this process
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            command, cwd=folder, env=settings, capture_output=True, timeout=WALL_S, check=False
        )
        code, out, err, timed_out = done.returncode, done.stdout, done.stderr, False
    except subprocess.TimeoutExpired as error:
        code, out, err, timed_out = -signal.SIGKILL, error.stdout or b"", error.stderr or b"", True
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = [each.decode(errors="surrogateescape") for each in (out, err)]
    return Outcome(code, *said, cpu_s=cpu_s, memory_mb=0.0, timed_out=timed_out)


def _temporary(folder: Path) -> Path:
    temporary = folder.with_suffix(".tmp")
    temporary.mkdir(exist_ok=True)
    return temporary


def _wait(child: int, started: float) -> tuple[bool, int, resource.struct_rusage]:
    """Return whether a process was stopped, its status, and what it took."""
    timed_out = False
    while True:
        found, status, used = os.wait4(child, os.WNOHANG)
        if found:
            return timed_out, status, used
        if time.monotonic() - started > WALL_S and not timed_out:
            timed_out = True
            os.killpg(child, signal.SIGKILL)
        time.sleep(_LOOK_S)


def _be_the_command(case: Case, folder: Path, imported: Path | None = None) -> None:
    """Become the command and end: nothing of the parent goes on in the child.

    Args:
        case: the command.
        folder: from which it is run.
        imported: a file for the names of the modules that are there at the end.
    """
    code, write = 70, os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        os.setsid()
        for number, path, how in (
            (0, Path(os.devnull), os.O_RDONLY),
            (1, folder.with_suffix(".out"), write),
            (2, folder.with_suffix(".err"), write),
        ):
            os.dup2(os.open(path, how), number)
        os.chdir(folder)
        os.environ.update(case.settings)
        tempfile.tempdir = os.environ["TMPDIR"] = str(_temporary(folder))
        _limit()
        sys.argv = list(case.words)
        code = _exit_code_of(_entry(case.words[0]))
    except BaseException:
        traceback.print_exc()
    finally:
        if imported is not None:
            imported.write_text("\n".join(list(sys.modules)))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE, MOST_FILE))


def _entry(program: str) -> Callable[[], None]:
    if program == "compressor":
        from compressor.cli.app import main

        return main
    from runtime.__main__ import main as commands
    from runtime.cli import guarded

    return lambda: guarded(commands)


def _exit_code_of(entry: Callable[[], None]) -> int:
    """Call an entry point, and return the exit code that Python would make of how it ends."""
    try:
        entry()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        sys.stderr.write(f"{ended.code}\n")
        return 1
    return 0
