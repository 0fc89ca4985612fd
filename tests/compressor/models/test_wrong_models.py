"""Networks that cannot be built: no hub, no such model, wrong arguments; each with the way out."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from safetensors.torch import save_file

from compressor.models.building import size_limit
from compressor.models.encoder import create_student, load_teacher
from compressor.recipe.schema import Student, Teacher
from runtime.errors import InputError, MissingDependencyError
from tiny_vit import ARGS, VIT, make


@pytest.mark.usefixtures("empty_hub_cache")
@pytest.mark.parametrize("role", ["teacher", "student"])
def test_no_hub_says_which_file_to_fetch_and_how_to_name_it(monkeypatch, role):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MissingDependencyError) as caught:
        if role == "teacher":
            load_teacher(Teacher(model="test_vit"))
        else:
            create_student(Student(model="test_vit", weights="hub"), seed=0)
    assert str(caught.value) == (
        f"{role}.weights: the model hub http://127.0.0.1:9 cannot be reached from here.\n"
        "  On a machine that can, fetch "
        "http://127.0.0.1:9/timm/test_vit.r160_in1k/resolve/main/model.safetensors\n"
        "  copy it beside the recipe, and write\n"
        f"    {role}:\n      model: test_vit\n      weights: model.safetensors\n"
        "  Or fetch all that a recipe needs at once, there: "
        "compressor fetch RECIPE --to weights"
    )


@pytest.mark.usefixtures("empty_hub_cache")
def test_offline_mode_asks_nobody(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(MissingDependencyError, match="cannot be reached from here"):
            load_teacher(Teacher(model="test_vit"))


class Refuses(BaseHTTPRequestHandler):
    """A server that is there and has no file to give, as behind a company's gate."""

    def do_HEAD(self):
        self.send_error(401)

    def log_message(self, *args):
        pass


@pytest.mark.usefixtures("empty_hub_cache")
def test_a_download_that_fails_says_the_same_way_out(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(MissingDependencyError, match=r"the download failed: .*401") as caught:
            load_teacher(Teacher(model="test_vit"))
        server.shutdown()
    assert f"fetch {endpoint}/timm/test_vit.r160_in1k/resolve/main/model.safetensors" in str(
        caught.value
    )


def test_a_model_that_the_hub_does_not_have_is_refused():
    with pytest.raises(
        InputError, match=r"timm has no pretrained weights for it; use a local file"
    ):
        load_teacher(Teacher(model="vit_small_patch16_18x2_224"))
    with pytest.raises(InputError, match=r"its weights are not on the hub; fetch https://.*\n.*"):
        load_teacher(Teacher(model="gcvit_xxtiny"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vit_tiny_patch16_22", r"teacher\.model: timm .* knows no 'vit_tiny_patch16_22'; "
         r"did you mean vit_tiny_patch16_224 or "),
        ("VIT_tiny_patch16_224.a", "knows no 'VIT_tiny_patch16_224.a'; did you mean vit_tiny_"),
        ("dinov2", "knows no 'dinov2'; did you mean vit_base_patch14_dinov2 or "),
        ("zzzzzz", "knows no 'zzzzzz'$"),
        ("vit_tiny_patch16_224.nope", r"Invalid pretrained tag \(nope\) .* Known: "
         r"vit_tiny_patch16_224\.augreg_in21k, "),
    ],
)  # fmt: skip
def test_an_unknown_model_or_tag_is_refused_with_the_nearest(model, message):
    with pytest.raises(InputError, match=message):
        load_teacher(Teacher(model=model))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"dept": 2}, r"timm cannot build .* unexpected keyword argument 'dept'"),
        ({"depth": "two"}, "teacher: timm cannot build vit_tiny_patch16_224 so: "),
        ({"num_heads": 5}, "should be divisible by num_heads"),
        ({"num_heads": 0}, "timm cannot build .* zero|modulo"),
        ({"act_layer": "reluu"}, "timm cannot build .* no such choice: 'reluu'"),
        ({"global_pool": "average"}, "timm cannot build "),
        ({"global_pool": ""}, r"gives \[5, 24\] values for an image, not one embedding"),
        ({"img_size": [32, 64]}, "its input cannot be prepared here"),
        ({"num_classes": 3}, r"teacher\.args\.num_classes: the classifier is always left out"),
        ({"in_chans": 1}, r"teacher\.args\.in_chans: images have three channels; remove it"),
        ({"pretrained": True}, r"teacher\.args\.pretrained: `weights` decides it; remove it"),
        ({"checkpoint_path": "x.pth"}, r"teacher\.args\.checkpoint_path: `weights` decides it"),
        ({"features_only": True}, r"teacher\.args\.features_only: an image has one embedding"),
        (
            {"depth": 2**31},
            r"teacher\.args\.depth: 2147483648 is larger than anything in a network",
        ),
        ({"num_heads": -(10**400)}, r"teacher\.args\.num_heads: -1000000000000000000 is larger"),
        ({"mlp_ratio": float("inf")}, r"teacher\.args\.mlp_ratio: inf is larger than anything"),
        ({"act_layer": [{"x": 1e9}]}, r"teacher\.args\.act_layer\.x: 1000000000.0 is larger"),
        ({"depth": 9_000}, r"would have 2,0\d\d tensors of weights, .* Look at teacher\.args"),
        ({"patch_size": 100_000}, r"would have \d tensors of weights, 2,880.\d GB, and more; this"),
    ],
)
def test_a_wrong_argument_of_a_model_is_refused(args, message, monkeypatch):
    monkeypatch.setattr(size_limit, "MOST_TENSORS", 2_000)  # as many as take no time
    with pytest.raises(InputError, match=message):
        load_teacher(Teacher(model=VIT, weights="none", args={**ARGS, **args}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "mobilenetv3_smal_050"}, r"student\.model: .* mean mobilenetv3_small_050 or "),
        ({"args": {"dept": 2}}, "student: timm cannot build mobilenetv3_small_050 so: "),
        ({"args": {"global_pool": ""}}, r"gives \[1024, 1, 1\] values for an image"),
        (
            {"model": "efficientformer_l1"},
            r"efficientformer_l1: cannot take images of 32 px: .*\n  timm made it for 224 px",
        ),
        ({"model": "halonet_h1"}, "cannot take images of 32 px: AssertionError in timm"),
        ({"model": VIT, "args": ARGS, "image_size": 64}, "cannot take images of 64 px: "),
    ],
)
def test_a_student_that_cannot_be_is_refused(changes, message):
    spec = {"model": "mobilenetv3_small_050", "weights": "none", "image_size": 32, **changes}
    with pytest.raises(InputError, match=message):
        create_student(Student(**spec), seed=0)


def test_a_file_that_is_too_small_for_the_network_is_refused_before_it_is_made(tmp_path):
    """72 million numbers would be drawn by chance, for a file of 60 kB."""
    path = tmp_path / "weights.safetensors"
    save_file(make().state_dict(), path)
    with pytest.raises(InputError) as caught:
        load_teacher(Teacher(model=VIT, weights=str(path), args={**ARGS, "patch_size": 1000}))
    assert str(caught.value).startswith(f"{path}: 0.1 MB cannot hold the 72 million numbers of tea")


def test_the_tiny_teacher_of_the_other_tests_loads(tiny_teacher):
    teacher = load_teacher(Teacher(**tiny_teacher))
    assert (teacher.dim, teacher.preprocess.size_px) == (24, 32)
    assert teacher.origin.weights == Path(tiny_teacher["weights"]).name
