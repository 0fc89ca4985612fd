"""A step of a run: what it makes, what decides that, and the function that makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.pipeline.storage.digests import digest

if TYPE_CHECKING:
    from compressor.pipeline.context import Run

NETWORK_LIBRARIES = ("torch", "timm", "pillow", "numpy")
"""Distributions whose version decides what a network answers."""


@dataclass(frozen=True)
class Step:
    """A function from files to files. It runs again only if something that decides them changes."""

    name: str
    summary: str
    """What it does, for people."""
    version: int
    """Raise it whenever the same inputs give other outputs: a test compares golden outputs."""
    products: tuple[str, ...]
    """Files and folders that are copied into the run folder."""
    needs: tuple[str, ...]
    """Steps whose outputs it may read."""
    inputs: Callable[[Run], dict[str, object]]
    """Everything that decides its outputs, as JSON values; outputs of other steps by digest."""
    make: Callable[[Run, Path], None]
    """Writes the outputs into the folder it is given, where a killed attempt may have left work."""
    kept: tuple[str, ...] = ()
    """Large outputs that stay in the store and are never copied into the run folder."""
    libraries: tuple[str, ...] = ()
    """Distributions whose version decides its outputs."""
    shared: bool = True
    """Whether other runs may use its outputs; false if they depend on what lies in the folder."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Everything that it makes."""
        return self.products + self.kept

    def key(self, run: Run) -> str:
        """Return the digest of everything that decides the outputs, except the device."""
        with run.files.reading(self.name, self.needs):
            inputs = self.inputs(run)
        versions = {name: metadata.version(name) for name in self.libraries}
        return digest([self.name, self.version, inputs, versions])

    def entry(self, run: Run, key: str) -> str:
        """Return the key of the outputs in the store.

        Outputs of networks are shared by runs on the same kind of device only.
        """
        return digest([key, run.device_type() if "torch" in self.libraries else None])
