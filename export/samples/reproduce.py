"""Answer the golden images of this bundle and compare with the golden answers.

    python samples/reproduce.py        needs numpy, Pillow and onnxruntime

Exit code 1 if a difference is above its tolerance. To be read and copied: nothing else is imported.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

COSINE, LEVELS = {"fp32": 0.999, "fp16": 0.999, "int8": 0.8}, 4  # what is tolerated


def pixels_of(path: Path, how: dict[str, Any]) -> Any:
    """Return an image file as the student sees it: uint8 [S, S, 3], RGB."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):  # 16 bits: the upper eight
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    short, size = how["resize_px"], how["size_px"]
    sides = [int(short * side / min(image.size)) for side in image.size]
    if how["crop_mode"] == "squash":
        sides = [short, short]
    filter_ = Image.Resampling[how["interpolation"].upper()]
    left, top = (round((side - size) / 2) for side in sides)
    image = image.convert("RGB").resize(sides, filter_)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def array_of(path: Path, name: str) -> Any:
    """Return an array of a .safetensors file: a header in JSON and its length, then the values."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    found = json.loads(raw[8:start])[name]
    first, end = found["data_offsets"]
    values = np.frombuffer(
        raw[start + first : start + end], {"F32": "<f4", "U8": "u1"}[found["dtype"]]
    )
    return values.reshape(found["shape"])


def reproduces(bundle: Path) -> bool:
    """Compare, print the largest differences, and return whether they are tolerated."""
    about = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    golden, how = bundle / "golden", about["preprocess"]
    names = json.loads((golden / "golden.json").read_text(encoding="utf-8"))["images"]
    files = [each for each in about["artifacts"] if each["file"].endswith(".onnx")]
    file = next((each for each in files if each["stage"] == about.get("recommended")), files[0])
    path, providers = str(bundle / file["file"]), ["CPUExecutionProvider"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several are bound to cores, which containers refuse
    student = onnxruntime.InferenceSession(path, options, providers)

    pixels = images = np.stack([pixels_of(golden / name, how) for name in names])
    if about.get("input", "float32") == "float32":
        mean, std = (255 * np.float32(how[key]) for key in ("mean", "std"))
        images = ((pixels - mean) / std).transpose(0, 3, 1, 2)
    taken = student.get_inputs()[0].name
    got = np.concatenate([student.run(["embedding"], {taken: each[None]})[0] for each in images])

    wanted = array_of(golden / "golden.safetensors", "student_embedding")
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(got, axis=1)
    cosine, least = ((wanted * got).sum(axis=1) / lengths).min(), COSINE[file["precision"]]
    kept = array_of(golden / "golden.safetensors", "pixels")
    levels = np.abs(pixels[: len(kept)].astype(int) - kept).max()
    print(f"{file['file']} ({file['precision']}): {len(names)} images")
    print(f"pixels: {levels} of 255 levels apart at most ({len(kept)} images; tolerance {LEVELS})")
    print(f"embedding: {np.abs(wanted - got).max():.2e} apart at most; ", end="")
    print(f"lowest cosine {cosine:.6f} (tolerance {least})")
    return bool(levels <= LEVELS and cosine >= least)


if __name__ == "__main__":
    reproduced = reproduces(Path(__file__).resolve().parents[1])
    print("reproduced" if reproduced else "NOT reproduced")
    sys.exit(0 if reproduced else 1)
