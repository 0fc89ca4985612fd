"""benchmarks/monitor.py runs from end to end on a bundle made by hand."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "monitor.py"


def pictures(folder, count, levels):
    """Images of one brightness each, drawn from a range."""
    folder.mkdir()
    rng = np.random.default_rng(count)
    for number in range(count):
        red, blue = rng.integers(*levels, 2)
        pixels = np.full((8, 8, 3), (red, 60, blue), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return folder


def test_alarms_before_and_after_a_change_are_counted(sound_bundle, tmp_path):
    usual = pictures(tmp_path / "usual", 90, (40, 60))
    strange = pictures(tmp_path / "strange", 60, (180, 250))
    words = ["--usual", str(usual), "--strange", str(strange), "--out", str(tmp_path / "out")]
    words += ["--seeds", "2", "--reference", "40", "--before", "20", "--rate", "100"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(sound_bundle), *words],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "monitor.json").read_text())
    assert found["images"] == {"usual": 90, "strange": 60}
    assert [(each["rate"], each["images"]) for each in found["quiet"]] == [(100, 40)]
    assert [each["share"] for each in found["changes"]] == [0.05, 0.2, 0.5]
    assert found["changes"][2]["noticed"] == "2 of 2"
    assert found["changes"][2]["median delay"] <= 30
