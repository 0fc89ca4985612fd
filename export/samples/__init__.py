"""Programs that travel in every bundle, to read and to copy. They import nothing of ours."""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = "samples"
FILES = ("README.md", "reproduce.py", "reproduce.cpp", "preprocess.hpp")


def copy_into(bundle: Path) -> None:
    """Copy the programs into a bundle's folder, below `samples/`."""
    (bundle / FOLDER).mkdir()
    for name in FILES:
        shutil.copyfile(Path(__file__).parent / name, bundle / FOLDER / name)
