"""The files of a bundle that can run on this machine, and why the others cannot."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.backends.base import OnDevice, Provider, Session, inputs_of, open_session
from runtime.benchmark import latency
from runtime.bundle.bundle import Artifact, Bundle
from runtime.errors import MissingDependencyError
from runtime.images.preprocess import Preprocess
from runtime.progress import Track


@dataclass(frozen=True)
class Opened:
    """A file that runs on this machine, and how long it took to get there."""

    artifact: Artifact
    session: Session
    load_ms: float
    """From the file to a session that can answer."""
    first_ms: float
    """The first answer, of one image: it may allocate, compile or tune."""


def open_all(
    bundle: Bundle, *, provider: Provider, threads: int | None
) -> tuple[list[Opened], list[dict[str, Any]]]:
    """Open every file of a bundle.

    An engine of another GPU is no mistake: a bundle carries engines for several. What does not run
    here stands in the ledger with the reason.

    Returns:
        The files that run here, and a ledger entry for each that does not.

    Raises:
        InputError: an ONNX file cannot be read, or an engine is damaged.
        MissingDependencyError: the provider asked for does not start.
    """
    sizes = bundle.document["target"]["batches"]
    batches = min(sizes), max(sizes)
    opened, idle = list[Opened](), list[dict[str, Any]]()
    for each in bundle.artifacts:
        if each.is_engine and (why := _why_not(each)):
            idle.append(_idle(each) | {"not_run": why})
        else:
            started = time.perf_counter()
            session = open_session(each.path, provider=provider, threads=threads, batches=batches)
            loaded = time.perf_counter()
            side = bundle.preprocess.size_px
            session.run(
                inputs_of(session, bundle.preprocess, np.zeros((1, side, side, 3), np.uint8))
            )
            answered = time.perf_counter()
            times = (loaded - started) * 1e3, (answered - loaded) * 1e3
            opened.append(Opened(each, session, *times))
    for pending in bundle.document.get("engines_to_build", []):
        idle.append(pending)
    return opened, idle


def _why_not(artifact: Artifact) -> str | None:
    """Why an engine that is whole is not for this machine; None: it is.

    Raises:
        InputError: it is not whole, or has no passport.
    """
    from runtime.backends import engine_manifest

    found = engine_manifest.load(artifact.path)
    if engine_manifest.damage(artifact.path, found):
        engine_manifest.verify(artifact.path)  # raises, with what to do
    if reasons := engine_manifest.foreign(found, engine_manifest.Here.look(found.flavour)):
        return "; ".join(reasons)
    try:
        from runtime.backends.gpu import import_cuda

        import_cuda()
    except MissingDependencyError as error:
        return str(error).splitlines()[0]
    return None


def _idle(artifact: Artifact) -> dict[str, Any]:
    return {
        "stage": artifact.stage,
        "file": artifact.path.name,
        "sha256": artifact.sha256,
        "precision": artifact.precision,
        "size_mb": artifact.size_mb,
    }


def time_all(
    sessions: Sequence[Session],
    preprocess: Preprocess,
    sample: npt.NDArray[np.uint8],
    *,
    batches: Sequence[int],
    track: Track,
) -> list[list[dict[str, Any]]]:
    """Latency of every session at every batch size, all of a size timed in turns.

    Args:
        sessions: opened with the same settings.
        preprocess: of the pixels.
        sample: real images [N, S, S, 3]; repeated where a batch is larger.
        batches: sizes; the profile of an engine reaches over them.
        track: shows the progress.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in sessions]
    for batch in track(batches, label="timing in turns", total=len(batches)):
        pixels = sample[np.resize(np.arange(len(sample)), batch)]
        requests = [(each, inputs_of(each, preprocess, pixels)) for each in sessions]
        graphs = [_graphs_pay(*each) for each in requests]
        timed = latency.measure_together(requests)
        for entries, request, each, graph in zip(found, requests, timed, graphs, strict=True):
            alone = _without_transfers(*request)
            entries.append(asdict(each) | {"images_per_s": each.images_per_s} | graph | alone)
    return found


def by_threads(
    artifact: Artifact, preprocess: Preprocess, sample: npt.NDArray[np.uint8]
) -> list[dict[str, Any]]:
    """Latency of one image on the CPU with one thread, two, four ... up to all cores.

    Args:
        artifact: an ONNX file.
        preprocess: of the pixels.
        sample: real images [N, S, S, 3].
    """
    cores = len(os.sched_getaffinity(0))
    counts = sorted({min(2**power, cores) for power in range(cores.bit_length() + 1)})
    sessions = [open_session(artifact.path, provider="cpu", threads=each) for each in counts]
    requests = [(each, inputs_of(each, preprocess, sample[:1])) for each in sessions]
    timed = latency.measure_together(requests, latency.Turns(max_s=2.0))
    return [
        {"threads": count, "median_ms": each.median_ms, "p95_ms": each.p95_ms}
        for count, each in zip(counts, timed, strict=True)
    ]


def _graphs_pay(session: Session, images: npt.NDArray[Any]) -> dict[str, bool]:
    """Of an engine: whether its requests run as a CUDA graph, because that was faster."""
    return {"cuda_graph": session.graphs_pay(images)} if isinstance(session, OnDevice) else {}


def _without_transfers(session: Session, images: npt.NDArray[Any]) -> dict[str, float]:
    """Of an engine: the median of the inference alone, between two events on the device."""
    if not isinstance(session, OnDevice):
        return {}
    times = np.sort(session.device_ms(images, 50))
    median, p95 = np.percentile(times, [50, 95])
    return {"device_median_ms": float(median), "device_p95_ms": float(p95)}
