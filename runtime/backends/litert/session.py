"""One `.tflite` file in LiteRT, formerly TensorFlow Lite."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from runtime.arrays import AnyArray
from runtime.backends import one_image
from runtime.backends.base import Outputs, Proof, SessionOptions, Takes
from runtime.backends.cores import cores
from runtime.backends.litert import operators
from runtime.backends.litert.operators import INSTALL
from runtime.errors import InputError, MissingDependencyError

SIGNATURE = "serving_default"
INPUT, EMBEDDING, LOGITS = "images", "embedding", "logits"


def import_litert() -> ModuleType:
    """Import the interpreter.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise MissingDependencyError(f"LiteRT is not installed: {INSTALL}") from error


class LiteRtSession:
    """A file that LiteRT has loaded for the CPU. Several threads may use it; they wait.

    A file takes one image: a batch is answered one image after the other.
    """

    takes: Takes = "float32"

    def __init__(self, path: Path, options: SessionOptions) -> None:
        """Load a file, and read back what its operators compute in.

        Args:
            path: the file.
            options: `threads` for one image; None: one for each core that this process may use.

        Raises:
            InputError: there is no such file, it is damaged, it is no student, or it is of another
                precision than it is delivered in.
            MissingDependencyError: LiteRT is not installed.
        """
        library, found = import_litert(), operators.read(path)
        if found.precision is None:
            raise InputError(
                f"{path}: is neither fp32, fp16 nor int8: {found.in_words}. A file whose weights "
                "alone are int8 does not compute in it"
            )
        options.require_precision(path, found.precision)
        self.precision = found.precision
        self.proof = _proof(found)
        """Share of the working operators by what they compute in."""
        self._path, self._lock = path, threading.Lock()
        try:
            self._interpreter: Any = library.Interpreter(
                model_path=str(path), num_threads=options.threads or cores()
            )
            self._interpreter.allocate_tensors()
            signatures = self._interpreter.get_signature_list()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{path}: LiteRT cannot load this file: {error}") from error
        self._take, self._give = _ends(path, self._interpreter, signatures)
        self._shape = tuple(int(side) for side in self._take["shape"][1:])

    def run(self, images: AnyArray) -> Outputs:
        """Answer a batch: float32 [B, 3, S, S] normalised.

        Raises:
            InputError: the file takes images of another shape, or fails at work.
        """
        return one_image.answer(self._path, self._shape, images, self._answer)

    def _answer(self, image: AnyArray) -> list[Any]:
        with self._lock:
            try:
                self._interpreter.set_tensor(self._take["index"], image[None])
                self._interpreter.invoke()
            except (RuntimeError, ValueError) as error:
                raise InputError(f"{self._path}: LiteRT gives no answer: {error}") from error
            return [self._interpreter.get_tensor(each["index"])[0] for each in self._give]


def _ends(
    path: Path, interpreter: Any, signatures: dict[str, dict[str, list[str]]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what is known of the input and, in this order, of embedding and logits."""
    named = signatures.get(SIGNATURE, {"inputs": [], "outputs": []})
    wanted = [name for name in (EMBEDDING, LOGITS) if name in named["outputs"]]
    if named["inputs"] != [INPUT] or sorted(named["outputs"]) != wanted or not wanted:
        raise InputError(
            f"{path}: takes {named['inputs']} and gives {named['outputs']}; a student takes {INPUT}"
        )
    runner = interpreter.get_signature_runner(SIGNATURE)
    taken, given = runner.get_input_details()[INPUT], runner.get_output_details()
    ends = [taken, *(given[name] for name in wanted)]
    shapes = [list(map(int, each["shape"])) for each in ends]
    whole = all(each["dtype"] == np.float32 for each in ends)
    if not whole or [each[0] for each in shapes] != [1] * len(ends) or len(shapes[0]) != 4:
        raise InputError(
            f"{path}: takes and gives {[each['dtype'].__name__ for each in ends]} {shapes}; a "
            "student takes one image in float32"
        )
    return taken, ends[1:]


def _proof(found: operators.Found) -> Proof:
    count = sum(found.operators.values())
    return Proof(
        read_from=f"the operands of the {count} operators that do the work in the file",
        types={kind: number / count for kind, number in found.operators.items()},
        not_proved=_NOT_HALF if found.precision == "fp16" else "",
    )


_NOT_HALF = (
    "its weights are in half precision, and LiteRT widens them to float32 on a CPU, which it "
    "computes in"
)
