"""What of a finished run is shared: its report, its verified bundle, and the model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compressor.sharing import model_card
from compressor.sharing.licence import Licence, inherited
from runtime.bundle import bundle as bundles
from runtime.bundle.bundle import Bundle
from runtime.errors import InputError
from runtime.files import size_of
from runtime.results import report as reports
from runtime.results.report import Report
from runtime.text import amount

CARD = "README.md"
BUNDLE = "bundle"
_REPORTS = ("report.json", "report.md", "report.html")


@dataclass(frozen=True)
class SharedRun:
    """A finished run, ready to be shared."""

    report: Report
    bundle: Bundle
    licence: Licence
    card: str
    """The model card, Markdown with a YAML header as huggingface.co reads it."""
    files: dict[str, Path]
    """Every file by its name there, without the card."""

    @property
    def name(self) -> str:
        """Of the recipe."""
        return self.report.recipe.name

    def text(self) -> str:
        """Say what is shared."""
        kinds = {"images": "of your held-out images", "ood": "of data.ood"}
        counts = {
            what: sum(name.startswith(f"{BUNDLE}/golden/{below}/") for name in self.files)
            for below, what in kinds.items()
        }
        pictures = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
        size = sum(size_of(path) for path in self.files.values())
        line = f"{len(self.files) + 1} files, {amount(size)}"
        return f"{line}, among them {pictures}" if pictures else line


def read(folder: Path, *, licence: str | None = None) -> SharedRun:
    """Read a finished run and write its model card.

    Args:
        folder: of the run.
        licence: what the user says the student's licence is; None: the one that it inherits.

    Raises:
        InputError: it has no report or no bundle, or a file of the bundle was altered.
    """
    report = reports.load(folder)
    if not (folder / BUNDLE).is_dir():
        raise InputError(f"{folder}: has no bundle. `compressor run` makes one.")
    bundle = bundles.load(folder / BUNDLE)
    found = inherited(report, licence)
    files = {name: folder / name for name in _REPORTS if (folder / name).is_file()}
    for path in sorted((folder / BUNDLE).rglob("*")):
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = path
    card = model_card.write(report, bundle, found)
    return SharedRun(report, bundle, found, card, files)
