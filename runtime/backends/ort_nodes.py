"""Where ONNX Runtime really runs a file: its nodes by provider, from a profile of one answer.

A provider that started may still leave nodes to the CPU, with copies to and from it.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from runtime.backends.base import SessionOptions
from runtime.backends.ort_library import session_options
from runtime.backends.ort_providers import open_on, options_of

_NUMPY = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


def nodes_by_provider(path: Path, options: SessionOptions) -> dict[str, int]:
    """Return how many nodes of a file each provider runs, the most first.

    Args:
        path: an ONNX file of a student, which opens with these options.
        options: of the session.

    Raises:
        MissingDependencyError: the provider did not start.
    """
    with TemporaryDirectory() as folder:
        settings = session_options(options.threads)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = open_on(str(path), options.provider, settings, options_of(path, options))
        (images,) = session.get_inputs()
        shape = [1, *images.shape[1:]]
        session.run(None, {images.name: np.zeros(shape, _NUMPY[images.type])})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found = Counter(
        event["args"]["provider"].removesuffix("ExecutionProvider")
        for event in events
        if event.get("name", "").endswith("_kernel_time") and event["args"].get("provider")
    )
    return dict(found.most_common())
