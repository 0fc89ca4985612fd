"""The preprocessing contract: repeated step by step, the first difference named."""

import json
import shutil

import pytest
from PIL import Image

from runtime import bundle as bundles
from runtime import contract, golden
from runtime.check import check
from runtime.errors import InputError
from runtime.report import markdown, text

IMAGES = [f"images/{n:02d}.png" for n in range(4)]


@pytest.fixture
def folder(sound_bundle, tmp_path):
    """A golden set with a contract of four images."""
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    contract.save(folder / "golden", IMAGES, bundles.load(sound_bundle).preprocess)
    return folder


@pytest.fixture
def preprocess(sound_bundle):
    return bundles.load(sound_bundle).preprocess


def test_here_the_steps_are_the_same(folder, preprocess):
    found = contract.repeat(folder / "golden", preprocess)
    assert found == {"images": 4, "first_difference": None, "differ": []}
    assert contract.told(found, 0) is None


def test_each_step_has_a_digest_of_its_own(folder, preprocess):
    made = contract.steps(folder / "golden" / IMAGES[0], preprocess)
    assert list(made) == ["decode", "resize", "crop", "normalise"]
    assert len(set(made.values())) == 4


@pytest.mark.parametrize("step", contract.STEPS)
def test_the_first_step_that_differs_is_named(folder, preprocess, step):
    path = folder / "golden" / contract.FILE
    wanted = json.loads(path.read_text())
    for each in (wanted[1], wanted[3]):
        for later in contract.STEPS[contract.STEPS.index(step) :]:
            each[later] = "0" * 64  # a step that differs changes all that come after it
    path.write_text(json.dumps(wanted))
    found = contract.repeat(folder / "golden", preprocess)
    assert found == {"images": 4, "first_difference": step, "differ": [IMAGES[1], IMAGES[3]]}
    assert f"`{step}`: in 2 of 4 images; after resize" in contract.told(found, 3)


def test_another_way_of_decoding_is_seen(folder, preprocess):
    """As a device would whose decoder rounds otherwise: one level in one pixel."""
    path = folder / "golden" / IMAGES[2]
    image = Image.open(path).convert("RGB")
    red, green, blue = image.getpixel((0, 0))
    image.putpixel((0, 0), (red ^ 1, green, blue))
    image.save(path)
    found = contract.repeat(folder / "golden", preprocess)
    assert (found["first_difference"], found["differ"]) == ("decode", [IMAGES[2]])


def test_the_report_says_it(folder, seal):
    path = folder / "golden" / contract.FILE
    wanted = json.loads(path.read_text())
    wanted[0]["normalise"] = "0" * 64
    path.write_text(json.dumps(wanted))
    seal(folder)
    found = check(bundles.load(folder), golden.load(folder / "golden"))
    assert found["preprocess_contract"]["first_difference"] == "normalise"
    for said in (markdown(found), text(found)):
        assert "first in the step `normalise`: in 1 of 4 images" in said


def test_a_bundle_of_before_has_none(sound_bundle, preprocess):
    assert contract.repeat(sound_bundle / "golden", preprocess) is None


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"image": "../x"}]', '[{"image": "x"}]'])
def test_a_damaged_one_is_refused(folder, preprocess, content):
    (folder / "golden" / contract.FILE).write_text(content)
    with pytest.raises(InputError, match="not a contract"):
        contract.repeat(folder / "golden", preprocess)
