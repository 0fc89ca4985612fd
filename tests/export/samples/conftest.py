"""Bundles of any images, and the programs that travel in them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export import bundle, samples
from export.samples import reproduce
from runtime.bundle.golden import Golden
from runtime.bundle.golden_arrays import Arrays
from runtime.bundle.schema import BundleDocument, Network, RecipeName, Requirements, Target
from runtime.images.decode import decode

ROOT = Path(__file__).parents[3]
HEADERS = [Path("/usr/include/onnxruntime"), ROOT / "build/onnxruntime/usr/include/onnxruntime"]
LIBRARIES = ["nlohmann/json.hpp", "stb/stb_image.h", "turbojpeg.h"]


@pytest.fixture
def made(tmp_path, onnx_bytes):
    """`made(images, preprocess, files=..., precision=..., input=...)`: a bundle of some images."""

    def make(images, preprocess, *, files=None, precision="fp32", **how):
        names = tuple(path.name for path in images)
        (root,) = {path.parent for path in images}
        pixels = np.stack([preprocess.pixels(decode(path)) for path in images])
        answers = preprocess.normalise(pixels).mean(axis=(2, 3))  # what the student of tests gives
        unknown = np.full(len(names), -1)
        arrays = Arrays(unknown, answers, answers[:, 0], answers, answers, unknown)
        document = BundleDocument(
            name="samples",
            recipe=RecipeName(name="samples"),
            classes=(),
            preprocess=preprocess,
            target=Target(name="any", match={}, provider="cpu", threads=1, batches=(1,)),
            require=Requirements(),
            teacher=Network(model="big", size_mb=1),
            student=Network(model="small", size_mb=1),
            artifacts=(bundle.Deployable("x", "fp32", Path(__file__)).entry("x"),),
            **how,
        )
        student = onnx_bytes(logits=False, side=preprocess.size_px)
        deployed = []
        for stage, content in (files or {"onnx-fp32": student}).items():
            path = tmp_path / f"student.{stage}.onnx"
            path.write_bytes(content)
            deployed.append(bundle.Deployable(stage, precision, path))
        folder = tmp_path / "bundle"
        golden = Golden(root, names, (), (), arrays)
        bundle.write(folder, document, deployed, golden, bundle.Cap(len(names), 100))
        return folder

    return make


@pytest.fixture(scope="session")
def cpp(tmp_path_factory):
    """`cpp(bundle)`: the C++ program, built as its README says; what it gave and said."""
    found = next((path for path in HEADERS if path.is_dir()), None)
    missing = [name for name in LIBRARIES if not Path("/usr/include", name).is_file()]
    if found is None or missing or shutil.which("g++") is None:
        pytest.skip(f"no g++, ONNX Runtime headers or {missing}: tools/test_programs.sh")
    import onnxruntime

    ort, program = tmp_path_factory.mktemp("onnxruntime"), tmp_path_factory.mktemp("built") / "it"
    (ort / "include").symlink_to(found)
    (ort / "lib").mkdir()
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (ort / "lib" / name).symlink_to(library)
    place = tmp_path_factory.mktemp("bundle")
    samples.copy_into(place)
    text = (
        (place / "samples/README.md").read_text(encoding="utf-8").replace("/tmp/reproduce", "$TO")
    )
    build, run = re.search(
        r"```sh\n(g\+\+ .*?)\n(LD_LIBRARY_PATH=.*?)\n```", text, re.DOTALL
    ).groups()
    environment = {**os.environ, "ORT": str(ort), "TO": str(program)}
    strict = build.replace("-O2", "-O1 -Wall -Wextra -Wpedantic -Werror").replace("-I", "-isystem ")
    subprocess.run(["sh", "-c", strict], cwd=place, env=environment, check=True)

    def call(folder):
        return subprocess.run(
            ["sh", "-c", run], cwd=folder, env=environment, capture_output=True, text=True
        )

    return call


@pytest.fixture(params=["python", pytest.param("cpp", marks=pytest.mark.slow)])
def answers(request, capsys):
    """`answers(bundle)`: whether the program reproduces it, and what it prints."""

    def python(folder):
        reproduced = reproduce.reproduces(folder)
        return reproduced, capsys.readouterr().out

    def compiled(folder):
        done = request.getfixturevalue("cpp")(folder)
        assert done.returncode in (0, 1), done.stderr
        assert done.stdout.endswith("NOT reproduced\n" if done.returncode else "\nreproduced\n")
        return done.returncode == 0, done.stdout

    return python if request.param == "python" else compiled
