"""Folded batch norm: recognised, measured again, the same answers; and nothing else is touched."""

import copy

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compressor.models.batch_norm import folded_layers, recalibrate, recalibrate_on
from compressor.models.compute import Compute
from compressor.models.encoder import create_student
from compressor.recipe.schema import Student
from runtime.errors import InputError


def trained(name="test_resnet", seed=0):
    """A network as after training: statistics measured, scales and shifts of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(name, num_classes=0)
        for layer in batch_norms(model):
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.normal_(layer.bias, std=0.5)
            layer.momentum = None  # the mean over the batches below
        model.train()
        with torch.no_grad():
            for _ in range(4):
                model(torch.randn(32, 3, 32, 32) * 2 + 1)
    return model.eval()


def batch_norms(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


def fold(model, *, mean_instead_of_bias=False, variance_less_eps=False):
    """Fold every batch norm into the convolution before it, as exporters do."""
    model = copy.deepcopy(model)
    pairs, conv = [], None
    for module in model.modules():  # in these networks each batch norm comes after its convolution
        conv = module if isinstance(module, nn.Conv2d) else conv
        pairs += [(module, conv)] if isinstance(module, nn.BatchNorm2d) else []
    with torch.no_grad():
        for layer, conv in pairs:
            scale = layer.weight / (layer.running_var + layer.eps).sqrt()
            shift = layer.bias - scale * layer.running_mean
            conv.weight.mul_(scale[:, None, None, None])
            layer.running_var.fill_(1 - layer.eps if variance_less_eps else 1)
            layer.weight.fill_(1 if variance_less_eps else (1 + layer.eps) ** 0.5)
            layer.running_mean.copy_(-shift if mean_instead_of_bias else torch.zeros_like(shift))
            layer.bias.copy_(torch.zeros_like(shift) if mean_instead_of_bias else shift)
    return model


def batches(count=12, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(16, 3, 32, 32, generator=generator) * 2 + 1 for _ in range(count)]


def apart(one, other):
    """Distance of answers, relative to their size."""
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize(
    "how", [{}, {"mean_instead_of_bias": True}, {"variance_less_eps": True}], ids=str
)
def test_the_answers_stay_and_training_mode_is_mended(how):
    original = trained()
    model = fold(original, **how)
    seen, (unseen,) = batches(), batches(1, seed=9)
    with torch.no_grad():
        images = torch.cat([*seen, unseen])
        answers = model(images)
        assert apart(answers, original(images)) < 1e-5
        destroyed = apart(copy.deepcopy(model).train()(images), answers)
        assert len(folded_layers(model)) == len(batch_norms(model))
        assert recalibrate(model, [*seen, unseen]) == len(batch_norms(model))
        assert folded_layers(model) == ()
        assert apart(model(images), answers) < 1e-5
        # All that was seen as one batch has the very statistics that were measured
        assert apart(copy.deepcopy(model).train()(images), answers) < 1e-4
        # A small batch has others, as for the network that was never folded
        mended = apart(copy.deepcopy(model).train()(unseen), answers[-16:])
        natural = apart(copy.deepcopy(original).train()(unseen), answers[-16:])
    assert destroyed > 0.5
    assert mended == pytest.approx(natural, rel=0.2)


def test_the_statistics_are_those_of_the_inputs():
    """By hand, for the first layer: a convolution's outputs over all images at once."""
    model = fold(trained())
    layer = batch_norms(model)[0]
    shift = layer.bias.detach().clone() - layer.running_mean * layer.weight.detach()
    scale = (layer.weight.detach() / (layer.running_var + layer.eps).sqrt()).clone()
    seen = []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    recalibrate(model, batches(3))
    hook.remove()
    values = torch.cat(seen).double().transpose(0, 1).flatten(1)
    mean, variance = values.mean(1), values.var(1, correction=0)
    assert torch.allclose(layer.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
    assert torch.allclose(layer.running_var.double(), variance, rtol=1e-5)
    spread = (variance + layer.eps).sqrt()
    assert torch.allclose(layer.weight.double(), scale.double() * spread, rtol=1e-5)
    assert torch.allclose(layer.bias.double(), shift + scale * mean, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**16),
    channels=st.integers(2, 6),
    mean=st.floats(-100, 100),
    size=st.floats(1e-3, 100),
)
def test_one_layer_answers_the_same_whatever_it_sees(seed, channels, mean, size):
    generator = torch.Generator().manual_seed(seed)
    layer = nn.BatchNorm2d(channels).eval()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(channels, generator=generator))
        layer.bias.copy_(torch.randn(channels, generator=generator))
    seen = torch.randn(8, channels, 5, 5, generator=generator) * size + mean
    with torch.no_grad():
        before = layer(seen)
        assert recalibrate(layer, [seen[:3], seen[3:]]) == 1
        after, training = layer(seen), layer.train()(seen)
    assert float((after - before).abs().max()) <= 1e-5 * (1 + abs(mean) + 10 * size)
    assert float((training - before).norm()) <= 1e-2 * (1 + float(before.norm()))


def test_a_channel_that_is_always_the_same_stays_so():
    layer = nn.BatchNorm2d(2).eval()
    with torch.no_grad():
        layer.bias.fill_(0.5)
    seen = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    seen[:, 1] = 3
    before = layer(seen)
    recalibrate(layer, [seen])
    assert torch.allclose(layer(seen), before, atol=1e-5)
    assert torch.allclose(layer.train()(seen)[:, 1], before[:, 1], atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050", "test_vit"])
def test_a_new_network_is_not_meant(name):
    model = timm.create_model(name, num_classes=0)
    assert folded_layers(model) == ()
    state = copy.deepcopy(model.state_dict())
    assert recalibrate(model, iter(())) == 0
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_a_trained_network_is_not_meant():
    assert folded_layers(trained()) == ()


def test_only_the_folded_layers_are_changed():
    model, whole = fold(trained()), trained()
    kept = whole.state_dict()
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    mixed = copy.deepcopy(model)
    last = names[-1]
    conv = last.replace("bn", "conv")
    state = {key: kept[key] for key in kept if key.startswith((f"{last}.", f"{conv}."))}
    assert any(key.startswith(conv) for key in state)
    mixed.load_state_dict({**model.state_dict(), **state})
    assert folded_layers(mixed) == tuple(names[:-1])
    recalibrate(mixed, batches(2))
    assert all(torch.equal(mixed.state_dict()[key], value) for key, value in state.items())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_stays(training):
    model = fold(trained()).train(training)
    next(model.children()).train(not training)
    modes = [module.training for module in model.modules()]
    recalibrate(model, batches(1))
    assert [module.training for module in model.modules()] == modes


def test_without_images_it_says_so_and_changes_nothing():
    model = fold(trained())
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=r"batch norms that were folded .* there are no images to"):
        recalibrate(model, [])
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_values_that_are_not_finite_are_named_and_nothing_is_changed():
    model = fold(trained())
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=r"batch norm \S+ sees values that are not finite"):
        recalibrate(model, [torch.full((2, 3, 32, 32), float("nan"))])
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


# --- a student on image files ------------------------------------------------------------------


def test_a_student_is_measured_on_training_images(tmp_path, folder_of_images):
    from safetensors.torch import save_file

    save_file(fold(trained()).state_dict(), tmp_path / "folded.safetensors")
    weights = str(tmp_path / "folded.safetensors")
    spec = Student(model="test_resnet", weights=weights, image_size=32, embedding=8)
    paths, compute = sorted(folder_of_images.rglob("*.png")), Compute.choose("cpu", 1)
    student = create_student(spec, seed=0)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = student.module(images)
        assert recalibrate_on(student, paths, compute) == len(batch_norms(student.module))
        assert apart(student.module(images), before) < 1e-5
    assert recalibrate_on(student, paths, compute) == 0
    with pytest.raises(InputError, match="there are no images"):
        recalibrate_on(create_student(spec, seed=0), [], compute)


def test_a_student_that_needs_none_reads_no_image(tmp_path):
    spec = Student(model="test_resnet", weights="none", image_size=32, embedding=8)
    student = create_student(spec, seed=0)
    assert recalibrate_on(student, [tmp_path / "not-there.png"], Compute.choose("cpu", 1)) == 0
