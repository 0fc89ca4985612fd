"""Folders that file servers, operating systems and viewers make beside images: never a class."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.images.kinds import has_image_suffix

_NAMES = frozenset(
    {
        # Synology and QNAP
        "@eadir", "#recycle", "#snapshot", "@tmp", "@sharesnap", "@sharebin", "@recycle",
        "@recently-snapshot", ".@__thumb", ".streams", "@__thumb",
        # other file servers
        "~snapshot", ".snapshot", ".snapshots", ".recycle", "lost+found", ".zfs",
        # Windows
        "$recycle.bin", "recycler", "recycled", "system volume information", "$extend",
        "found.000", "$windows.~bt",
        # macOS
        "__macosx", ".trashes", ".trash", ".spotlight-v100", ".fseventsd", ".temporaryitems",
        ".documentrevisions-v100", ".appledouble", "network trash folder", "temporary items",
        "trashes",
        # Linux desktops, Android, programs
        ".thumbnails", ".thumbs", ".sh_thumbnails", ".xvpics", ".dtrash", ".picasaoriginals",
        "lost.dir", ".ipynb_checkpoints", "__pycache__",
    }
)  # fmt: skip
"""In lower case."""


def is_service_folder(name: str) -> bool:
    """Whether a folder of this name is made by a machine, whatever the case of its letters."""
    lower = name.lower()
    return lower in _NAMES or lower.startswith((".trash-", "found.0"))


def count_files(folder: Path, *, images_only: bool = False) -> int:
    """Count the files below a folder. Links to folders and unreadable folders count as empty."""
    count, waiting = 0, [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif not images_only or has_image_suffix(entry.name):
                        count += 1
        except OSError:
            continue  # such folders are often closed to users
    return count
