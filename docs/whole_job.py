"""Do the whole job through the Python API, on the embedded example.

Run it: python docs/whole_job.py [FOLDER]

It writes everything into one folder (its argument; else `whole-job`), takes about two minutes on
two CPU cores, and downloads nothing.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import compressor
import export
import runtime
from compressor.data.quickstart import write_quickstart


def main(folder: Path) -> None:
    """Choose images to label, distil, export, run a recipe, check the bundle, predict."""
    # 1. Images and two small networks. Yours would be "photos/" and any models of timm.
    write_quickstart(folder / "quickstart")
    digits = folder / "quickstart" / "digits"
    teacher = {
        "model": "vit_tiny_patch16_224",
        "weights": str(folder / "quickstart" / "teacher.safetensors"),
        "args": {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 4, "num_heads": 4},
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "crop": 1.0,
    }
    student = {
        "model": "mobilenetv3_small_050",
        "weights": str(folder / "quickstart" / "student.safetensors"),
        "image_size": 32,
        "embedding": 64,
        "crop": 1.0,
    }

    # 2. Which images to label first.
    selection = compressor.select_images(digits, budget=10, strategy="k-center", teacher=teacher)
    print("label first:", ", ".join(path.name for path in selection.paths))

    # 3. A student from plain arrays: no recipe, no folder of a run.
    files = sorted(digits.rglob("*.png"))[::8]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])
    distilled = compressor.distill(
        pixels,
        teacher,
        student,
        epochs=2,
        settings={"views": 2, "crop_scale": [0.6, 1.0]},
        on_event=print_epoch,
    )
    path = export.to_onnx(distilled, folder / "student.onnx")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")

    # 4. From a folder to a checked bundle, with all files and a report.
    result = compressor.compress(
        digits,
        teacher=teacher,
        student=student,
        target="cpu",
        labels="folders",
        out=folder / "run",
        overrides={
            "distill.epochs": 2,
            "distill.views": 2,
            "distill.crop_scale": [0.6, 1.0],
            "check.robustness_images": 0,
            "require": {"size_mb": 4},
        },
        on_event=print_epoch,
    )
    print(result.summary)

    # 5. What the device does: check the bundle, then predict.
    report = runtime.check(result.bundle)
    print("the bundle passes here:", report.verdict.passed)
    for prediction in runtime.load(result.bundle).predict(files[:3]):
        print(prediction.label, prediction.confidence, prediction.nearest[0].image)


def print_epoch(event: compressor.Event) -> None:
    """Print the epochs of a training; any function that takes events is an observer."""
    if isinstance(event, compressor.EpochEnded):
        print(event.text())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "whole-job"))
