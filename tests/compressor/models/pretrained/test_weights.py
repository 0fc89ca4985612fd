"""Weights into a model: every kind of file that fits, and a message for every one that does not."""

import logging
import pickle

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from compressor.models.pretrained.weights import load_into
from runtime.errors import InputError
from tiny_vit import ARGS, VIT, make

WAY_OUT = r"torch\.save\(model\.state_dict\(\), 'weights\.pth'\)"


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def state():
    return make(seed=0).state_dict()


@pytest.fixture
def load(tmp_path):
    """Write what is given as a checkpoint, and load it into a fresh model; gives its state."""

    def load(document, name="weights.pth", model=None, **options):
        path = tmp_path / name
        if isinstance(document, bytes):
            path.write_bytes(document)
        elif path.suffix == ".safetensors":
            save_file(document, path)
        else:
            torch.save(document, path, **options)
        model = model or make()
        load_into(model, path, role="teacher")
        return model.state_dict()

    return load


# --- what fits -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights.pt", "model.bin"])
def test_each_kind_of_file_is_read(load, state, name):
    assert not equal(make().state_dict(), state)
    assert equal(load(state, name), state)


def test_a_file_of_an_old_torch_is_read(load, state):
    assert equal(load(state, _use_new_zipfile_serialization=False), state)


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "epoch": 3, "args": {"lr": 0.1}},
        lambda state: {"state_dict": state},
        lambda state: {"model_state_dict": state, "optimizer": {"state": {}}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: prefixed(state, "module."),
        lambda state: {"state_dict": prefixed(state, "module.")},
        lambda state: prefixed(state, "module._orig_mod."),
        lambda state: {"state_dict": prefixed(state, "model.backbone.")},
    ],
)
def test_nests_and_wrappers_are_taken_off(load, state, wrap):
    assert equal(load(wrap(state)), state)


def test_half_precision_weights_become_float32(load, state):
    loaded = load({key: value.half() for key, value in state.items()})
    assert all(value.dtype == torch.float32 for value in loaded.values())
    assert torch.allclose(loaded["cls_token"], state["cls_token"], atol=1e-3)


@pytest.mark.parametrize(
    ("model", "args", "classifier"),
    [
        (VIT, ARGS, "head.bias, head.weight"),
        ("mobilenetv3_small_050", {}, "classifier.bias, classifier.weight"),
    ],
)
def test_a_classifier_is_left_out_with_a_line(load, caplog, model, args, classifier):
    trained = timm.create_model(model, num_classes=5, **args).state_dict()
    student = timm.create_model(model, num_classes=0, **args)
    with caplog.at_level(logging.INFO, logger="compressor.models.pretrained.weights"):
        loaded = load(trained, "theirs.safetensors", student)
    assert all(torch.equal(loaded[key], trained[key]) for key in loaded)
    assert caplog.messages == [f"theirs.safetensors: left out, no part of the model: {classifier}"]


def test_weights_that_fit_are_loaded_without_a_line(load, state, caplog):
    with caplog.at_level(logging.INFO, logger="compressor.models.pretrained.weights"):
        load(state)
    assert caplog.messages == []


@pytest.mark.parametrize("size", [16, 64, 128])
def test_position_embeddings_of_another_size_are_resampled_as_timm_does(load, size):
    theirs = make(seed=0, img_size=size).state_dict()
    loaded = load(theirs)
    filtered = timm.models.vision_transformer.checkpoint_filter_fn(dict(theirs), make())
    assert theirs["pos_embed"].shape != loaded["pos_embed"].shape == (1, 5, 24)
    assert equal(loaded, filtered)
    assert torch.equal(loaded["pos_embed"][:, 0], theirs["pos_embed"][:, 0])  # the class token's


def test_the_original_names_of_a_family_are_known_through_timm(load):
    """DINOv2's own files hold a mask token, which no student or teacher has a use for."""
    model = timm.create_model("vit_small_patch14_dinov2", num_classes=0, **{**ARGS,
                              "img_size": 28, "patch_size": 14})  # fmt: skip
    theirs = {**model.state_dict(), "mask_token": torch.zeros(1, 24)}
    assert equal(load(theirs, model=model), model.state_dict())


# --- what does not ---------------------------------------------------------------------------


def refusal(load, document, *args, **options):
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load(document, *args, **{"model": model, **options})
    assert equal(model.state_dict(), before)
    return str(caught.value)


def test_another_width_is_named_with_both_shapes(load):
    message = refusal(load, make(embed_dim=48).state_dict(), "wide.safetensors")
    assert (
        "wide.safetensors: these weights do not fit teacher.model vit_tiny_patch16_224" in message
    )
    assert "18 of another shape: cls_token [1, 1, 48] in the file, [1, 1, 24] in the model, " in (
        message
    )
    assert message.endswith("A different width or depth goes into teacher.args.")


def test_missing_keys_are_named(load, state):
    del state["norm.bias"], state["cls_token"]
    assert "2 missing: cls_token, norm.bias\n" in refusal(load, state)


def test_unknown_keys_are_named(load, state):
    message = refusal(load, make(depth=2).state_dict())
    assert "12 not in the model: blocks.1." in message
    assert message.count("blocks.1.") == 4  # the first of them, and "..."
    assert "1 not in the model: extra\n" in refusal(load, {**state, "extra": torch.zeros(1)})


def test_weights_of_another_family_are_refused(load, state):
    resnet = timm.create_model("resnet10t", num_classes=0)
    message = refusal(load, resnet.state_dict())
    assert "18 missing: cls_token" in message
    assert "not in the model: " in message
    with pytest.raises(InputError, match=r"do not fit teacher\.model resnet10t"):
        load(state, model=resnet)


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"teacher": {"cls_token": 3}, "epoch": 3}, "it holds teacher, epoch"),
        (
            {0: torch.zeros(2), 1: torch.zeros(2)},
            "it holds 0, 1; a state dict names its tensors by text, not by numbers",
        ),
        ({}, "it holds nothing"),
        ([torch.zeros(3)], "holds a list, not a state dict"),
        (torch.zeros(3), "holds a Tensor, not a state dict"),
    ],
)
def test_a_file_without_a_state_dict_is_refused(load, document, what):
    assert refusal(load, document).endswith(what)


class Opens:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_code_in_a_checkpoint_is_refused_and_not_run(load, state, tmp_path, options):
    trap = tmp_path / "it_ran"
    with pytest.raises(InputError, match=r"\(io\.open\).*would run code from the file") as caught:
        load({"model": state, "extra": Opens(trap)}, **options)
    assert "torch.save(model.state_dict(), 'weights.pth')" in str(caught.value)
    assert not trap.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_bare_pickle_is_not_run(load, tmp_path, protocol):
    trap = tmp_path / "it_ran"
    with pytest.raises(InputError, match=r"weights\.pth: "):
        load(pickle.dumps(Opens(trap), protocol))
    assert not trap.exists()
    with pytest.raises(InputError, match=r"not a whole \.safetensors file"):
        load(pickle.dumps(Opens(trap), protocol), "weights.safetensors")
    assert not trap.exists()


def test_a_whole_model_is_refused_with_its_class_and_the_way_out(load):
    with pytest.raises(InputError, match=WAY_OUT) as caught:
        load(make())
    assert "(timm.models.vision_transformer.VisionTransformer)" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"<!DOCTYPE html>", b"PNG", b"\x89PNG\r\n", b"{}"]
)
def test_garbage_is_neither_kind_of_file(load, content):
    assert refusal(load, content).endswith("neither a .safetensors nor a PyTorch checkpoint")


@pytest.mark.parametrize(
    "content", [b"PK", b"PK\x03\x04" + bytes(100), b"\x80", b"\x80\x02garbage", b"\x80\x04\x95xyz"]
)
def test_what_only_begins_like_a_checkpoint_is_damaged(load, content):
    assert "not a checkpoint that torch can read; it is damaged" in refusal(load, content)


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_truncated_file_is_refused(load, state, tmp_path, name, share):
    load(state, name)
    whole = (tmp_path / name).read_bytes()
    message = refusal(load, whole[: int(share * len(whole))], name)
    assert message.startswith(f"{tmp_path / name}: n")


def test_a_tensor_without_rows_that_timm_cannot_convert_is_a_misfit(load, state):
    """timm divides by the size of a patch; a damaged header can say that it is zero."""
    state["patch_embed.proj.weight"] = torch.zeros(16, 3, 0, 0)
    with pytest.raises(InputError, match=r"patch_embed\.proj\.weight"):
        load(state)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_damage_gives_anything_but_weights_or_our_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    path, zipped = folder / "weights.pth", data.draw(st.booleans())
    torch.save(make().state_dict(), path, _use_new_zipfile_serialization=zipped)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(1, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        load_into(make(), path, role="teacher")
    except InputError as error:
        assert str(path) in str(error)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for name in ("nowhere.pth", "nowhere.safetensors"):
        with pytest.raises(InputError, match=f"{name}: no such file"):
            load_into(make(), tmp_path / name, role="teacher")
