"""A real run, ended at random moments and started again: it must end with the same bits.

The run is the quickstart's. One run takes several signals, one after the other, before it is left
to finish; then another begins, in an empty folder with an empty cache.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import onnx
from safetensors.numpy import load_file

from compressor.data.quickstart import write_quickstart
from compressor.pipeline.storage import entries
from drill import forked
from drill.case import DONE, Case
from runtime.bundle import bundle as bundles
from runtime.errors import InputError
from runtime.files import sha256_of
from runtime.text import table

SETTINGS = (
    *("distill.views=3", "distill.checkpoint_s=1", "distill.device=cpu"),
    *("export.precisions=[fp32, fp16]", "require={}"),
)
SMALL = (
    'student={"model": "vit_tiny_patch16_224", "weights": "none", "image_size": 32, "args": '
    '{"patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2}}',
    *("distill.epochs=3", "export.precisions=[fp32]"),
)
"""Further settings of a run that takes seconds: it has no first bundle, and is soon exported."""
TERMINATED = 143
NEXT = (1 / 8, 1 / 2)
"""The first signal comes at any moment of the CPU time that an undisturbed run takes; each of the
next within one of these shares of it, after the run was started again."""
MOST_SIGNALS = 12
"""To one run: then it is left to finish."""
ANEW = 10
"""One of so many starts is in a new Python, as a user's; the others are forked."""
LONGEST_S = 7200.0
"""For a run that hangs; a machine may be busy."""
NEVER = float("inf")


@dataclass
class Signals:
    """What signals did to runs."""

    by_step: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many of a signal came in a step."""
    runs: int = 0
    """That were disturbed, and finished."""
    faults: list[str] = field(default_factory=list)

    def of(self, name: str) -> int:
        """Return how many there were of a signal."""
        return sum(count for (found, _), count in self.by_step.items() if found == name)

    def markdown(self) -> str:
        """Return the table of the steps in which they came."""
        names, steps = ("SIGKILL", "SIGTERM"), dict.fromkeys(step for _, step in self.by_step)
        rows = [[step, *(str(self.by_step[name, step]) for name in names)] for step in steps]
        rows.append(["all", *(str(self.of(name)) for name in names)])
        said = f"{self.runs} runs took them and ended; {len(self.faults)} faults"
        return f"{table(['step', *names], rows)}\n{said}"


class Kills:
    """The quickstart in a folder, run undisturbed once; then it is disturbed."""

    def __init__(self, folder: Path, kept: Path, *, small: bool = False):
        """Run it undisturbed.

        Args:
            folder: to work in.
            kept: where a run with a fault goes.
            small: with fewer images and another student, so that it takes seconds.
        """
        self.folder, self.kept = folder, kept
        write_quickstart(folder / "quickstart")
        for label in (folder / "quickstart" / "digits").iterdir():
            for path in sorted(label.iterdir())[8 if small else 30 :]:
                path.unlink()
        changes = [
            word for each in (*SETTINGS, *(SMALL if small else ())) for word in ("--set", each)
        ]
        recipe = str(folder / "quickstart" / "cpu.yaml")
        self.words = ("compressor", "run", recipe, "--out", "out", *changes)
        forked.time_shortly()
        work = self._place("undisturbed") / "work"
        code, self.cpu_s = forked.learn_imports(self._case(work), work)
        if code != DONE:
            raise RuntimeError(work.with_suffix(".err").read_text())
        self.steps = tuple(json.loads((work / "out" / "steps.json").read_text())["steps"])
        self.bits = bits(work / "out")

    def disturb(
        self, kills: int, terms: int, rng: Random, say: Callable[[str], None] = lambda line: None
    ) -> Signals:
        """Send so many SIGKILLs and SIGTERMs, to as many runs as that takes."""
        due = [signal.SIGKILL] * kills + [signal.SIGTERM] * terms
        rng.shuffle(due)
        done = Signals()
        while due:
            name = f"run {done.runs + 1}"
            place = self._place(name)
            before = len(done.faults)
            for fault in self._one(place, due, done, rng):
                done.faults.append(f"{name}: {fault}")
                say(f"FAULT {name}: {fault}")
            done.runs += 1
            if len(done.faults) > before:
                shutil.copytree(place, self.kept / f"kills-{done.runs}", dirs_exist_ok=True)
            shutil.rmtree(place)
            so_far = " and ".join(f"{done.of(name)} {name}" for name in ("SIGKILL", "SIGTERM"))
            say(f"{done.runs} runs ended after {so_far}; {len(due)} signals left")
        return done

    def _one(
        self, place: Path, due: list[signal.Signals], done: Signals, rng: Random
    ) -> Iterator[str]:
        """Disturb one run until it ends by itself; yield what is wrong."""
        signals = 0
        while True:
            within = self.cpu_s * (rng.choice(NEXT) if signals else 1)
            moment = rng.uniform(0, within) if due and signals < MOST_SIGNALS else NEVER
            how = due[-1] if due else signal.SIGKILL
            code, hit, said = self._start(place, moment, how, anew=not rng.randrange(ANEW))
            if not hit:
                break
            signals += 1
            due.pop()
            done.by_step[how.name, self._step_of(said)] += 1
            yield from _told(how, code, said, place)
            yield from torn(place / "work")
        if code != DONE:
            yield f"exit code {code} after {signals} signals: {said[-300:]}"
            return
        found = bits(place / "work" / "out")
        for name in sorted(self.bits.keys() | found.keys()):
            if self.bits.get(name) != found.get(name):
                yield f"other bits in {name}"
        yield from torn(place / "work")
        yield from left(place / "work")

    def _start(
        self, place: Path, after_cpu_s: float, how: signal.Signals, *, anew: bool = False
    ) -> tuple[int, bool, str]:
        """Run until it ends or the signal comes; exit code, whether it came, stderr."""
        work = place / "work"
        work.with_suffix(".err").write_text("")
        shutil.rmtree(work.with_suffix(".tmp"), ignore_errors=True)  # a killed one may have left
        child = forked.start(self._case(place), work, anew=anew)
        ended = forked.ended_by(child, time.monotonic() + LONGEST_S, after_cpu_s)
        hit = ended is None and after_cpu_s < NEVER
        if hit:
            os.kill(child, how)
            ended = forked.ended_by(child, time.monotonic() + LONGEST_S)
        if ended is None:
            os.killpg(child, signal.SIGKILL)
            raise RuntimeError(f"{self.words} did not end{f' after {how.name}' * hit}")
        said = work.with_suffix(".err").read_text("utf-8", "surrogateescape")
        code = os.waitstatus_to_exitcode(ended[0])
        return code, hit and code != DONE, said  # it may have ended as the signal was sent

    def _case(self, place: Path) -> Case:
        settings = {"EDGE_COMPRESSOR_CACHE": str(place / "work" / "cache")}
        return Case(self.words, frozenset({DONE}), "", settings=settings)

    def _place(self, name: str) -> Path:
        place = self.folder / name
        (place / "work").mkdir(parents=True)
        return place

    def _step_of(self, said: str) -> str:
        """Return the step that began last, by what was said."""
        begun = [line.split(":")[0] for line in said.splitlines()]
        return next((step for step in reversed(begun) if step in self.steps), "before the steps")


def _told(how: signal.Signals, code: int, said: str, place: Path) -> Iterator[str]:
    """What a command that was told to stop does and says; one that is killed says nothing."""
    if "Traceback" in said:
        yield f"a traceback: {said[-300:]}"
    if how == signal.SIGKILL:
        if code != -how:
            yield f"exit code {code}"
        return
    if code == -how and not said:  # Python itself had not begun
        return
    if code != TERMINATED:
        yield f"exit code {code} after {how.name}: {said[-300:]}"
    if "to continue: compressor run" not in said:
        yield f"does not say how to go on: {said[-300:]}"
    if there := sorted(path.name for path in (place / "work.tmp").rglob("*")):
        yield f"{how.name} left {there[0]} in the temporary folder"


# --- what lies there --------------------------------------------------------------------------

_OF_TIMES = ("events.jsonl", "report.html", "report.md", "steps.json")


def bits(out: Path) -> dict[str, str]:
    """Return a digest of everything that a run made but times, by its name."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if path.name == "report.json":
            scores = [
                _without(entry, "latency") for entry in json.loads(path.read_text())["ledger"]
            ]
            found[name] = json.dumps(scores)
        elif name == "rounds.json":
            rounds = json.loads(path.read_text())["rounds"]
            found[name] = json.dumps([_without(each, "made") for each in rounds])
        elif name == "train.jsonl":
            lines = map(json.loads, path.read_text().splitlines())
            found[name] = json.dumps([_without(line, "seconds") for line in lines])
        elif name not in _OF_TIMES and not name.startswith("."):
            found[name] = sha256_of(path)
    return found


def _without(document: dict[str, object], what: str) -> dict[str, object]:
    return {key: value for key, value in document.items() if not key.startswith(what)}


def torn(work: Path) -> Iterator[str]:
    """Yield each file that has its final name and is not whole."""
    for path in sorted((work / "cache" / "entries").glob("*")):
        entry = entries.load(path)
        if entry is None or entry.damaged():
            yield f"an entry of the cache is not whole: {path.name}"
    if (work / "out" / "bundle").exists():
        try:
            bundles.load(work / "out" / "bundle")
        except InputError as error:
            yield f"the bundle is not whole: {error}"
    for path in sorted((work / "out").glob("[!.]*")):
        try:
            _read(path)
        except Exception as error:  # of whichever library reads it
            yield f"{path.name} is not whole: {error}"


def _read(path: Path) -> None:
    """Read a file of a run's folder to its end, by what its name says it is.

    Raises:
        Exception: it is not whole; each library has its own.
    """
    if path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line)
    elif path.suffix == ".safetensors":
        load_file(path)
    elif path.suffix == ".onnx":
        onnx.load(path)
    elif path.suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("it has no end")
    elif path.is_file() and not path.stat().st_size:
        raise ValueError("it is empty")


def left(work: Path) -> Iterator[str]:
    """Yield what a finished run should have removed."""
    for path in sorted(work.rglob("*.tmp")):
        yield f"left {path.relative_to(work)}"
    for path in sorted((work / "cache" / "work").glob("*")):
        yield f"left {path.relative_to(work)} with {sorted(each.name for each in path.iterdir())}"
    for path in sorted((work / "cache" / "in_use").glob("[!.]*")):
        yield f"left {path.relative_to(work)}"
