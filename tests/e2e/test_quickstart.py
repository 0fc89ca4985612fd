"""The whole way through the real command line, as the README tells it, twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def compressor(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "compressor", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=600,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the quickstart has run once."""
    place = tmp_path_factory.mktemp("quickstart")
    written = compressor("quickstart", cwd=place)
    assert written.returncode == 0, written.stderr
    first = compressor("run", "quickstart/cpu.yaml", cwd=place)
    assert first.returncode == 0, first.stderr
    (place / "first.err").write_text(first.stderr)
    return place


@pytest.fixture(scope="module")
def report(place):
    return json.loads((place / "runs/quickstart/report.json").read_text())


@pytest.mark.timeout(900)
def test_closed_form_and_training_each_bring_the_student_nearer_to_its_teacher(report):
    raw, closed = (report["before_training"][name] for name in ("raw", "closed_form"))
    after = next(entry for entry in report["ledger"] if entry["stage"] == "onnx-fp32")
    r = "similarity_correlation"
    assert raw[r] + 0.1 < closed[r]
    assert closed[r] + 0.04 < after[r]
    for figure in (r, "procrustes_cosine", "neighbour_overlap_at_10"):
        assert report["gained"]["raw"][f"{figure}_ci"][0] > 0
    for figure in ("accuracy_knn", "accuracy_linear", "agreement_knn", "agreement_linear"):
        assert report["gained"]["raw"][figure] > 0
        assert report["gained"]["closed_form"][f"{figure}_ci"][1] > 0  # none is clearly worse
    assert report["training"]["kept_epoch"] > 0


def test_the_report_has_the_words_for_it(place, report):
    page = (place / "runs/quickstart/report.md").read_text()
    _, _, worth = page.partition("## Was it worth it?")
    assert "| raw features" in worth
    assert "| closed form" in worth
    assert "Against its raw features, the student is better in " in worth
    assert "untrained" not in page + (place / "first.err").read_text()
    assert "solved from" in page


def test_the_report_is_the_one_of_the_interface(report):
    assert report["schema_version"] == 1
    assert report["recipe"]["name"] == "quickstart"
    assert [entry["stage"] for entry in report["ledger"]] == ["teacher", "student", "onnx-fp32"]
    assert report["verdict"]["passed"] is True
    assert {"wanted", "got", "passed"} <= report["verdict"]["requirements"][0].keys()
    assert report["recommended"]["file"] == "student.fp32.onnx"
    assert report["data"]["images"] == 899
    stages = ["images", "embeddings", "pixels", "features", "start", "distill", "backbone"]
    stages += ["probes", "robustness", "golden", "to_onnx", "bundle", "check"]
    assert list(report["timings_s"]) == stages
    deployed = report["ledger"][2]
    assert deployed["parity_cosine_min"] > 0.9999
    assert {"batch", "runs", "median_ms", "p95_ms", "p99_ms", "images_per_s",
            "includes_preprocessing"} <= deployed["latency"].keys()  # fmt: skip
    assert [each["batch"] for each in deployed["latency_other_batches"]] == [8]
    assert deployed["size_mb"] < 4


def test_a_second_run_skips_everything_and_says_so(place):
    names = ("report.json", "student.safetensors", "student.fp32.onnx")
    before = {name: (place / "runs/quickstart" / name).stat().st_mtime_ns for name in names}
    again = compressor("quickstart", cwd=place)
    assert again.returncode == 0
    second = compressor("run", "quickstart/cpu.yaml", cwd=place)
    assert second.returncode == 0
    assert second.stderr.count("unchanged, skipped") == 13
    after = {name: (place / "runs/quickstart" / name).stat().st_mtime_ns for name in names}
    assert before == after
    assert second.stdout == (compressor("run", "quickstart/cpu.yaml", cwd=place)).stdout


def test_the_last_lines_say_what_was_made_where_and_what_is_next(place):
    told = (place / "first.err").read_text()
    assert "report  runs/quickstart/report.html (and .md, .json)" in told
    assert "bundle  runs/quickstart/bundle" in told
    assert "python -m runtime check bundle" in told


def test_json_prints_one_document_and_a_missed_gate_is_exit_code_1(place):
    words = ("run", "quickstart/cpu.yaml", "--set", "require.size_mb=0.1", "--json")
    missed = compressor(*words, cwd=place)
    assert missed.returncode == 1
    report = json.loads(missed.stdout)
    assert report["verdict"]["passed"] is False
    (gate,) = [each for each in report["verdict"]["requirements"] if each["passed"] is False]
    assert (gate["requirement"], gate["wanted"]) == ("size_mb", 0.1)
    # Only the bundle and its check know of the gate.
    assert missed.stderr.count("unchanged, skipped") == 11
    assert "failed (missed size_mb" in (place / "runs/quickstart/report.md").read_text()


def test_a_dry_run_touches_nothing(place):
    before = sorted((path, path.stat().st_mtime_ns) for path in Path(place).rglob("*"))
    words = ("run", "quickstart/cpu.yaml", "--dry-run", "--set", "distill.epochs=41")
    plain = compressor(*words, cwd=place)
    assert plain.returncode == 0
    assert "epochs: 41" in plain.stdout
    assert "| features   | cached" in plain.stdout
    assert "| distill    | to do" in plain.stdout
    document = json.loads(compressor(*words, "--json", cwd=place).stdout)
    assert document["recipe"]["distill"]["epochs"] == 41
    assert document["estimate"]["student_steps"] > 0
    assert before == sorted((path, path.stat().st_mtime_ns) for path in Path(place).rglob("*"))


def test_the_bundle_is_checked_as_the_device_does_it(place):
    bundle = place / "runs/quickstart/bundle"
    words = [sys.executable, "-m", "runtime", "check", str(bundle), "--json"]
    checked = subprocess.run(words, capture_output=True, text=True, cwd=place, timeout=300)
    assert checked.returncode in (0, 1), checked.stderr
    report = json.loads(checked.stdout)
    assert report["preprocess_max_difference_levels"] == 0
    assert report["golden"]["images"] == 100
    assert report["ledger"][2]["parity_cosine_min"] > 0.9999
    assert (place / "runs/quickstart/bundle-check/report.md").is_file()


def test_the_sample_in_the_bundle_gives_the_golden_answers_by_itself(place):
    bundle = place / "runs/quickstart/bundle"
    call = [sys.executable, "-I", bundle / "samples/reproduce.py"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("student.fp32.onnx (fp32): 100 images\npixels: 0 of 255 levels")


def test_export_makes_the_files_again(place):
    run = place / "runs/quickstart"
    (run / "student.fp32.onnx").unlink()
    again = compressor("export", run, cwd=place)
    assert again.returncode in (0, 1)  # the gate of the test before may still stand in recipe.json
    assert (run / "student.fp32.onnx").is_file()


def test_neither_labels_nor_weights_are_needed(place):
    """From scratch the student is compared with its random weights."""
    words = ("run", "quickstart/cpu.yaml", "--out", "runs/unlabelled", "--json")
    words += ("--set", "data.labels=none", "--set", "require={}", "--set", "distill.epochs=8")
    done = compressor(*words, "--set", "student.weights=none", cwd=place)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["gained"]["untrained"]["similarity_correlation"] > 0.1
    assert "before_training" not in report
    for entry in report["ledger"]:
        assert not [key for key in entry if key.startswith(("accuracy", "agreement"))]
    assert "similarity_correlation" in report["ledger"][2]
    assert "validation similarity r" in done.stderr
    assert report["data"]["labelled"] == 0
