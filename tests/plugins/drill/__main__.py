"""Thousands of changed inputs through the real command line; a table of what came of them.

    PYTHONPATH=.:tests/plugins python -m drill --cases 10000 [--seed 0] [--kind bundles] [--case N]
    PYTHONPATH=.:tests/plugins python -m drill --cases 0 --kills 100 --terms 20

A case is drawn from the seed, its kind and its number alone, so that it can be repeated. One of a
hundred runs as a user runs it, in a new Python; the others are forked from this process. Then a
real run is killed and told to stop at random moments (`kills.py`).
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import click

# Before anything reads them: one thread each, and no hub.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", HF_HUB_OFFLINE="1")
os.environ["PYTHONPATH"] = str(Path(__file__).parents[3])  # a command runs in a folder of its own

from drill import forked, judging
from drill.archives import Archives
from drill.bundles import Bundles
from drill.case import DONE, Case, Kind, Outcome
from drill.images import Images
from drill.kills import Kills
from drill.recipes import Recipes
from drill.reports import Reports
from drill.tables import Tables
from runtime.backends.ort_library import import_onnxruntime
from runtime.text import command, table

KINDS: dict[str, tuple[Callable[[], Kind], float]] = {
    "recipes": (Recipes, 0.25),
    "images": (Images, 0.3),
    "CSVs": (Tables, 0.15),
    "bundles": (Bundles, 0.15),
    "packed bundles": (Archives, 0.1),
    "reports": (Reports, 0.05),
}
"""Each kind of input, and its share of the cases."""
ANEW = 100
"""One of so many cases runs in a new Python."""


WARMING = 6
"""Cases of a kind that are run to learn what is imported."""


@dataclass
class Tally:
    """What came of the cases of one kind."""

    codes: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0
    memory_mb: float = 0.0

    def count(self, outcome: Outcome, faults: list[str]) -> None:
        """Count one more."""
        self.codes[outcome.code] += 1
        self.faults.update(faults[:1])
        self.cpu_s = max(self.cpu_s, outcome.cpu_s)
        self.memory_mb = max(self.memory_mb, outcome.memory_mb)


class Drill:
    """Kinds of input with their sound files, and the folder that the cases are made in."""

    def __init__(self, folder: Path, kept: Path, seed: int) -> None:
        """Keep where to work, where the cases with a fault go, and the seed."""
        self.folder, self.kept, self.seed = folder, kept, seed
        self.idle_mb = 0.0
        self.kinds: dict[str, Kind] = {}

    def kind(self, name: str) -> Kind:
        """Return a kind, made ready when it is first asked for."""
        if name not in self.kinds:
            kind = KINDS[name][0]()
            (self.folder / kind.name).mkdir()
            kind.prepare(self.folder / kind.name)
            self.kinds[name] = kind
            self._warm(kind)
            self.idle_mb = self._idle_mb()
        return self.kinds[name]

    def _warm(self, kind: Kind) -> None:
        for number in range(WARMING):
            work = self.folder / "warm" / f"{kind.name} {number}"
            work.mkdir(parents=True)
            forked.learn_imports(kind.make(Random(number), work), work)

    def _idle_mb(self) -> float:
        """Return the resident memory of a command that does nearly nothing."""
        folder = self.folder / "idle"
        folder.mkdir(exist_ok=True)
        words = ("compressor", "--version")
        return forked.run(Case(words, frozenset({DONE}), ""), folder).memory_mb

    def one(self, name: str, number: int) -> tuple[Outcome, list[str]]:
        """Run one case; one with a fault is kept, with what was said."""
        kind, rng = self.kind(name), Random(f"{self.seed} {name} {number}")
        place = self.folder / "case"
        work = place / "work"
        work.mkdir(parents=True)
        try:
            case = kind.make(rng, work)
            before = judging.names(work)
            anew = not rng.randrange(ANEW)
            outcome = forked.run(case, work, self.idle_mb, anew=anew)
            found = judging.faults(case, outcome, kind, work, before)
            if found:
                self._keep(place, f"{name} {number}", case, outcome, found)
        finally:
            shutil.rmtree(place)
        return outcome, found

    def _keep(self, place: Path, name: str, case: Case, outcome: Outcome, found: list[str]) -> None:
        kept = self.kept / name.replace(" ", "-")
        if kept.exists():
            shutil.rmtree(kept)
        shutil.copytree(place, kept, symlinks=True, ignore=_pipes)
        told = f"{'; '.join(found)}\n{case.change}\n{list(case.words)}\nexit code {outcome.code}\n"
        told += f"{outcome.cpu_s:.1f} s, {outcome.memory_mb:.0f} MB\n\n{outcome.err}\n{outcome.out}"
        (kept / "fault.txt").write_text(told, encoding="utf-8", errors="backslashreplace")


def _pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_fifo()]


def run(drill: Drill, cases: list[tuple[str, int]], say: Callable[[str], None]) -> dict[str, Tally]:
    """Run cases, with a line about the time that is left from time to time; Ctrl-C ends it."""
    tallies = {name: Tally() for name, _ in cases}
    started = shown = time.monotonic()
    for done, (name, number) in enumerate(cases, 1):
        try:
            outcome, found = drill.one(name, number)
        except KeyboardInterrupt:
            say(f"interrupted: what came of {done - 1:,} cases")
            break
        tallies[name].count(outcome, found)
        if found:
            say(f"FAULT {'; '.join(found)}\n  {again(drill.seed, name, number)}")
        now = time.monotonic()
        if now - shown > 10:
            shown, left = now, (now - started) / done * (len(cases) - done)
            say(f"{done:,} of {len(cases):,} cases, about {left / 60:.0f} min left")
    return tallies


def again(seed: int, name: str, number: int) -> str:
    """Return the command that repeats a case."""
    words = ("python", "-m", "drill", "--seed", seed, "--kind", name, "--case", number)
    return f"again: PYTHONPATH=.:tests/plugins {command(*words)}"


def markdown(tallies: dict[str, Tally]) -> str:
    """Return the table of what came of them."""
    rows = [
        [
            name,
            f"{tally.codes.total():,}",
            ", ".join(f"{code}: {count:,}" for code, count in sorted(tally.codes.items())),
            f"{tally.cpu_s:.1f}",
            f"{tally.memory_mb:.0f}",
            str(tally.faults.total()),
        ]
        for name, tally in tallies.items()
    ]
    header = ["kind", "cases", "exit codes", "most CPU s", "most MB", "faults"]
    return table(header, rows)


def drawn(total: int, only: str | None) -> list[tuple[str, int]]:
    """Return so many cases, each kind by its share, in turns."""
    shares = {only: 1.0} if only else {name: share for name, (_, share) in KINDS.items()}
    cases = [(name, n) for name, share in shares.items() for n in range(round(total * share))]
    return sorted(cases, key=lambda case: (case[1] + 0.5) / round(total * shares[case[0]]))


@click.command()
@click.option("--cases", "total", default=10_000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--kind", "only", type=click.Choice(list(KINDS)))
@click.option("--case", "number", type=int, help="This one of the kind alone.")
@click.option("--first", default=0, help="Leave out the cases of each kind before this one.")
@click.option("--kills", default=100, show_default=True, help="SIGKILLs; none with --kind.")
@click.option("--terms", default=20, show_default=True, help="SIGTERMs; none with --kind.")
@click.option("--small", is_flag=True, help="Kill a smaller run, of seconds.")
@click.option("--kept", default="build/drill", show_default=True, type=click.Path(path_type=Path))
def main(  # one parameter an option
    total: int,
    seed: int,
    only: str | None,
    number: int | None,
    first: int,
    kills: int,
    terms: int,
    small: bool,
    kept: Path,
) -> None:
    """Give changed inputs to the commands; exit code 1 if one of them was not treated right."""
    warnings.simplefilter("ignore")
    import_onnxruntime()  # as the product does, before a name of its modules is learnt
    if number is not None and only is None:
        raise click.UsageError("--case needs --kind")
    cases = drawn(total, only) if number is None else [(str(only), number)]
    cases = [case for case in cases if case[1] >= first]
    found = _give(cases, seed, kept.resolve()) if cases else Counter[str]()
    if only is None and kills + terms:
        found.update(_disturb(kills, terms, seed, kept.resolve(), small=small))
    for fault, count in found.most_common():
        click.echo(f"{count} x {fault}")
    if found:
        click.echo(f"kept, with what was said: {kept}")
        sys.exit(1)


def _give(cases: list[tuple[str, int]], seed: int, kept: Path) -> Counter[str]:
    """Run the cases, print their table, and return the faults."""
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        tallies = run(Drill(Path(folder), kept, seed), cases, _say)
    click.echo(markdown(tallies))
    return sum((tally.faults for tally in tallies.values()), Counter[str]())


def _disturb(kills: int, terms: int, seed: int, kept: Path, *, small: bool) -> list[str]:
    """Kill real runs and tell them to stop, print where, and return the faults."""
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        found = Kills(Path(folder), kept, small=small).disturb(kills, terms, Random(seed), _say)
    click.echo(found.markdown())
    return found.faults


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
