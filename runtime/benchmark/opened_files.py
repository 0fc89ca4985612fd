"""The files of a bundle that run on this machine, how fast they are, and why others do not run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec import Struct

from runtime.arrays import AnyArray, Pixels
from runtime.backends.base import OnDevice, Provider, Session, inputs_of
from runtime.backends.registry import backend_of, open_session
from runtime.benchmark import latency, machine
from runtime.benchmark.latency import Latency, TimingPlan
from runtime.bundle.bundle import Artifact, Bundle
from runtime.images.preprocess import Preprocess
from runtime.progress import Track


@dataclass(frozen=True)
class Opened:
    """A file that runs on this machine, and how long it took to open it."""

    artifact: Artifact
    session: Session
    load_ms: float
    """From the file to a session that can answer."""
    first_ms: float
    """The first answer, of one image: it may allocate, compile or tune."""


@dataclass(frozen=True)
class NotRun:
    """A file that does not run on this machine."""

    artifact: Artifact
    why: str


class ThreadLatency(Struct, frozen=True):
    """Latency of one image on the CPU with so many threads."""

    threads: int
    median_ms: float
    p95_ms: float


def open_all(
    bundle: Bundle, *, provider: Provider, threads: int | None
) -> tuple[list[Opened], list[NotRun]]:
    """Open every file of a bundle.

    An engine of another GPU is no mistake: a bundle carries engines for several. A file that does
    not run here stands in the ledger with the reason.

    Returns:
        The files that run here, and those that do not.

    Raises:
        InputError: an ONNX file cannot be read, or an engine is damaged.
        MissingDependencyError: the provider does not start.
    """
    sizes = bundle.target.batches
    batches = min(sizes), max(sizes)
    opened, not_run = list[Opened](), list[NotRun]()
    for artifact in bundle.artifacts:
        if why := backend_of(artifact.path).why_not_here(artifact.path):
            not_run.append(NotRun(artifact, why))
            continue
        started = time.perf_counter()
        session = open_session(artifact.path, provider=provider, threads=threads, batches=batches)
        loaded = time.perf_counter()
        side = bundle.preprocess.size_px
        black = np.zeros((1, side, side, 3), np.uint8)
        session.run(inputs_of(session, bundle.preprocess, black))
        answered = time.perf_counter()
        load_ms, first_ms = (loaded - started) * 1e3, (answered - loaded) * 1e3
        opened.append(Opened(artifact, session, load_ms, first_ms))
    return opened, not_run


def time_all(
    opened: Sequence[Opened],
    preprocess: Preprocess,
    sample: Pixels,
    *,
    batches: Sequence[int],
    track: Track,
) -> list[list[Latency]]:
    """Measure the latency of every file at every batch size, all files of one size in turns.

    Args:
        opened: with the same settings.
        preprocess: the student's preprocessing.
        sample: real images [N, S, S, 3]; repeated where a batch is larger.
        batches: batch sizes, in the order wanted.
        track: shows the progress.

    Returns:
        For each file one latency for each batch size; the first also tells how long it took to open
        the file.
    """
    by_file: list[list[Latency]] = [[] for _ in opened]
    for batch in track(batches, label="timing in turns", total=len(batches)):
        pixels = sample[np.resize(np.arange(len(sample)), batch)]
        requests = [(file.session, inputs_of(file.session, preprocess, pixels)) for file in opened]
        graphs = [_graphs_pay(*request) for request in requests]
        timed = latency.measure_together(requests)
        for found, file, request, graph, measured in zip(
            by_file, opened, requests, graphs, timed, strict=True
        ):
            facts: dict[str, object] = {**graph, **_without_transfers(*request)}
            if not found:
                facts |= {"load_ms": file.load_ms, "first_ms": file.first_ms}
            found.append(msgspec.structs.replace(measured, **facts))
    return by_file


def by_threads(artifact: Artifact, preprocess: Preprocess, sample: Pixels) -> list[ThreadLatency]:
    """Measure one image on the CPU with one thread, two, four ... up to all cores.

    Args:
        artifact: an ONNX file.
        preprocess: the student's preprocessing.
        sample: real images [N, S, S, 3].
    """
    cores = machine.cores()
    counts = sorted({min(2**power, cores) for power in range(cores.bit_length() + 1)})
    sessions = [open_session(artifact.path, provider="cpu", threads=count) for count in counts]
    requests = [(session, inputs_of(session, preprocess, sample[:1])) for session in sessions]
    timed = latency.measure_together(requests, TimingPlan(max_s=2.0))
    return [
        ThreadLatency(count, measured.median_ms, measured.p95_ms)
        for count, measured in zip(counts, timed, strict=True)
    ]


def _graphs_pay(session: Session, images: AnyArray) -> dict[str, bool]:
    """Return whether an engine's requests run as a CUDA graph; nothing for other sessions."""
    return {"cuda_graph": session.graphs_pay(images)} if isinstance(session, OnDevice) else {}


def _without_transfers(session: Session, images: AnyArray) -> dict[str, float]:
    """Return an engine's time for the inference alone; nothing for other sessions."""
    if not isinstance(session, OnDevice):
        return {}
    median, p95 = np.percentile(session.device_ms(images, 50), [50, 95])
    return {"device_median_ms": float(median), "device_p95_ms": float(p95)}
