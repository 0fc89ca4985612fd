"""The preprocessing contract: repeated step by step, the first difference named."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from runtime.bundle import bundle as bundles
from runtime.bundle import golden
from runtime.errors import InputError
from runtime.evaluation.check import check
from runtime.images import preprocessing_check
from runtime.images.preprocessing_check import PreprocessingResult
from runtime.report.markdown import markdown, text

IMAGES = [f"images/{n:02d}.png" for n in range(4)]


@pytest.fixture
def folder(sound_bundle, tmp_path):
    """A golden set with a contract of four images."""
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    preprocessing_check.save(folder / "golden", IMAGES, bundles.load(sound_bundle).preprocess)
    return folder


@pytest.fixture
def preprocess(sound_bundle):
    return bundles.load(sound_bundle).preprocess


def test_here_the_steps_are_the_same(folder, preprocess):
    found = preprocessing_check.repeat(folder / "golden", preprocess)
    assert found == PreprocessingResult(4, None, ())


def test_each_step_has_a_digest_of_its_own(folder, preprocess):
    made = preprocessing_check.digests(folder / "golden", IMAGES[0], preprocess)
    assert len({made.decode, made.resize, made.crop, made.normalise}) == 4


@pytest.mark.parametrize("step", preprocessing_check.STEPS)
def test_the_first_step_that_differs_is_named(folder, preprocess, step):
    path = folder / "golden" / preprocessing_check.FILE
    wanted = json.loads(path.read_text())
    for each in (wanted[1], wanted[3]):
        for later in preprocessing_check.STEPS[preprocessing_check.STEPS.index(step) :]:
            each[later] = "0" * 64  # a step that differs changes all that come after it
    path.write_text(json.dumps(wanted))
    found = preprocessing_check.repeat(folder / "golden", preprocess)
    assert found == PreprocessingResult(4, step, (IMAGES[1], IMAGES[3]))


def test_another_way_of_decoding_is_seen(folder, preprocess):
    """As a device would whose decoder rounds otherwise: one level in one pixel."""
    path = folder / "golden" / IMAGES[2]
    image = Image.open(path).convert("RGB")
    red, green, blue = image.getpixel((0, 0))
    image.putpixel((0, 0), (red ^ 1, green, blue))
    image.save(path)
    found = preprocessing_check.repeat(folder / "golden", preprocess)
    assert (found.first_difference, found.differ) == ("decode", (IMAGES[2],))


def test_the_report_says_it(folder, seal):
    path = folder / "golden" / preprocessing_check.FILE
    wanted = json.loads(path.read_text())
    wanted[0]["normalise"] = "0" * 64
    path.write_text(json.dumps(wanted))
    seal(folder)
    found = check(bundles.load(folder), golden.load(folder / "golden"))
    assert found.preprocess_contract.first_difference == "normalise"
    for said in (markdown(found), text(found)):
        assert "first in the step `normalise`: in 1 of 4 images" in said


@pytest.mark.parametrize(
    ("planted", "step", "missed"),
    [
        ({"interpolation": "nearest"}, "resize", "preprocess_max_difference_levels"),
        ({"crop_mode": "squash"}, "resize", "preprocess_max_difference_levels"),
        ({"mean": [0.4, 0.45, 0.9]}, "normalise", "parity_cosine_min"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_a_planted_wrong_preprocessing_is_named_and_fails(
    folder, change_json, seal, planted, step, missed
):
    document = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    change_json(folder / "bundle.json", preprocess=document["preprocess"] | planted)
    seal(folder)
    found = check(bundles.load(folder), golden.load(folder / "golden"))
    assert found.preprocess_contract.first_difference == step
    assert f"first in the step `{step}`" in markdown(found)
    judged = {each.requirement: each.passed for each in found.verdict.requirements}
    assert judged[missed] is False
    assert found.verdict.outcome == "failed"


def test_a_bundle_of_before_has_none(sound_bundle, preprocess):
    assert preprocessing_check.repeat(sound_bundle / "golden", preprocess) is None


def test_the_file_of_version_1_is_read():
    old = Path(__file__).parents[2] / "fixtures" / "bundle_v1"
    found = preprocessing_check.repeat(old / "golden", bundles.load(old).preprocess)
    assert found.images == 8
    assert found.first_difference is None  # PNGs, which every decoder reads alike


DIGESTS = {step: "0" * 64 for step in preprocessing_check.STEPS}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "the document: expected array, got object of 0"),
        ([1], r"\[0\]: expected object, got int 1"),
        ([{"image": "x"}], r"\[0\]\.decode: missing"),
        ([{"image": "../x", **DIGESTS}], r"\[0\]\.image: '\.\./x' points outside the bundle"),
    ],
)
def test_a_damaged_one_is_refused(folder, preprocess, content, message):
    path = folder / "golden" / preprocessing_check.FILE
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=rf"contract\.json: {message}"):
        preprocessing_check.repeat(folder / "golden", preprocess)
