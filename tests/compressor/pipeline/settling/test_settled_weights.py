"""`student.weights: auto` of a run: settled before an image is read, and kept when it goes on."""

import json

import pytest
import timm
from safetensors.torch import save, save_file

from compressor.api import job as jobs
from compressor.events import Message
from compressor.pipeline.settling import weights as settled_weights
from compressor.recipe import plan as plans
from runtime.errors import InputError, MissingDependencyError

MODEL, HUB_ID = "test_resnet", "timm/test_resnet.r160_in1k"


@pytest.fixture
def settle(write_recipe, tmp_path):
    """`settle(keep=True, **changes)`: what a start of the run settles, and what it says."""

    def go(changes=None, *, keep=True):
        path = write_recipe({"student.model": MODEL, "student.weights": "auto", **(changes or {})})
        said = []
        job = jobs.open_job(path, (), tmp_path / "run", said.append)
        job.folder.mkdir(exist_ok=True)
        run = settled_weights.settled(job, keep=keep)
        texts = [(event.level, event.text) for event in said if isinstance(event, Message)]
        return run.plan.recipe.student.weights, texts

    return go


@pytest.fixture
def on_hub(local_hub):
    local_hub.put(HUB_ID, save(timm.create_model(MODEL).state_dict()))
    return local_hub


def test_a_run_without_weights_stays_so_when_the_network_comes_back(
    settle, on_hub, monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    weights, (first,) = settle()
    assert (weights, first[0]) == ("none", "warning")
    monkeypatch.setenv("HF_ENDPOINT", on_hub.url)
    weights, (remembered, there) = settle({"require.size_mb": 50})
    assert weights == "none"
    assert remembered[1].startswith("student.weights: none, as settled when this run began (the ")
    assert there[0] == "warning"
    assert there[1].endswith("To begin anew with them: --set student.weights=hub")
    assert on_hub.downloads() == []


def test_another_student_settles_anew(settle, on_hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert settle()[0] == "none"
    monkeypatch.setenv("HF_ENDPOINT", on_hub.url)
    assert settle({"student.embedding": 8})[0] == "hub"


def test_a_run_with_weights_does_not_ask_again(settle, on_hub):
    assert settle()[0] == "hub"
    on_hub.asked.clear()
    weights, (told,) = settle()
    assert weights == "hub"
    assert told[1].startswith(f"student.weights: hub, as settled when this run began ({HUB_ID}, ")
    assert on_hub.asked == []


def test_a_rehearsal_fetches_and_remembers_nothing(settle, on_hub, tmp_path):
    assert settle(keep=False)[0] == "hub"
    assert on_hub.asked == []
    assert not (tmp_path / "run" / settled_weights.FILE).exists()


def test_a_package_that_is_gone_is_named(settle, empty_hub_cache, tmp_path):
    settle()
    path = tmp_path / "run" / settled_weights.FILE
    document = json.loads(path.read_text())
    gone = {**document, "weights": str(tmp_path / "gone.pth"), "why": "the installed a-package 1.0"}
    path.write_text(json.dumps(gone))
    with pytest.raises(MissingDependencyError, match=r"gone\.pth.*\n.*a-package 1\.0\. Install it"):
        settle()


def test_a_named_source_is_left_as_it_is(settle, on_hub, tmp_path):
    assert settle({"student.weights": "hub"}) == ("hub", [])
    assert on_hub.asked == []
    assert not (tmp_path / "run" / settled_weights.FILE).exists()


def test_a_step_never_sees_weights_that_are_not_settled(write_recipe, tmp_path):
    recipe = write_recipe({"student.weights": "auto"})
    job = jobs.open_job(recipe, (), tmp_path / "run", lambda event: None)
    with pytest.raises(ValueError, match="not settled"):
        job.network_digest(job.plan.recipe.student)


def test_it_is_said_before_an_image_is_read(write_recipe, empty_hub_cache, tmp_path):
    recipe = write_recipe({"student.weights": "auto", "teacher.weights": "hub"})
    seen = []
    with pytest.raises(MissingDependencyError, match=r"^teacher\.weights: the model hub"):
        jobs.complete(jobs.open_job(recipe, (), tmp_path / "run", seen.append))
    images, weights = seen
    assert images.text.startswith("images: 48 image files")
    assert weights.text.startswith("student.weights: auto found none: the model hub http://")


def test_a_choice_of_images_says_it_and_settles_nothing(write_recipe, empty_hub_cache, tmp_path):
    recipe = write_recipe({"student.weights": "auto", "teacher.weights": "hub", "label": {}})
    seen = []
    with pytest.raises(MissingDependencyError, match=r"^teacher\.weights: the model hub"):
        jobs.choose_images(jobs.open_job(recipe, (), tmp_path / "run", seen.append), 4)
    assert seen[1].text.startswith("student.weights: auto found none: the model hub http://")
    assert not (tmp_path / "run" / settled_weights.FILE).exists()


# --- a fetched folder --------------------------------------------------------------------------


@pytest.fixture
def fetched(tmp_path):
    """A folder `weights` beside the recipe, as `compressor fetch` leaves it."""
    from runtime.files import sha256_of

    folder = tmp_path / "weights"
    folder.mkdir()
    path = folder / "test_resnet.r160_in1k.safetensors"
    save_file(timm.create_model(MODEL).state_dict(), path)
    entry = {
        "names": ["test_resnet.r160_in1k", MODEL],
        "file": path.name,
        "sha256": sha256_of(path),
        "size": path.stat().st_size,
        "hub_id": HUB_ID,
        "license": "apache-2.0",
        "url": "https://hub/model.safetensors",
    }
    (folder / "weights.json").write_text(json.dumps({"files": [entry]}))
    return path


def test_a_fetched_folder_gives_the_file_of_the_model(write_recipe, fetched):
    plan = plans.load(write_recipe({"student.model": MODEL, "student.weights": "weights"}))
    assert plan.recipe.student.weights == str(fetched)


def test_what_is_fetched_is_the_hub_s_in_the_report(write_recipe, fetched):
    from compressor.models.encoder import create_student

    plan = plans.load(write_recipe({"student.model": MODEL, "student.weights": "weights"}))
    origin = create_student(plan.recipe.student, seed=0).origin
    assert (origin.hub_id, origin.license, origin.weights) == (HUB_ID, "apache-2.0", fetched.name)
    fetched.write_bytes(fetched.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match="not what was fetched; copy the folder"):
        create_student(plan.recipe.student, seed=0)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path.parent / "weights.json").unlink(), "a folder without weights.json"),
        (
            lambda path: (path.parent / "weights.json").write_text("{"),
            "weights.json: not a JSON file",
        ),
        (lambda path: path.unlink(), "no such file, though weights.json names it"),
        (lambda path: path.write_bytes(b"half"), "4 bytes of "),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_with_its_line(write_recipe, fetched, damage, said):
    damage(fetched)
    recipe = write_recipe({"student.model": MODEL, "student.weights": "weights"})
    with pytest.raises(InputError, match=r"recipe\.yaml:\d+: student\.weights: ") as caught:
        plans.load(recipe)
    assert said in str(caught.value)


def test_a_folder_of_other_models_is_refused(write_recipe, fetched):
    recipe = write_recipe({"student.weights": "weights"})
    said = "holds the weights of test_resnet.r160_in1k; not of mobilenetv3_small_050"
    with pytest.raises(InputError, match=said):
        plans.load(recipe)
