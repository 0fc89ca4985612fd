"""Runs steps: finds what is unchanged, copies what the store has, makes the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from compressor.pipeline.context import Run
from compressor.pipeline.step import Step
from compressor.pipeline.storage.entries import DamagedError, Entry
from compressor.pipeline.storage.records import StepRecord
from compressor.pipeline.storage.run_files import RunFiles
from compressor.pipeline.storage.store import Store

State = Literal["cached", "stored", "to do", "waits"]
"""cached: in the run folder and unchanged. stored: another run made it. waits: for one to do."""


@dataclass(frozen=True)
class Ended:
    """How a step ended."""

    state: Literal["made", "cached"]
    seconds: float
    """How long making the outputs took, now or then."""


def attach(run: Run, steps: Sequence[Step]) -> None:
    """Let a run make large outputs again that were removed from the store."""
    by_name = {step.name: step for step in steps}

    def make_again(name: str) -> None:
        step, record = by_name[name], run.files.record(name)
        run.note(f"{name}: no longer in the cache, made again")
        _make(step, run, record.entry)

    run.files.make_again = make_again
    run.files.order = tuple(by_name)


def run_step(step: Step, run: Run) -> Ended:
    """Make the outputs of a step, or find that they are there and unchanged."""
    key, files = step.key(run), run.files
    record = files.steps.get(step.name)
    if record is not None and record.key == key:
        if (name := files.changed(step.name)) is None:
            return Ended("cached", record.seconds)
        run.warn(f"{files.folder / name}: missing or changed since it was made; made again")
    entry_key = step.entry(run, key)
    made = False
    while True:
        entry, made_now = _make(step, run, entry_key)
        made = made or made_now
        try:
            files.place(step.name, _record(step, key, entry), entry)
            break
        except DamagedError as error:
            run.warn(f"{error}: damaged; removed from the cache, made again")
            store = _store(step, run)
            with store.uses.guarded():
                store.remove(entry_key)
    return Ended("made" if made else "cached", entry.record.seconds)


def plan(steps: Sequence[Step], run: Run) -> list[tuple[Step, State]]:
    """Return what would become of each step. Touches nothing, and makes nothing."""
    rehearsal = Run(run.plan, run.folder)
    rehearsal.files = files = RunFiles(run.folder, writable=False)
    states: dict[str, State] = {}
    for step in steps:
        if any(states[need] in ("to do", "waits") for need in step.needs):
            states[step.name] = "waits"
            continue
        key = step.key(rehearsal)
        record = files.steps.get(step.name)
        if record is not None and record.key == key and files.changed(step.name) is None:
            states[step.name] = "cached"
            continue
        store = files.store if step.shared else files.own_store
        entry = store.peek(step.entry(run, key))
        states[step.name] = "to do" if entry is None else "stored"
        if entry is not None:  # the steps after it find its files in the store
            record = _record(step, key, entry)
            outputs = record.products + record.kept
            files.steps[step.name] = StepRecord(
                key, entry.key, (), outputs, record.files, record.seconds
            )
    return [(step, states[step.name]) for step in steps]


def _make(step: Step, run: Run, key: str) -> tuple[Entry, bool]:
    with run.files.reading(step.name, step.needs):
        fill = partial(step.make, run)
        return _store(step, run).make(key, step.outputs, fill, run.note)


def _store(step: Step, run: Run) -> Store:
    return run.files.store if step.shared else run.files.own_store


def _record(step: Step, key: str, entry: Entry) -> StepRecord:
    found = entry.record
    return StepRecord(key, entry.key, step.products, step.kept, found.files, found.seconds)
