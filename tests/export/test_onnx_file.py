"""Real exports, opened by the real ONNX Runtime."""

import json

import numpy as np
import onnx
import pytest
import torch

import export as export_room
from compressor.models.encoder import create_student
from compressor.recipe.schema import Student
from export.onnx_file import OPSET, Deployed, Voting, export, facts, linear
from runtime.backends.registry import open_session
from runtime.errors import InputError

STUDENTS = {
    "cnn": Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=16),
    "vit": Student(
        model="vit_tiny_patch16_224",
        weights="none",
        image_size=32,
        args={"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2},
    ),
}
METADATA = {"classes": ["ä", "b", "c"], "recipe": {"name": "x", "digest": "0" * 64}, "note": "text"}


@pytest.fixture(scope="module", params=["cnn", "vit"])
def exported(request, tmp_path_factory):
    student = create_student(STUDENTS[request.param], seed=0)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, student.dim)).astype(np.float32)
    probe = linear(weight, rng.normal(size=3).astype(np.float32))
    module = Deployed(student.module, probe).eval()
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    export(module, 32, path, METADATA)
    return module, path


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_answers_are_torchs_at_any_batch(exported, batch):
    module, path = exported
    images = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))
    got = open_session(path, provider="cpu").run(images.numpy())
    with torch.inference_mode():
        embedding, logits = module(images)
    assert np.allclose(got.embedding, embedding.numpy(), atol=1e-4)
    assert np.allclose(got.logits, logits.numpy(), atol=1e-4)


def test_activations_are_in_place_again(exported):
    module, path = exported
    in_place = [each.inplace for each in module.modules() if hasattr(each, "inplace")]
    cnn = any(isinstance(each, torch.nn.Conv2d) and each.groups > 1 for each in module.modules())
    assert any(in_place) == cnn
    if cnn:  # each activation is one operator
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        assert kinds.count("HardSwish") + kinds.count("Relu") == sum(in_place)


def test_it_is_one_file_that_says_what_it_is(exported):
    _, path = exported
    assert [each.name for each in path.parent.iterdir()] == ["student.onnx"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    properties = {each.key: each.value for each in model.metadata_props}
    assert json.loads(properties["classes"]) == METADATA["classes"]
    assert json.loads(properties["recipe"]) == METADATA["recipe"]
    assert properties["note"] == "text"
    assert b'File "' not in path.read_bytes()  # no stack traces of the exporting machine
    told = facts(path)
    assert told["opset"]["ai.onnx"] == OPSET
    assert told["ir_version"] == model.ir_version
    assert told["inputs"] == {"images": ["batch", 3, 32, 32]}
    assert told["outputs"]["logits"] == ["batch", 3]


def test_a_vote_is_exported_too(tmp_path):
    student = create_student(STUDENTS["cnn"], seed=0)
    rng = np.random.default_rng(0)
    arrays = {
        "bank": rng.normal(size=(7, 16)) / 4,
        "votes": np.eye(3)[np.arange(7) % 2],
        "bias": np.array([0, 0, -1e4]),
        "scale": np.array([2.5]),
    }
    arrays = {name: each.astype(np.float32) for name, each in arrays.items()}
    module = Deployed(student.module, Voting(arrays, temperature=0.07, least=1e-6)).eval()
    export(module, 32, tmp_path / "s.onnx", {})
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    got = open_session(tmp_path / "s.onnx", provider="cpu").run(images.numpy())
    with torch.inference_mode():
        _, logits = module(images)
    assert np.allclose(got.logits, logits.numpy(), atol=1e-4)
    assert np.isfinite(got.logits).all()


def test_without_labels_there_are_no_logits(tmp_path):
    student = create_student(STUDENTS["cnn"], seed=0)
    export(Deployed(student.module, None), 32, tmp_path / "s.onnx", {})
    assert list(facts(tmp_path / "s.onnx")["outputs"]) == ["embedding"]
    outputs = open_session(tmp_path / "s.onnx", provider="cpu").run(
        np.zeros((2, 3, 32, 32), np.float32)
    )
    assert outputs.logits is None
    assert outputs.embedding.shape == (2, 16)


# --- the public function ---------------------------------------------------------------------


def test_an_encoder_is_exported_with_its_preprocessing_and_left_as_it_is(tmp_path):
    student = create_student(STUDENTS["cnn"], seed=0)
    student.module.train()
    path = export_room.to_onnx(student, tmp_path / "s.onnx", metadata={"note": "mine"})
    assert student.module.training
    assert facts(path)["inputs"] == {"images": ["batch", 3, 32, 32]}
    properties = {each.key: each.value for each in onnx.load(path).metadata_props}
    wanted = json.dumps(student.preprocess.to_dict())
    assert properties["preprocess"] == wanted
    assert properties["note"] == "mine"
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = student.module.eval()(images)
    got = open_session(path, provider="cpu").run(images.numpy())
    assert np.allclose(got.embedding, expected.numpy(), atol=1e-4)


def test_a_plain_module_says_its_size(tmp_path):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 5))
    with pytest.raises(InputError, match="give size_px"):
        export_room.to_onnx(module, tmp_path / "s.onnx")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: File exists"):
        export_room.to_onnx(module, tmp_path / "file" / "s.onnx", size_px=8)
    probe = torch.nn.Linear(5, 2)
    path = export_room.to_onnx(module, str(tmp_path / "s.onnx"), size_px=8, probe=probe)
    assert facts(path)["outputs"] == {"embedding": ["batch", 5], "logits": ["batch", 2]}
