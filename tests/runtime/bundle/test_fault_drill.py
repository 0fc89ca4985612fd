"""What can befall a bundle on its way and at work: named, with an exit code, no traceback.

The command is run as a user would, in this process; timing is cut short, nothing else.
"""

import errno
import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.__main__ import main
from runtime.benchmark import latency, machine_load
from runtime.bundle import bundle, golden_file
from runtime.cli import guarded
from runtime.errors import InputError

SHORT = latency.TimingPlan(warmup_s=0, longest_warmup_s=0, max_runs=20)
FILES = (
    "bundle.json",
    "golden/golden.json",
    "golden/golden.safetensors",
    "golden/images/03.png",
    "student.onnx-fp32.onnx",
)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    real = latency.measure_together
    monkeypatch.setattr(
        latency, "measure_together", lambda requests, plan=None: real(requests, SHORT)
    )


@pytest.fixture
def folder(sound_bundle, tmp_path):
    return shutil.copytree(sound_bundle, tmp_path / "bundle")


@pytest.fixture
def check(monkeypatch, capsys):
    """`check(folder, *options)`: exit code and what was said; any other exception is a bug."""

    def go(folder, *options):
        monkeypatch.setattr("sys.argv", ["runtime", "check", str(folder), *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            guarded(main)
        return ended.value.code or 0, "".join(capsys.readouterr())

    return go


def test_nothing_happened(check, folder):
    code, said = check(folder)
    assert code == 0, said


# --- on the way ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_file_that_is_missing_is_named(check, folder, name):
    (folder / name).unlink()
    code, said = check(folder)
    assert code == 2
    assert name in said


@pytest.mark.parametrize("name", FILES)
def test_one_byte_that_changed_is_named(check, folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    code, said = check(folder)
    assert code == 2
    assert f"altered: {name}" in said


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_is_named(check, folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    code, said = check(folder)
    assert (code, f"altered: {name}" in said) == (2, True)


@pytest.mark.parametrize("name", FILES)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damage_from_before_the_manifest_ends_in_words(
    check, sound_bundle, tmp_path_factory, seal, name, data
):
    """Bytes changed and then sealed: the manifest is no help, and whatever it is must be said."""
    folder = shutil.copytree(sound_bundle, tmp_path_factory.mktemp("damaged") / "bundle")
    content = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(content)
    seal(folder)
    code, said = check(folder)
    assert code in (0, 1, 2, 3), said
    assert code in (0, 1) or "error" in said


STRANGE = [None, -1, 1e308, "nonsense", [], {}, ["x"]]


def places(node, path=()):
    """Every key of a JSON document, as a path."""
    keys = node if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield (*path, key)
        if isinstance(node[key], (dict, list)):
            yield from places(node[key], (*path, key))


@pytest.mark.timeout(600)
def test_a_description_with_another_value_anywhere_ends_in_words(
    check, sound_bundle, tmp_path, seal
):
    """Each value of bundle.json taken away, then replaced by values of every other kind."""
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    path = folder / "bundle.json"
    sound = json.loads(path.read_text(encoding="utf-8"))
    sound["probe"] = {
        "kind": "linear",
        "why": "it is the only one",
        "candidates": [{"kind": "linear", "accuracy": 0.9, "log_loss": 0.1}],
        "labelled": 20,
        "temperature": 1.0,
        "calibrated": True,
        "classes_without_label": [],
    }
    refused, tried = 0, set()
    for place in places(sound):
        for value in ["take it away", *STRANGE]:
            document = json.loads(json.dumps(sound))
            node = document
            for key in place[:-1]:
                node = node[key]
            if value == "take it away":
                del node[place[-1]]
            else:
                node[place[-1]] = value
            path.write_text(json.dumps(document), encoding="utf-8")
            seal(folder)
            try:
                bundle.load(folder)
            except InputError:
                refused += 1
                continue
            kind = (place, type(value))
            if kind not in tried:  # what was let through once by its kind does no harm
                tried.add(kind)
                code, said = check(folder)
                assert code in (0, 1, 2, 3), (place, value, said)
    assert refused > 200


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"root": "/"}, "its images must lie beside it"),
        ({"root": "../.."}, "its images must lie beside it"),
        ({"images": ["../../secret.png"] * 16}, "points outside the bundle"),
        ({"ood_images": ["/etc/passwd"]}, "points outside the bundle"),
        ({"images": ["images/00.png"]}, "labels is [16], not [N] = [1]"),
        ({"images": 3}, "golden.json: images: expected array, got int 3"),
        ({"classes": ["red"]}, "labels names a class that is not there"),
    ],
)
def test_a_golden_set_that_means_other_images(check, folder, seal, change, said):
    path = folder / "golden" / "golden.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document | change), encoding="utf-8")
    seal(folder)
    code, told = check(folder)
    assert code == 2
    assert said in told


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("bank", np.zeros((20, 4), np.float32), "bank is [20, 4], not [B, D] = [20, 3]"),
        ("bank", np.zeros((20, 3), np.int32), "bank holds int32, not float32"),
        ("bank_labels", np.zeros(3, np.int64), "bank_labels is [3], not [B] = [20]"),
        ("labels", np.full(16, 7), "labels names a class that is not there"),
        ("teacher_embedding", np.float32(1), "teacher_embedding is [1], not [N, Dt] = [16, 'Dt']"),
        ("student_embedding", np.zeros(16, np.float32), "student_embedding is [16], not [N, D]"),
        ("outside.student_logits", np.zeros((6, 3), np.float32), "[6, 3], not [M, K] = [6, 2]"),
        ("corrupted.rows", np.array([0, 16]), "corrupted.rows names an image that is not there"),
        ("corrupted.student.stability", np.zeros((2, 6, 4), np.float32), "[R, F, S] = [2, 6, 5]"),
    ],
)
def test_arrays_that_do_not_go_together(check, make_bundle, tmp_path, seal, name, values, said):
    folder = shutil.copytree(make_bundle(corrupted=2), tmp_path / "bundle")
    path = folder / "golden" / golden_file.NAME
    golden_file.write(path, {**golden_file.read(path), name: np.asarray(values)})
    seal(folder)
    code, told = check(folder)
    assert code == 2
    assert said in told


def test_arrays_that_are_too_many(check, folder, monkeypatch):
    monkeypatch.setattr(golden_file, "MAX_BYTES", 100)
    code, told = check(folder)
    assert (code, "the limit is" in told) == (2, True)


# --- at work ---------------------------------------------------------------------------------


def test_another_machine_than_the_target(check, make_bundle):
    code, said = check(make_bundle(match={"cpu": "no such CPU"}, require={"latency_p95_ms": 1e6}))
    assert code == 1
    assert "undecided" in said


def test_a_provider_that_does_not_start(check, make_bundle):
    code, said = check(make_bundle(provider="cuda"))
    assert code == 3
    assert "CUDAExecutionProvider" in said


def test_a_busy_machine(check, folder, monkeypatch):
    moments = iter([machine_load.Snapshot(0, 0, 0, None), machine_load.Snapshot(1, 1e6, 0, None)])
    monkeypatch.setattr(machine_load, "now", lambda: next(moments))
    code, said = check(folder)
    assert code == 0
    assert "The machine was busy" in said


@pytest.mark.parametrize("which", ["report.json", "report.md", "report.html"])
def test_a_disk_that_is_full_when_the_report_is_written(
    check, folder, tmp_path, monkeypatch, which
):
    from runtime import files

    real = files.replacing

    def full(path):
        if path.name == which:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path)

    monkeypatch.setattr(files, "replacing", full)
    code, said = check(folder, "--out", tmp_path / "report")
    assert code == 3
    assert "no space left on this disk" in said
    assert not (tmp_path / "report" / which).exists()


def test_a_student_that_answers_nonsense(check, make_bundle, onnx_bytes):
    code, said = check(make_bundle(models={"onnx-fp32": onnx_bytes(factor=float("nan"))}))
    assert code == 1
    assert "parity" in said


def test_golden_images_of_other_sizes_than_were_answered(check, folder, seal):
    from PIL import Image

    Image.fromarray(np.zeros((300, 2, 3), np.uint8)).save(folder / "golden" / "images" / "03.png")
    seal(folder)
    code, said = check(folder)
    assert code == 2
    assert "03.png: absurdly thin" in said
