"""Step `pixels`: the training images decoded and shrunk, as long as the disk allows it.

Several processes decode a part each, of 4,096 images, and each part is written by one of them. The
first then puts them into the store, where recipes share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from compressor.distributed import group as groups
from compressor.pipeline.context import Run
from compressor.pipeline.crew import together
from compressor.pipeline.shared import teacher_views
from compressor.pipeline.step import Step
from compressor.pipeline.storage.digests import digest
from compressor.pipeline.storage.entries import link
from runtime.backends.cores import cores

_SHARDS_VERSION = 1
"""Raise it when the same images give other shards."""


def _make(run: Run, work: Path) -> None:
    from compressor.data import image_store

    (work / "pixels").mkdir(exist_ok=True)
    for line in run.disk_plan.lines:
        run.note(line)
    if not run.disk_plan.keep_images:
        return
    starts = range(0, len(run.images().part("train")), image_store.SHARD_IMAGES)
    keys = {start: _key(run, start) for start in starts}
    missing = [at for at in starts if run.files.store.peek(digest(keys[at])) is None]
    parts = work / "parts"
    if groups.current().size > 1 and len(missing) > 1:
        parts.mkdir(exist_ok=True)
        together(run, _write_parts, parts, missing)
    for start in starts:
        name = image_store.shard_name(start, run.disk_plan.packing)
        make = partial(_write, run, start, parts / name)
        link(work / "pixels" / name, run.shared(keys[start], name, make))


def _key(run: Run, start: int) -> list[object]:
    from importlib import metadata

    from compressor.data import image_store

    plan, train = run.disk_plan, run.images().part("train")
    images = train.keys[start : start + image_store.SHARD_IMAGES]
    code = [_SHARDS_VERSION, metadata.version("pillow")]
    key = ["pixels", images, plan.side_px, code]
    if plan.packing != "raw":
        key.append(plan.packing)
    large = train.records[start : start + image_store.SHARD_IMAGES]
    return [*key, *teacher_views.of_draft(image_store.drafted(large, plan.side_px))]


def _write(run: Run, start: int, part: Path, path: Path) -> None:
    """Write a shard, or take the part that was written together with other processes."""
    try:
        part.replace(path)
    except FileNotFoundError:
        _write_shard(run, start, path)


def _write_parts(run: Run, folder: Path, starts: Sequence[int]) -> None:
    """Write this process's parts, of those that an earlier attempt has not left, and wait."""
    from compressor.data import image_store

    group = groups.current()
    threads = max(1, cores() // min(group.local_size, len(starts)))
    for start in group.dealt(starts):
        path = folder / image_store.shard_name(start, run.disk_plan.packing)
        if not path.exists():
            _write_shard(run, start, path, threads)
    group.collected(group.dealt(starts))


def _write_shard(run: Run, start: int, path: Path, threads: int | None = None) -> None:
    from compressor.data import image_store

    plan, train = run.disk_plan, run.images().part("train")
    image_store.write_shard(
        path, train, start, plan.side_px, packing=plan.packing, track=run.track, threads=threads
    )


STEP = Step(
    name="pixels",
    summary="the training images decoded, for as long as they fit on the disk allowed",
    version=1,
    products=(),
    kept=("pixels",),
    needs=("images",),
    inputs=teacher_views.inputs,
    make=_make,
    libraries=("pillow",),
)
