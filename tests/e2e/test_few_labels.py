"""Two labels per class, and a class that nobody labelled: from the CSV to the file's answers."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.probes.fit import deployed_probe, other_than_linear
from compressor.recipe.plan import load
from runtime.backends.registry import open_session
from runtime.bundle import bundle, golden
from runtime.metrics import log_softmax
from runtime.report import markdown
from runtime.results.report import load as load_report


def picture(rng, channel):
    pixels = rng.integers(0, 128, (32, 32, 3), np.uint8)
    pixels[..., channel] += 100
    return Image.fromarray(pixels)


@pytest.fixture
def finished(write_recipe, folder_of_images, tmp_path):
    """`finished(n)`: the folder of a run with n labels each of blue and red, none of green."""

    def go(per_class):
        rng, lines = np.random.default_rng(7), ["image,label"]
        held = tmp_path / "held"
        below_images = os.path.relpath(held, folder_of_images)
        for name, channel in (("blue", 2), ("green", 1), ("red", 0)):
            (held / name).mkdir(parents=True)
            for number in range(8):
                picture(rng, channel).save(held / name / f"{number}.png")
                lines.append(f"{below_images}/{name}/{number}.png,{name}")
        for name in ("blue", "red"):
            lines += [f"{name}/{number:02d}.png,{name}" for number in range(per_class)]
        (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
        path = write_recipe(
            {"data.labels": str(tmp_path / "labels.csv"), "data.holdout": str(held)}
        )
        run = Run(load(path), tmp_path / "run")
        with run.locked():
            runner.run_all(run)
        return run.folder

    return go


@pytest.mark.parametrize(("per_class", "calibrated"), [(2, False), (6, True)])
def test_few_labels_are_deployed(finished, per_class, calibrated):
    folder = finished(per_class)
    found = json.loads((folder / "report.json").read_text())
    probe = found["probe"]
    assert probe["labelled"] == 2 * per_class
    assert probe["calibrated"] is calibrated
    assert bool(probe["candidates"]) is calibrated
    assert found["classes_without_label"] == ["green"]
    assert "**Never answered: green.**" in (folder / "report.md").read_text()
    assert "**Never answered: green.**" in markdown.text(load_report(folder))

    # The file answers what the chosen probe answers in numpy.
    held = golden.load(folder / "holdout")
    file = folder / "bundle" / "student.fp32.onnx"
    preprocess = bundle.load(folder / "bundle").preprocess
    images = np.stack([preprocess(Image.open(held.root / name)) for name in held.images])
    outputs = open_session(file, provider="cpu").run(images)
    arrays = load_file(folder / "probes.safetensors")
    chosen = deployed_probe(arrays, "student")
    expected = chosen.logits(held.arrays.student_embedding)
    assert outputs.logits.shape == (24, 3)
    assert np.allclose(outputs.logits, expected, atol=1e-3)
    assert np.array_equal(held.arrays.student_logits, expected)
    chances = np.exp(log_softmax(outputs.logits))
    assert chances.sum(axis=1) == pytest.approx(np.ones(24))
    assert (chances[:, 1] == 0).all()

    # Every figure of the ledger that the deployed probe has.
    deployed = found["ledger"][2]
    assert 0 <= deployed["calibration_ece"] <= 1
    own = other_than_linear(arrays, "student") is not None
    assert own == (probe["kind"] != "linear")
    for entry in found["ledger"][1:]:
        assert ("accuracy_probe" in entry) == ("agreement_probe" in entry) == own
    answers = expected.argmax(axis=1)
    figure = "accuracy_probe" if own else "accuracy_linear"
    assert deployed[figure] == pytest.approx((answers == held.arrays.labels).mean())
