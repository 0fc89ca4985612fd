"""The student as a backbone: the file is read by timm alone, and docs/backbone.md is true."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from compressor.models import backbone_file
from compressor.models.encoder import create_student
from compressor.recipe.networks import Student

DOCUMENT = Path(__file__).parents[3] / "docs" / "backbone.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
STUDENTS = {
    "CNN": {"model": "test_efficientnet", "image_size": 96},
    "CNN with arguments": {"model": "test_resnet", "image_size": 64, "args": {"drop_rate": 0.1}},
    "ViT": {"model": "test_vit", "image_size": 96},
    "ViT of another width": {"model": "test_vit", "image_size": 80, "args": {"embed_dim": 32}},
}


def made(keys, path):
    """Write a student's backbone; return the student."""
    student = create_student(Student.model_validate(keys | {"weights": "none"}), seed=3)
    backbone_file.write(student, path)
    return student


def run(snippets, path):
    """Run snippets one after the other; return their names."""
    names = {"FILE": str(path)}
    for snippet in snippets:
        exec(compile(snippet, str(DOCUMENT), "exec"), names)
    return names


@pytest.mark.parametrize("keys", STUDENTS.values(), ids=STUDENTS.keys())
def test_timm_alone_builds_the_same_network(keys, tmp_path):
    student = made(keys, tmp_path / "backbone.safetensors")
    names = run(SNIPPETS[:2], tmp_path / "backbone.safetensors")
    size = keys["image_size"]
    assert names["images"].shape == (1, 3, size, size)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = student.module.eval().backbone(images)
        assert torch.equal(names["backbone"](images), expected)
        assert names["classifier"](images).shape == (2, 3)
    assert names["missing"]


def test_a_detector_of_torchvision_starts_from_its_weights(tmp_path):
    path = tmp_path / "backbone.safetensors"
    made(STUDENTS["CNN"], path)
    names = run(SNIPPETS, path)
    stem = names["detector"].backbone.stages.conv_stem.weight
    assert torch.equal(stem, load_file(path)["conv_stem.weight"])
    assert names["boxes"].shape[1] == 4


def test_the_file_says_what_it_holds_and_not_the_embedding_layer(tmp_path):
    path = tmp_path / "backbone.safetensors"
    student = made(STUDENTS["CNN"] | {"embedding": 16}, path)
    assert set(load_file(path)) == set(student.module.backbone.state_dict())
    seen = run(SNIPPETS[:1], path)["seen"]
    assert seen["mean"] == list(student.preprocess.mean)
    assert seen["interpolation"] == student.preprocess.interpolation
    assert replace(student.preprocess, mean=tuple(seen["mean"])) == student.preprocess


def test_the_same_student_makes_the_same_bytes(tmp_path):
    """The library itself writes the metadata in another order each time."""
    student = create_student(Student(model="test_vit", weights="none", image_size=96), seed=3)
    written = set()
    for number in range(12):
        backbone_file.write(student, tmp_path / f"{number}.safetensors")
        written.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(written) == 1
    state = student.module.backbone.state_dict()
    read = load_file(tmp_path / "0.safetensors")
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())
