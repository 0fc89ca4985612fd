"""The OpenVINO backend: a second runtime for the ONNX files of a bundle."""

from __future__ import annotations

from pathlib import Path

from runtime.backends.base import Availability, Proof, Provider, SessionOptions
from runtime.backends.openvino.session import INSTALL, OpenVinoSession, import_openvino, version
from runtime.errors import InputError, MissingDependencyError


class OpenVino:
    """Opens ONNX files on the CPU, x86 or Arm."""

    name = "OpenVINO"
    suffixes = (".onnx",)
    uses_threads = True

    def available(self) -> Availability:
        """Look whether it is installed."""
        try:
            library = import_openvino()
        except MissingDependencyError:
            return Availability(ready=False, details="not installed", install=INSTALL)
        return Availability(ready=True, details=f"{version(library)}, CPU")

    def why_not_here(self, path: Path) -> str | None:
        """Return None: an ONNX file runs on every CPU."""
        return None

    def open(self, path: Path, options: SessionOptions) -> OpenVinoSession:
        """Open an ONNX file in float32; see `open_as`."""
        return self.open_as(path, "fp32", options)

    def open_as(self, path: Path, precision: str, options: SessionOptions) -> OpenVinoSession:
        """Open an ONNX file that is delivered in a precision, and prove that it runs in it.

        Raises:
            InputError: the file is missing or damaged, or is no ONNX file.
            MissingDependencyError: OpenVINO is not installed, or computes in less.
        """
        if path.suffix not in self.suffixes:
            raise InputError(f"{path}: OpenVINO runs the ONNX files of a bundle, not this one")
        return OpenVinoSession(path, precision, options.threads)

    def proof(self, path: Path, options: SessionOptions) -> Proof | None:
        """Read back what the layers of an ONNX file run in."""
        return self.open(path, options).proof

    def provider_of(self, provider: Provider) -> str:
        """Return its name and version."""
        return f"OpenVINO {version(import_openvino())}"
