"""A student's backbone as a file that timm loads: its weights, and how to build it."""

from __future__ import annotations

import json
from pathlib import Path

import timm
from msgspec import to_builtins
from safetensors.torch import save_file

from compressor.models.encoder import Encoder


def write(student: Encoder, path: Path) -> None:
    """Write the student's timm model, without the layer that makes the embedding.

    The metadata say how to build it: `model` is its name in timm; `args`, the arguments of
    `timm.create_model`, and `preprocess`, what an image must go through, are JSON.

    Args:
        student: its backbone is a timm model.
        path: of a .safetensors file; docs/backbone.md shows how to load it.
    """
    metadata = {
        "model": student.name,
        "args": json.dumps(dict(student.arguments), sort_keys=True),
        "preprocess": json.dumps(to_builtins(student.preprocess), sort_keys=True),
        "timm": timm.__version__,
    }
    # Copies: a safetensors file holds no tensors that share their memory.
    state = student.module.backbone.state_dict()
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path, metadata)
    _sort_metadata(path)


def _sort_metadata(path: Path) -> None:
    """Give the same file the same bits: safetensors writes the metadata in any order."""
    content = path.read_bytes()
    begins = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begins])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[begins:])
