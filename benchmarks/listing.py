"""How long a million images take to be listed: from a list file, and from tar shards.

    python -m benchmarks.listing --images 1000000 --work /tmp/listing

Only names are read: nothing is decoded. Shards are made of tiny images, so that the headers are
what is measured, and not the disk. The files are kept for the next call.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from compressor.data.layout.layout import Question, read
from compressor.data.sources.opened import opened
from compressor.data.sources.source import Roots
from compressor.pipeline.steps.images import listing_digest

T = TypeVar("T")

PER_SHARD = 10_000


def write_list(path: Path, images: int) -> None:
    """Write a list of images that are not there, in 1,000 folders."""
    lines = (f"photos/class-{n % 1000:03d}/{n:09d}.jpg\n" for n in range(images))
    path.write_text("".join(lines), encoding="utf-8")


def write_shards(folder: Path, images: int) -> None:
    """Write shards of PER_SHARD samples, each an image of a kilobyte and its `.cls`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = os.urandom(1024)
    for shard in range(images // PER_SHARD):
        with tarfile.open(folder / f"train-{shard:04d}.tar", "w") as archive:
            for number in range(PER_SHARD):
                label = str(number % 1000).encode()
                for end, data in (("jpg", content), ("cls", label)):
                    entry = tarfile.TarInfo(f"{shard * PER_SHARD + number:09d}.{end}")
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))


def timed(call: Callable[[], T]) -> tuple[T, str]:
    """Return what a call returns, and its seconds: by the clock, and of the processor."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = call()
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    return result, f"{clock:.1f} s (processor {cpu:.1f} s)"


def main() -> None:
    """Make the files where they are missing, and time each step of the listing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, required=True)
    chosen = parser.parse_args()
    images, work = chosen.images, chosen.work
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "list.txt").exists():
        write_list(work / "list.txt", images)
    if not (work / "shards").exists():
        write_shards(work / "shards", images)
    for address in ("list.txt", "shards/*.tar"):
        source, opened_s = timed(lambda address=address: opened(str(work / address)))
        _, digest_s = timed(lambda source=source: listing_digest(Roots(source), work))
        found, layout_s = timed(lambda source=source: read(Question(source)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{address}: {len(found.files):,} images; names {opened_s}, digest {digest_s}, layout "
            f"{layout_s}; peak so far {peak:.2f} GB"
        )


if __name__ == "__main__":
    main()
