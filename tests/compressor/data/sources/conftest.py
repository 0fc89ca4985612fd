"""Tar shards written by Python's own `tarfile`, with damage where a test asks for it."""

import io
import tarfile

import pytest

from image_folders import jpeg


@pytest.fixture
def write_shard(tmp_path):
    """Write a tar below `shards`: `{"a.jpg": bytes}`; returns its path."""

    def write(name, members, kind=tarfile.GNU_FORMAT):
        path = tmp_path / "shards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=kind) as archive:
            for member, content in members.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def webdataset(write_shard):
    """Two shards of four samples, with `.cls` in one and `.json` in the other: content by id."""
    first = {f"{n:04d}.jpg": jpeg(n) for n in range(4)}
    second = {f"{n:04d}.jpg": jpeg(n) for n in range(4, 8)}
    labels = {f"{n:04d}.cls": b"cat" if n % 2 else b"dog\n" for n in range(4)}
    json = {f"{n:04d}.json": b'{"id": 1, "label": "%s"}' % (b"cat", b"dog")[n % 2] for n in (4, 5)}
    write_shard("train-000.tar", first | labels)
    write_shard("train-001.tar", second | json)
    return {f"train-000.tar/{name}": content for name, content in first.items()} | {
        f"train-001.tar/{name}": content for name, content in second.items()
    }
