"""A step whose outputs change has a new version: its outputs on a tiny input are kept beside.

They are kept as robust summaries, because the last digits differ between processors: of arrays the
shape, the dtype, mean and spread to a tenth; of JSON the keys; of ONNX files inputs and outputs; of
decoded images and tables the exact content; nothing of what the machine is or does beside. After a
wanted change: raise the step's `version`, then
    UPDATE_OUTPUTS=1 pytest tests/compressor/pipeline/test_versions.py
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from compressor.pipeline.context import Run
from compressor.pipeline.step_list import steps_of
from compressor.recipe import plan as plans

KEPT = Path(__file__).parent / "step_outputs.json"
# Keys that follow the machine: its sensors, what else runs on it, how fast it is (the p95 of few
# runs has no interval), and what is remarked on that.
MACHINE = (".machine", ".by_threads", ".warnings", ".ledger[].latency", ".end_to_end")


def summary(path):
    """What is kept of a file or a folder."""
    if path.is_dir():
        found = {}
        for file in sorted(path.rglob("*")):
            if file.is_file() and file.suffix not in (".png", ".html"):
                found[file.relative_to(path).as_posix()] = summary(file)
        return found
    if path.suffix == ".json":
        found = sorted(keys(json.loads(path.read_text())))
        return [name for name in found if not name.startswith(MACHINE)]
    if path.suffix == ".safetensors":
        return {name: of_array(array) for name, array in sorted(load_file(path).items())}
    if path.suffix == ".npy" and path.name.startswith("pixels"):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix == ".npy":
        records = np.load(path)
        return {name: of_array(records[name]) for name in records.dtype.names}
    if path.suffix == ".onnx":
        return of_onnx(path)
    return path.read_text() if path.suffix == ".csv" else None


def keys(document, below=""):
    if isinstance(document, dict):
        for key, value in document.items():
            # Names of images, layers and other contents are no keys of a format.
            yield from keys(value, f"{below}.{key}") if key.isidentifier() else ()
    elif isinstance(document, list):
        yield from keys(document[0], f"{below}[]") if document else (f"{below}[]...",)
    else:
        yield below


def known(names, other):
    """The keys; of a list that is empty in either document only its name, for of its items none."""
    empty = [name.removesuffix("...") for name in (*names, *other) if name.endswith("...")]
    return {next((short for short in empty if name.startswith(short)), name) for name in names}


def of_array(array):
    numbers = np.asarray(array, np.float64)
    moments = [float(numbers.mean()), float(numbers.std())] if numbers.size else [0.0, 0.0]
    return {"shape": list(array.shape), "dtype": str(array.dtype), "moments": moments}


def of_onnx(path):
    import onnx

    graph = onnx.load(path).graph
    return {
        end: {value.name: value.type.tensor_type.elem_type for value in values}
        for end, values in (("inputs", graph.input), ("outputs", graph.output))
    }


def same(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and len(one) == 2 and all(isinstance(each, float) for each in one):
        spread = abs(other[1])
        return np.allclose(one, other, atol=0.1 * spread + 1e-3)
    if (
        isinstance(one, list)
        and isinstance(other, list)
        and all(isinstance(each, str) for each in (*one, *other))
    ):
        return known(one, other) == known(other, one)
    return one == other


@pytest.fixture(scope="module")
def outputs(base):
    """Version and summary of each step of the shared run."""
    run = Run(plans.load(base / "recipe.yaml"), base / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_COMPRESSOR_CACHE", str(base / "store"))
        return {
            step.name: {
                "version": step.version,
                "outputs": {name: summary(run.file(name)) for name in step.outputs},
            }
            for step in steps_of(run)
        }


def test_outputs_only_change_with_the_version(outputs):
    if os.environ.get("UPDATE_OUTPUTS"):
        lines = [f"{json.dumps(step)}: {json.dumps(kept)}" for step, kept in outputs.items()]
        KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    kept = json.loads(KEPT.read_text())
    assert list(kept) == list(outputs)
    for step, found in outputs.items():
        if found["version"] == kept[step]["version"]:
            for name, output in found["outputs"].items():
                assert same(output, kept[step]["outputs"][name]), (
                    f"step {step} makes another {name}: raise its version, then see this file's top"
                )
        else:
            pytest.fail(f"step {step} has a new version: keep its outputs, see this file's top")


def test_a_changed_output_is_seen(outputs):
    embeddings = outputs["embeddings"]["outputs"]["embeddings.safetensors"]
    other = {**embeddings, "images": of_array(np.zeros((48, 24), np.float32))}
    assert same(embeddings, embeddings)
    assert not same(embeddings, other)
    report = outputs["check"]["outputs"]["report.json"]
    assert not same(report, [*report, ".another_key"])
    assert not same([*report, ".another_list[]..."], report)
    assert same([".sizes[].a", ".sizes[].b"], [".sizes[]..."])
    assert not same([".sizes[].a", ".sizes[].b"], [".sizes[].a"])
