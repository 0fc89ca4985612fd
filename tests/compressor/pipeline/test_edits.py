"""Which steps an edit makes again: edits of the recipe, of the images, of the weights.

A step that "waits" for one that is made counts as made, unless the row says how far to run first.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor.events import StepEnded
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.recipe import plan as plans

STEPS = (
    "images",
    "embeddings",
    "pixels",
    "features",
    "distill",
    "backbone",
    "probes",
    "robustness",
    "golden",
    "to_onnx",
    "fp16",
    "int8_screening",
    "int8",
    "bundle",
    "check",
)
DOCUMENT = {"bundle", "check"}
"""Every edit of the recipe shows in bundle.json, which names the recipe's digest."""


def since(step):
    return set(STEPS[STEPS.index(step) :])


@pytest.fixture
def made(base, monkeypatch, tmp_path):
    """Which steps a change makes; with `until`, so far is really run and the rest is planned."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(base / "store"))

    def made(*changes, until=None, out=base / "run"):
        plan, found = plans.load(base / "recipe.yaml", changes), set()

        def observe(event):
            if isinstance(event, StepEnded) and event.state == "made":
                found.add(event.step)

        if until is not None:
            shutil.copytree(out, tmp_path / "copy")
            run = Run(plan, tmp_path / "copy", observe)
            with run.locked():
                runner.run_all(run, until=until)
            out = run.folder
        states = runner.planned(Run(plan, out))
        return found | {step for step, state in states.items() if state in ("to do", "waits")}

    return made


EDITS = [
    # gates: only what names them
    ("require.size_mb=50", DOCUMENT),
    ("require.latency_p95_ms=20", DOCUMENT),
    ("require.accuracy_drop=0.9", DOCUMENT),
    ("require.agreement=0.01", DOCUMENT),
    ("require.undecided=pass", DOCUMENT),
    # a gate that plain INT8 would miss: the student learns the rounding
    ("require.similarity_correlation=0.999999", {"int8"} | DOCUMENT),
    # files
    ("export.precisions=[fp32]", DOCUMENT),
    ("export.precisions=[fp32, fp16]", DOCUMENT),
    ("export.qat_epochs=5", DOCUMENT),
    ("export.golden_mb=10", DOCUMENT),
    ("export.workspace_mb=64", DOCUMENT),
    ("export.batches=[1, 2, 4]", DOCUMENT),
    ("export.input=uint8", {"camera"} | DOCUMENT),
    ("export.engines=[tensorrt]", {"engines"} | DOCUMENT),
    ("export.calibration_images=16", {"fp16", "int8_screening", "int8"} | DOCUMENT),
    ("export.golden_images=8", DOCUMENT),
    ("check.robustness_images=4", {"robustness", "golden"} | DOCUMENT),
    ("target=jetson-orin-nano", DOCUMENT),
    ("name=renamed", {"to_onnx", "fp16", "int8_screening", "int8"} | DOCUMENT),
    # training
    ("distill.lr=1e-4", since("distill")),
    ("distill.epochs=2", since("distill")),
    ("distill.weight_decay=0.1", since("distill")),
    ("distill.method=cosine", since("distill")),
    ("distill.mix=0.5", since("distill")),  # the only view is the image itself
    ("distill.workers=2", DOCUMENT),
    ("distill.checkpoint_s=5", DOCUMENT),
    ("distill.device=auto", DOCUMENT),
    ("distill.crop_scale=[0.5, 1.0]", since("pixels")),
    ("distill.token_maps='off'", since("pixels")),
    ("distill.teacher=online", since("pixels")),
    ("distill.teacher_precision=bf16", since("embeddings")),
    ("distill.seed=1", since("images")),
    ("distill.validation=0.2", since("images")),
    # networks
    ("teacher.mean=[0.1, 0.2, 0.3]", since("embeddings")),
    ("student.image_size=16", since("pixels")),
    # images
    ("data.holdout=0.3", since("images")),
]


@pytest.mark.parametrize(("change", "expected"), EDITS, ids=[change for change, _ in EDITS])
def test_an_edit_of_the_recipe(made, change, expected):
    assert made(change) == expected


def test_nothing_changed(made):
    assert made() == set()


def test_the_same_recipe_under_another_out_is_only_copied(made, base, tmp_path):
    assert made(out=tmp_path / "elsewhere") == set()


def test_mixing_makes_the_features_again_where_there_are_views_to_be_mixed(made):
    assert made("distill.epochs=2", "distill.views=2", "distill.mix=0.5") == since("pixels")


@pytest.mark.parametrize(
    ("change", "until", "expected"),
    [
        ("data.min_images=20", "images", {"images"} | DOCUMENT),
        ("data.max_rejected=0.5", "images", {"images"} | DOCUMENT),
        ("distill.disk_gb=10", "features", {"pixels", "features"} | DOCUMENT),
        ("data.labels=none", "images", {"images"} | since("probes") - {"robustness"}),
    ],
)
def test_an_edit_whose_outputs_are_the_same_stops_there(made, change, until, expected):
    assert made(change, until=until) == expected


# --- the data, the weights --------------------------------------------------------------------


@pytest.fixture
def images(base):
    """The folder of images; whatever a test does to it is undone."""
    before = base / "before"
    shutil.copytree(base / "images", before)
    shutil.copy2(base / "labels.csv", base / "labels.before")
    yield base / "images"
    shutil.rmtree(base / "images")
    before.rename(base / "images")
    (base / "labels.before").rename(base / "labels.csv")


def test_one_image_added(made, images):
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(images / "red" / "99.png")
    assert made(until="images") == since("images")


def test_one_image_removed(made, images):
    (images / "blue" / "00.png").unlink()  # the one without a label
    assert made(until="images") == since("images")


def test_an_image_touched(made, images):
    os.utime(next(iter((images / "red").iterdir())))
    assert made(until="images") == {"images"}


def test_a_file_that_is_no_image_added(made, images):
    (images / "notes.txt").write_text("to do")
    assert made(until="images") == {"images", "check"}  # the report counts rejected files


def test_a_label_changed(made, images, base):
    text = (base / "labels.csv").read_text()
    (base / "labels.csv").write_text(text.replace("01.png,blue", "01.png,red", 1))
    assert made(until="images") == {"images"} | since("probes") - {"robustness"}


def test_weights_touched_but_the_same(made, base):
    os.utime(base / "teacher.safetensors")
    assert made() == set()


def test_weights_changed(made, base):
    path = base / "teacher.safetensors"
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        assert made() == since("embeddings")
    finally:
        path.write_bytes(before)


def test_a_cleared_store_makes_no_finished_run_again(made, base, tmp_path):
    kept = tmp_path / "kept"
    (base / "store").rename(kept)
    try:
        assert made() == set()
    finally:
        shutil.rmtree(base / "store", ignore_errors=True)
        kept.rename(base / "store")


def test_the_list_of_steps_is_the_one_of_this_table(base):
    run = Run(plans.load(base / "recipe.yaml"), Path("nowhere"))
    assert tuple(runner.planned(run)) == STEPS
