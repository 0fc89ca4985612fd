"""A bundle is believed only after every file of it was verified."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from runtime.bundle import bundle
from runtime.errors import InputError
from runtime.files import sha256_of


@pytest.fixture
def folder(sound_bundle, tmp_path):
    """A sound bundle, to be spoilt."""
    return shutil.copytree(sound_bundle, tmp_path / "bundle")


def refused(folder, said):
    with pytest.raises(InputError, match=said) as caught:
        bundle.load(folder)
    return str(caught.value)


def change_manifest(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest["files"])
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_sound_bundle(sound_bundle):
    got = bundle.load(sound_bundle)
    (artifact,) = got.artifacts
    assert artifact.stage == "onnx-fp32"
    assert artifact.precision == "fp32"
    assert artifact.path == sound_bundle / "student.onnx-fp32.onnx"
    assert artifact.sha256 == sha256_of(artifact.path)
    assert artifact.size_mb == artifact.path.stat().st_size / 1e6
    assert got.classes == ("red", "blue")
    image = Image.fromarray(np.zeros((10, 10, 3), np.uint8))
    assert got.preprocess(image).shape == (3, 8, 8)


def test_no_bundle_at_all(tmp_path):
    said = refused(tmp_path / "nowhere", r"nowhere: not a bundle \(it has no manifest\.json\)")
    assert "runs/NAME/bundle" in said
    refused(tmp_path, "not a bundle")


def test_an_altered_file(folder):
    path = folder / "golden" / "images" / "03.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    said = refused(folder, "the bundle does not match its manifest")
    assert "\n  altered: golden/images/03.png\n" in said
    assert "Copy the whole folder again (rsync -a, or scp -r)." in said


def test_a_missing_file(folder):
    (folder / "student.onnx-fp32.onnx").unlink()
    assert "\n  missing: student.onnx-fp32.onnx\n" in refused(folder, "does not match its manifest")


def test_an_extra_file(folder):
    (folder / "golden" / ".hidden").write_bytes(b"")
    assert "\n  not in the manifest: golden/.hidden\n" in refused(
        folder, "does not match its manifest"
    )


def test_many_problems_are_counted_and_not_all_shown(folder):
    shutil.rmtree(folder / "golden" / "images")  # 16 files
    said = refused(folder, "does not match its manifest")
    assert said.count("missing: ") == 10
    assert "and 6 more" in said


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "golden/../../secret"])
def test_a_manifest_that_points_outside(folder, name):
    (folder.parent / "secret").write_text("x", encoding="utf-8")
    change_manifest(folder, lambda files: files.update({name: "00"}))
    said = refused(folder, r"manifest\.json: '.*' points outside the bundle; refused")
    assert repr(name) in said


@pytest.mark.parametrize("name", ["../other.onnx", "/tmp/other.onnx"])
def test_a_model_that_lies_outside(folder, name, change_json, seal):
    """The manifest would know nothing of it."""
    entry = {"stage": "onnx-fp32", "file": name, "precision": "fp32", "sha256": "00"}
    change_json(folder / "bundle.json", artifacts=[entry])
    seal(folder)
    refused(folder, rf"bundle\.json: artifacts\[0\]\.file: '{name}' points outside the bundle")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the document: expected object, got array of 0"),
        ('"files"', "the document: expected object, got str 'files'"),
        ("{}", "files: missing"),
        ('{"files": []}', "files: expected object, got array of 0"),
        ('{"files": {"bundle.json": 5}}', r"files\[\.\.\.\]: expected str, got int"),
    ],
)
def test_a_manifest_that_is_none(folder, text, message):
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    refused(folder, rf"manifest\.json: {message}")


def test_a_manifest_that_is_no_json(folder):
    (folder / "manifest.json").write_bytes(b"\xff\xfe{")
    refused(folder, r"manifest\.json: not a JSON file")


def test_a_newer_bundle(folder, change_json, seal):
    change_json(folder / "bundle.json", schema_version=2)
    seal(folder)
    refused(folder, r"bundle\.json: version 2 of the bundle; .* reads up to 1\. Install a newer")


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema_version": null}'])
def test_a_description_that_is_none(folder, seal, text):
    (folder / "bundle.json").write_text(text, encoding="utf-8")
    seal(folder)
    refused(folder, r"bundle\.json: does not describe a bundle")


def test_no_description(folder, seal):
    (folder / "bundle.json").unlink()
    seal(folder)
    refused(folder, r"bundle\.json: no such file")


def test_a_link_in_the_folder(folder, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    refused(folder, "link: a link, which may point outside the bundle; refused")
    (folder / "link").unlink()
    (folder / "below").symlink_to(tmp_path)
    refused(folder, "below: a link")
