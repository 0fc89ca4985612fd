"""Every method and every head, in the same training loop."""

import json
from dataclasses import replace

import pytest

from compressor.data.loading import load_batches
from compressor.distillation.training import Training
from compressor.models.encoder import create_student
from runtime.errors import InputError
from short_training import CNN, CPU, SPEC, VIT, log_of, same, train


@pytest.mark.parametrize("maps", ["maps", "pooled"])
@pytest.mark.parametrize(
    "changes",
    [
        {"method": "proteus"},
        {"method": "cosine"},
        {"method": "supervised"},
        {"head": "pca"},
        {"head": "pca-then-learned"},
        {"head": "identity-when-it-fits"},
        {"head_fit": "first"},
        {"center": False},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_every_method_learns_in_the_same_loop(data, with_maps, tmp_path, changes, maps):
    spec = SPEC.model_copy(update={"epochs": 8, "center": True, **changes})
    narrow = VIT.model_copy(
        update={"args": {**VIT.args, "embed_dim": 16, "patch_size": 16}}  # 2 x 2 tokens
    )
    chosen = with_maps if maps == "maps" else data
    if spec.method == "supervised":
        chosen = replace(chosen, teacher=None)
    train(chosen, tmp_path, student=narrow, spec=spec)
    log = log_of(tmp_path)
    assert log[-1]["student_loss"] < log[0]["student_loss"]
    is_joint = spec.method == "tintem" and spec.head in ("learned", "pca-then-learned")
    if is_joint and spec.head_fit == "joint":
        assert log[-1]["head_loss"] > 0
    else:
        assert log[-1]["head_loss"] == 0


def test_a_head_that_is_fitted_first_stays_as_it_is(data):
    spec = SPEC.model_copy(update={"head_fit": "first"})
    training = Training(create_student(CNN, seed=0), data, spec, CPU, print)
    before = {key: value.clone() for key, value in training.method.head.state_dict().items()}
    loaded = load_batches(data.views(training.encoder), training.schedule.batches(), 0)
    for jobs, batch in zip(training.schedule.batches(), loaded, strict=True):
        training.step(jobs, batch)
    assert same(before, training.method.head.state_dict())
    again = Training(create_student(CNN, seed=0), data, spec, CPU, print)
    assert same(before, again.method.head.state_dict())


def test_the_head_is_measured_on_images_it_was_not_fitted_on(data, tmp_path):
    train(data, tmp_path, spec=SPEC.model_copy(update={"head": "pca", "center": True}))
    found = json.loads((tmp_path / "training.json").read_text())
    assert found["head"] == "pca"
    assert "head_fit" not in found
    # The made-up teacher has three dimensions: sixteen directions keep all its angles.
    kept = found["head_fidelity"]
    assert kept["cosine_mae"] < 1e-3
    assert kept["cosine_correlation"] > 0.999
    assert kept["semi_orthogonality_defect"] < 1e-5
    # To take the mean off is to move the angles, and the report says by how much.
    assert found["head_and_centring"]["cosine_mae"] > 0.05
    train(data, tmp_path / "b", spec=SPEC.model_copy(update={"method": "cosine"}))
    assert "head" not in json.loads((tmp_path / "b" / "training.json").read_text())
    train(data, tmp_path / "c", spec=SPEC)
    assert json.loads((tmp_path / "c" / "training.json").read_text())["head_fit"] == "joint"


def test_a_pca_head_cannot_be_wider_than_the_teacher(data, tmp_path):
    wide = CNN.model_copy(update={"embedding": 32})
    with pytest.raises(InputError, match=r"20 teacher features has no 32 directions"):
        train(data, tmp_path, student=wide, spec=SPEC.model_copy(update={"head": "pca"}))
