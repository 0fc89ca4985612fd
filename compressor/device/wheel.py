"""The wheel for a device: `runtime` alone, written from what is installed here."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib import metadata
from pathlib import Path

import runtime
from runtime.errors import MissingDependencyError

DISTRIBUTION = "edge-compressor"
_WHEEL = """\
Wheel-Version: 1.0
Generator: edge-compressor
Root-Is-Purelib: true
Tag: py3-none-any
"""


def write_wheel(folder: Path) -> Path:
    """Write `runtime` as a pure Python wheel (the binary distribution format, PEP 427).

    It names what the whole distribution needs on a device, and its backends as extras: `cpu`,
    `gpu`, `litert`, `ncnn`.

    Args:
        folder: where to.

    Returns:
        The wheel's path.

    Raises:
        MissingDependencyError: this is a bare checkout, whose requirements are not known.
    """
    stem = f"{DISTRIBUTION.replace('-', '_')}-{runtime.__version__}"
    about = f"{stem}.dist-info"
    package = Path(runtime.__file__).parent
    files = {
        f"runtime/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files[f"{about}/METADATA"] = _metadata().encode()
    files[f"{about}/WHEEL"] = _WHEEL.encode()
    record = [_line(name, content) for name, content in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,", ""]).encode()
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            wheel.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def _metadata() -> str:
    """Return the metadata of the installed distribution, reduced to `runtime`."""
    wanted = ("cpu", "gpu", "litert", "ncnn")
    try:
        requires = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"{DISTRIBUTION} is not installed in this environment: pip install -e '.[train,cpu]'"
        ) from error
    ours = [
        line
        for line in requires
        if "extra ==" not in line or any(f"extra == '{extra}'" in line for extra in wanted)
    ]
    lines = ["Metadata-Version: 2.1", f"Name: {DISTRIBUTION}", f"Version: {runtime.__version__}"]
    lines += [f"Requires-Dist: {line}" for line in ours]
    lines += [f"Provides-Extra: {extra}" for extra in wanted]
    return "\n".join([*lines, ""])


def _line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"
