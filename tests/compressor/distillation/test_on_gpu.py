"""Training on a real GPU: `pytest -m gpu`. Never run so far: no GPU was at hand."""

import pytest
import torch

from compressor.distillation import checkpoint
from compressor.distillation.trainer import distill
from compressor.models.compute import Compute
from compressor.models.embed import embed
from compressor.models.encoder import create_student
from compressor.recipe.schema import Distill, Student
from runtime.errors import InputError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]
SMALL = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
VIT = Student(model="vit_tiny_patch16_224", weights="none", image_size=32, args=SMALL)
WITH_CHANCE = VIT.model_copy(update={"args": {**SMALL, "drop_path_rate": 0.1}})
"""It draws from the generator of the GPU."""
SPEC = Distill(epochs=3, batch=8, views=2, lr=2e-3, checkpoint_s=1e9, device="cuda")


def train(data, work, *, student=VIT, device="cuda", **changes):
    work.mkdir(parents=True, exist_ok=True)
    spec = SPEC.model_copy(update={"device": device, **changes})
    compute = Compute.choose(device, 2)
    return distill(create_student(student, seed=0), data, spec, compute, work)


def test_it_learns_what_a_cpu_learns(data, tmp_path):
    on_gpu = train(data, tmp_path / "gpu", precision="fp32")
    on_cpu = train(data, tmp_path / "cpu", device="cpu", precision="fp32")
    for key, value in on_cpu.items():
        assert torch.allclose(value.float(), on_gpu[key].float(), atol=1e-2), key


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_each_precision_gives_finite_float32_weights(data, tmp_path, precision):
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bfloat16")
    state = train(data, tmp_path, precision=precision)
    assert all(torch.isfinite(value).all() for value in state.values())


def test_a_killed_training_goes_on_with_the_same_bits(data, tmp_path, monkeypatch):
    whole = train(data, tmp_path / "whole", student=WITH_CHANCE, deterministic=True)
    really = checkpoint.save

    def save_and_die(training, path):
        really(training, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "cut", student=WITH_CHANCE, deterministic=True, checkpoint_s=0)
    monkeypatch.setattr(checkpoint, "save", really)
    resumed = train(data, tmp_path / "cut", student=WITH_CHANCE, deterministic=True)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_a_loss_that_is_not_finite_ends_with_the_step_and_advice(data, tmp_path):
    with pytest.raises(InputError, match="no longer finite at step"):
        train(data, tmp_path, lr=1e30, epochs=20)


def test_embeddings_are_those_of_a_cpu(images):
    encoder = create_student(VIT, seed=0)
    expected = embed(encoder, images.paths, Compute.choose("cpu", 0), label="on a CPU")
    got = embed(encoder, images.paths, Compute.choose("cuda", 2), label="on a GPU")
    assert got == pytest.approx(expected, abs=1e-3)
