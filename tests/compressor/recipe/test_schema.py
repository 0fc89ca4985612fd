"""The recipe: paths, mistakes between keys, the digest, the schema, the recipes that we ship."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from compressor.recipe import plan as plans
from compressor.recipe import schema as recipe
from compressor.recipe.schema import Recipe
from runtime import documents
from runtime.files import write_json
from smallest_recipe import SMALLEST


def test_a_recipe_of_three_sections_is_whole(write):
    plan = plans.load(write())
    assert plan.recipe.distill == recipe.Distill()
    assert plan.recipe.teacher.weights == "hub"
    assert plan.recipe.student.weights == "auto"
    assert plan.recipe.data.labels == "none"
    assert (plan.target_name, plan.target.provider) == ("cpu", "cpu")


def test_a_recipe_cannot_be_changed(write):
    loaded = plans.load(write()).recipe
    for section, key in ((loaded, "name"), (loaded.distill, "epochs"), (loaded.data, "images")):
        with pytest.raises(ValidationError):
            setattr(section, key, "other")


# --- paths -----------------------------------------------------------------------------------


def test_paths_are_relative_to_the_recipe_wherever_the_command_runs(write, tmp_path, monkeypatch):
    for folder in ("held", "other", "elsewhere"):
        (tmp_path / folder).mkdir()
    for file in ("labels.csv", "teacher.pth", "student.safetensors"):
        (tmp_path / file).touch()
    text = SMALLEST.replace(
        "photos", "./photos\n  labels: labels.csv\n  holdout: held\n  ood: elsewhere/../other"
    ).replace("student:", "  weights: teacher.pth\nstudent:\n  weights: student.safetensors")
    path = write(text)
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = plans.load(Path("../recipe.yaml")).recipe
    assert loaded == plans.load(path).recipe
    assert loaded.data.images == str(tmp_path / "photos")
    assert loaded.data.holdout == str(tmp_path / "held")
    assert loaded.data.ood == str(tmp_path / "other")
    assert loaded.data.labels == str(tmp_path / "labels.csv")
    assert loaded.teacher.weights == str(tmp_path / "teacher.pth")
    assert loaded.student.weights == str(tmp_path / "student.safetensors")


def test_an_absolute_path_stays(write, tmp_path):
    path = write(SMALLEST.replace("images: photos", f"images: {tmp_path}"))
    assert plans.load(path).recipe.data.images == str(tmp_path)


def test_a_plan_knows_how_to_load_itself_again(write, tmp_path, monkeypatch):
    monkeypatch.chdir(write().parent)
    plan = plans.load(Path("recipe.yaml"), ["distill.epochs=2"])
    monkeypatch.chdir("/")
    write_json(tmp_path / "run" / plans.ORIGIN, documents.plain(plan.origin))
    assert plans.load_again(tmp_path / "run") == plan


# --- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALLEST.replace("photos", "fotos"), "3: data.images: no such folder: "),
        (SMALLEST.replace("photos", "photos\n  ood: x"), "4: data.ood: no such folder: "),
        (SMALLEST.replace("photos", "photos\n  holdout: x"), "4: data.holdout: no such folder: "),
        (SMALLEST.replace("photos", "photos\n  labels: no"),
         "4: data.labels: not folders, source, none, or a CSV file: "),
        (SMALLEST.replace("photos", "3"), "3: data.images: a path or an address is wanted"),
        (SMALLEST.replace("photos", "photos\n  min_images: 7"),
         "4: data.min_images: should be greater than or equal to 8 (got 7)"),
        (SMALLEST.replace("student:", "  weights: x.pth\nstudent:"),
         "6: teacher.weights: no such file: "),
        (SMALLEST.replace("student:", "  weights: none\nstudent:"),
         "6: teacher.weights: a teacher needs weights: `hub` or a local file"),
        (SMALLEST + "  weights: x.safetensors\n", "8: student.weights: no such file: "),
        (SMALLEST + "  image_size: 4\n",
         "8: student.image_size: should be greater than or equal to 8 (got 4)"),
        (SMALLEST + "  std: [0.2, 0, 0.2]\n", "8: student.std.1: should be greater than 0 (got 0)"),
        (SMALLEST + "  interpolation: bicubc\n", "8: student.interpolation: 'bicubc' is not one of "
         "'nearest', 'bilinear', 'bicubic', 'lanczos', 'box' or 'hamming'; did you mean bicubic?"),
        (SMALLEST + "distil:\n  epochs: 3\n", "8: distil: unknown key; did you mean distill?"),
        (SMALLEST + "distill: {epohcs: 3}\n",
         "8: distill.epohcs: unknown key; did you mean epochs?"),
        (SMALLEST + "distill: {epochs: -1}\n",
         "8: distill.epochs: should be greater than or equal to 0 (got -1)"),
        (SMALLEST + "distill: {method: tintm}\n",
         "8: distill.method: 'tintm' is not one of 'tintem', 'proteus', 'cosine' or"),
        (SMALLEST + "distill: {crop_scale: [0.9, 0.5]}\n",
         "8: distill.crop_scale: the first share is above the second"),
        (SMALLEST + "distill: {batch: 8, accumulate: 3}\n",
         "8: distill.accumulate: leaves parts of under 3 images"),
        (SMALLEST + "distill: {patience: 5}\n",
         "8: distill.patience: expected how many times the default number of epochs, such as 3x; "
         "to stop after some epochs without a better student, use distill.stop_after (got 5)"),
        (SMALLEST + "distill: {patience: 0x}\n",
         "8: distill.patience: expected how many times the default number of epochs, such as 3x; "),
        (SMALLEST + "distill: {patience: 3x, epochs: 60}\n",
         "8: distill.patience: multiplies the default number of epochs, and distill.epochs gives "),
        (SMALLEST + "distill: {mix: 1.5}\n",
         "8: distill.mix: should be less than or equal to 1 (got 1.5)"),
        (SMALLEST.replace("photos", "photos\n  labels: folders")
         + "distill: {mix: 0.5, method: supervised}\n",
         "9: distill.mix: supervised learns from labels, and a mix of two images has none; "),
        (SMALLEST + "export: {precisions: []}\n", "8: export.precisions: empty: name at least one"),
        (SMALLEST + "export:\n  precisions: fp32\n",
         "9: export.precisions: a list in brackets is wanted, got 'fp32'"),
        (SMALLEST + "check: {robustness_images: -1}\n",
         "8: check.robustness_images: should be greater than or equal to 0 (got -1)"),
        (SMALLEST + "check: {robustness: 5}\n", "8: check.robustness: unknown key"),
        (SMALLEST + "require:\n  agreement: 0.8\n",
         "9: require.agreement: needs labels, and data.labels is none"),
        (SMALLEST + "require: {accuracy_drop: 0.1}\n",
         "8: require.accuracy_drop: needs labels, and data.labels is none"),
        (SMALLEST + "require: {agreement: 85}\n",
         "8: require.agreement: should be less than 1 (got 85)"),
        (SMALLEST + "require: {ood_auroc: 0.8}\n", "8: require.ood_auroc: needs data.ood"),
        (SMALLEST + "target: rasberry-pi-5\n",
         "8: target: 'rasberry-pi-5' is not a target; did you mean pi-5?"),
        (SMALLEST + "target: mine.yaml\n", "8: target: no such file: "),
        (SMALLEST.replace("flowers", "my flowers"), "1: name: should match pattern "),
        (SMALLEST.replace("flowers", "../flowers"), "1: name: should match pattern "),
        (SMALLEST.replace("name: flowers\n", ""), "1: name: missing; it has no default"),
        (SMALLEST.replace("  model: vit_tiny_patch16_224", "  weights: hub"),
         "4: teacher.model: missing; it has no default"),
        (SMALLEST + "name: other\n", "8: name: this key appears twice in the same section"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_line_and_key(mistakes, text, message):
    [line] = mistakes(text)
    assert line.startswith(message)


def test_a_share_or_a_folder_is_held_out(write, mistakes):
    (write().parent / "held").mkdir()
    for value, wanted in (("0.5", 0.5), ("1e-1", 0.1), ("held", str(write().parent / "held"))):
        path = write(SMALLEST.replace("photos", f"photos\n  holdout: {value}"))
        assert plans.load(path).recipe.data.holdout == wanted
    for value in ("0", "1", "1.0", "-0.1", "true", "[0.1]"):
        [line] = mistakes(SMALLEST.replace("photos", f"photos\n  holdout: {value}"))
        assert line.startswith("4: data.holdout: expected a share between 0 and 1, or a folder")


def test_mistakes_between_keys_come_at_once_in_the_order_of_the_file(mistakes):
    text = "require: {ood_auroc: 0.9, agreement: 0.9}\n" + SMALLEST.replace("photos", "fotos")
    assert [line.split(": ")[:2] for line in mistakes(text)] == [
        ["1", "require.agreement"],
        ["1", "require.ood_auroc"],
        ["4", "data.images"],
    ]


def test_a_mistake_between_a_file_and_a_set_names_the_set(mistakes):
    override = "require.agreement=0.8"
    [line] = mistakes(SMALLEST, override)
    assert line == f"--set {override}: require.agreement: needs labels, and data.labels is none"
    [line] = mistakes(SMALLEST, "target=cpuu")
    assert line.startswith("--set target=cpuu: target: 'cpuu' is not a target; did you mean cpu?")
    [line] = mistakes(SMALLEST, "data.images=fotos")
    assert line.startswith("--set data.images=fotos: data.images: no such folder: ")


# --- digest ----------------------------------------------------------------------------------

SPELLED_OTHERWISE = """\
# the same, in other words
student: {model: 'mobilenetv3_small_050'}
"teacher": {model: "vit_tiny_patch16_224"}   # the big one
data:

    images: photos
name: flowers
"""


def test_the_digest_is_of_what_was_written_not_of_how(write):
    digest = plans.load(write()).digest
    assert plans.load(write(SPELLED_OTHERWISE)).digest == digest
    lr, same = (plans.load(write(SMALLEST + f"distill: {{lr: {lr}}}")) for lr in ("1e-3", "0.001"))
    assert lr.digest == same.digest != digest


def test_set_changes_the_digest_as_the_file_would(write):
    plain = plans.load(write()).digest
    changed = plans.load(write(), ["distill.epochs=2"]).digest
    assert plain != changed
    assert plans.load(write(SMALLEST + "distill: {epochs: 2}")).digest == changed
    assert plans.load(write(SMALLEST + "distill: {epochs: 3}"), ["distill.epochs=2"]).digest == (
        changed
    )


# --- schema ----------------------------------------------------------------------------------


def fields_of(schema):
    """Every key of a JSON schema, dotted, and its description (that of its section will do)."""

    def walk(node, where):
        if "$ref" in node:
            node = {**schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], **node}
        if where:
            yield where, node.get("description")
        for name, child in node.get("properties", {}).items():
            yield from walk(child, f"{where}.{name}".lstrip("."))

    return dict(walk(schema, ""))


def test_the_schema_describes_every_key():
    schema = json.loads(json.dumps(recipe.json_schema()))
    assert schema["title"] == "edge-compressor recipe"
    assert schema["type"] == "object"
    assert set(schema["required"]) == {"name", "data", "teacher", "student"}
    described = fields_of(schema)
    assert set(Recipe.model_fields) <= set(described)
    assert {"distill.lr", "require.latency_p95_ms", "teacher.weights"} <= set(described)
    assert not [key for key, text in described.items() if not text]


def test_the_schema_forbids_what_the_reader_forbids():
    schema = recipe.json_schema()
    for section in (schema, *schema["$defs"].values()):
        assert section.get("additionalProperties") is False
