"""The programs of a bundle give the golden answers, with the pixels of the training machine."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export import bundle as bundles
from export import samples, uint8_input
from runtime.bundle import bundle
from runtime.errors import InputError
from runtime.evaluation import gates
from runtime.files import sha256_of
from runtime.images.preprocess import Preprocess

SIZES = [(40, 33), (33, 40), (64, 64), (16, 99), (8, 8), (120, 83), (20, 21), (77, 19)]
PREPROCESS = Preprocess(20, 24, "center", "bicubic", (0.5, 0.45, 0.4), (0.25, 0.25, 0.3))


@pytest.fixture
def noise(tmp_path):
    """Pictures of every shape in which no two neighbours are alike, so that each weight counts."""
    rng, folder = np.random.default_rng(0), tmp_path / "noise"
    folder.mkdir()
    for number, (width, height) in enumerate(SIZES):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def levels(printed):
    return int(re.search(r"^pixels: (\d+) of 255", printed, re.MULTILINE)[1])


def cosine(printed):
    return float(re.search(r"lowest cosine (\S+) ", printed)[1])


@pytest.mark.parametrize("crop_mode", ["center", "squash"])
@pytest.mark.parametrize("filter_", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_every_pixel_is_that_of_the_training_machine(noise, made, answers, filter_, crop_mode):
    for size_px, resize_px in ((20, 24), (31, 32), (7, 90)):
        how = replace(
            PREPROCESS,
            size_px=size_px,
            resize_px=resize_px,
            crop_mode=crop_mode,
            interpolation=filter_,
        )
        reproduced, printed = answers(made(noise, how))
        assert reproduced
        assert levels(printed) == 0
        assert f"({len(SIZES)} images; tolerance" in printed


def test_photos_are_turned_and_decoded_alike(made, answers, tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    folder.mkdir()
    for orientation in range(1, 9):
        smooth = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).resize((75, 60))
        exif = Image.Exif()
        exif[0x010E], exif[0x0112] = "a description", orientation
        how = {"exif": exif, "subsampling": orientation % 3, "progressive": orientation > 4}
        smooth.save(folder / f"{orientation}.jpg", **how)
    reproduced, printed = answers(made(sorted(folder.iterdir()), PREPROCESS))
    assert reproduced
    assert levels(printed) == 0


def test_transparent_grey_and_palette_images_become_alike(made, answers, tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "modes"
    folder.mkdir()
    rgba = Image.fromarray(rng.integers(0, 256, (30, 40, 4), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (30, 40), np.uint16))
    modes = {"rgba": rgba, "la": rgba.convert("LA"), "l": rgba.convert("L"), "deep": deep}
    modes["p"] = rgba.convert("RGB").quantize(20)
    for name, image in modes.items():
        image.save(folder / f"{name}.png")
    modes["p"].save(folder / "t.png", transparency=3)
    reproduced, printed = answers(made(sorted(folder.iterdir()), PREPROCESS))
    assert reproduced
    assert levels(printed) == 0


def test_a_file_that_takes_pixels_is_given_pixels(noise, made, answers, onnx_bytes, tmp_path):
    source, path = tmp_path / "source.onnx", tmp_path / "pixels.onnx"
    source.write_bytes(onnx_bytes(logits=False, side=PREPROCESS.size_px))
    uint8_input.take_pixels(source, path, PREPROCESS)
    files = {"onnx-fp32": path.read_bytes()}
    reproduced, printed = answers(made(noise, PREPROCESS, files=files, input="uint8"))
    assert reproduced
    assert cosine(printed) > 0.99999


def test_the_recommended_file_is_asked(noise, made, answers, onnx_bytes):
    right, wrong = (onnx_bytes(logits=False, side=20, factor=factor) for factor in (1.0, -1.0))
    folder = made(noise, PREPROCESS, files={"onnx-fp32": wrong, "onnx-fp16": right})
    reproduced, printed = answers(folder)
    assert (reproduced, cosine(printed)) == (False, -1)
    bundles.recommend(folder, folder.parent / "final", "onnx-fp16")
    reproduced, printed = answers(folder.parent / "final")
    assert reproduced
    assert printed.startswith("student.onnx-fp16.onnx (fp32): 8 images\n")


# --- planted faults --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        ({"interpolation": "bilinear"}, "pixels"),
        ({"resize_px": 22}, "pixels"),
        ({"crop_mode": "squash"}, "pixels"),
        ({"mean": [0.4, 0.45, 0.5]}, "embedding"),
        ({"std": [0.1, 0.25, 0.3]}, "embedding"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_a_planted_wrong_preprocessing_is_not_reproduced(
    noise, made, answers, change_json, planted, named
):
    folder = made(noise, PREPROCESS)
    change_json(folder / "bundle.json", preprocess=PREPROCESS.to_dict() | planted)
    reproduced, printed = answers(folder)
    assert not reproduced
    if named == "pixels":
        assert levels(printed) > gates.PREPROCESS_LEVELS_MAX
    else:
        assert (levels(printed), cosine(printed) < 0.999) == (0, True)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_what_is_tolerated_is_what_the_check_tolerates(noise, made, answers, precision):
    _, printed = answers(made(noise, PREPROCESS, precision=precision))
    assert f"tolerance {gates.PREPROCESS_LEVELS_MAX})\n" in printed
    assert f"(tolerance {gates.PARITY_COSINE_MIN[precision]})\n" in printed


# --- as users run them -----------------------------------------------------------------------


def test_the_python_program_needs_nothing_of_ours_and_has_an_exit_code(noise, made, change_json):
    folder = made(noise, PREPROCESS)
    code = (folder / "samples/reproduce.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) - {
        *sys.stdlib_module_names
    } == {"numpy", "onnxruntime", "PIL"}
    call = [sys.executable, "-I", "samples/reproduce.py"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nreproduced\n")
    change_json(folder / "bundle.json", preprocess=PREPROCESS.to_dict() | {"resize_px": 22})
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout.endswith("\nNOT reproduced\n")) == (1, True)


@pytest.mark.slow
def test_the_cpp_program_names_what_it_cannot_read(noise, made, cpp, tmp_path):
    Image.open(noise[2]).save(noise[2].with_suffix(".webp"), lossless=True)
    noise[2].unlink()
    images = sorted(noise[0].parent.iterdir())
    done = cpp(made(images, PREPROCESS))
    assert done.returncode == 0
    assert re.match(r"left out: \./golden/images/00002-2.webp: .+\n", done.stdout)
    assert ": 7 images\n" in done.stdout
    done = cpp(made([images[2]], PREPROCESS))
    assert (done.returncode, done.stderr) == (2, "error: no golden image could be read\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["bundle.json", "golden/golden.safetensors", "student.onnx-fp32.onnx"]
)
def test_the_cpp_program_says_which_file_is_missing_or_damaged(noise, made, cpp, name):
    folder = made(noise, PREPROCESS)
    for content in (b"\xff" * 20, b"", None):
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        done = cpp(folder)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert name in done.stderr


def test_they_belong_to_the_sealed_bundle(noise, made):
    folder = made(noise, PREPROCESS)
    bundle.verify(folder)
    for name in samples.FILES:
        own = Path(samples.__file__).parent / name
        assert sha256_of(folder / "samples" / name) == sha256_of(own)
    (folder / "samples/reproduce.cpp").write_text("another")
    with pytest.raises(InputError, match=r"altered: samples/reproduce\.cpp"):
        bundle.verify(folder)
