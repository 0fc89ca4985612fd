"""The ncnn backend: opens the `.param` files of a bundle, with the `.bin` beside each."""

from __future__ import annotations

from pathlib import Path

from runtime.backends.base import Availability, Proof, Provider, SessionOptions
from runtime.backends.ncnn import network as networks
from runtime.backends.ncnn import weights as stored
from runtime.backends.ncnn.session import INSTALL, NcnnSession, import_ncnn
from runtime.errors import MissingDependencyError


class Ncnn:
    """Opens networks of ncnn on the CPU, x86 or Arm."""

    name = "ncnn"
    suffixes = (networks.SUFFIX,)
    uses_threads = True

    def available(self) -> Availability:
        """Look whether it is installed."""
        try:
            library = import_ncnn()
        except MissingDependencyError:
            return Availability(ready=False, details="not installed", install=INSTALL)
        return Availability(ready=True, details=f"{library.__version__}, CPU")

    def why_not_here(self, path: Path) -> str | None:
        """Return how to install ncnn where it is missing; None where the file runs.

        Raises:
            InputError: the file is damaged.
        """
        stored.precision_of_file(path)
        found = self.available()
        return None if found.ready else f"ncnn is not installed: {found.install}"

    def open(self, path: Path, options: SessionOptions) -> NcnnSession:
        """Load a network, and prove that it runs in the precision of its weights."""
        return NcnnSession(path, options)

    def proof(self, path: Path, options: SessionOptions) -> Proof | None:
        """Read back what the layers of a network run in."""
        return self.open(path, options).proof

    def provider_of(self, provider: Provider) -> str:
        """Return its name and version."""
        return f"ncnn {import_ncnn().__version__}"
