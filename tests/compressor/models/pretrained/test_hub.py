"""Weights of the hub, from a hub that this machine serves: cached, downloaded, broken off."""

import errno

import pytest
import timm
import torch
from safetensors.torch import save

from compressor.models.encoder import create_student
from compressor.models.pretrained import hub
from compressor.recipe.schema import Student
from runtime.errors import MissingDependencyError

MODEL, HUB_ID = "test_resnet", "timm/test_resnet.r160_in1k"
SPEC = Student(model=MODEL, weights="hub", image_size=32, embedding=8)


@pytest.fixture(scope="module")
def pretrained():
    """A trained model, which here is one with other random weights than a new student's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return timm.create_model(MODEL).state_dict()


def backbone(spec=SPEC):
    return create_student(spec, seed=0).module.backbone.state_dict()


def test_weights_are_downloaded_once_and_then_found_without_asking(local_hub, pretrained):
    local_hub.put(HUB_ID, save(pretrained))
    loaded = backbone()
    assert loaded.keys() <= pretrained.keys()
    assert all(torch.equal(loaded[key], pretrained[key]) for key in loaded)
    local_hub.asked.clear()
    backbone()
    assert local_hub.asked == []


def test_a_repository_without_safetensors_is_read_all_the_same(local_hub, pretrained, tmp_path):
    torch.save(pretrained, tmp_path / "weights.bin")
    local_hub.put(HUB_ID, (tmp_path / "weights.bin").read_bytes(), "pytorch_model.bin")
    loaded = backbone()
    assert all(torch.equal(loaded[key], pretrained[key]) for key in loaded)


def test_the_origin_says_which_repository_and_licence(local_hub, pretrained):
    local_hub.put(HUB_ID, save(pretrained))
    origin = create_student(SPEC, seed=0).origin
    assert (origin.weights, origin.hub_id, origin.license) == ("hub", HUB_ID, "apache-2.0")


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"breaks_after": 1000}, "the download failed: "),
        ({"files": {}}, "the download failed: .*404"),
    ],
)
def test_a_broken_download_leaves_nothing_and_says_the_way_out(
    local_hub, pretrained, empty_hub_cache, monkeypatch, broken, why
):
    local_hub.put(HUB_ID, save(pretrained))
    for key, value in broken.items():
        setattr(local_hub, key, value)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's client waits between tries
    with pytest.raises(MissingDependencyError, match=f"student.weights: {why}") as caught:
        backbone()
    assert f"fetch {local_hub.url}/{HUB_ID}/resolve/main/model.safetensors" in str(caught.value)
    left = [path.name for path in empty_hub_cache.rglob("blobs/*")]
    assert left == []


def test_a_full_disk_is_no_broken_download(local_hub, pretrained, monkeypatch):
    local_hub.put(HUB_ID, save(pretrained))

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "blobs")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(OSError, match="No space left"):
        hub.download(hub.config_of(MODEL, role="student"))
