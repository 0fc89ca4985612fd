"""How soon `runtime.Monitor` tells a change, and how often it tells one where there is none.

    python benchmarks/monitor.py BUNDLE --usual FOLDER --strange FOLDER --out FOLDER

The stream are images of `--usual`, which the student never saw, in random order: the first are the
reference, the next come without a change, and from then on a share of the images is one of
`--strange`. Each image is predicted once; a seed decides the order. Counted are alarms before the
change (false ones) and the images from the change to the first alarm after it. Several rates of
false alarms are tried on the same streams. Prints tables, writes FOLDER/monitor.json.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from msgspec import to_builtins

import runtime
from runtime.benchmark.machine import describe
from runtime.cli import guarded
from runtime.monitoring.monitor import Monitor
from runtime.prediction import many
from runtime.prediction.prediction import Prediction
from runtime.text import table

SHARES = (0.05, 0.2, 0.5)


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--usual", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--strange", multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--seeds", default=10, show_default=True)
@click.option("--reference", default=300, show_default=True, help="images to compare with")
@click.option("--before", default=700, show_default=True, help="images before the change")
@click.option("--rate", "rates", multiple=True, type=int, default=(1000, 10_000), show_default=True)
def main(
    bundle: Path,
    usual: Path,
    strange: tuple[Path, ...],
    out: Path,
    seeds: int,
    reference: int,
    before: int,
    rates: tuple[int, ...],
) -> None:
    """Predict, simulate, print, write."""
    student = runtime.load(bundle)
    known = answers(student, usual)
    if len(known) <= reference + before:
        raise click.UsageError(f"{usual}: {len(known)} images are not enough for what comes before")
    others = {folder.name: answers(student, folder) for folder in strange}
    quiet, changes = [], []
    for rate in rates:
        streams = [shuffled(known, seed) for seed in range(seeds)]
        alarms: list[int] = []
        after: dict[tuple[str, float], list[int | None]] = {}
        for seed, stream in enumerate(streams):
            monitor = fresh(student, stream[:reference], rate, seed)
            alarms.append(sum(bool(monitor.see(each)) for each in stream[reference:][:before]))
            for name, pool in others.items():
                for share in SHARES:
                    found = delay(student, stream, (reference, before), pool, share, rate, seed)
                    after.setdefault((name, share), []).append(found)
        quiet.append({"rate": rate, "images": before * seeds, "false alarms": sum(alarms)})
        changes += [row(rate, name, share, each) for (name, share), each in after.items()]
    for rows in (quiet, changes):
        click.echo(table(list(rows[0]), [[str(value) for value in each.values()] for each in rows]))
        click.echo("")
    document = {
        "machine": to_builtins(describe()),
        "images": {"usual": len(known)} | {name: len(pool) for name, pool in others.items()},
        "quiet": quiet,
        "changes": changes,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "monitor.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    click.echo(out / "monitor.json")


def answers(student: runtime.Student, folder: Path) -> list[Prediction]:
    """The answers to every image of a folder."""
    found = many.predict(student, many.find_images([folder]))
    return [each.prediction for each in found if each.prediction is not None]


def shuffled(images: Sequence[Prediction], seed: int) -> list[Prediction]:
    """The images in the order of a seed."""
    return [images[at] for at in np.random.default_rng(seed).permutation(len(images))]


def fresh(
    student: runtime.Student, reference: Sequence[Prediction], rate: int, seed: int
) -> Monitor:
    """A monitor that keeps no images."""
    folder = tempfile.mkdtemp(prefix="monitor-")
    options = {"images_per_false_alarm": rate, "keep_mb": 0, "seed": seed}
    return Monitor(student, folder, reference=reference, **options)  # type: ignore[arg-type]


def delay(
    student: runtime.Student,
    stream: Sequence[Prediction],
    lengths: tuple[int, int],
    pool: Sequence[Prediction],
    share: float,
    rate: int,
    seed: int,
) -> int | None:
    """Images from the change to the first alarm after it; None if the stream ends before."""
    reference, before = lengths
    monitor = fresh(student, stream[:reference], rate, seed)
    for each in stream[reference : reference + before]:
        monitor.see(each)
    rng, strange = np.random.default_rng(seed), iter(shuffled(pool, seed))
    for number, each in enumerate(stream[reference + before :], 1):
        try:
            shown = next(strange) if rng.random() < share else each
        except StopIteration:
            return None
        if monitor.see(shown):
            return number
    return None


def row(rate: int, name: str, share: float, delays: Sequence[int | None]) -> dict[str, Any]:
    """A row of the table; the median counts a change that was not noticed as the longest."""
    noticed = sorted(each for each in delays if each is not None)
    ordered = noticed + [None] * (len(delays) - len(noticed))
    return {
        "rate": rate,
        "mixed in": name,
        "share": share,
        "noticed": f"{len(noticed)} of {len(delays)}",
        "median delay": ordered[len(ordered) // 2],
        "longest": ordered[-1],
    }


if __name__ == "__main__":
    guarded(main)
