"""A bundle checked on another machine, over OpenSSH: copied there, checked there, report back.

    here                                    there, in a folder of its own below the home folder
    bundle.tar, the runtime's wheel   ->    a venv with the wheel and one backend
                                            python -m runtime unpack, python -m runtime check
    report.json, report.md            <-    and the folder is removed

OpenSSH does the talking: keys, agents, jump hosts and ports are those of ~/.ssh/config. A host
whose key is not known is refused, and a password is asked for by ssh itself, once.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from compressor.device.wheel import write_wheel
from runtime import documents
from runtime.bundle import archive
from runtime.bundle import bundle as bundles
from runtime.bundle.schema import extras
from runtime.cli import NOT_PASSED
from runtime.errors import InputError, MissingDependencyError
from runtime.files import require_writable, write_text
from runtime.results.report import Report
from runtime.results.scores import from_json
from runtime.text import amount

SSH = "EDGE_COMPRESSOR_SSH"
"""Environment variable with the command to use for ssh, such as `ssh -F other_config`."""
_FOLDER = ".edge-compressor-check"
_REPORTS = ("report.json", "report.md", "report.html")
_SSH_FAILED = 255


@dataclass(frozen=True)
class CheckOptions:
    """How to use the other machine."""

    python: str = "python3"
    """Its Python, 3.10 or newer."""
    install: bool = True
    """Whether to make a venv there and install a backend; if not, `python` must have one."""
    keep: bool = False
    """Whether to keep the folder there."""
    sustained_s: float = 0
    """Seconds that it is put under load for before anything is timed."""


@dataclass(frozen=True)
class Host:
    """A machine reached over ssh."""

    destination: str
    command: tuple[str, ...]
    """ssh and its options."""

    def run(
        self,
        line: str,
        *,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stderr: IO[bytes] | int | None = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command line in its shell.

        Args:
            line: the command line, its arguments quoted.
            stdin: its input.
            stderr: where its messages go; None: to this terminal.

        Raises:
            MissingDependencyError: ssh cannot connect.
        """
        words = [*self.command, "--", self.destination, line]
        done = subprocess.run(
            words, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, check=False
        )
        if done.returncode == _SSH_FAILED:
            message = (done.stderr or b"").decode(errors="replace").strip()
            raise MissingDependencyError(
                f"{self.destination}: ssh cannot connect: {message or 'ssh gave no reason'}\n"
                f"  Does `{shlex.join([*_ssh(), self.destination])}` work? Connect once by hand to "
                "a host whose key is not known yet, so that you see its fingerprint."
            )
        return done

    def do(self, line: str, what: str, *, stdin: IO[bytes] | int = subprocess.DEVNULL) -> str:
        """Run a command line that has to succeed, and return what it printed.

        Raises:
            MissingDependencyError: it failed, or ssh cannot connect.
        """
        done = self.run(line, stdin=stdin)
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip()[-1500:]
            raise MissingDependencyError(f"{self.destination}: {what} failed there:\n  {message}")
        return done.stdout.decode(errors="replace")

    def send(self, path: Path, there: str) -> None:
        """Copy a file.

        Raises:
            MissingDependencyError: there is no space for it, or ssh cannot connect.
        """
        with path.open("rb") as file:
            self.do(f"cat > {shlex.quote(there)}", f"copying {path.name}", stdin=file)


def check(
    bundle: Path, destination: str, options: CheckOptions, out: Path, note: Callable[[str], None]
) -> Report:
    """Check a bundle on another machine, and write its report here.

    Args:
        bundle: the bundle's folder.
        destination: `user@host`, a name of ~/.ssh/config, or `ssh://user@host:port`.
        options: how to use the other machine.
        out: folder for the report.
        note: called with lines that say what happens.

    Returns:
        The report.

    Raises:
        InputError: the bundle is damaged, the destination is not an address, or the check refused.
        MissingDependencyError: the machine cannot be reached, or lacks Python, a backend or space.
        OSError: nothing can be written in `out`.
    """
    loaded = bundles.load(bundle)
    files = (each.path.name for each in loaded.artifacts)
    backend = extras(files, loaded.target.provider)
    bundles.require_outside(loaded.folder, out)
    require_writable(out)
    with _connected(destination) as host, tempfile.TemporaryDirectory() as temporary:
        packed, wheel = Path(temporary) / f"{_name(bundle)}.tar", write_wheel(Path(temporary))
        archive.pack(bundle.resolve(), packed)
        there = _make_folder(host)
        try:
            note(f"copying {amount(packed.stat().st_size)} to {destination}")
            for path in (packed, wheel):
                host.send(path, f"{there}/{path.name}")
            python = _python(host, there, wheel.name, backend, options, note)
            note(f"checking on {destination}")
            report = _check_there(host, there, python, _name(bundle), packed.name, options)
            _fetch(host, f"{there}/report", out)
        finally:
            if options.keep:
                note(f"kept on {destination}: {there}")
            else:
                host.run(f"rm -rf -- {shlex.quote(there)}")
    return report


def _name(bundle: Path) -> str:
    return bundle.resolve().name  # `.` has no name


def _ssh() -> list[str]:
    return shlex.split(os.environ.get(SSH, "ssh"))


@contextmanager
def _connected(destination: str) -> Iterator[Host]:
    """Open one connection for all commands, and close it at the end."""
    if re.search(r"^[^@/]*(//)?[^@/]*:[^@/]*@", destination):
        raise InputError(
            f"the address of {destination.rpartition('@')[2]!r} holds a password: leave it out"
        )
    if not re.fullmatch(r"(ssh://)?[A-Za-z0-9_][A-Za-z0-9_.@:%\[\]-]*", destination):
        raise InputError(
            f"{destination!r} is not an address; expected user@host or ssh://host:port"
        )
    if shutil.which(_ssh()[0]) is None:
        raise MissingDependencyError(f"{_ssh()[0]}: not found; install OpenSSH's client")
    with tempfile.TemporaryDirectory(prefix="ec-") as sockets:  # short: a socket's path has a limit
        options = [
            "StrictHostKeyChecking=yes",
            "ConnectTimeout=20",
            "ServerAliveInterval=15",
            "ControlMaster=auto",
            f"ControlPath={sockets}/s",
            "ControlPersist=60",
        ]
        command = [*_ssh(), *(word for option in options for word in ("-o", option))]
        host = Host(destination, tuple(command))
        try:
            yield host
        finally:
            closing = [*command, "-O", "exit", "--", destination]
            subprocess.run(closing, capture_output=True, check=False)


def _make_folder(host: Host) -> str:
    made = host.do(f"umask 077; mktemp -d ~/{_FOLDER}.XXXXXX", "making a folder").strip()
    if f"/{_FOLDER}." not in made or "\n" in made:
        raise MissingDependencyError(
            f"{host.destination}: its shell prints {made!r} but a folder was expected. Does a "
            "start-up file (.bashrc) print something?"
        )
    return made


def _python(
    host: Host,
    there: str,
    wheel: str,
    backend: str,
    options: CheckOptions,
    note: Callable[[str], None],
) -> str:
    """Return the command before `-m runtime` on the other machine."""
    python, folder = shlex.quote(options.python), shlex.quote(there)
    version_check = f'{python} -c "import sys; print(sys.version_info >= (3, 10))"'
    if host.do(version_check, f"starting {options.python}").strip() != "True":
        raise MissingDependencyError(
            f"{host.destination}: {options.python} is older than 3.10; name another with --python"
        )
    if not options.install:
        host.do(f"cd {folder} && {python} -m zipfile -e {wheel} lib", "unpacking the wheel")
        return f"cd {folder} && PYTHONPATH={folder}/lib {python}"
    note(f"installing the wheel with its {backend} backend on {host.destination}")
    host.do(f"cd {folder} && {python} -m venv venv", "making a venv")
    pip = "venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check"
    host.do(f"cd {folder} && {pip} './{wheel}[{backend}]'", "installing")
    return f"cd {folder} && venv/bin/python"


def _check_there(
    host: Host, there: str, python: str, name: str, packed: str, options: CheckOptions
) -> Report:
    unpacked = host.run(f"{python} -m runtime unpack ./{shlex.quote(packed)}")
    if unpacked.returncode:
        _raise_here(host, unpacked.returncode, unpacked.stderr)
    words = f"check ./{shlex.quote(name)} --out {shlex.quote(there)}/report --json"
    if options.sustained_s:
        words += f" --sustained {options.sustained_s:g}"
    done = host.run(f"{python} -m runtime {words}")
    if done.returncode not in (0, NOT_PASSED):
        _raise_here(host, done.returncode, done.stderr)
    try:
        document = documents.parse(done.stdout)
    except ValueError:
        _raise_here(host, done.returncode, done.stderr or done.stdout)
    return from_json(document, Report, Path(f"{host.destination}: report.json"))


def _raise_here(host: Host, code: int, stderr: bytes) -> NoReturn:
    """Raise the other machine's error here, with the same exit code."""
    message = stderr.decode(errors="replace").strip().removeprefix("error: ")[-1500:]
    kind = InputError if code == InputError.exit_code else MissingDependencyError
    raise kind(f"on {host.destination}: {message or f'the check ended with code {code}'}")


def _fetch(host: Host, folder: str, out: Path) -> None:
    for name in _REPORTS:
        path = f"{shlex.quote(folder)}/{name}"
        done = host.run(f"test ! -e {path} || cat {path}")
        if done.stdout:
            write_text(out / name, done.stdout.decode())
