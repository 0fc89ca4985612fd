"""Limits of time and memory for files of unknown origin.

A file may hold a loop that never ends, or ask for more memory than there is. Nothing can stop that
while a file is opened, so it first answers one black image in a process of its own. At
work, one thread looks at every call that is being answered.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil

from runtime.backends.base import SessionOptions
from runtime.backends.litert import operators
from runtime.backends.litert.session import import_litert
from runtime.backends.ncnn.network import SUFFIX
from runtime.backends.ncnn.session import import_ncnn
from runtime.backends.ncnn.weights import weights_of
from runtime.backends.ort_library import import_onnxruntime
from runtime.errors import InputError, MissingDependencyError, ToolError
from runtime.files import sha256_of

LIMIT_S = 60.0
"""From the start of the process to the answer; a student for a device takes a hundredth of it."""
MEMORY_BYTES = 2_000_000_000
"""Address space beside that of Python and of what runs the file ..."""
MEMORY_OF_A_BYTE = 20
"""... and for each byte of the file: weights are held twice while they are packed."""


def require_answer(path: Path, size_px: int) -> None:
    """Let a file answer one black image, within limits of time and memory.

    Args:
        path: an ONNX file, one of ncnn or of LiteRT. One that answered is not asked again by this
            process.
        size_px: side of the images that it takes.

    Raises:
        InputError: it gave no answer within the limits, or cannot be opened.
        MissingDependencyError: what runs it is not installed, or too old for it.
    """
    if path.suffix in _LIBRARIES and sys.executable:
        files = [path]
        if path.suffix == SUFFIX and weights_of(path).is_file():
            files.append(weights_of(path))
        asked = sha256_of(*files), size_px
        if asked not in _ANSWERED:
            memory = MEMORY_BYTES + MEMORY_OF_A_BYTE * sum(each.stat().st_size for each in files)
            _try(path, size_px, LIMIT_S, memory)
            _ANSWERED.add(asked)


_LIBRARIES: Mapping[str, Callable[[], ModuleType]] = {
    ".onnx": import_onnxruntime,
    SUFFIX: import_ncnn,
    operators.SUFFIX: import_litert,
}
"""What runs the files that are tried, by their ending."""
_ANSWERED: set[tuple[str, int]] = set()
"""What has answered in this process: digest of the file, and side of the image."""


def _try(path: Path, size_px: int, limit_s: float, memory: int) -> None:
    root = Path(__file__).parents[2]
    # In the place of the current folder, from which nothing may be imported.
    program = (
        f"import sys; sys.path[0] = {str(root)!r}; import runtime.backends.limits as limits; "
        f"limits.answer_here({str(path)!r}, {size_px}, {memory})"
    )
    words = [sys.executable, "-c", program]
    try:
        done = subprocess.run(
            words, capture_output=True, timeout=limit_s, check=False, env=os.environ | _ONE_THREAD
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{path}: gave no answer to one image in {limit_s:.0f} s; stopped. A sound student "
            "answers in a moment: does this file come from you?"
        ) from error
    if done.returncode == 0:
        return
    said = done.stdout.decode(errors="replace").strip().splitlines()
    kinds: dict[int, type[ToolError]] = {2: InputError, 3: MissingDependencyError}
    kind = kinds.get(done.returncode)
    why = json.loads(said[-1]) if kind is not None and said else ""
    if not why:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        why = f"{path}: its first answer ended with {how}; the limit is {memory / 1e9:.1f} GB"
    raise (kind or InputError)(why)


_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Each further thread of numpy's would take address space."""


def answer_here(path: str, size_px: int, memory: int) -> None:
    """Open a file, answer one black image and end this process. Its error is printed as JSON."""
    from runtime.backends.registry import backend_of

    _LIBRARIES[Path(path).suffix]()  # what the library itself takes is not the file's
    try:
        import resource

        limit = memory + psutil.Process().memory_info().vms
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except ImportError:  # not on this system: the limit of time is left
        pass
    try:
        session = backend_of(Path(path)).open(Path(path), SessionOptions(threads=1))
        black = np.zeros((1, size_px, size_px, 3), np.uint8)
        if session.takes == "float32":
            black = np.zeros((1, 3, size_px, size_px), np.float32)
        session.run(black)
    except ToolError as error:
        print(json.dumps(str(error)))  # noqa: T201
        sys.exit(error.exit_code)
    except MemoryError:
        print(json.dumps(f"{path}: needs more memory than {memory / 1e9:.1f} GB for one image"))  # noqa: T201
        sys.exit(InputError.exit_code)


# --- at work ---------------------------------------------------------------------------------

_PERIOD_S = 0.5


class Watch:
    """Calls a function in a thread of its own when a block of code takes longer than its limit."""

    def __init__(self) -> None:
        self._until: dict[int, tuple[float, Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    @contextmanager
    def limit(self, seconds: float, stop: Callable[[], None]) -> Iterator[None]:
        """Call `stop` if the block is not left after so many seconds."""
        if self._thread is None:
            self._start()
        key = threading.get_ident()
        self._until[key] = time.monotonic() + seconds, stop
        try:
            yield
        finally:
            self._until.pop(key, None)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while True:
            time.sleep(_PERIOD_S)
            now = time.monotonic()
            for key, (until, stop) in list(self._until.items()):
                if now > until:
                    stop()
                    self._until.pop(key, None)
