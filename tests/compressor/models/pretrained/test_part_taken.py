"""Which of the weights in a checkpoint were taken stands in the report."""

import pytest
import timm
import torch
from msgspec import convert

from compressor.models.encoder import load_teacher
from compressor.recipe.schema import Teacher
from runtime.bundle.schema import Network
from runtime.documents import plain
from runtime.results.report import origin_of

MODEL = "vit_tiny_patch16_224"
ARGS = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(MODEL, num_classes=0, **ARGS).state_dict()


@pytest.fixture
def card(tmp_path):
    """`card(document)`: the entry in a report of a teacher that was loaded from it."""

    def load(document):
        torch.save(document, tmp_path / "own.pth")
        weights = str(tmp_path / "own.pth")
        return load_teacher(Teacher(model=MODEL, weights=weights, args=ARGS)).card()

    return load


def at(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def other(state):
    return {key: value + 1 for key, value in state.items()}


CHECKPOINTS = {
    "teacher > backbone., a moving average, not student > module.backbone.": lambda s: {
        "student": at("module.backbone.", other(s)),
        "teacher": at("backbone.", s),
    },
    "state_dict_ema, a moving average, not state_dict": lambda s: {
        "state_dict": other(s),
        "state_dict_ema": s,
    },
    "model_ema, a moving average": lambda s: {"model_ema": s},
    "state_dict > model.": lambda s: {"state_dict": at("model.", s)},
    "model": lambda s: {"model": s},
}


@pytest.mark.parametrize("said", CHECKPOINTS)
def test_it_is_said_in_words(card, state, said):
    found = card(CHECKPOINTS[said](state))
    assert found.part == said
    assert origin_of(convert(plain(found), Network)).part == said


def test_of_a_plain_file_nothing_is_said(card, state):
    assert "part" not in plain(card(state))
