"""Checkpoints of people's own training: the one full set is found, or the reason is said."""

import logging

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor.models.pretrained.weights import load_into
from runtime.errors import InputError

ARGS = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2}
MODELS = {"vit": ("vit_tiny_patch16_224", ARGS), "cnn": ("mobilenetv3_small_050", {})}


def make(kind, seed=1):
    name, args = MODELS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(name, num_classes=0, **args)


@pytest.fixture(scope="module")
def right():
    """The weights that should be loaded, by kind of model; a user must not change them."""
    return {kind: make(kind, seed=0).state_dict() for kind in MODELS}


def at(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def other(state):
    """Weights of the same shapes that would be wrong."""
    return {k: v + 1 if v.is_floating_point() else v for k, v in state.items()}


HEAD = {"mlp.0.weight": torch.zeros(3, 24), "last_layer.weight_g": torch.ones(3, 1)}


def load(document, kind, folder):
    path = folder / "own.pth"
    torch.save(document, path)
    model = make(kind)
    load_into(model, path, role="teacher")
    return model.state_dict()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


WRAPPED = {
    "DINO": lambda s: {
        "student": at("module.backbone.", other(s)),
        "teacher": {**at("backbone.", s), **at("head.", HEAD)},
        "epoch": 3,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
    },
    "DINOv2 while it trains": lambda s: {
        "model": {
            **at("student.backbone.", other(s)),
            **at("teacher.backbone.", s),
            **at("teacher.dino_head.", HEAD),
            **at("student.dino_head.", HEAD),
        },
        "iteration": 7,
    },
    "DINOv2's teacher checkpoint": lambda s: {
        "teacher": {**at("backbone.", s), **at("dino_head.", HEAD), **at("ibot_head.", HEAD)}
    },
    "Lightning": lambda s: {
        "state_dict": {**at("model.", s), "criterion.weight": torch.ones(5)},
        "optimizer_states": [{"state": {}}],
        "pytorch-lightning_version": "2.4.0",
    },
    "Lightning, net": lambda s: {
        "state_dict": {**at("net.", s), "val_accuracy.total": torch.ones(1)}
    },
    "Lightning, with an average of the weights": lambda s: {
        "state_dict": {**at("model.", other(s)), **at("ema_model.module.", s)}
    },
    "SimCLR": lambda s: {**at("backbone.", s), **at("projection_head.", HEAD)},
    "Lightly, an online classifier beside": lambda s: {
        "state_dict": {
            **at("backbone.", s),
            **at("online_classifier.", {"linear.bias": torch.ones(9)}),
        }
    },
    "MoCo v2": lambda s: {
        "arch": "vit",
        "state_dict": {
            **at("module.encoder_q.", s),
            **at("module.encoder_k.", other(s)),
            "module.queue": torch.zeros(3, 3),
            "module.queue_ptr": torch.zeros(1, dtype=torch.long),
        },
    },
    "MoCo v3": lambda s: {
        "state_dict": {
            **at("module.base_encoder.", s),
            **at("module.base_encoder.head.", HEAD),
            **at("module.momentum_encoder.", other(s)),
            **at("module.predictor.", HEAD),
        }
    },
    "timm's training script": lambda s: {
        "arch": "x",
        "state_dict": other(s),
        "state_dict_ema": s,
        "epoch": 3,
    },
    "timm's, after DataParallel": lambda s: {
        "state_dict": at("module.", other(s)),
        "state_dict_ema": at("module.", s),
    },
    "only an average": lambda s: {"model_ema": s},
    "DeiT": lambda s: {"model": other(s), "model_ema": s, "scaler": {"scale": 2.0}},
    "MAE": lambda s: {
        "model": {
            **s,
            "mask_token": torch.zeros(1, 1, 8),
            "decoder_blocks.0.norm1.bias": torch.ones(8),
        }
    },
    "torch.compile after DistributedDataParallel": lambda s: at("_orig_mod.module.", s),
    "torch's AveragedModel": lambda s: {"n_averaged": torch.tensor(3), **at("module.", s)},
    "a wrapper of one's own": lambda s: {"weights": {"net": at("encoder.trunk.", s)}},
    "twice the same": lambda s: {"model": s, "state_dict": {k: v.clone() for k, v in s.items()}},
    "a copy of itself within": lambda s: {**other(s), **at("ema.", s)},
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("how", WRAPPED)
def test_the_full_set_is_loaded(how, kind, right, tmp_path):
    assert equal(load(WRAPPED[how](right[kind]), kind, tmp_path), right[kind])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("DINO", "own.pth: `teacher > backbone.` is used, a moving average, not "
         "`student > module.backbone.`"),
        ("timm's training script", "`state_dict_ema` is used, a moving average, not `state_dict`"),
        ("MoCo v2", "`state_dict > module.encoder_q.` is used, not `state_dict > module.enc"),
        ("SimCLR", "own.pth: `backbone.` is used, not projection_head"),
        ("MAE", "left out, no part of the model: mask_token, decoder_blocks.0.norm1.bias"),
    ],
)  # fmt: skip
def test_a_choice_is_said(how, said, right, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="compressor.models.pretrained.weights"):
        load(WRAPPED[how](right["vit"]), "vit", tmp_path)
    assert any(said in line for line in caplog.messages), caplog.messages


@pytest.mark.parametrize(
    ("document", "places"),
    [
        (lambda s: {"a": s, "b": other(s)}, ("  a\n", "  b\n")),
        (lambda s: {**at("online.", s), **at("target.", other(s))}, ("  online.\n", "  target.\n")),
        (lambda s: {"best": {"state_dict": s}, "last": {"state_dict": other(s)}},
         ("  best > state_dict\n", "  last > state_dict\n")),
        (lambda s: {"ema": s, "ema_slow": other(s)}, ("  ema\n", "  ema_slow\n")),
    ],
)  # fmt: skip
def test_of_two_that_fit_none_is_guessed_and_the_way_out_works(document, places, right, tmp_path):
    whole = document(right["vit"])
    with pytest.raises(InputError, match="several full sets of weights that differ") as caught:
        load(whole, "vit", tmp_path)
    message = str(caught.value)
    for place in places:
        assert place in message
    # The line that the message gives, done as it stands, makes a file that loads.
    code = message[message.index("  whole = ") :].replace("\n  ", "\n").strip()
    code = code.replace("'own.pth'", repr(str(tmp_path / "own.pth")))
    exec(code.replace("'weights.pth'", repr(str(tmp_path / "weights.pth"))), {"torch": torch})
    model = make("vit")
    load_into(model, tmp_path / "weights.pth", role="teacher")
    assert equal(model.state_dict(), right["vit"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {**s, "norm_pre.weight": torch.ones(24)}, "1 not in the model: norm_pre.weight"),
        (lambda s: {**s, "blocks.2.norm1.weight": torch.ones(24)}, "1 not in the model: blocks.2."),
        (lambda s: {k: v for k, v in s.items() if k != "norm.bias"}, "1 missing: norm.bias"),
        (lambda s: {"student": {k: v for k, v in at("net.", s).items() if "norm.b" not in k}},
         "1 missing: norm.bias"),
    ],
)  # fmt: skip
def test_another_network_is_not_loaded_in_part(change, said, right, tmp_path):
    with pytest.raises(InputError, match=r"do not fit teacher\.model vit_tiny") as caught:
        load(change(right["vit"]), "vit", tmp_path)
    assert said in str(caught.value)


def test_an_old_file_without_the_counters_of_batch_norm_is_loaded(right, tmp_path):
    old = {k: v for k, v in right["cnn"].items() if not k.endswith("num_batches_tracked")}
    loaded = load(old, "cnn", tmp_path)
    assert all(torch.equal(loaded[key], old[key]) for key in old)


def quantised(value):
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


def spoilt(with_value):
    def spoil(value):
        changed = value.clone()
        changed.view(-1)[0] = with_value
        return changed

    return spoil


ODD = {
    "quantised": (quantised, "is quantised (torch.qint8)"),
    "sparse": (lambda value: value.to_sparse(), "is sparse (torch.sparse_coo)"),
    "meta": (lambda value: value.to("meta"), "is without values"),
    "complex": (lambda value: value.to(torch.complex64), "is of torch.complex64"),
    "float8": (lambda value: value.to(torch.float8_e4m3fn), "is of torch.float8_e4m3fn"),
    "int8": (lambda value: (value * 10).to(torch.int8), "holds torch.int8, where the model has"),
    "bool": (lambda value: value > 0, "holds torch.bool, where the model has"),
    "nan": (spoilt(float("nan")), "are not finite numbers"),
    "infinite": (spoilt(float("-inf")), "are not finite numbers"),
    "beyond float32": (lambda value: value.double() * 1e300, "are not finite numbers"),
}


@pytest.mark.filterwarnings("ignore")  # torch's, of its own quantisation
@pytest.mark.parametrize("share", ["all", "one"])
@pytest.mark.parametrize("odd", ODD)
def test_tensors_of_other_kinds_are_refused_by_name(odd, share, right, tmp_path):
    change, said = ODD[odd]
    names = [n for n, v in right["vit"].items() if v.is_floating_point()]
    changed = names if share == "all" else ["blocks.0.attn.qkv.weight"]
    state = {k: change(v) if k in changed else v for k, v in right["vit"].items()}
    for document in (state, {"state_dict": at("model.", state)}):
        with pytest.raises(InputError, match=r"own\.pth: ") as caught:
            load(document, "vit", tmp_path)
        assert said in str(caught.value)


NAMES = st.sampled_from(
    ["model", "net", "state_dict", "module", "teacher", "encoder", "x", "weights"]
)


@given(
    nest=st.lists(NAMES, max_size=3),
    prefix=st.lists(NAMES, max_size=3),
    beside=st.dictionaries(
        st.sampled_from(["criterion.weight", "extra", "head.0.weight"]), st.just(torch.ones(2))
    ),
    kind=st.sampled_from(sorted(MODELS)),
)
@settings(max_examples=40, deadline=None)
def test_wherever_one_full_set_lies_it_is_found(
    nest, prefix, beside, kind, right, tmp_path_factory
):
    start = "".join(f"{name}." for name in prefix)
    document = at(start, right[kind]) | (beside if start else {})
    for name in reversed(nest):
        document = {name: document, "epoch": 3}
    assert equal(load(document, kind, tmp_path_factory.mktemp("own")), right[kind])
