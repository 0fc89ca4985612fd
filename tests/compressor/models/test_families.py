"""A step of distillation from a teacher of every family, to a CNN and to a ViT."""

from typing import NamedTuple

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from compressor.distillation.methods.centring import Centring
from compressor.distillation.methods.method import Setup, method_class
from compressor.models.encoder import create_student, load_teacher
from compressor.models.features import Features, resample
from compressor.recipe.schema import Distill, Student, Teacher

VIT = {"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}
SWIN = {"embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
STAGES = {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}
COAT = {"serial_depths": (1, 1, 1, 1), "parallel_depth": 1, "img_size": 64}


class Family(NamedTuple):
    model: str
    args: dict
    size: int
    grid: tuple[int, int] | None
    """Of a map as wide as the embedding; None where the embedding alone can be matched."""


FAMILIES = [
    Family("vit_small_patch16_224.augreg_in1k", VIT, 32, (4, 4)),
    Family("vit_small_patch14_dinov2", VIT | {"patch_size": 14}, 42, (3, 3)),
    Family("vit_small_patch14_reg4_dinov2", VIT | {"patch_size": 14}, 42, (3, 3)),
    Family("vit_small_patch16_dinov3", VIT | {"embed_dim": 32}, 32, (4, 4)),
    Family("vit_base_patch16_clip_224", VIT, 32, (4, 4)),
    Family("vit_base_patch16_siglip_224", VIT, 32, (4, 4)),
    Family("deit_tiny_patch16_224", VIT, 32, (4, 4)),
    Family("deit_tiny_distilled_patch16_224", VIT, 32, (4, 4)),
    Family("deit3_small_patch16_224", VIT, 32, (4, 4)),
    Family("beit_base_patch16_224", VIT, 32, (4, 4)),
    Family("swin_tiny_patch4_window7_224", SWIN, 32, (4, 4)),
    Family("convnext_atto", STAGES, 64, (2, 2)),
    Family("resnet10t", {"channels": (8, 8, 16, 16)}, 64, (2, 2)),
    Family("mobilenetv3_small_050", {}, 64, None),  # its map is 288 wide, its embedding 1024
    Family("efficientnet_b0", {}, 64, (2, 2)),
    Family("mixer_s32_224", {}, 64, (2, 2)),
    Family("levit_128s", {}, 128, (2, 2)),
    Family("pit_ti_224", {}, 64, None),
    Family("coat_tiny", COAT, 64, None),
]
STUDENTS = {
    "cnn": Student(model="mobilenetv3_small_050", weights="none", image_size=64, embedding=12),
    "vit": Student(
        model="vit_tiny_patch16_224", weights="none", image_size=40, args={**VIT, "embed_dim": 12}
    ),  # 5 x 5: no teacher's grid
}


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.model)
def teacher(request, tmp_path_factory):
    """A random teacher from a file of its weights, what it says of 8 images, and its weights."""
    family = request.param
    settled = timm.models.get_pretrained_cfg(family.model).fixed_input_size
    args = ({"img_size": family.size} if settled else {}) | family.args
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = timm.create_model(family.model, num_classes=0, **args)
    path = tmp_path_factory.mktemp("teacher") / "weights.safetensors"
    save_file(copied(made), path)  # CoaT has weights that share their memory
    spec = Teacher(model=family.model, weights=str(path), args=family.args, image_size=family.size)
    encoder = load_teacher(spec)
    return family, encoder, made.state_dict()


def images(size):
    return torch.randn(8, 3, size, size, generator=torch.Generator().manual_seed(size))


def copied(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def taught(family, teacher, grid):
    """The teacher's features of 8 images about their mean, the maps on the student's grid."""
    with torch.inference_mode():
        found = teacher.module.features(images(family.size))
    maps = None if family.grid is None else resample(found.maps, grid)
    found = Features(found.pooled, maps)
    return Centring(found, enabled=True).apply(found)


@pytest.mark.parametrize("kind", STUDENTS)
def test_a_step_changes_student_and_head_and_nothing_of_the_teacher(teacher, kind):
    family, encoder, weights = teacher
    student = create_student(STUDENTS[kind], seed=0)
    target_of = taught(family, encoder, student.map_shape[:2])
    spec = Distill(method="tintem", head="learned", head_fit="joint")
    objective = method_class("tintem").build(Setup(spec, student, target_of, 0, pytest.fail))
    learning = nn.ModuleList([student.module, objective])
    before, head_before = copied(student.module), copied(objective.head)
    optimizer = torch.optim.AdamW(learning.parameters(), lr=1e-2, weight_decay=0)

    own, target = objective.target(target_of, torch.full((8,), -1))
    student.module.train()
    answer = student.module.features(images(student.preprocess.size_px))
    loss = objective.distance(answer, target).mean()
    assert torch.isfinite(own)
    assert own > 0
    assert 0 < loss <= (2 if family.grid is None else 4)
    assert target.pooled.shape == answer.pooled.shape
    assert (target.maps is not None) == (family.grid is not None)
    (own + loss).backward()
    optimizer.step()

    for name, parameter in student.module.named_parameters():
        assert torch.isfinite(parameter).all(), name
    changed = {name for name, value in student.module.state_dict().items()
               if not torch.equal(value, before[name])}  # fmt: skip
    weighty = {name for name, each in student.module.named_parameters() if each.ndim > 1}
    assert len(changed & weighty) > 0.9 * len(weighty)
    assert not any(
        torch.equal(value, head_before[key]) for key, value in objective.head.state_dict().items()
    )

    kept = encoder.module.backbone.state_dict()
    assert kept.keys() == weights.keys()
    assert all(torch.equal(kept[key], weights[key]) for key in weights)
    assert not any(each.requires_grad for each in encoder.module.parameters())
    assert all(each.grad is None for each in encoder.module.parameters())
    assert not any(each.training for each in encoder.module.modules())


def test_a_teacher_says_where_its_map_lies(teacher):
    family, encoder, _ = teacher
    if family.grid is None:
        assert encoder.map_shape is None or encoder.map_shape[2] != encoder.dim
    else:
        assert encoder.map_shape == (*family.grid, encoder.dim)


@pytest.mark.parametrize("method", ["tintem", "proteus", "cosine"])
def test_a_few_steps_come_nearer_to_the_teacher(teacher, method):
    """With the recipe's own head: for TinTeM a PCA, which stays as it is."""
    family, encoder, _ = teacher
    student = create_student(STUDENTS["vit"], seed=0)
    target_of = taught(family, encoder, student.map_shape[:2])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = method_class(method).build(
            Setup(Distill(method=method), student, target_of, 0, pytest.fail)
        )
    learning = nn.ModuleList([student.module.train(), objective])
    optimizer = torch.optim.AdamW([p for p in learning.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(12):
        own, target = objective.target(target_of, torch.full((8,), -1))
        assert own is None
        loss = objective.distance(student.module.features(images(40)), target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
