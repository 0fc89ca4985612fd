"""A student's training that takes seconds, and what it left behind."""

import json

import torch

from compressor.distillation.trainer import distill
from compressor.models.compute import Compute
from compressor.models.encoder import create_student
from compressor.recipe.schema import Distill, Student

CPU = Compute(torch.device("cpu"), workers=0)
CNN = Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=16)
VIT = Student(
    model="vit_tiny_patch16_224",
    weights="none",
    image_size=32,
    args={"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "drop_path_rate": 0.1},
)
SPEC = Distill(
    epochs=3, batch=8, views=2, lr=2e-3, checkpoint_s=1e9, head="learned", head_fit="joint"
)


def train(data, work, *, student=CNN, spec=SPEC, compute=CPU):
    """The weights of the student after its training in the folder `work`."""
    work.mkdir(parents=True, exist_ok=True)
    encoder = create_student(student, seed=spec.seed)
    return distill(encoder, data, spec, compute, work)


def log_of(work):
    return [json.loads(line) for line in (work / "train.jsonl").read_text().splitlines()]


def same(a, b):
    """Whether two sets of weights are the same bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
