"""A teacher or student that cannot be built or loaded is refused before the work."""

import timm
from safetensors.torch import save_file

HUB_GONE = "http://127.0.0.1:9"


def test_teacher_weights_that_are_not_there(project, refused):
    project.change(teacher__weights="techer.safetensors")
    assert f"teacher.weights: no such file: {project.folder / 'techer.safetensors'}" in refused(
        "run", "recipe.yaml"
    )


def test_teacher_weights_of_another_model(project, refused):
    project.change(teacher__args={"img_size": 32, "patch_size": 16, "embed_dim": 48, "depth": 1})
    message = refused("run", "recipe.yaml")
    assert "teacher.safetensors: these weights do not fit teacher.model vit_tiny_patch16" in message
    assert "of another shape: cls_token [1, 1, 24] in the file, [1, 1, 48] in the model" in message


def test_teacher_weights_that_are_garbage(project, refused):
    (project.folder / "teacher.safetensors").write_bytes(b"<html>please log in</html>")
    assert "teacher.safetensors: not a whole .safetensors file" in refused("run", "recipe.yaml")


def test_unknown_teacher(project, refused):
    project.change(teacher__model="vit_tiny_patch16_242")
    assert "knows no 'vit_tiny_patch16_242'; did you mean vit_tiny_patch16_224" in refused(
        "run", "recipe.yaml"
    )


def test_unknown_student(project, refused):
    project.change(student__model="mobilenetv3_smal_050")
    assert "student.model: timm " in (message := refused("run", "recipe.yaml"))
    assert "knows no 'mobilenetv3_smal_050'; did you mean mobilenetv3_small_050" in message
    assert not (project.folder / "runs").exists()


def test_embedding_width_for_a_transformer(project, refused):
    project.change(student__model="vit_tiny_patch16_224", student__embedding=64)
    assert "student.embedding: vit_tiny_patch16_224 is a transformer and keeps its own width" in (
        refused("run", "recipe.yaml")
    )
    assert not (project.folder / "runs").exists()


def test_hub_that_cannot_be_reached(project, refused, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(project.folder.parent / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", HUB_GONE)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    project.change(teacher__weights="hub")
    message = refused("run", "recipe.yaml", code=3)
    assert f"teacher.weights: the model hub {HUB_GONE} cannot be reached from here." in message
    assert f"{HUB_GONE}/timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k/resolve/main/" in message
    assert "      weights: model.safetensors" in message


def nothing_decoded(project):
    return not list((project.folder / "runs").rglob("dataset.json"))


def test_student_weights_of_another_model_before_an_image_is_read(project, refused):
    save_file(timm.create_model("test_resnet").state_dict(), project.folder / "other.safetensors")
    project.change(student__weights="other.safetensors")
    for more in ([], ["--dry-run"]):
        message = refused("run", "recipe.yaml", *more)
        unfit = "other.safetensors: these weights do not fit student.model mobilenetv3_small"
        assert unfit in message
    assert nothing_decoded(project)


def test_student_weights_with_missing_layers_before_an_image_is_read(project, refused):
    state = timm.create_model("mobilenetv3_small_050").state_dict()
    del state["conv_stem.weight"]
    save_file(state, project.folder / "part.safetensors")
    project.change(student__weights="part.safetensors")
    message = refused("run", "recipe.yaml")
    assert "1 missing: conv_stem.weight" in message
    assert nothing_decoded(project)


def test_a_teacher_without_weights(project, refused):
    project.change(teacher__weights="auto")
    assert "teacher.weights: a teacher needs weights: `hub` or a local file" in refused(
        "run", "recipe.yaml"
    )
