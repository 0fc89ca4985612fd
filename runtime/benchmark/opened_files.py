"""The files of a bundle that run on this machine, how fast they are, and why others do not run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from msgspec import Struct

from runtime.arrays import Pixels
from runtime.backends.base import (
    OnDevice,
    Proof,
    Provider,
    Session,
    SessionOptions,
    Widths,
    inputs_of,
    require_widths,
)
from runtime.backends.cores import cores
from runtime.backends.limits import require_answer
from runtime.backends.openvino.backend import OpenVino
from runtime.backends.openvino.session import import_openvino
from runtime.backends.registry import backend_of, open_session
from runtime.benchmark import latency
from runtime.benchmark.latency import Latency, Request, TimingPlan
from runtime.benchmark.percentiles import Interval
from runtime.bundle.bundle import Artifact, Bundle
from runtime.errors import InputError, MissingDependencyError
from runtime.images.preprocess import Preprocess
from runtime.progress import Track

ROTATING = 8
"""Different batches that are timed in turns: enough that no cache holds them all."""


@dataclass(frozen=True)
class Opened:
    """A file that runs on this machine, and how long it took to open it."""

    artifact: Artifact
    session: Session
    load_ms: float
    """From the file to a session that can answer."""
    first_ms: float
    """The first answer, of one image: it may allocate, compile or tune."""
    provider: str
    """What runs it, as the ledger names it."""
    proof: Proof | None
    """What it runs in, where there is anything to tell."""
    same_file_as: str | None = None
    """The stage whose file this is, where a second runtime runs it."""


@dataclass(frozen=True)
class NotRun:
    """A file that does not run on this machine."""

    artifact: Artifact
    why: str


class ThreadLatency(Struct, frozen=True, omit_defaults=True):
    """Latency of one image on the CPU with so many threads."""

    threads: int
    median_ms: float
    p95_ms: float
    p95_ms_ci: Interval | None = None
    """See `Latency`."""


def open_all(
    bundle: Bundle, widths: Widths, *, provider: Provider, threads: int | None
) -> tuple[list[Opened], list[NotRun]]:
    """Open every file of a bundle.

    An engine of another GPU is no mistake: a bundle carries engines for several. A file that does
    not run here stands in the ledger with the reason.

    Args:
        bundle: a verified bundle.
        widths: of the student's answers.
        provider: where ONNX files must run.
        threads: CPU threads within one operator; None leaves it to the backend.

    Returns:
        The files that run here, and those that do not.

    Raises:
        InputError: an ONNX file cannot be read, gives no answer, or answers of other widths; or an
            engine is damaged.
        MissingDependencyError: the provider does not start.
    """
    sizes = bundle.target.batches
    options = SessionOptions(provider, threads, (min(sizes), max(sizes)))
    opened, not_run = list[Opened](), list[NotRun]()
    for artifact in bundle.artifacts:
        options = replace(options, precision=artifact.precision)
        backend = backend_of(artifact.path)
        if why := backend.why_not_here(artifact.path):
            not_run.append(NotRun(artifact, why))
            continue
        require_answer(artifact.path, bundle.preprocess.size_px)
        started = time.perf_counter()
        session = backend.open(artifact.path, options)
        found = _opened(artifact, session, bundle.preprocess, widths, started)
        proof = backend.proof(artifact.path, options)
        opened.append(replace(found, provider=backend.provider_of(provider), proof=proof))
    return opened, not_run


def open_beside(
    bundle: Bundle, files: Sequence[Artifact], widths: Widths, threads: int | None
) -> tuple[list[Opened], list[NotRun]]:
    """Open ONNX files a second time, in OpenVINO.

    Args:
        bundle: that they are of.
        files: engines among them are left out.
        widths: of the student's answers.
        threads: CPU threads for one image; None: all cores.

    Returns:
        The files that run in their precision, each with a stage of its own such as `openvino-int8`,
        and those that do not.

    Raises:
        InputError: a file cannot be read, or answers of other widths.
        MissingDependencyError: OpenVINO is not installed.
    """
    openvino = OpenVino()
    import_openvino()
    opened, not_run = list[Opened](), list[NotRun]()
    for file in files:
        if file.path.suffix not in openvino.suffixes:
            continue
        artifact = replace(file, stage=file.stage.replace("onnx", "openvino", 1))
        started = time.perf_counter()
        try:
            session = openvino.open_as(file.path, file.precision, SessionOptions(threads=threads))
        except MissingDependencyError as error:
            not_run.append(NotRun(artifact, str(error)))
            continue
        found = _opened(artifact, session, bundle.preprocess, widths, started)
        runtime = openvino.provider_of("cpu")
        opened.append(
            replace(found, provider=runtime, proof=session.proof, same_file_as=file.stage)
        )
    return opened, not_run


def built_twice(opened: Sequence[Opened], provider: Provider, threads: int | None) -> list[Opened]:
    """Build the FP32 ONNX file a second time, without graph optimisations.

    Args:
        opened: the files that run here.
        provider: that runs ONNX files. TensorRT's is left out: a build of it takes minutes.
        threads: as for the files.

    Returns:
        The second build; nothing without such a file, or where it does not run unoptimised.
    """
    found = [
        file
        for file in opened
        if file.artifact.precision == "fp32" and file.artifact.path.suffix == ".onnx"
    ]
    if not found or provider == "tensorrt":
        return []
    options = SessionOptions(provider, threads, optimised=False)
    try:
        session = backend_of(found[0].artifact.path).open(found[0].artifact.path, options)
    except InputError:
        return []
    return [replace(found[0], session=session, same_file_as=found[0].artifact.stage)]


def _opened(
    artifact: Artifact, session: Session, preprocess: Preprocess, widths: Widths, started: float
) -> Opened:
    """Let a session that was just opened answer its first image, a black one."""
    loaded = time.perf_counter()
    black = np.zeros((1, preprocess.size_px, preprocess.size_px, 3), np.uint8)
    first = session.run(inputs_of(session, preprocess, black))
    answered = time.perf_counter()
    require_widths(first, artifact.path, widths)
    load_ms, first_ms = (loaded - started) * 1e3, (answered - loaded) * 1e3
    return Opened(artifact, session, load_ms, first_ms, provider="", proof=None)


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
        requests = [request_of(file.session, preprocess, sample, batch) for file in opened]
        graphs = [_graphs_pay(request) for request in requests]
        timed = latency.measure_together(requests)
        for found, file, request, graph, measured in zip(
            by_file, opened, requests, graphs, timed, strict=True
        ):
            facts: dict[str, object] = {**graph, **_without_transfers(request)}
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
    most = cores()
    counts = sorted({min(2**power, most) for power in range(most.bit_length() + 1)})
    sessions = [open_session(artifact.path, provider="cpu", threads=count) for count in counts]
    requests = [request_of(session, preprocess, sample, 1) for session in sessions]
    timed = latency.measure_together(requests, TimingPlan(max_s=2.0))
    return [
        ThreadLatency(count, measured.median_ms, measured.p95_ms, measured.p95_ms_ci)
        for count, measured in zip(counts, timed, strict=True)
    ]


def request_of(session: Session, preprocess: Preprocess, sample: Pixels, batch: int) -> Request:
    """Return a session with up to ROTATING batches, no two of which begin with the same image.

    Args:
        session: of a file.
        preprocess: the student's preprocessing.
        sample: real images [N, S, S, 3]; repeated where a batch is larger.
        batch: images in each.
    """
    count = min(ROTATING, len(sample))
    starts = np.arange(count) * (len(sample) // count)
    batches = [sample[(start + np.arange(batch)) % len(sample)] for start in starts]
    return Request(session, [inputs_of(session, preprocess, pixels) for pixels in batches])


def _graphs_pay(request: Request) -> dict[str, bool]:
    """Return whether an engine's requests run as a CUDA graph; nothing for other sessions."""
    session = request.session
    if not isinstance(session, OnDevice):
        return {}
    return {"cuda_graph": session.graphs_pay(request.inputs[0])}


def _without_transfers(request: Request) -> dict[str, object]:
    """Return an engine's time for the inference alone; nothing for other sessions."""
    session = request.session
    if not isinstance(session, OnDevice):
        return {}
    timed = session.device_ms(request.inputs[0], 50)
    median, p95 = np.percentile(timed.ms, [50, 95])
    return {
        "device_median_ms": float(median),
        "device_p95_ms": float(p95),
        "device_as_graph": timed.as_graph,
    }
