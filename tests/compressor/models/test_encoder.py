"""Teachers and students of timm: their width, their input, and that a teacher is left alone."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from compressor.data.loading import to_input
from compressor.models.encoder import CNN_EMBEDDING, create_student, load_teacher
from compressor.models.side_by_side import side_by_side
from compressor.recipe.schema import Student, Teacher
from runtime.errors import InputError

VIT_ARGS = {"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}
CNN = Student(model="mobilenetv3_small_050", weights="none", image_size=64, embedding=16)
VIT = Student(model="vit_tiny_patch16_224", weights="none", image_size=32, args=VIT_ARGS)
# Of several maps at once, so of none that a student could match.
COAT = {"img_size": 64, "serial_depths": (1, 1, 1, 1), "parallel_depth": 1}


def test_a_cnn_student_gets_a_linear_embedding_layer():
    student = create_student(
        Student(model="mobilenetv3_small_050", weights="none", image_size=32), seed=0
    )
    assert student.dim == CNN_EMBEDDING == 192
    assert isinstance(student.module.embedding, torch.nn.Linear)
    narrow = create_student(
        Student(model="mobilenetv3_small_050", weights="none", image_size=32, embedding=16), seed=0
    )
    assert narrow.dim == 16
    assert narrow.module.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 16)


def test_a_vit_student_keeps_its_own_width():
    spec = Student(model="vit_tiny_patch16_224", weights="none", image_size=32, args=VIT_ARGS)
    student = create_student(spec, seed=0)
    assert student.dim == 24
    assert isinstance(student.module.embedding, torch.nn.Identity)
    assert create_student(spec.model_copy(update={"embedding": 24}), seed=0).dim == 24
    with pytest.raises(InputError, match="keeps its own width 24"):
        create_student(spec.model_copy(update={"embedding": 32}), seed=0)


@pytest.mark.parametrize(
    ("spec", "map_shape"),
    [
        (CNN, (2, 2, 288)),
        (CNN.model_copy(update={"image_size": 128}), (4, 4, 288)),
        (VIT, (4, 4, 24)),
        (VIT.model_copy(update={"image_size": 64}), (8, 8, 24)),
        (Student(model="coat_tiny", weights="none", image_size=64, args=COAT), None),
    ],
    ids=lambda value: getattr(value, "model", None),
)
def test_the_shape_of_its_map_is_known_and_its_features_are_its_answer(spec, map_shape):
    student = create_student(spec, seed=0)
    assert student.map_shape == map_shape
    images = torch.rand(2, 3, spec.image_size, spec.image_size)
    with torch.inference_mode():
        found = student.module.features(images)
        assert torch.equal(found.pooled, student.module(images))
        assert found.pooled.shape == (2, student.dim)
    assert (None if found.maps is None else tuple(found.maps.shape[1:])) == map_shape


def test_a_cnns_map_is_the_backbones_own_and_only_its_embedding_has_the_recipes_width():
    student = create_student(CNN, seed=0)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        found = student.module.features(images)
        backbone = student.module.backbone
        assert torch.equal(found.maps, backbone.forward_features(images).permute(0, 2, 3, 1))
        assert torch.equal(found.pooled, student.module.embedding(backbone(images)))


def test_a_model_of_several_maps_keeps_its_own_width():
    spec = Student(model="coat_tiny", weights="none", image_size=64, args=COAT, embedding=16)
    with pytest.raises(InputError, match="keeps its own width 152"):
        create_student(spec, seed=0)


def test_the_seed_makes_the_weights_and_leaves_torchs_own_generator_alone():
    spec = Student(model="mobilenetv3_small_050", weights="none", image_size=32)
    before = torch.get_rng_state()
    a, b, c = (create_student(spec, seed=seed).module.state_dict() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(a[key], c[key]) for key in a)


@pytest.mark.parametrize(
    ("model", "args", "size"),
    [
        ("vit_tiny_patch16_224", VIT_ARGS, 32),
        ("vit_small_patch14_dinov2", {**VIT_ARGS, "patch_size": 14}, 28),
        ("vit_small_patch14_reg4_dinov2", {**VIT_ARGS, "patch_size": 14}, 28),
        ("vit_base_patch16_siglip_224", VIT_ARGS, 32),
        ("vit_base_patch16_clip_224", VIT_ARGS, 32),
        ("deit_tiny_distilled_patch16_224", VIT_ARGS, 32),
        ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}, 32),
        ("mobilenetv3_small_050", {}, 32),
        ("coat_tiny", COAT, 64),
    ],
)
def test_families_of_teachers_give_pooled_features_and_stay_frozen(tmp_path, model, args, size):
    made = timm.create_model(model, num_classes=0, **{**_img_size(model, size), **args})
    path = tmp_path / "weights.safetensors"
    save_file({key: value.clone() for key, value in made.state_dict().items()}, path)
    spec = Teacher(model=model, weights=str(path), args=args, image_size=size)
    teacher = load_teacher(spec)
    assert not teacher.module.training
    assert not any(each.requires_grad for each in teacher.module.parameters())
    assert teacher.preprocess.size_px == size
    images = torch.rand(2, 3, size, size)
    with torch.inference_mode():
        assert torch.allclose(teacher.module(images), made.eval()(images), atol=1e-5)
    assert teacher.module(images).shape == (2, teacher.dim)
    assert teacher.origin.sha256
    found = teacher.module.features(images)
    assert torch.equal(found.pooled, teacher.module(images))
    assert (None if found.maps is None else found.maps.shape[1:]) == teacher.map_shape


def _img_size(model, size):
    return {"img_size": size} if timm.models.get_pretrained_cfg(model).fixed_input_size else {}


def test_the_data_config_is_timms_and_the_recipe_overrides_it():
    spec = Student(model="mobilenetv3_small_050", weights="none", image_size=64)
    own = create_student(spec, seed=0).preprocess
    assert own.mean == (0.485, 0.456, 0.406)
    assert (own.size_px, own.resize_px, own.interpolation) == (64, 73, "bicubic")  # crop .875
    changes = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "crop": 1.0}
    changed = create_student(
        spec.model_copy(update={**changes, "interpolation": "bilinear"}), seed=0
    ).preprocess
    assert changed.mean == (0.5, 0.5, 0.5)
    assert changed.std == (0.25, 0.25, 0.25)
    assert (changed.resize_px, changed.interpolation) == (64, "bilinear")


def test_the_training_input_equals_the_devices():
    """One contract: torch's normalisation and numpy's differ by float32 rounding only."""
    preprocess = create_student(
        Student(model="mobilenetv3_small_050", weights="none", image_size=32), seed=0
    ).preprocess
    pixels = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    ours = to_input(pixels, preprocess, torch.device("cpu"))
    assert ours.shape == (4, 3, 32, 32)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    difference = (ours - torch.from_numpy(preprocess.normalise(pixels.numpy()))).abs().max()
    assert difference <= 1e-6


def test_side_by_side_each_answers_as_alone():
    two = [create_student(CNN, seed=seed) for seed in (0, 1)]
    images = torch.rand(3, 3, 64, 64)
    both = side_by_side(*two)
    assert (both.dim, both.map_shape, both.preprocess) == (32, None, two[0].preprocess)
    with torch.inference_mode():
        got = both.module.eval()(images)
        alone = [each.module(images) for each in two]  # eval reaches them
    assert torch.equal(got, torch.cat(alone, dim=1))


def test_side_by_side_they_must_see_the_same_pixels():
    larger = create_student(CNN.model_copy(update={"image_size": 96}), seed=0)
    with pytest.raises(ValueError, match="different ways"):
        side_by_side(create_student(CNN, seed=0), larger)


def test_a_classifier_cannot_be_asked_for():
    with pytest.raises(InputError, match=r"student.args.num_classes"):
        create_student(
            Student(model="mobilenetv3_small_050", weights="none", args={"num_classes": 5}), seed=0
        )


def test_an_image_size_that_cuts_patches_is_taken_as_timm_takes_it_and_said_once(caplog):
    args = {"embed_dim": 48, "depth": 1, "num_heads": 2}
    spec = Student(model="vit_small_patch14_dinov2", weights="none", image_size=30, args=args)
    for _ in range(2):
        assert create_student(spec, seed=0).map_shape == (2, 2, 48)
    said = "30 px is not a multiple of 14 px patches; the last 2 px of each side are not seen. 28 "
    assert [said in line for line in caplog.messages] == [True]
