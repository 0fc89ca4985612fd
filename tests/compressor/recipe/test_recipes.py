"""Whole recipes: defaults by the number of images, those that we ship, and `label:`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.api.first_recipe import first_look, starter_recipe
from compressor.data.quickstart import write_quickstart
from compressor.recipe import plan as plans
from compressor.recipe import target
from compressor.recipe.schema import Distill
from runtime.errors import InputError
from smallest_recipe import SMALLEST


@pytest.mark.parametrize(
    ("images", "epochs"), [(0, 300), (200, 300), (1_000, 60), (3_000, 20), (50_000, 20)]
)
def test_small_sets_are_shown_more_often(images, epochs):
    assert Distill().epochs_for(images) == epochs
    assert Distill(epochs=7).epochs_for(images) == 7


def test_small_sets_take_more_steps_in_an_epoch():
    assert [Distill().batch_for(images) for images in (20, 4_999, 5_000)] == [20, 32, 64]
    assert [Distill(batch=48).batch_for(images) for images in (20, 5_000)] == [20, 48]


def test_a_short_run_has_no_more_views_than_epochs():
    assert Distill(views=9).views_for(1_000) == 9
    assert Distill(views=8, epochs=3).views_for(1_000) == 3
    # A teacher that is asked at every step sees a new view each epoch.
    assert Distill(views=8, epochs=30, teacher="online").views_for(1_000) == 30


@pytest.mark.parametrize(
    ("images", "views"), [(200, 38), (378, 20), (1_000, 8), (1_350, 8), (50_000, 8)]
)
def test_by_default_few_images_have_more_views(images, views):
    """300, 159, 60, 44 and 20 epochs: none of the views is shown over 8 times."""
    assert Distill().views_for(images) == views
    assert Distill().epochs_for(images) / views <= 8


def test_from_weights_each_view_is_shown_once():
    spec = Distill().settled(from_weights=True, on_gpu=False)
    assert (spec.epochs_for(400), spec.views_for(400)) == (30, 30)
    assert (spec.epochs_for(50_000), spec.views_for(50_000)) == (4, 4)
    assert Distill(views=9).settled(from_weights=True, on_gpu=False).views_for(400) == 9
    assert Distill(repeats=3).settled(from_weights=True, on_gpu=False).views_for(400) == 10


def test_the_closed_form_alone_has_no_more_views_than_it_is_solved_from():
    assert Distill(epochs=0, views=9).views_for(400) == Distill(epochs=0).views_for(400) == 4


def test_epochs_that_are_given_decide_the_views_too():
    assert Distill(epochs=60).views_for(200) == 8
    assert Distill(epochs=100).views_for(200) == 13
    assert Distill(epochs=3).views_for(200) == 3


@pytest.mark.parametrize(
    ("patience", "epochs", "views"),
    [("1x", 60, 8), ("3x", 180, 23), ("10x", 600, 75), ("0.5 x", 30, 8), ("0.001x", 1, 1)],
)
def test_patience_multiplies_the_default_epochs_and_their_views(patience, epochs, views):
    spec = Distill(patience=patience)
    assert (spec.epochs_for(1_000), spec.views_for(1_000)) == (epochs, views)


@given(st.integers(1, 999_999_999))
def test_patience_is_written_as_it_is_read(ten_thousandths):
    spec = Distill(patience=f"{ten_thousandths / 10_000:.4f}x")
    assert spec.patience == ten_thousandths / 10_000
    assert Distill.model_validate(spec.model_dump(mode="json")) == spec


def test_a_patience_of_null_is_the_default():
    """An older recipe may say so."""
    assert Distill.model_validate({"patience": None}) == Distill()


# --- mixed views -----------------------------------------------------------------------------


def test_by_default_views_are_mixed_for_a_student_that_starts_from_weights():
    assert Distill().mix_for(pretrained=True) == 0.5
    assert Distill().mix_for(pretrained=False) == 0
    assert [Distill(mix=0.25).mix_for(pretrained=start) for start in (True, False)] == [0.25, 0.25]
    assert Distill(mix=0).mix_for(pretrained=True) == 0
    assert Distill(method="supervised").mix_for(pretrained=True) == 0


@pytest.mark.parametrize(
    ("mix", "mixed"),
    [(0, []), (0.25, [1, 5]), (0.5, [1, 3, 5, 7]), (0.75, [1, 2, 3, 5, 6, 7]), (1, range(1, 8))],
)
def test_mixed_views_are_spread_evenly_and_never_the_image_itself(mix, mixed):
    spec = Distill(mix=mix, epochs=8, views=8)
    assert spec.mixed_views(500, pretrained=False) == set(mixed)
    unmixed = spec.unmixed_views(500, pretrained=False)
    assert unmixed == sorted(set(range(8)) - set(mixed))
    assert unmixed[0] == 0


@given(mix=st.floats(0, 1), epochs=st.integers(1, 150))
def test_more_epochs_keep_the_mixed_views_and_their_share(mix, epochs):
    fewer, more = (Distill(mix=mix, epochs=n, teacher="online") for n in (epochs, epochs + 10))
    found = fewer.mixed_views(500, pretrained=False)
    assert found == {n for n in more.mixed_views(500, pretrained=False) if n < epochs}
    assert abs(len(found) - mix * (epochs - 1)) < 1


def test_one_image_has_no_other_to_be_mixed_with():
    spec = Distill(mix=1, epochs=8)
    assert spec.mixed_views(1, pretrained=True) == frozenset()
    assert len(spec.mixed_views(2, pretrained=True)) == 7


def test_the_closed_form_alone_sees_every_view_that_the_teacher_answers():
    alone = Distill(epochs=0)
    assert alone.mixed_views(500, pretrained=True) == frozenset()
    assert alone.start_views(500) == [*range(alone.views_for(500))] == [0, 1, 2, 3]


def test_every_shipped_recipe_loads(tmp_path):
    """Their images are not shipped with them: `compressor quickstart` writes the digits.

    The examples are for folders of images of the user: `test_first_recipe` takes them.
    """
    folder, others = target.recipes_folder(), ("targets", "examples")
    shipped = [path for path in folder.rglob("*.yaml") if path.parent.name not in others]
    write_quickstart(tmp_path / "quickstart")
    assert folder / "quickstart" / "cpu.yaml" in shipped
    for path in shipped:
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        assert plans.load(copy).recipe.name


def test_the_quickstart_folder_holds_what_its_recipe_names(tmp_path):
    folder = tmp_path / "quickstart"
    count = write_quickstart(folder)
    plan = plans.load(folder / "cpu.yaml")
    assert Path(plan.recipe.data.images) == folder / "digits"
    assert Path(plan.recipe.teacher.weights) == folder / "teacher.safetensors"
    assert Path(plan.recipe.student.weights) == folder / "student.safetensors"
    images = sorted(Path(plan.recipe.data.images).rglob("*.png"))
    assert len(images) == count
    assert {path.parent.name for path in images} == set("0123456789")
    times = [path.stat().st_mtime_ns for path in images]
    assert write_quickstart(folder) == count
    assert [path.stat().st_mtime_ns for path in images] == times


def test_the_quickstart_writes_into_no_folder_of_others(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="contains other files"):
        write_quickstart(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        write_quickstart(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "name",
    ["photos", "my photos", "2024", "2024-05-01", "no", "null", "a: b #c", "-", "@x", "'", "é日本",
     "{x}", "*", "1e3", "a" * 120 + " b"],
)  # fmt: skip
@pytest.mark.parametrize("classes", [0, 2])
def test_the_starter_recipe_loads_whatever_the_folder_is_called(tmp_path, name, classes):
    folder = tmp_path / "x" / name
    folder.mkdir(parents=True)
    (folder / "0.png").touch()
    for number in range(classes):
        (folder / f"class{number}").mkdir()
        (folder / f"class{number}" / "1.png").touch()
    path = tmp_path / "recipes" / "recipe.yaml"
    path.parent.mkdir()
    path.write_text(starter_recipe(first_look(folder), relative_to=path.parent), encoding="utf-8")
    loaded = plans.load(path).recipe
    assert Path(loaded.data.images) == folder
    assert loaded.data.labels == ("folders" if classes else "none")
    assert (loaded.require.agreement is None) == (classes == 0)


def test_a_label_section_that_is_not_there_or_empty(write, tmp_path):
    assert plans.load(write()).recipe.label is None
    assert "label" not in plans.load(write()).recipe.resolved()
    for empty in ("label:\n", "label: {}\n", "label:\n  # budget: 20\n"):
        label = plans.load(write(SMALLEST + empty)).recipe.label
        assert (label.strategy, label.budget, label.seed) == ("cold-paws-cosine", 50, None)


@pytest.mark.parametrize("text", [SMALLEST, SMALLEST + "label: {budget: 7}\n"])
def test_a_recipe_written_out_in_full_is_the_same_recipe(write, text):
    from compressor.recipe.document import dump

    loaded = plans.load(write(text)).recipe
    assert plans.load(write(dump(loaded.resolved()))).recipe == loaded


def test_labels_may_be_missing_while_they_are_being_given(write, tmp_path):
    text = SMALLEST.replace("photos", "photos\n  labels: mine.csv")
    with pytest.raises(InputError) as caught:
        plans.load(write(text))
    assert str(caught.value).endswith(
        f"4: data.labels: no such file: {tmp_path / 'mine.csv'}; "
        "a section `label:` says which images to label in it first"
    )
    assert plans.load(write(text + "label:\n")).recipe.data.labels == str(tmp_path / "mine.csv")
    for wrong in ("floders", "nowhere/mine.csv", "photos"):
        said = r"data\.labels: not folders, source, none, or a CSV file: "
        with pytest.raises(InputError, match=said):
            plans.load(write(text.replace("mine.csv", wrong) + "label:\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label: {buget: 3}\n", "label.buget: unknown key; did you mean budget?"),
        ("label: {budget: 0}\n", "label.budget: should be greater than or equal to 1 (got 0)"),
        ("label: {strategy: cold-pawz}\n", "did you mean cold-paws?"),
        ("label: 50\n", "label: a section with keys is wanted here, got 50"),
        ("label: {strategy: stratified-random}\n",
         "label.strategy: reads the labels that are to be made"),
    ],
)  # fmt: skip
def test_mistakes_about_labelling(write, text, message):
    with pytest.raises(InputError) as caught:
        plans.load(write(SMALLEST + text))
    assert message in str(caught.value)


def test_gates_that_need_labels_are_fine_where_labels_will_come(write):
    text = SMALLEST + "require: {agreement: 0.8}\n"
    with pytest.raises(InputError, match=r"require\.agreement: needs labels"):
        plans.load(write(text))
    assert plans.load(write(text + "label:\n")).recipe.require.agreement == 0.8


@pytest.mark.parametrize(
    ("batches", "target_name", "is_refused"),
    [
        ("[1, 1, 8]", "jetson-orin-nano", False),
        ("[1, 4, 16]", "jetson-orin-nano", False),
        ("[1, 1, 4]", "jetson-orin-nano", True),
        ("[2, 4, 8]", "jetson-orin-nano", True),
        ("[1, 1, 8]", "rtx-4090", True),
    ],
)
def test_an_engine_has_to_take_the_batches_that_its_target_times(
    tmp_path, batches, target_name, is_refused
):
    (tmp_path / "photos").mkdir()
    engines = f"\nexport:\n  engines: [tensorrt]\n  batches: {batches}\n"
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{SMALLEST}target: {target_name}{engines}".replace(
        "  model: vit_tiny_patch16_224\n", "  model: vit_tiny_patch16_224\n  weights: hub\n"
    ))  # fmt: skip
    if not is_refused:
        assert plans.load(path).recipe.export.batches is not None
        return
    with pytest.raises(InputError, match=r"recipe\.yaml:\d+: export\.batches: an engine for"):
        plans.load(path)
    without = path.read_text().replace("  engines: [tensorrt]\n", "")
    path.write_text(without)
    assert plans.load(path).recipe.export.batches is not None
