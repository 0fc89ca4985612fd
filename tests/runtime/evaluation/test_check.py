"""A bundle made by hand, run the whole way on this machine."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.backends.ort_library import import_onnxruntime
from runtime.bundle import bundle, golden
from runtime.errors import InputError, MissingDependencyError
from runtime.evaluation.check import check
from runtime.report import markdown
from runtime.results.report import Report
from runtime.results.scores import from_json, to_json

ZERO = 0.0


def checked(folder, **options):
    """report.json of a bundle."""
    return to_json(check(bundle.load(folder), golden.load(folder / "golden"), **options))


def read(found):
    return from_json(found, Report, Path("report.json"))


def judgements(found):
    return {each["requirement"]: each for each in found["verdict"]["requirements"]}


@pytest.fixture(scope="module")
def folder(make_bundle):
    require = {
        "agreement": 0.7,  # all of 16 images say no more than 0.79
        "similarity_correlation": 0.3,
        "accuracy_drop": 0.25,
        "size_mb": 1,
        "latency_p95_ms": 1e6,
    }
    return make_bundle(require=require, batches=(1, 3))


@pytest.fixture(scope="module")
def found(folder, calm):
    return checked(folder)


def test_the_ledger_goes_from_the_teacher_to_the_file(found):
    teacher, student, deployed = found["ledger"]
    assert (teacher["stage"], teacher["model"], teacher["size_mb"]) == ("teacher", "big", 22.5)
    assert (student["stage"], student["model"], student["size_mb"]) == ("student", "small", 1.5)
    assert (deployed["stage"], deployed["file"]) == ("onnx-fp32", "student.onnx-fp32.onnx")
    assert deployed["precision"] == "fp32"
    assert deployed["provider"] == "cpu"
    assert len(deployed["sha256"]) == 64


def test_the_file_is_the_student(found):
    _, student, deployed = found["ledger"]
    assert deployed["parity_cosine_min"] == pytest.approx(1, abs=1e-6)
    assert deployed["parity_max_abs_difference"] == pytest.approx(0, abs=1e-5)
    assert deployed["parity_same_answer"] == 1
    assert "broken" not in deployed
    for key in student.keys() - {"stage", "model", "size_mb", "loss_against_teacher"}:
        assert deployed[key] == pytest.approx(student[key], abs=1e-4)


def test_red_is_told_from_blue_and_both_from_noise(found):
    teacher, _, deployed = found["ledger"]
    assert teacher["accuracy_knn"] == teacher["accuracy_linear"] == 1
    for key in ("accuracy_knn", "accuracy_linear", "agreement_knn", "agreement_linear"):
        assert deployed[key] == 1
        assert deployed[f"{key}_ci"] == pytest.approx([0.025 ** (1 / 16), 1])  # of 16 images
    assert (deployed["ood_auroc"], deployed["ood_fpr95"]) == (1, 0)
    assert 0.5 < deployed["similarity_correlation"] <= 1
    assert 0 < deployed["neighbour_overlap_at_10"] <= 1


def test_every_figure_on_images_has_its_interval(found):
    for entry in found["ledger"]:
        figures = [key for key in entry if key.startswith(("accuracy", "agree", "simil", "ood"))]
        for key in figures:
            if not key.endswith("_ci"):
                low, high = entry[f"{key}_ci"]
                assert low <= entry[key] + 1e-6
                assert entry[key] <= high + 1e-6


def test_latency_of_every_batch_size(found):
    deployed = found["ledger"][2]
    (other,) = deployed["latency_other_batches"]
    assert (deployed["latency"]["batch"], other["batch"]) == (1, 3)
    for measured in (deployed["latency"], other):
        assert measured["runs"] >= 20
        expected = measured["batch"] / measured["median_ms"] * 1e3
        assert measured["images_per_s"] == pytest.approx(expected)
        assert measured["includes_preprocessing"] is False


def test_the_verdict(found):
    assert found["verdict"]["passed"]
    assert list(judgements(found)) == [
        "parity_cosine_min",
        "parity_logit_difference",
        "parity_probability_difference",
        "parity_likeness_difference",
        "non_finite_answers",
        "preprocess_max_difference_levels",
        "latency_p95_ms",
        "agreement",
        "accuracy_drop",
        "size_mb",
        "similarity_correlation",
    ]
    assert all(each["passed"] is True for each in judgements(found).values())
    assert found["recommended"] == {
        "stage": "onnx-fp32",
        "file": "student.onnx-fp32.onnx",
        "why": "the only file; meets every requirement",
    }


def test_the_rest_of_the_report(found):
    assert found["schema_version"] == 1
    assert found["recipe"] == {"name": "tiny", "digest": "00"}
    assert found["target"] == {"name": "this-machine", "this_machine": True}
    assert found["golden"].items() >= {"images": 16, "ood_images": 6}.items()
    assert len(found["golden"]["digest"]) == 64
    assert found["preprocess_max_difference_levels"] == 0
    assert found["machine"]["libraries"]["numpy"] == np.__version__
    json.dumps(found, allow_nan=False)
    assert markdown.markdown(read(found)).startswith("# tiny: passed\n")


def test_a_second_check_finds_the_same_figures(folder, found):
    for first, second in zip(found["ledger"], checked(folder)["ledger"], strict=True):
        for key in first.keys() - {"latency", "latency_other_batches"}:
            assert first[key] == second[key]


def test_of_two_files_the_one_that_meets_the_requirements_is_recommended(make_bundle, onnx_bytes):
    models = {"onnx-fp32": onnx_bytes(), "onnx-int8": onnx_bytes(factor=ZERO)}
    found = checked(make_bundle(models=models))
    assert found["ledger"][3]["broken"]
    stages = [entry["stage"] for entry in found["ledger"]]
    assert stages == ["teacher", "student", "onnx-fp32", "onnx-int8"]
    assert found["recommended"]["stage"] == "onnx-fp32"
    assert found["recommended"]["why"].startswith("the fastest, p95 ")
    assert found["recommended"]["why"].endswith(" ms; no requirement is set")
    assert found["verdict"]["passed"]


def test_without_labels_there_is_no_accuracy(make_bundle):
    found = checked(make_bundle(labels=False, ood=0, require={"agreement": 0.5}))
    for entry in found["ledger"]:
        assert not [key for key in entry if key.startswith(("accuracy", "agreement", "ood"))]
    assert found["ledger"][2]["parity_same_answer"] is None
    assert found["ledger"][2]["similarity_correlation"] > 0.5
    assert judgements(found)["agreement"]["passed"] is None
    assert "acc." not in markdown.markdown(read(found))


def test_too_few_images_for_figures_of_pairs_and_no_pixels_from_the_desk(make_bundle, seal):
    folder = make_bundle(images=5)
    loaded = golden.load(folder / "golden")
    without = replace(loaded, arrays=replace(loaded.arrays, pixels=None))
    without.save(folder / "golden", root=".")
    seal(folder)
    found = checked(folder)
    assert found["preprocess_max_difference_levels"] is None
    assert "preprocess_max_difference_levels" not in judgements(found)
    deployed = found["ledger"][2]
    assert "similarity_correlation" not in deployed
    assert "neighbour_overlap_at_10" not in deployed
    assert deployed["accuracy_knn"] == 1


def test_more_images_than_a_batch_and_a_batch_than_images(make_bundle):
    seen = []

    def track(items, *, label, total):
        seen.append((label, total))
        yield from items

    found = checked(make_bundle(images=40, ood=3, batches=(50,)), track=track)
    assert found["golden"].items() >= {"images": 40, "ood_images": 3}.items()
    assert found["ledger"][2]["parity_cosine_min"] == pytest.approx(1, abs=1e-6)
    assert found["ledger"][2]["latency"]["batch"] == 50
    assert seen == [("checking held-out images", 2), ("timing in turns", 1)]


def test_away_from_the_target(make_bundle):
    """Its provider need not exist here, and latency decides nothing."""
    found = checked(
        make_bundle(
            match={"board": "no such board"},
            provider="cuda",
            require={"latency_p95_ms": 1e6, "undecided": "pass"},
        )
    )
    assert found["target"]["this_machine"] is False
    assert found["ledger"][2]["provider"] == "cpu"
    judgement = judgements(found)["latency_p95_ms"]
    assert judgement["passed"] is None
    assert "this machine is not the target this-machine" in judgement["why"]
    assert markdown.verdict_line(read(found)) == (
        "undecided (latency_p95_ms; counts as met by require.undecided)"
    )


def test_on_the_target_its_provider_must_start(make_bundle):
    if "CUDAExecutionProvider" in import_onnxruntime().get_available_providers():
        pytest.skip("CUDA may start here")
    folder = make_bundle(provider="cuda")
    with pytest.raises(MissingDependencyError, match="should use CUDAExecutionProvider"):
        checked(folder)


def test_a_preprocessing_that_differs_is_measured_and_fails(make_bundle, change_json, seal):
    folder = make_bundle()
    document = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    preprocess = document["preprocess"] | {"interpolation": "nearest"}
    change_json(folder / "bundle.json", preprocess=preprocess)
    seal(folder)
    found = checked(folder)
    assert found["preprocess_max_difference_levels"] > 4
    assert judgements(found)["preprocess_max_difference_levels"]["passed"] is False
    assert not found["verdict"]["passed"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), r"03\.png: .*No such file"),
        (lambda path: path.write_bytes(b""), r"03\.png: empty file \(0 bytes\)"),
        (lambda path: path.write_bytes(b"text"), r"03\.png: not an image that Pillow can read"),
    ],
)
def test_an_image_that_is_gone_or_damaged(sound_bundle, tmp_path, spoil, said):
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    loaded, images = bundle.load(folder), golden.load(folder / "golden")
    spoil(folder / "golden" / "images" / "03.png")
    with pytest.raises(InputError, match=said) as caught:
        check(loaded, images)
    assert "This held-out image was readable before: was it moved or changed?" in str(caught.value)
