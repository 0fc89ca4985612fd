"""The learning stages on real files: what is kept, what is shared, what gives way to the disk."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from compressor.data import dataset
from compressor.data.image_files import open_rgb
from compressor.distillation import teacher_features
from compressor.events import Message
from compressor.models.embedding_net import EmbeddingNet
from compressor.models.encoder import load_teacher
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.pipeline.storage.cache import shared_store
from compressor.pipeline.storage.run_files import RunFiles
from compressor.recipe.plan import load
from compressor.recipe.schema import Teacher

MAPS = {  # a student whose 2 x 2 tokens are the teacher's grid
    "student.model": "vit_tiny_patch16_224",
    "student.args": {"patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2},
    "student.embedding": None,
    "distill.epochs": 2,
    "distill.views": 2,
}


def keep_messages(said):
    """An observer that appends the text of every message."""
    return lambda event: said.append(event.text) if isinstance(event, Message) else None


@pytest.fixture
def learn(write_recipe, tmp_path):
    """Run the stages up to the student; its folder, and what was said."""

    def go(name, changes=None, upto="distill"):
        path = write_recipe({**MAPS, **(changes or {})}, tmp_path / f"{name}.yaml")
        said = []
        run = Run(load(path), tmp_path / "runs" / name, keep_messages(said))
        with run.locked():
            runner.run_all(run, until=upto)
        return run.folder, said

    return go


def student(folder):
    return (folder / "student.safetensors").read_bytes()


def shards(folder, output="features"):
    """The shards of a run, by name: links into the store."""
    return {path.name: path for path in RunFiles(folder, writable=False).path(output).iterdir()}


def test_a_second_run_finds_what_the_first_one_made(learn):
    first, _ = learn("first")
    second, said = learn("second", {"distill.lr": 5e-4})
    assert not [line for line in said if line.startswith("the teacher")]
    for output in ("pixels", "features"):
        ours, theirs = shards(first, output), shards(second, output)
        assert all(theirs[name].resolve() == path.resolve() for name, path in ours.items())
    assert student(first) != student(second)


def test_more_views_ask_the_teacher_for_the_new_ones_only(learn):
    few, _ = learn("few", upto="features")
    many, _ = learn("many", {"distill.epochs": 4, "distill.views": 4}, upto="features")
    ours, theirs = shards(few), shards(many)
    shared = [
        name in ours and ours[name].resolve() == theirs[name].resolve() for name in sorted(theirs)
    ]
    assert shared == [True, True, False, False]


@pytest.mark.parametrize(
    "changes",
    [{"distill.seed": 1}, {"distill.crop_scale": [0.5, 1.0]}, {"distill.token_maps": "off"}],
    ids=lambda changes: next(iter(changes)),
)
def test_other_views_are_not_taken_for_the_same(learn, changes):
    first, _ = learn("first", upto="features")
    other, _ = learn("other", changes, upto="features")
    name = "view001-0000000.npy"
    assert shards(first)[name].read_bytes() != shards(other)[name].read_bytes()


def test_mixing_asks_the_teacher_for_the_mixed_views_only(learn):
    alone, _ = learn("alone", {"distill.epochs": 4, "distill.views": 4}, upto="features")
    changes = {"distill.epochs": 4, "distill.views": 4, "distill.mix": 0.5}
    mixed, _ = learn("mixed", changes, upto="features")
    ours, theirs = shards(alone), shards(mixed)
    same = [ours[name].resolve() == theirs[name].resolve() for name in sorted(ours)]
    assert same == [True, False, True, False]
    pooled = [np.load(each["view001-0000000.npy"])["pooled"] for each in (ours, theirs)]
    assert not np.allclose(*pooled, atol=1e-2)


def test_another_image_in_another_shard_makes_mixed_views_new(
    learn, folder_of_images, tmp_path, monkeypatch
):
    """It may be the partner of any image."""
    monkeypatch.setattr(teacher_features, "SHARD_IMAGES", 20)
    shutil.copytree(folder_of_images, tmp_path / "images")
    changes = {"distill.epochs": 3, "distill.views": 3, "distill.mix": 0.5}
    changes["data.images"] = str(tmp_path / "images")
    first, _ = learn("first", changes, upto="features")
    last = dataset.load(first).image_set(tmp_path / "images").part("train").paths[-1]
    Image.fromarray(255 - np.asarray(Image.open(last))).save(last)
    other, _ = learn("other", changes, upto="features")
    ours, theirs = shards(first), shards(other)
    same = {name for name in ours if ours[name].resolve() == theirs[name].resolve()}
    assert same == {"view000-0000000.npy", "view002-0000000.npy"}


@pytest.fixture
def passes(monkeypatch):
    """How many images each call showed a network, but for the one that its width is known by."""
    shown = []
    for name in ("forward", "features"):
        own = getattr(EmbeddingNet, name)

        def counted(self, images, own=own):
            shown.extend([len(images)] if len(images) > 1 else [])
            return own(self, images)

        monkeypatch.setattr(EmbeddingNet, name, counted)
    return shown


def test_the_teacher_looks_at_a_training_image_once_in_each_view(learn, passes):
    """The first view is the image itself: its features are the embedding too."""
    folder, _ = learn("first", upto="features")
    found = dataset.load(folder).image_set(folder)
    train, others = len(found.part("train")), len(found.part("validation", "holdout"))
    assert sum(passes) == 2 * train + others
    embedded = load_file(folder / "embeddings.safetensors")["images"]
    seen = np.load(shards(folder)["view000-0000000.npy"])["pooled"]
    assert np.array_equal(embedded[[each.split == "train" for each in found.records]], seen)


@pytest.mark.parametrize(
    "changes", [{"distill.teacher": "online"}, {"distill.method": "supervised"}]
)
def test_a_teacher_whose_views_are_not_kept_looks_at_each_image_once(learn, passes, changes):
    folder, _ = learn("first", changes, upto="features")
    assert sum(passes) == len(dataset.load(folder).image_set(folder))
    assert not shards(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"distill.token_maps": "off"},
        {"distill.crop_scale": [0.5, 1]},
        {"distill.teacher": "online"},
        {"distill.mix": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_learnt_from_changes_no_bit_of_the_embeddings(learn, changes):
    first, _ = learn("first", upto="embeddings")
    shared_store().clear()
    other, _ = learn("other", changes, upto="embeddings")
    name = "embeddings.safetensors"
    assert (first / name).read_bytes() == (other / name).read_bytes()


def test_embeddings_are_of_the_images_as_the_device_sees_them(learn, tmp_path, tiny_teacher):
    """Larger than what views are cut from, 64 pixels here, and not square."""
    rng, folder = np.random.default_rng(0), tmp_path / "large"
    folder.mkdir()
    for number in range(20):
        pixels = rng.integers(0, 255, (150, 170 + number, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    changes = {"data.images": str(folder), "data.labels": "none", "data.min_images": 10}
    run_folder, _ = learn("first", changes, upto="embeddings")
    teacher = load_teacher(Teacher(**tiny_teacher))
    found = dataset.load(run_folder).image_set(folder)
    assert found.part("train")
    pixels = [teacher.preprocess(open_rgb(path)) for path in found.paths]
    with torch.inference_mode():
        expected = teacher.module(torch.from_numpy(np.stack(pixels))).numpy()
    got = load_file(run_folder / "embeddings.safetensors")["images"]
    cosine = (
        (got * expected).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
    )
    assert cosine.min() > 0.9999  # bfloat16 where the processor has it


def test_clearing_the_cache_leaves_a_run_whole(learn, passes):
    folder, _ = learn("first")
    before = student(folder)
    assert shared_store().clear() > 0
    passes.clear()
    again, _ = learn("first")
    assert (student(again), passes) == (before, [])
    assert shared_store().entries() == []


def test_cleared_features_are_made_again_only_when_a_step_needs_them(learn):
    first, _ = learn("first")
    good = np.load(shards(first)["view000-0000000.npy"])["pooled"].copy()
    shared_store().clear()
    _, said = learn("first", {"distill.lr": 5e-4})
    assert "features: no longer in the cache, made again" in said
    assert np.array_equal(np.load(shards(first)["view000-0000000.npy"])["pooled"], good)


def test_a_damaged_entry_of_the_store_is_made_again(learn):
    first, _ = learn("first")
    good = np.load(shards(first)["view000-0000000.npy"])["pooled"].copy()
    for entry in shared_store().entries():
        for name in entry.record.files:
            content = bytearray((entry.folder / name).read_bytes())
            content[-1] ^= 1
            (entry.folder / name).write_bytes(content)
    second, said = learn("second", {"distill.lr": 5e-4})
    assert [line for line in said if "damaged; removed from the cache" in line]
    assert np.array_equal(np.load(shards(second)["view000-0000000.npy"])["pooled"], good)


@pytest.mark.parametrize("mix", [0, 1])
def test_without_disk_for_images_and_views_the_student_is_the_same_to_the_bit(learn, mix):
    again = {"distill.epochs": 3, "distill.mix": mix}  # the third epoch shows the first view again
    stored, said = learn("stored", again)
    assert shards(stored, "pixels")["pixels-0000000.npy"].exists()
    assert any(line.startswith("decoded images: ") for line in said)
    assert any(line.startswith("the student's views during training: ") for line in said)
    features = sum(np.load(path).nbytes for path in shards(stored).values())
    decoded, said = learn("decoded", {**again, "distill.disk_gb": (features + 1000) / 1e9})
    assert not shards(decoded, "pixels")
    assert any("files are decoded again for every view" in line for line in said)
    assert any("each is cut again every time" in line for line in said)
    assert student(decoded) == student(stored)


def test_without_disk_for_the_maps_it_learns_without_and_says_so(learn):
    folder, said = learn("small", {"distill.disk_gb": 2 * 40 * 24 * 4 / 1e9})
    assert any("learning from the pooled features alone" in line for line in said)
    assert np.load(shards(folder)["view000-0000000.npy"]).dtype.names == ("pooled",)


def test_maps_that_are_wanted_put_the_teacher_online(learn):
    folder, said = learn("on", {"distill.token_maps": "on", "distill.disk_gb": 1e-6})
    assert any("the teacher runs at every step instead" in line for line in said)
    assert not shards(folder)
    assert len((folder / "train.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("mix", [0, 1])
def test_an_online_teacher_teaches_what_a_cached_one_does(learn, mix):
    """As many views as epochs, float32: the same targets but for the rounding of other batches."""
    changes = {
        "distill.mix": mix,
        "distill.teacher_precision": "fp32",
        "distill.center": False,
        "distill.lr": 1e-4,
    }
    changes["student.args"] = {**MAPS["student.args"], "embed_dim": 24, "depth": 2}
    cached, _ = learn("cached", changes)
    online, _ = learn("online", {**changes, "distill.teacher": "online"})
    losses = [
        [json.loads(line)["student_loss"] for line in log.read_text().splitlines()]
        for log in (cached / "train.jsonl", online / "train.jsonl")
    ]
    # Uncentred and without a head: both would be made from all views here, from the first there.
    assert np.allclose(*losses, atol=1e-3)


def test_supervised_asks_for_no_features(learn):
    folder, _ = learn("supervised", {"distill.method": "supervised"})
    assert not shards(folder)
    assert "head" not in json.loads((folder / "training.json").read_text())
