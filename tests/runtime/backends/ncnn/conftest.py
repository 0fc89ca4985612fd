"""The student of the hand-made bundle as a network of ncnn: no torch and no pnnx."""

import numpy as np
import pytest

from runtime.documents import read_json
from runtime.files import sha256_of, write_json

HEAD = np.array([[1.0, -1.0], [0.25, 0.0], [-1.0, 1.0]], np.float32)
PARAM = """7767517
4 5
Input images 0 1 images 0=8 1=8 2=3
Pooling mean 1 1 images pooled 0=1 4=1
Split split 1 2 pooled embedding again
InnerProduct head 1 1 again logits 0=2 1=0 2=6
"""


def written(path, *, half=False, param=PARAM):
    """Write the network into `path` and the `.bin` beside it."""
    path.write_text(param)
    tag, kind = (0x01306B47, "<f2") if half else (0, "<f4")
    path.with_suffix(".bin").write_bytes(tag.to_bytes(4, "little") + HEAD.T.astype(kind).tobytes())
    return path


@pytest.fixture(scope="session")
def write_network():
    """`write_network(path, half=..., param=...)`."""
    return written


@pytest.fixture
def student_param(tmp_path):
    """The network as a file."""
    return written(tmp_path / "student.fp32.ncnn.param")


@pytest.fixture
def folder(make_bundle, seal):
    """A bundle with the student in ONNX and, in two precisions, for ncnn."""
    folder = make_bundle()
    document = read_json(folder / "bundle.json")
    for precision in ("fp32", "fp16"):
        path = written(folder / f"student.{precision}.ncnn.param", half=precision == "fp16")
        weights = path.with_suffix(".bin")
        document["artifacts"].append(
            {
                "stage": f"ncnn-{precision}",
                "precision": precision,
                "file": path.name,
                "sha256": sha256_of(path, weights),
                "parts": [weights.name],
            }
        )
    write_json(folder / "bundle.json", document)
    seal(folder)
    return folder
