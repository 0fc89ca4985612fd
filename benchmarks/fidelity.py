"""What the ledger's figures cost: time and memory at 1k, 10k and 50k held-out images.

    python benchmarks/fidelity.py [--images 1000 --images 10000 --images 50000] [--out DIR]

Each figure with its interval, by the numpy of `runtime/metrics` and by the same definition in
torch on the CPU, one after the other on the same made-up embeddings (teacher 384 wide, student
192), each in a process of its own. Memory is the highest resident size beyond the embeddings.
An [N, N] matrix of float32 would be 10 GB at 50,000 images. Both must give the same value.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from runtime import metrics
from runtime.cli import guarded
from runtime.files import write_json
from runtime.metrics.directions import row_blocks
from runtime.metrics.similarity import _correlation, _of_pairs
from runtime.text import table

TEACHER, STUDENT, BANK, CLASSES = 384, 192, 5_000, 20


@dataclass(frozen=True)
class Given:
    """Embeddings of N held-out images, M others and B training images."""

    teacher: Any
    student: Any
    outside: Any
    bank: Any
    labels: Any


def given(images: int) -> Given:
    """Clusters seen by a teacher, and dimly by a student."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(TEACHER, STUDENT)).astype(np.float32) / TEACHER**0.5
    centres = 0.4 * rng.normal(size=(2 * CLASSES, TEACHER)).astype(np.float32)

    def seen(count: int, first: int = 0) -> tuple[Any, Any, Any]:
        labels = rng.integers(first, first + CLASSES, count)
        teacher = centres[labels] + rng.standard_normal((count, TEACHER), np.float32)
        noise = rng.standard_normal((count, STUDENT), np.float32)
        return teacher, teacher @ mix + noise, labels

    teacher, student, _ = seen(images)
    _, bank, labels = seen(BANK)
    _, outside, _ = seen(max(200, images // 10), CLASSES)
    return Given(teacher, student, outside, bank, labels)


def _votes(x: Given) -> float:
    votes = metrics.knn_votes(x.student, x.bank, x.labels, CLASSES)
    return metrics.mean_estimate(votes.max(axis=1)).value


def _auroc(inside: Any, outside: Any) -> float:
    return metrics.two_sample_estimate(metrics.auroc, inside, outside).value


def _procrustes(x: Given) -> float:
    half = len(x.student) // 2
    laid = metrics.fit_orthogonal_map(x.student[:half], x.teacher[:half])
    return metrics.mean_estimate(laid.cosines(x.student[half:], x.teacher[half:])).value


def _mahalanobis(x: Given) -> float:
    gaussians = metrics.fit_gaussians(x.bank, x.labels)
    return _auroc(*(gaussians.scores(each) for each in (x.student, x.outside)))


NUMPY: Mapping[str, Callable[[Given], float]] = {
    "kNN votes": _votes,
    "similarity r": lambda x: metrics.similarity_correlation(x.student, x.teacher).value,
    "cosine MAE": lambda x: metrics.cosine_mae(x.student, x.teacher).value,
    "linear CKA": lambda x: metrics.linear_cka(x.student, x.teacher).value,
    "Procrustes cosine": _procrustes,
    "same neighbours": lambda x: (
        metrics.mean_estimate(metrics.neighbour_overlap(x.student, x.teacher)).value
    ),
    "OOD by cosine": lambda x: _auroc(
        *(metrics.ood_scores(each, x.bank) for each in (x.student, x.outside))
    ),
    "OOD by Mahalanobis": _mahalanobis,
}


def _unit(x: Any) -> Any:
    import torch

    return torch.nn.functional.normalize(torch.from_numpy(x), dim=1)


def _torch_nearest(query: Any, bank: Any, k: int) -> tuple[Any, Any]:
    """Into arrays made beforehand: results kept between blocks would fragment the heap (10 GB)."""
    import torch

    values = torch.empty(len(query), k)
    index = torch.empty(len(query), k, dtype=torch.int64)
    for rows in row_blocks(len(query), len(bank)):
        found = (query[rows] @ bank.T).topk(k)
        values[rows], index[rows] = found.values, found.indices
    return values, index


def _torch_votes(x: Given) -> float:
    import torch

    values, nearest = _torch_nearest(_unit(x.student), _unit(x.bank), 10)
    weights = torch.exp((values - values[:, :1]).double() / 0.07)
    votes = torch.zeros(len(values), CLASSES, dtype=torch.float64)
    votes.scatter_add_(1, torch.from_numpy(x.labels)[nearest], weights)
    shares = votes / votes.sum(dim=1, keepdim=True)
    return metrics.mean_estimate(shares.amax(dim=1).numpy()).value


def _torch_similarity(x: Given) -> float:
    """In float64, sums of products as products of [D, D]; without the shift of `similarity`."""
    sides = [_unit(each).double() for each in (x.student, x.teacher)]
    others = len(sides[0]) - 1

    def products(one: Any, other: Any) -> Any:
        return (((one @ (one.T @ other)) * other).sum(dim=1) - 1) / others

    columns = [(side @ side.sum(dim=0) - 1) / others for side in sides]
    pairs = ((0, 0), (1, 1), (0, 1))
    columns += [products(sides[one], sides[other]) for one, other in pairs]
    values = np.stack([_of_pairs(each.numpy()) for each in columns], axis=1)
    return metrics.smooth_estimate(_correlation, values).value


def _torch_mae(x: Given) -> float:
    import torch

    one, other = _unit(x.student), _unit(x.teacher)
    count, means = len(one), []
    for rows in row_blocks(count, count):
        gaps = (one[rows] @ one.T - other[rows] @ other.T).abs_()
        gaps[torch.arange(len(gaps)), torch.arange(rows.start, rows.stop)] = 0
        means.append(gaps.sum(dim=1, dtype=torch.float64) / (count - 1))
    values = _of_pairs(torch.cat(means).numpy())[:, None]
    return metrics.smooth_estimate(lambda columns: columns[:, 0], values).value


def _torch_cka(x: Given) -> float:
    """The value is HSIC_1's; the interval's pseudo-values are cheap and left out."""
    sides = [_unit(each).double() for each in (x.student, x.teacher)]
    sides = [side - side.mean(dim=0) for side in sides]

    def hsic(one: Any, other: Any) -> float:
        n = len(one)
        own = [(each**2).sum(dim=1) for each in (one, other)]
        rows = [e @ e.sum(dim=0) - o for e, o in zip((one, other), own, strict=True)]
        both = ((one.T @ other) ** 2).sum() - (own[0] * own[1]).sum()
        across = rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2))
        return float((both + across - 2 / (n - 2) * (rows[0] @ rows[1])) / (n * (n - 3)))

    a, b = sides
    return hsic(a, b) / (hsic(a, a) * hsic(b, b)) ** 0.5


def _torch_procrustes(x: Given) -> float:
    import torch

    half, sides = len(x.student) // 2, [_unit(each).double() for each in (x.student, x.teacher)]
    centred = [side - side[:half].mean(dim=0) for side in sides]
    product = centred[0][:half].T @ centred[1][:half]
    left, shared, right = torch.linalg.svd(product, full_matrices=False)
    found = shared > 1e-9 * shared[0]
    mapped = centred[0][half:] @ (left[:, found] @ right[found])
    cosines = torch.nn.functional.cosine_similarity(mapped, centred[1][half:], dim=1)
    return metrics.mean_estimate(cosines.numpy()).value


def _torch_overlap(x: Given) -> float:
    near = []
    for side in (_unit(x.student), _unit(x.teacher)):
        _, index = _torch_nearest(side, side, 11)
        near.append(index.numpy())
    shares = [
        len(np.intersect1d(p[p != row][:10], q[q != row][:10])) / 10
        for row, (p, q) in enumerate(zip(*near, strict=True))
    ]
    return metrics.mean_estimate(np.array(shares)).value


def _torch_ood(x: Given) -> float:
    bank = _unit(x.bank)
    scores = [
        _torch_nearest(_unit(each), bank, 1)[0][:, 0].numpy() for each in (x.student, x.outside)
    ]
    return _auroc(*scores)


def _torch_mahalanobis(x: Given) -> float:
    import torch

    bank, labels = _unit(x.bank).double(), torch.from_numpy(x.labels)
    means = torch.stack([bank[labels == label].mean(dim=0) for label in range(CLASSES)])
    covariance = metrics.shrunk_covariance((bank - means[labels]).numpy())
    factor = torch.linalg.cholesky(torch.linalg.inv(torch.from_numpy(covariance)))
    scores = [
        -(torch.cdist(_unit(each).double() @ factor, means @ factor) ** 2).amin(dim=1).numpy()
        for each in (x.student, x.outside)
    ]
    return _auroc(*scores)


_IN_TORCH = (_torch_votes, _torch_similarity, _torch_mae, _torch_cka, _torch_procrustes)
_IN_TORCH += (_torch_overlap, _torch_ood, _torch_mahalanobis)
TORCH: Mapping[str, Callable[[Given], float]] = dict(zip(NUMPY, _IN_TORCH, strict=True))


@dataclass(frozen=True)
class Cost:
    """One figure by one library at one size."""

    figure: str
    library: str
    images: int
    value: float
    seconds: float
    peak_mb: float
    """Highest resident size beyond that before, 10^6 bytes."""


def _kilobytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1])


def measure(figure: str, library: str, images: int, threads: int) -> Cost:
    """In a process of its own."""
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
    call = (NUMPY if library == "numpy" else TORCH)[figure]
    call(given(200))  # whatever is loaded at the first call
    inputs = given(images)
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident size starts anew
    before, started = _kilobytes("VmRSS"), time.perf_counter()
    value, seconds = call(inputs), time.perf_counter() - started
    peak = (_kilobytes("VmHWM") - before) * 1024 / 1e6
    return Cost(figure, library, images, value, round(seconds, 3), round(max(0.0, peak), 1))


def run(sizes: tuple[int, ...], figures: tuple[str, ...], threads: int) -> list[Cost]:
    """Everything, one after the other; raises where two libraries disagree."""
    context, costs = multiprocessing.get_context("spawn"), list[Cost]()
    for images in sizes:
        for figure in figures:
            for library in ("numpy", "torch"):
                with context.Pool(1) as pool:
                    costs.append(pool.apply(measure, (figure, library, images, threads)))
                print(costs[-1], file=sys.stderr, flush=True)
            ours, theirs = costs[-2:]
            if abs(ours.value - theirs.value) > 1e-4:
                raise SystemExit(f"{figure} at {images}: {ours.value} by numpy, {theirs.value}")
    return costs


def printed(costs: list[Cost]) -> str:
    """A row for each figure and size, both libraries beside each other."""
    rows = []
    for ours, theirs in zip(costs[::2], costs[1::2], strict=True):
        times = [f"{each.seconds:.2f}" for each in (ours, theirs)]
        memory = [f"{each.peak_mb:,.0f}" for each in (ours, theirs)]
        rows.append([f"{ours.images:,}", ours.figure, f"{ours.value:.4f}", *times, *memory])
    return table(["images", "figure", "value", "numpy s", "torch s", "numpy MB", "torch MB"], rows)


@click.command()
@click.option("--images", "sizes", multiple=True, type=int, default=(1_000, 10_000, 50_000))
@click.option("--figure", "figures", multiple=True, type=click.Choice([*NUMPY]), help="or all")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/benchmarks"))
def main(sizes: tuple[int, ...], figures: tuple[str, ...], out: Path) -> None:
    """Measure, print a table, write fidelity.json."""
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    costs = run(sizes, figures or tuple(NUMPY), threads)
    print(printed(costs))
    document = {"threads": threads, "widths": [TEACHER, STUDENT], "bank": BANK}
    write_json(out / "fidelity.json", {**document, "costs": [asdict(each) for each in costs]})


if __name__ == "__main__":
    guarded(main)
