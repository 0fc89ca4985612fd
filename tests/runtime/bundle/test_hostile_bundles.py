"""Bundles made to harm: both commands end with exit code 2, in words, and print no NaN."""

import json
import os
import shutil

import numpy as np
import pytest

from runtime.__main__ import main
from runtime.bundle import golden_file
from runtime.cli import guarded
from runtime.files import sha256_of


def rewrite(folder, name, change):
    path = folder / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def keys(name, **changes):
    def change(folder):
        rewrite(folder, name, lambda text: json.dumps(json.loads(text) | changes))

    return change


def text(name, old, new):
    return lambda folder: rewrite(folder, name, lambda found: found.replace(old, new, 1))


def array(name, change):
    def changed(folder):
        path = folder / "golden" / golden_file.NAME
        arrays = golden_file.read(path)
        golden_file.write(path, {**arrays, name: change(arrays[name])})

    return changed


DEEP = '{"a":' * 3000 + "1" + "}" * 3000
LIST = f'{{"x": {"[" * 9000}{"]" * 9000},'
HOSTILE = {
    "args as deep as a stack": text("bundle.json", '"big"', f'"big", "args": {DEEP}'),
    "a list as deep as a stack": text("golden/golden.json", "{", LIST),
    "a number of 4,000 digits": text("bundle.json", "22.5", "9" * 4000),
    "a number beyond 64 bits": text("bundle.json", "22.5", "1" + "0" * 30),
    "infinity as a decimal": text("bundle.json", "22.5", "1e999"),
    "NaN as a threshold": text("bundle.json", "0.9", "NaN"),
    "half of a surrogate in a class": text("bundle.json", '"red"', r'"\ud800"'),
    "an image of a zero byte": keys("golden/golden.json", images=["images/00.png\0"] * 16),
    "an image from outside": keys("golden/golden.json", images=["../../etc/passwd"] * 16),
    "an image of the root": keys("golden/golden.json", images=["/etc/passwd"] * 16),
    "another root": keys("golden/golden.json", root="/"),
    "a file that is not there": text("bundle.json", '"student.onnx', '" tudent.onnx'),
    "an image that is not there": keys("golden/golden.json", images=["images/x.png"] * 16),
    "no image": keys("golden/golden.json", images=[]),
    "a recommended file from nowhere": keys("bundle.json", recommended="onnx-int4"),
    "images of 10^9 pixels a side": text("bundle.json", '"size_px": 8', '"size_px": 1000000000'),
    "a batch of 10^9": text("bundle.json", '"batches": [1]', '"batches": [1000000000]'),
    "a bank of NaN": array("bank", lambda found: found * np.nan),
    "a bank of zeros": array("bank", lambda found: found * 0),
    "a bank of another width": array("bank", lambda found: found[:, :2]),
    "a bank of text, as numbers": array("bank", lambda found: found.astype(np.uint8)),
    "logits of another shape": array("student_logits", lambda found: found[:, :, None]),
    "classes that are not there": array("bank_labels", lambda found: found + 7),
    "seeds below zero": array("labels", lambda found: found - 9),
}  # fmt: skip


@pytest.mark.parametrize("command", ["check", "predict"])
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(60)
def test_it_ends_in_words(
    name, command, make_bundle, sound_bundle, tmp_path, seal, monkeypatch, capsys
):
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    HOSTILE[name](folder)
    assert sha256_of(folder) != sha256_of(sound_bundle)
    seal(folder)
    image = str(sound_bundle / "golden" / "images" / "00.png")
    words = ["runtime", command, str(folder), *([image] if command == "predict" else []), "--json"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        guarded(main)
    told = capsys.readouterr()
    assert ended.value.code == 2, told.err
    assert "error" in told.err
    assert json.loads(told.out, parse_constant=pytest.fail)["exit_code"] == 2
    assert not (tmp_path / "bundle-check").exists()


@pytest.mark.parametrize("link", ["manifest.json", "bundle.json", "golden", "golden/images/00.png"])
def test_links_in_a_bundle_are_refused(link, sound_bundle, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    (folder / link).rename(tmp_path / "elsewhere")
    (folder / link).symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr("sys.argv", ["runtime", "check", str(folder)])
    with pytest.raises(SystemExit) as ended:
        guarded(main)
    assert ended.value.code == 2
    assert "a link, which may point outside the bundle; refused" in capsys.readouterr().err


@pytest.mark.timeout(60)
@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("name", ["bundle.json", "golden/golden.json", "golden/images/00.png"])
def test_pipes_in_a_bundle_are_refused(
    name, sealed, sound_bundle, seal, tmp_path, monkeypatch, capsys
):
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    if sealed:
        seal(folder)
    monkeypatch.setattr("sys.argv", ["runtime", "check", str(folder)])
    with pytest.raises(SystemExit) as ended:
        guarded(main)
    assert ended.value.code == 2
    assert f"{name}: neither a file nor a folder; refused" in capsys.readouterr().err


def test_a_file_without_an_end_is_not_read(sound_bundle, tmp_path, monkeypatch, capsys):
    """A hole of 5 TB takes no space on the disk, and days to read."""
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    with (folder / "student.onnx-fp32.onnx").open("r+b") as file:
        file.truncate(5 * 2**40)
    monkeypatch.setattr("sys.argv", ["runtime", "check", str(folder)])
    with pytest.raises(SystemExit) as ended:
        guarded(main)
    assert ended.value.code == 2
    assert "the most a bundle takes" in capsys.readouterr().err
