"""A finished run that is started again: nothing large is read, nothing heavy is loaded."""

import json
import os
import subprocess
import sys

AGAIN = """
import json, os, sys
from pathlib import Path

opened = []
sys.addaudithook(lambda name, args: opened.append(args[0]) if name == "open" else None)

from compressor.events import StepEnded
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.recipe import plan as plans

states = {}
def observe(event):
    if isinstance(event, StepEnded):
        states[event.step] = event.state

run = Run(plans.load(Path("recipe.yaml")), Path("run"), observe)
runner.refuse_early(run)
with run.locked():
    runner.run_all(run)
here = str(Path.cwd())
names = {os.path.abspath(os.fsdecode(path)) for path in opened if isinstance(path, (str, bytes))}
names |= {os.path.abspath(path) for path in opened if isinstance(path, os.PathLike)}
read = [name for name in names if name.startswith(here) and os.path.isfile(name)]
heavy = sorted({"torch", "timm", "onnx", "onnxruntime", "sklearn"} & set(sys.modules))
print(json.dumps({"states": states, "read": read, "heavy": heavy}))
"""

SMALL = {"recipe.yaml", "labels.csv", "steps.json", "dataset.json", "record.json", "digests.json"}
"""Files that say what there is. int8_screening.json says whether plain INT8 would miss a gate."""


def test_nothing_large_is_read_and_nothing_heavy_is_loaded(base):
    environment = {**os.environ, "EDGE_COMPRESSOR_CACHE": str(base / "store")}
    before = {path: path.stat().st_mtime_ns for path in (base / "run").rglob("*")}
    words = [sys.executable, "-c", AGAIN]
    for _ in range(2):  # another test may have touched the teacher's weights: once they are read
        done = subprocess.run(words, cwd=base, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["states"].values()) == {"cached"}
    assert found["heavy"] == []
    names = {os.path.basename(name) for name in found["read"]}  # noqa: PTH119
    unexpected = names - SMALL - {"int8_screening.json", ".lock", ".guard"}
    assert not {name for name in unexpected if not name.endswith((".lock", ".keys"))}
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert {path.name for path in changed} <= {"run", ".lock"}
