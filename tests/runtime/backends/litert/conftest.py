"""The student of the hand-made bundle as a file of LiteRT: no torch and no converter.

It is written with the schema that comes with LiteRT. The mean over the image is a convolution with
a kernel as large as the image, so that there is an operator with weights in each of the types.
"""

import numpy as np
import pytest

from runtime.documents import read_json
from runtime.files import sha256_of, write_json

HEAD = np.array([[1.0, -1.0], [0.25, 0.0], [-1.0, 1.0]], np.float32)
SIDE = 8


class Writer:
    """A model with one graph, filled tensor by tensor."""

    def __init__(self):
        import ai_edge_litert.schema_py_generated as schema

        self.schema = schema
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.description = 3, "hand-made"
        self.model.subgraphs, self.model.operatorCodes = [self.graph], []
        empty = schema.BufferT()
        empty.data = []
        self.model.buffers = [empty]
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, name, shape, values=None, kind="FLOAT32", scale=None):
        schema, tensor = self.schema, self.schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
        tensor.type = getattr(schema.TensorType, kind)
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, kind, inputs, output, options=None):
        schema, code, operator = self.schema, self.schema.OperatorCodeT(), self.schema.OperatorT()
        number = getattr(schema.BuiltinOperator, kind)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        if kind == "DEQUANTIZE":
            code.version = 3
        self.model.operatorCodes.append(code)
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            operator.builtinOptionsType = getattr(
                schema.BuiltinOptions, type(options).__name__[:-1]
            )
            operator.builtinOptions = options
        self.graph.operators.append(operator)

    def finish(self, path, taken, given, *, behind=False):
        schema = self.schema
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs = [self._named(*each) for each in taken.items()]
        signature.outputs = [self._named(*each) for each in given.items()]
        self.model.signatureDefs = [signature]
        self.graph.inputs, self.graph.outputs = list(taken.values()), list(given.values())
        path.write_bytes(self._with_numbers_behind() if behind else self._packed())
        return path

    def _packed(self):
        import flatbuffers

        builder = flatbuffers.Builder(4096)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _with_numbers_behind(self):
        """The numbers of the weights follow the flatbuffer, as the quantiser writes large ones."""
        held = [each for each in self.model.buffers if len(each.data) >= 6]
        numbers = [bytes(each.data) for each in held]
        for buffer in held:
            buffer.data, buffer.offset, buffer.size = None, 1, 1
        end = -len(self._packed()) % 16 + len(self._packed())
        behind = b""
        for buffer, data in zip(held, numbers, strict=True):
            buffer.offset, buffer.size = end + len(behind), len(data)
            behind += data + bytes(-len(data) % 16)
        return self._packed().ljust(end, b"\0") + behind

    def _named(self, name, number):
        found = self.schema.TensorMapT()
        found.name, found.tensorIndex = name, number
        return found


def written(path, kind="fp32", *, names=("images", "embedding", "logits"), side=SIDE, behind=False):
    """Write the student; `kind`: fp32, fp16, weight-only, dynamic or int8."""
    writer = Writer()
    schema = writer.schema
    mean = schema.ReducerOptionsT()
    mean.keepDims = False
    images = writer.tensor(names[0], (1, 3, side, side))
    axes = writer.tensor("axes", (2,), np.array([2, 3], np.int32), "INT32")
    embedding = writer.tensor(names[1], (1, 3))
    writer.operator("MEAN", [images, axes], embedding, mean)
    taken, weight = embedding, HEAD.T.copy()
    rounded = np.round(weight * 127).astype(np.int8)
    head = (2, 3)
    if kind == "fp32":
        used = writer.tensor("head", head, weight)
    elif kind == "dynamic":
        used = writer.tensor("head", head, rounded, "INT8", 1 / 127)
    elif kind == "int8":
        used = writer.tensor("head", head, rounded, "INT8", 1 / 127)
        taken = writer.tensor("taken", (1, 3), kind="INT8", scale=0.02)
        writer.operator("QUANTIZE", [embedding], taken)
    else:
        narrow = ("FLOAT16", weight.astype("<f2"), None)
        stored, values, scale = narrow if kind == "fp16" else ("INT8", rounded, 1 / 127)
        used = writer.tensor("head", head)
        writer.operator("DEQUANTIZE", [writer.tensor("kept", head, values, stored, scale)], used)
    logits = writer.tensor(names[2], (1, 2))
    answered = (
        writer.tensor("answered", (1, 2), kind="INT8", scale=0.03) if kind == "int8" else logits
    )
    writer.operator("FULLY_CONNECTED", [taken, used, -1], answered, schema.FullyConnectedOptionsT())
    if kind == "int8":
        writer.operator("DEQUANTIZE", [answered], logits)
    given = {names[1]: embedding, names[2]: logits}
    return writer.finish(path, {names[0]: images}, given, behind=behind)


@pytest.fixture(scope="session")
def write_file():
    """`write_file(path, kind, names=..., side=..., behind=...)`."""
    return written


@pytest.fixture
def student_tflite(tmp_path):
    """The student as a file."""
    return written(tmp_path / "student.fp32.tflite")


@pytest.fixture
def folder(make_bundle, seal):
    """A bundle with the student in ONNX and, in three precisions, for LiteRT."""
    folder = make_bundle()
    document = read_json(folder / "bundle.json")
    for precision in ("fp32", "fp16", "int8"):
        path = written(folder / f"student.{precision}.tflite", precision)
        entry = {"stage": f"litert-{precision}", "precision": precision, "file": path.name}
        document["artifacts"].append(entry | {"sha256": sha256_of(path)})
    write_json(folder / "bundle.json", document)
    seal(folder)
    return folder
