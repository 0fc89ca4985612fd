"""What a folder may be besides a folder of images: the addresses that its files suggest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from compressor.recipe.places.addresses import kind_of

_MANY = ("shards", "parquet", "video")


def others_in(folder: Path) -> list[str]:
    """Return addresses of sources in a folder: shards, videos, annotations; none if there are none.

    Looks at the folder itself, and for annotations also at `annotations/` in it.
    """
    found = dict[str, None]()
    for path in _files(folder):
        kind = kind_of(path.name)
        if kind in _MANY:
            found[f"{folder}/*{path.suffix}"] = None
        elif path.name in ("data.yaml", "data.yml") or path.name.endswith("_annotations.coco.json"):
            found[str(path)] = None
    for path in _files(folder / "annotations"):
        if path.suffix == ".json" and path.name.startswith("instances_"):
            found[str(path)] = None
    return list(found)


def _files(folder: Path) -> Iterable[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []
