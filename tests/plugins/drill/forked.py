"""Run a command in a process of its own: forked from this one, so that nothing is imported again.

What the process says, how it ends and what it takes is that of the real command line: the child
calls the command as its entry point does, and exits.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import math
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from drill.case import Case, Outcome
from runtime.benchmark import latency

WALL_S = 600.0
"""From here on a process is stopped: its limit is one of CPU time, for a machine may be busy."""
MOST_ADDRESS_SPACE = 6_000_000_000
"""Beyond that of the parent: the system must survive what the drill finds."""
MOST_FILE = 300_000_000
_LOOK_S = 0.005


def learn_imports(case: Case, folder: Path) -> tuple[int, float]:
    """Run a case in a forked process, and import here what it imported: the next ones need not.

    Returns:
        Its exit code, and its seconds of CPU time without those of the imports.
    """
    found = folder.with_suffix(".modules")
    child = os.fork()
    if child == 0:
        _be_the_command(case, folder, found)
    _, status, used = os.wait4(child, 0)
    begun = time.process_time()
    for name in found.read_text().split():
        if name not in sys.modules:
            with contextlib.suppress(ImportError):  # of a module that made another one by hand
                importlib.import_module(name)
    imports_s = time.process_time() - begun
    gc.freeze()  # a child that collects garbage would copy all pages of what is imported
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime - imports_s


def start(case: Case, folder: Path, *, anew: bool = False) -> int:
    """Start a case in a process of its own, and return its number.

    Args:
        case: the command.
        folder: from which it is run; what it says goes into files beside it.
        anew: in a new Python, as a user does; else it is forked, and imports nothing again.
    """
    child = os.fork()
    if child == 0:
        _be_the_command(case, folder, anew=anew)
    return child


def ended_by(
    child: int, moment: float, most_cpu_s: float = math.inf
) -> tuple[int, resource.struct_rusage] | None:
    """Return the status of a process and what it took; None if it goes on.

    Args:
        child: its number.
        moment: of `time.monotonic`, until which it is waited for.
        most_cpu_s: seconds of CPU time, until which it is waited for.
    """
    while True:
        found, status, used = os.wait4(child, os.WNOHANG)
        if found:
            return status, used
        if time.monotonic() >= moment or _cpu_s(child) >= most_cpu_s:
            return None
        time.sleep(_LOOK_S)


def _cpu_s(child: int) -> float:
    """Return the CPU time of a process, and of those that it started and waited for."""
    after_name = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[11:15])) / os.sysconf("SC_CLK_TCK")


def time_shortly() -> None:
    """Let every command time twenty requests, without warming up: all else stays as it is."""
    real = latency.measure_together
    short = latency.TimingPlan(warmup_s=0, longest_warmup_s=0, max_runs=20)
    latency.measure_together = lambda requests, plan=None: real(requests, short)


def run(case: Case, folder: Path, idle_mb: float = 0.0, *, anew: bool = False) -> Outcome:
    """Run a case in its folder.

    Args:
        case: the command.
        folder: from which it is run; what it says goes into files beside it.
        idle_mb: resident memory of a process that does nothing.
        anew: in a new Python, whose memory is not compared.
    """
    child = start(case, folder, anew=anew)
    ended = ended_by(child, time.monotonic() + WALL_S)
    timed_out = ended is None
    if ended is None:
        os.killpg(child, signal.SIGKILL)
        ended = os.wait4(child, 0)[1:]
    status, used = ended
    return Outcome(
        code=os.waitstatus_to_exitcode(status),
        out=folder.with_suffix(".out").read_text("utf-8", "surrogateescape"),
        err=folder.with_suffix(".err").read_text("utf-8", "surrogateescape"),
        cpu_s=used.ru_utime + used.ru_stime,
        memory_mb=0.0 if anew else used.ru_maxrss / 1e3 - idle_mb,
        timed_out=timed_out,
    )


def _temporary(folder: Path) -> Path:
    temporary = folder.with_suffix(".tmp")
    temporary.mkdir(exist_ok=True)
    return temporary


def _be_the_command(
    case: Case, folder: Path, imported: Path | None = None, *, anew: bool = False
) -> None:
    """Become the command and end: nothing of the parent goes on in the child.

    Args:
        case: the command.
        folder: from which it is run.
        imported: a file for the names of the modules that are there at the end.
        anew: in a new Python.
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
        if anew:
            os.environ.pop("ORT_DISABLE_TELEMETRY", None)  # of the parent
            os.execv(sys.executable, (sys.executable, "-m", *case.words))
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
