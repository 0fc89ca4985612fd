"""Distilling from Python, on plain modules and images, without a run folder."""

import tarfile
import tempfile

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import compressor
from compressor.api.distillation import _image_set
from compressor.api.encoders import student_from
from compressor.api.training import Training
from compressor.distillation.epochs import kept_of
from compressor.events import Reporter, ignore
from compressor.recipe.distill_section import CROPS, Distill
from export.onnx_file import facts
from runtime.backends.registry import open_session

SETTINGS = {"batch": 8, "views": 2, "workers": 1, "device": "cpu"}
STUDENT = {"model": "mobilenetv3_small_050", "image_size": 32, "embedding": 16}


@pytest.fixture(scope="module")
def pixels(folder_of_images):
    """The images of the folder, in its order: uint8 [48, 32, 32, 3]."""
    paths = sorted(folder_of_images.rglob("*.png"))
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])


@pytest.fixture(scope="module")
def distilled(pixels, tiny_teacher):
    events = []
    student = compressor.distill(
        pixels, tiny_teacher, STUDENT, epochs=2, settings=SETTINGS, on_event=events.append
    )
    return student, events


def test_a_student_of_an_array_of_images(distilled, pixels):
    student, events = distilled
    assert events[0].text.startswith("student.weights: auto found none: ")  # the tests are offline
    assert [epoch.epoch for epoch in student.epochs] == [1, 2]
    assert {"similarity"} <= student.epochs[0].scores.keys()
    told = [event for event in events if isinstance(event, compressor.EpochEnded)]
    assert [event.scores for event in told] == [epoch.scores for epoch in student.epochs]
    assert any(isinstance(event, compressor.Progress) for event in events)
    embeddings = student.embed(pixels[:5])
    assert embeddings.shape == (5, 16)
    assert np.isfinite(embeddings).all()


def test_the_epochs_say_which_one_is_kept(pixels, tiny_teacher):
    """Known after the last one: it is kept, though one before it was a little better."""
    events = []
    student = compressor.distill(
        pixels, tiny_teacher, STUDENT, epochs=6, settings={**SETTINGS, "lr": 0.05},
        on_event=events.append,
    )  # fmt: skip
    *_, last = (event for event in events if isinstance(event, compressor.EpochEnded))
    assert not last.best_so_far
    assert kept_of(student.epochs).epoch == 6


def test_it_is_exported_as_it_is(distilled, pixels, tmp_path):
    student, _ = distilled
    path = student.to_onnx(tmp_path / "student.onnx")  # by export.to_onnx
    assert facts(path)["outputs"] == {"embedding": ["batch", 16]}
    normalised = np.stack([student.preprocess.pixels(Image.fromarray(each)) for each in pixels[:5]])
    images = (normalised / 255 - student.preprocess.mean) / student.preprocess.std
    answers = open_session(path, provider="cpu").run(images.transpose(0, 3, 1, 2).astype("float32"))
    assert np.allclose(answers.embedding, student.embed(pixels[:5]), atol=1e-3)


def test_a_folder_paths_and_shards_give_the_same_student_as_the_array(
    distilled, folder_of_images, tiny_teacher, tmp_path
):
    from_array, paths = distilled[0].module.state_dict(), sorted(folder_of_images.rglob("*.png"))
    for number, part in enumerate((paths[:20], paths[20:])):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as archive:
            for path in part:
                archive.add(path, path.relative_to(folder_of_images).as_posix())
    for images in (folder_of_images, paths, str(tmp_path / "{0..1}.tar")):
        student = compressor.distill(images, tiny_teacher, STUDENT, epochs=2, settings=SETTINGS)
        state = student.module.state_dict()
        assert all(torch.equal(state[name], from_array[name]) for name in from_array)


def test_plain_timm_models_are_left_as_they_are(pixels):
    teacher = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2
    )
    student = timm.create_model("mobilenetv3_small_050", num_classes=0)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    made = compressor.distill(
        pixels[:24], teacher, student, method="cosine", epochs=1,
        validation=pixels[24:], settings={**SETTINGS, "views": 1},
    )  # fmt: skip
    assert made.module is not student
    assert teacher.num_classes == 1000
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    changed = made.module.backbone.state_dict()
    assert any(not torch.equal(before[name], changed[name]) for name in before)


def test_a_built_model_has_every_default_of_one_from_scratch(pixels, tmp_path):
    """Nobody says whether its weights are trained: defaults are not taken from both."""
    spec = Distill(epochs=6)
    student = student_from(timm.create_model(STUDENT["model"]), seed=0, reporter=Reporter(ignore))
    images = _image_set(pixels, None, 0.1, spec, tmp_path)
    training = Training(images, student, student, spec, tmp_path)
    assert training.spec.batch_norm == "live"
    assert training.spec.crops == CROPS
    assert training.augmentation.mixed == frozenset()


def test_supervised_learns_from_labels(pixels, tiny_teacher):
    labels = np.repeat([0, 1], 24)
    student = compressor.distill(
        pixels, tiny_teacher, STUDENT, method="supervised", epochs=1, labels=labels,
        settings=SETTINGS,
    )  # fmt: skip
    assert "knn_accuracy" in student.epochs[0].scores


def test_what_an_observer_raises_ends_the_training(pixels, tiny_teacher):
    def broken(event):
        raise ZeroDivisionError("a bug of the tracker")

    with pytest.raises(ZeroDivisionError, match="a bug of the tracker"):
        compressor.distill(
            pixels, tiny_teacher, STUDENT, epochs=1, settings=SETTINGS, on_event=broken
        )


BAD = {
    "no such folder": ({"images": "nowhere"}, "nowhere: no such folder"),
    "floats": ({"images": np.zeros((20, 8, 8, 3))}, "expected uint8"),
    "too few": ({"images": np.zeros((3, 8, 8, 3), np.uint8)}, "images"),
    "labels of another length": ({"labels": [0, 1]}, "48 images and 2 labels"),
    "method": ({"method": "tintin"}, "method"),
    "no labels": ({"method": "supervised"}, "needs labels"),
    "setting": ({"settings": {"epohcs": 1}}, "epohcs"),
    "a mix that has no label": (
        {"method": "supervised", "labels": [0, 1] * 24, "settings": {"mix": 0.5}},
        "distill.mix",
    ),
    "a setting with its own argument": ({"settings": {"method": "cosine"}}, "settings: method"),
    "validation of all images": ({"validation": 1}, "validation"),
    "validation that is nothing": ({"validation": None}, "expected a folder"),
    "epochs": ({"epochs": 0}, "epochs"),
    "teacher": ({"teacher": "vit_tiny_patch16_242"}, "did you mean"),
    "plain module": ({"student": torch.nn.Linear(2, 2)}, "not a timm model"),
    "student key": ({"student": {"model": "x", "size": 3}}, "student.size"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_raises_an_input_error(pixels, tiny_teacher, capfd, changes, message):
    given = {"images": pixels, "teacher": tiny_teacher, "student": STUDENT, **changes}
    with pytest.raises(compressor.InputError, match=message):
        compressor.distill(**given)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_no_image_is_named(pixels, tiny_teacher, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(compressor.InputError, match=r"notes\.txt: not an image"):
        compressor.distill(tmp_path, tiny_teacher, STUDENT)


def test_what_the_file_system_refuses_is_an_input_error(
    pixels, tiny_teacher, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(compressor.InputError, match=r"Not a directory\. Choose another folder"):
        compressor.distill(pixels, tiny_teacher, STUDENT, settings=SETTINGS)
