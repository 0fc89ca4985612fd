"""The LiteRT backend: opens the `.tflite` files of a bundle."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from runtime.backends.base import Availability, Proof, Provider, SessionOptions
from runtime.backends.litert.operators import INSTALL, SUFFIX
from runtime.backends.litert.session import LiteRtSession, import_litert
from runtime.errors import InputError, MissingDependencyError


class LiteRt:
    """Opens files of LiteRT on the CPU, x86 or Arm."""

    name = "LiteRT"
    suffixes = (SUFFIX,)
    uses_threads = True

    def available(self) -> Availability:
        """Look whether it is installed."""
        try:
            import_litert()
        except MissingDependencyError:
            return Availability(ready=False, details="not installed", install=INSTALL)
        return Availability(ready=True, details=f"{metadata.version('ai-edge-litert')}, CPU")

    def why_not_here(self, path: Path) -> str | None:
        """Return how to install LiteRT where it is missing; None where the file runs.

        Raises:
            InputError: there is no such file.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        found = self.available()
        return None if found.ready else f"LiteRT is not installed: {found.install}"

    def open(self, path: Path, options: SessionOptions) -> LiteRtSession:
        """Load a file, and prove that it computes in the precision of its weights."""
        return LiteRtSession(path, options)

    def proof(self, path: Path, options: SessionOptions) -> Proof | None:
        """Read back what the operators of a file compute in."""
        return self.open(path, options).proof

    def provider_of(self, provider: Provider) -> str:
        """Return its name and version."""
        return f"LiteRT {metadata.version('ai-edge-litert')}"
