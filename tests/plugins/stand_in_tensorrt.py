"""A stand-in for `tensorrt` and `tensorrt_rtx`: engines that answer, contexts that have a state.

An engine is a JSON text. Its embedding is twice the first values of each image, its logits are the
embedding's first values. A kernel works on as many images as its context has *now*: a graph that
is replayed after its context was set to another size is wrong. The first inference of a shape sets
the context up, which cannot be captured. TensorRT-RTX compiles for each shape that its cache lacks.
"""

import ctypes
import json
import weakref
from types import SimpleNamespace

import numpy as np

from stand_in_cuda import GAP_MS, KERNEL_MS, Error

SPEC = {"side": 4, "dim": 6, "classes": 2, "least": 1, "most": 8, "input": "f", "captures": True}


def engine_text(**changes):
    """The bytes of an engine."""
    return json.dumps({**SPEC, **changes}).encode()


def answer(images, dim=SPEC["dim"]):
    """What an engine answers to images [B, ...]: its embeddings."""
    return 2 * images.reshape(len(images), int(np.prod(images.shape[1:])))[:, :dim].astype(
        np.float32
    )


class StandInTensorRT:
    """The module; make one for each test."""

    DataType = SimpleNamespace(FLOAT="f", UINT8="u")
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")

    def __init__(self, cuda, name="tensorrt", version="10.3.0"):
        self.__name__, self.__version__ = name, version
        self.cuda, self.contexts = cuda, weakref.WeakSet()
        self.most_contexts = 10**9
        """More than so many find no memory."""
        self.refused_batches, self.refused_tensors = set(), set()
        self.fails = False
        """Whether no inference starts."""
        self.compiled = []
        """What TensorRT-RTX compiled, in this order."""
        if name == "tensorrt_rtx":
            self.DynamicShapesKernelSpecializationStrategy = SimpleNamespace(
                LAZY="lazy", EAGER="eager"
            )

    class Logger:
        ERROR = 1

        def __init__(self, severity):
            pass

    def nptype(self, kind):
        return {"f": np.float32, "u": np.uint8}[kind]

    def Runtime(self, logger):  # noqa: N802
        return SimpleNamespace(deserialize_cuda_engine=self._deserialise)

    def _deserialise(self, content):
        try:
            return Engine(self, json.loads(content))
        except ValueError:
            return None


class Engine:
    def __init__(self, trt, spec):
        self.trt, self.spec, self.made = trt, {**SPEC, **spec}, 0
        side, pixels = self.spec["side"], self.spec["input"] == "u"
        shape = (side, side, 3) if pixels else (3, side, side)
        self.shapes = {"images": shape, "embedding": (self.spec["dim"],)}
        if self.spec["classes"]:
            self.shapes["logits"] = (self.spec["classes"],)
        self.num_io_tensors = len(self.shapes)

    def get_tensor_name(self, number):
        return list(self.shapes)[::-1][number]  # the input is the last one

    def get_tensor_shape(self, name):
        return (-1, *self.shapes[name])

    def get_tensor_dtype(self, name):
        return self.spec["input"] if name == "images" else "f"

    def get_tensor_mode(self, name):
        return "in" if name == "images" else "out"

    def create_runtime_config(self):
        return RuntimeConfig(self.trt)

    def create_execution_context(self, config=None):
        if len(self.trt.contexts) >= self.trt.most_contexts:
            self.trt.cuda.error(Error.cudaErrorMemoryAllocation)
            return None
        self.made += 1
        context = Context(self, config, first=self.made == 1)
        self.trt.contexts.add(context)
        return context


class RuntimeConfig:
    """Of TensorRT-RTX."""

    dynamic_shapes_kernel_specialization_strategy = "lazy"

    def __init__(self, trt):
        self.cache = None

    def create_runtime_cache(self):
        return RuntimeCache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class RuntimeCache:
    """Compiled kernels; one of another version is refused and leaves it empty."""

    def __init__(self):
        self.shapes = set()

    def serialize(self):
        return json.dumps(["v1", *sorted(self.shapes)]).encode()

    def deserialize(self, content):
        try:
            version, *shapes = json.loads(content)
        except ValueError:
            return False
        if version != "v1":
            return False
        self.shapes = set(shapes)
        return True


class Context:
    def __init__(self, engine, config, *, first):
        self.engine, self.config = engine, config
        self.active_optimization_profile = 0 if first else -1
        self.shape, self.at, self.ready_for = None, {}, set()
        if engine.trt.__name__ == "tensorrt_rtx":
            self.is_stream_capturable = lambda stream: engine.spec["captures"]

    def set_optimization_profile_async(self, number, stream):
        self.active_optimization_profile = number
        return number == 0

    def set_input_shape(self, name, shape):
        spec, batch = self.engine.spec, shape[0]
        refused = batch in self.engine.trt.refused_batches
        if refused or not spec["least"] <= batch <= spec["most"]:
            return False
        if self.shape != shape:
            self.ready_for = set()
        self.shape = shape
        return True

    def set_tensor_address(self, name, at):
        if name not in self.engine.shapes or name in self.engine.trt.refused_tensors:
            return False
        self.at[name] = at
        return True

    def execute_async_v3(self, stream):
        trt, cuda = self.engine.trt, self.engine.trt.cuda
        stream = cuda.stream_of(stream)
        whole = self.shape is not None and set(self.at) == set(self.engine.shapes)
        if trt.fails or not whole or self.active_optimization_profile != 0:
            return False
        if cuda.last_error is not Error.cudaSuccess:  # TensorRT takes it for its own
            return False
        batch = self.shape[0]
        if stream.captured is not None:
            if batch not in self.ready_for or not self.engine.spec["captures"]:
                stream.broken = Error.cudaErrorStreamCaptureUnsupported
                cuda.error(stream.broken)
                return False
        else:
            stream.put(lambda: _pass(stream, GAP_MS))
        self._compile(batch)
        self.ready_for.add(batch)
        stream.put(lambda: self._kernel(stream))
        return True

    def _compile(self, batch):
        if self.config is None:
            return
        if self.config.dynamic_shapes_kernel_specialization_strategy != "eager":
            self.engine.trt.compiled.append("in the background")
        elif self.config.cache is None or batch not in self.config.cache.shapes:
            self.engine.trt.compiled.append(batch)
            if self.config.cache is not None:
                self.config.cache.shapes.add(batch)

    def _kernel(self, stream):
        _pass(stream, KERNEL_MS)
        batch, shapes = self.shape[0], self.engine.shapes
        kind = np.uint8 if self.engine.spec["input"] == "u" else np.float32
        found = answer(self._array("images", batch, kind), self.engine.spec["dim"])
        self._array("embedding", batch, np.float32)[:] = found
        if "logits" in shapes:
            self._array("logits", batch, np.float32)[:] = found[:, : shapes["logits"][0]]

    def _array(self, name, batch, kind):
        count = batch * int(np.prod(self.engine.shapes[name]))
        raw = (ctypes.c_uint8 * (count * np.dtype(kind).itemsize)).from_address(self.at[name])
        return np.frombuffer(raw, kind).reshape(batch, *self.engine.shapes[name])


def _pass(stream, ms):
    stream.clock_ms += ms
