"""The student and the teacher that follow from one pass over the user's images."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from compressor.api import job as jobs
from compressor.data.image_files import open_rgb
from compressor.data.loading import to_input
from compressor.events import Message
from compressor.models.encoder import load_teacher
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.pipeline.settling import student_search
from compressor.pipeline.settling.faithfulness import Sample
from runtime import metrics
from runtime.documents import read_json
from runtime.errors import InputError

TWIN, OTHER = "test_vit", "test_resnet"  # tests/compressor/pipeline/settling/conftest.py


def texts(said):
    return [event.text for event in said if isinstance(event, Message)]


# --- the choice ------------------------------------------------------------------------------


def test_the_more_faithful_of_two_that_fit(recipe, started):
    run, _ = started(recipe({"latency_p95_ms": 5}))
    found = student_search.search(run)
    assert found.chosen == TWIN
    assert found.why.endswith("the most faithful of 2 candidates that fit latency_p95_ms 5")
    table = {row.model: row for row in found.measured}
    twin, other = (table[name].similarity_correlation_centred for name in (TWIN, OTHER))
    assert twin.value > 0.9 > other.high
    assert table[TWIN].agreement_knn.value > table[OTHER].agreement_knn.value
    assert table[TWIN].pareto
    assert table[OTHER].pareto  # less faithful, and faster
    assert found.images == len(run.images().part("train"))


def test_the_faster_one_where_the_limit_demands_it(recipe, started):
    run, _ = started(recipe({"latency_p95_ms": 3}))
    found = student_search.search(run)
    assert found.chosen == OTHER
    assert found.why.endswith("the only candidate with weights that fit latency_p95_ms 3")
    assert [row.fits for row in found.measured] == [True, False]
    assert found.measured[1].similarity_correlation_centred.value > 0.9  # measured all the same


def test_where_none_fits_nothing_is_chosen_and_the_table_has_their_faithfulness(recipe, started):
    run, _ = started(recipe({"latency_p95_ms": 1}))
    with pytest.raises(InputError, match="no candidate fits") as caught:
        student_search.search(run)
    assert "kNN agreement" in str(caught.value)


def test_one_without_weights_is_named_and_not_taken(recipe, started):
    bare = "mobilenetv3_small_050"
    run, said = started(
        recipe(
            {"latency_p95_ms": 5},
            students=(bare, OTHER),
            rows={bare: (1.0, 1.0), OTHER: (1.5, 2.0)},
        )
    )
    found = student_search.search(run)
    assert found.chosen == OTHER
    assert not found.measured[0].similarity_correlation_centred
    assert f"without {bare}.safetensors" in found.measured[0].weights
    assert any(text.startswith(f"  {bare}: not compared; no weights") for text in texts(said))


def test_images_are_chosen_for_labels_before_a_student_is(recipe, started):
    """The teacher alone looks at them: `compressor label` needs no student."""
    run, _ = started(recipe({"latency_p95_ms": 5}))
    with run.locked():
        runner.run_embeddings(run)
    assert len(run.tensors("embeddings.safetensors")["images"]) == len(run.images())


def test_held_out_images_are_not_looked_at(recipe, started):
    run, _ = started(recipe({"latency_p95_ms": 5}))
    assert {image.split for image in Sample(run).images.records} == {"train"}


def test_features_are_the_networks_own_and_r_is_that_of_the_metrics(recipe, started, weights):
    """By hand: the teacher's features, centred; the twin's answers correlate as reported."""
    run, _ = started(recipe({"latency_p95_ms": 5}))
    sample, teacher = Sample(run), run.plan.recipe.teacher
    encoder = load_teacher(teacher)
    prepared = [encoder.preprocess.pixels(open_rgb(path)) for path in sample.images.paths]
    pixels = torch.from_numpy(np.stack(prepared))
    with torch.inference_mode():
        features = encoder.module(to_input(pixels, encoder.preprocess, torch.device("cpu"))).numpy()
    centred = sample.teacher(teacher)
    assert np.allclose(centred, features - features.mean(0), atol=0.05 * features.std())
    assert np.allclose(centred.mean(axis=0), 0, atol=1e-5)
    spec = run.plan.recipe.student.model_copy(
        update={"model": TWIN, "weights": str(weights / f"{TWIN}.safetensors")}
    )
    spec = spec.model_copy(update={"latency_table": None})
    again = sample.faithfulness(spec, teacher)
    answers = sample._left_out(spec, teacher)["answers"]
    expected = metrics.pair_correlation(answers, centred)
    assert again.similarity.value == pytest.approx(expected, abs=1e-9)


# --- once, and then from the store -----------------------------------------------------------


def test_what_was_looked_at_once_is_not_looked_at_again(recipe, started, monkeypatch):
    run, _ = started(recipe({"latency_p95_ms": 5}))
    first = student_search.search(run)
    monkeypatch.setattr("compressor.models.embed.embed", None)  # any pass would fail
    monkeypatch.setattr("compressor.distillation.start.left_out.left_out", None)
    assert student_search.search(run) == first
    faster = Run(recipe({"latency_p95_ms": 3}), run.folder)
    assert student_search.search(faster).chosen == OTHER


def test_other_weights_are_looked_at_anew(recipe, started, weights):
    run, _ = started(recipe({"latency_p95_ms": 5}))
    path = weights / f"{OTHER}.safetensors"
    before = student_search.search(run).measured[0].similarity_correlation_centred
    kept = load_file(path)
    try:
        save_file({key: value.flip(0).contiguous() for key, value in kept.items()}, path)
        after = student_search.search(Run(run.plan, run.folder))
    finally:
        save_file(kept, path)
    assert after.measured[0].similarity_correlation_centred != before


def test_a_dry_run_makes_no_pass_and_says_where_the_choice_is_made(recipe, tmp_path):
    recipe({"latency_p95_ms": 5})
    said = []
    job = jobs.open_job(tmp_path / "recipe.yaml", (), tmp_path / "r", said.append)
    document = jobs.rehearse(job)
    assert document.recipe["student"]["model"] == OTHER  # the first that fits stands in
    assert "chooses it by its faithfulness on these images" in texts(said)[0]
    assert not (tmp_path / "r").exists()


def test_damaged_weights_are_passed_over_with_their_file(recipe, started, weights, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in (TWIN, OTHER):
        state = load_file(weights / f"{name}.safetensors")
        if name == OTHER:
            state = {key: torch.full_like(value, torch.nan) if value.is_floating_point() else value
                     for key, value in state.items()}  # fmt: skip
        save_file(state, broken / f"{name}.safetensors")
    run, _ = started(recipe({"latency_p95_ms": 5}, **{"student.weights": str(broken)}))
    found = student_search.search(run)
    assert found.chosen == TWIN
    assert list(found.passed_over) == [OTHER]
    assert str(broken / f"{OTHER}.safetensors") in found.passed_over[OTHER]
    assert "not finite" in found.passed_over[OTHER]


# --- a whole run, and the commands -----------------------------------------------------------


def test_a_run_from_images_to_the_report_that_says_why(recipe, tmp_path):
    recipe({"latency_p95_ms": 5, "undecided": "pass"}, **{"distill.epochs": 0})
    said = []
    job = jobs.open_job(tmp_path / "recipe.yaml", (), tmp_path / "r", said.append)
    result = jobs.complete(job)
    search = result.report.student_search
    assert (search.chosen, result.report.entry("student").model) == (TWIN, TWIN)
    kept = read_json(tmp_path / "r" / "report.json")["student_search"]
    assert kept["measured"][1]["similarity_correlation_centred"] > 0.9
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert page.count("<circle") >= 2
    assert "Why this student" in page
    assert "| Pareto front |" in (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    said.clear()
    jobs.reopen_job(tmp_path / "r", said.append)  # for `compressor export`: it is finished
    assert f"student: {TWIN} ({search.why})" in texts(said)


def test_the_command_prints_table_json_and_drawing(recipe, command, tmp_path):
    recipe({"latency_p95_ms": 5})
    done = command("--plot", "students.svg")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{TWIN}: r ")
    assert "| Pareto front | fits |" in done.stdout
    assert (tmp_path / "students.svg").read_text(encoding="utf-8").count("<circle") == 2
    document = json.loads(command("--json").stdout)
    assert document["chosen"] == TWIN
    assert [row["model"] for row in document["measured"]] == [OTHER, TWIN]
    assert not (tmp_path / "candidates").exists()


def test_the_command_says_that_none_fits_and_shows_the_table(recipe, command):
    recipe({"latency_p95_ms": 1})
    done = command()
    assert done.exit_code == 0
    assert "none of 2 candidates is one that fit latency_p95_ms 1" in done.stdout
    assert f"| {TWIN} " in done.stdout


def test_away_from_the_target_sizes_are_compared_and_the_students_exported(
    plan, weights, command, tmp_path
):
    written = {
        "teacher": {"model": TWIN, "weights": str(weights), "image_size": 32},
        "student.weights": str(weights),
    }
    elsewhere = "{cpu: 'no such CPU'}"
    plan({"latency_p95_ms": 5}, students=(TWIN,), match=elsewhere, changes=written)
    done = command()
    assert done.exit_code == 0, done.output
    assert "no latency was measured" in done.stderr
    names = sorted(path.name for path in (tmp_path / "candidates").iterdir())
    assert names == ["candidates.json", f"{TWIN}.onnx"]


def test_options_that_do_not_go_together(recipe, command):
    recipe({"latency_p95_ms": 5})
    done = command("--out", "x", "--plot", "y.svg")
    assert (done.exit_code, "exclude each other" in done.output) == (2, True)


def test_a_folder_of_files_named_after_their_models(recipe, weights):
    asked = recipe({"latency_p95_ms": 5})
    assert asked.recipe.teacher.weights == str(weights / f"{TWIN}.safetensors")
    assert asked.recipe.student.weights == str(weights)  # every candidate has a file of its own
