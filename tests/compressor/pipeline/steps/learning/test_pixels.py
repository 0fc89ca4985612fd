"""Two processes decode the training images: each writes parts, and what is finished is kept."""

from collections import Counter
from contextlib import suppress

import pytest

from compressor.data import image_files, image_store
from compressor.distributed import group as groups
from compressor.distributed.group import ALONE, LostProcessError
from compressor.pipeline import crew, runner
from compressor.pipeline.context import Run
from compressor.pipeline.storage.cache import shared_store
from compressor.pipeline.storage.run_files import RunFiles
from compressor.recipe.plan import load
from two_processes import in_two

SHARD = 8
"""Images: the 32 to train on are four shards, of which each process has two."""


def decoding(patch, opened, stop_at=None):
    """Note which files are decoded; stop as by Ctrl-C at one of them."""
    real = image_files.open_rgb

    def opening(path, short_px):
        opened.append(str(path))
        if str(path) == stop_at:
            raise KeyboardInterrupt
        return real(path, short_px=short_px)

    patch.setattr(image_store, "SHARD_IMAGES", SHARD)
    patch.setattr(image_store, "open_rgb", opening)


def ran(recipe, folder, until):
    run = Run(load(recipe), folder)
    with run.locked():
        runner.run_all(run, until=until)
    return run.images().part("train")


def shared(recipe, folder, group):
    """The step in each of two processes, the first of which is stopped in its second part.

    Returns what this process has decoded, and which parts are there at its end.
    """
    opened = list[str]()
    train = Run(load(recipe), folder / "run").images().part("train")
    with pytest.MonkeyPatch.context() as patch:
        decoding(patch, opened, str(train.paths[2 * SHARD]) if group.is_first else None)
        if group.is_first:
            with suppress(KeyboardInterrupt), crew.led(group):
                ran(recipe, folder / "run", "pixels")
            groups.be(ALONE)
        else:
            with suppress(LostProcessError):
                crew.follow(group)
    return opened, sorted(path.name for path in shared_store().folder.glob("work/*/parts/*.npy"))


def shards(folder):
    return {path.name: path.read_bytes() for path in RunFiles(folder).path("pixels").iterdir()}


def test_two_processes_decode_a_part_each_and_one_ends_it_with_the_same_bits(
    write_recipe, tmp_path, monkeypatch
):
    recipe = write_recipe()
    train = ran(recipe, tmp_path / "run", "embeddings")
    files = [str(path) for path in train.paths]
    assert len(files) == 32
    (first, _), (second, parts) = in_two(shared, recipe, tmp_path)
    assert Counter(second) == Counter([*files[SHARD : 2 * SHARD], *files[3 * SHARD :]])
    assert set(first) <= {*files[:SHARD], *files[2 * SHARD : 3 * SHARD]}
    assert parts == [f"pixels-{start:07d}.npy" for start in (0, SHARD, 3 * SHARD)]

    opened = []
    with monkeypatch.context() as patch:
        decoding(patch, opened)
        ran(recipe, tmp_path / "run", "pixels")
    assert Counter(opened) == Counter(files[2 * SHARD : 3 * SHARD])  # what was finished is kept
    together = shards(tmp_path / "run")
    assert not [*shared_store().folder.glob("work/*/parts/*")]

    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(tmp_path / "another cache"))
    with monkeypatch.context() as patch:
        decoding(patch, [])
        ran(recipe, tmp_path / "one", "pixels")
    assert len(together) == 4
    assert shards(tmp_path / "one") == together
