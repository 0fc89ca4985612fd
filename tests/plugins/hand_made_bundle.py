"""A student in ONNX, a golden set and a bundle, made by hand: no torch and no onnx package.

The student answers with the mean of each channel: embedding [B, 3], and logits [B, 2].
"""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from runtime import metrics
from runtime.benchmark import machine_load
from runtime.bundle.golden import Arrays, Golden
from runtime.bundle.golden_arrays import Corrupted, Outside, UnderCorruption
from runtime.files import sha256_of, write_json
from runtime.findings.robustness import shape_of, stability
from runtime.images import corruptions
from runtime.images.preprocess import Preprocess

SIDE = 8
PREPROCESS = Preprocess(
    size_px=SIDE,
    resize_px=9,
    crop_mode="center",
    interpolation="bilinear",
    mean=(0.5, 0.45, 0.4),
    std=(0.25, 0.25, 0.3),
)
HEAD = np.array([[1.0, -1.0], [0.25, 0.0], [-1.0, 1.0]], np.float32)
"""Red or blue: logits are embedding @ HEAD."""


# --- the protobuf wire format, as far as a small model needs it ------------------------------


def varint(number):
    more, byte = divmod(number, 128)
    return bytes([byte | 0x80]) + varint(more) if more else bytes([byte])


def message(*fields):
    """`(number, value)` pairs: an int is a varint, text and bytes carry their length."""
    coded = b""
    for number, value in fields:
        if isinstance(value, int):
            coded += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            coded += varint(number << 3 | 2) + varint(len(data)) + data
    return coded


def node(operator, inputs, output, *attributes):
    given = [(1, name) for name in inputs]
    return message(*given, (2, output), (4, operator), *[(5, each) for each in attributes])


def tensor(name, values):
    values = np.asarray(values, "<f4")
    return message(*[(1, n) for n in values.shape], (2, 1), (8, name), (9, values.tobytes()))


def value_info(name, *sides):
    dimensions = [(1, message((2 if isinstance(side, str) else 1, side))) for side in sides]
    return message((1, name), (2, message((1, message((1, 1), (2, message(*dimensions)))))))


def model(
    *, factor=1.0, output="embedding", logits=True, head=HEAD, ir_version=8, opset=13, side=SIDE
):
    """Bytes of `embedding = factor * mean(images, H, W)` and `logits = embedding @ head`."""
    axes = message((1, "axes"), (8, 2), (8, 3), (20, 7))
    keep = message((1, "keepdims"), (3, 0), (20, 2))
    graph = [
        (1, node("ReduceMean", ["images"], "mean", axes, keep)),
        (1, node("Mul", ["mean", "factor"], output)),
        (2, "student"),
        (5, tensor("factor", [factor])),
        (11, value_info("images", "batch", 3, side, side)),
        (12, value_info(output, "batch", 3)),
    ]
    if logits:
        graph += [
            (1, node("MatMul", [output, "head"], "logits")),
            (5, tensor("head", head)),
            (12, value_info("logits", "batch", 2)),
        ]
    return message((1, ir_version), (7, message(*graph)), (8, message((1, ""), (2, opset))))


@pytest.fixture(scope="session")
def onnx_bytes():
    """`onnx_bytes(factor=..., output=..., logits=...)`: a model like the student, as bytes."""
    return model


@pytest.fixture
def student_onnx(tmp_path):
    """The student as a file."""
    path = tmp_path / "student.fp32.onnx"
    path.write_bytes(model())
    return path


# --- a bundle --------------------------------------------------------------------------------


def picture(rng, *, blue):
    pixels = rng.integers(0, 120, (10, 13, 3), np.uint8)
    pixels[..., 2 if blue else 0] += 120
    return Image.fromarray(pixels)


def embed(pictures):
    return np.stack([PREPROCESS(each).mean(axis=(1, 2)) for each in pictures])


def outside_answers(pictures, labels):
    """What teacher and student answer to images that are not of the task."""
    embedding, none = embed(pictures), np.zeros((len(pictures), 2), np.float32)
    return Outside(
        teacher_nearest=none[:, 0],
        teacher_mahalanobis=none[:, 0],
        teacher_logits=none if labels else None,
        student_embedding=embedding,
        student_logits=embedding @ HEAD if labels else None,
    )


def corrupted_answers(pictures, student, bank, truth, labels):
    """What teacher and student answer to every corruption of some pictures."""
    rows, shape = np.arange(len(pictures)), shape_of(len(pictures))
    looks = [
        [each(picture) for each in corruptions.all_of(seed, SIDE)]
        for seed, picture in enumerate(pictures)
    ]
    found = np.stack([embed(each) for each in looks])
    mean = metrics.normalise(bank).mean(axis=0)
    answers = (found @ HEAD).argmax(axis=2).reshape(shape)
    # The teacher knows what it looks at, however bad the image.
    of_teacher = np.broadcast_to(truth[rows, None, None], shape)
    return Corrupted(
        rows=rows,
        seeds=rows,
        teacher=UnderCorruption(np.ones(shape, np.float32), of_teacher if labels else None),
        student=UnderCorruption(
            stability(student[rows], found, mean).reshape(shape), answers if labels else None
        ),
    )


def make_golden(folder, *, images, labels, ood, corrupted):
    """Pictures and the answers to them in `folder`: even ones are red, odd ones blue."""
    rng = np.random.default_rng(0)
    inside = [picture(rng, blue=bool(n % 2)) for n in range(images)]
    outside = [Image.fromarray(rng.integers(0, 255, (9, 9, 3), np.uint8)) for _ in range(ood)]
    for below, pictures in (("images", inside), ("ood", outside)):
        (folder / below).mkdir(parents=True)
        for n, each in enumerate(pictures):
            each.save(folder / below / f"{n:02d}.png")
    truth, student = np.arange(images) % 2, embed(inside)
    bank_truth = np.arange(20) % 2
    bank = embed([picture(rng, blue=bool(n)) for n in bank_truth])
    unit = student / np.linalg.norm(student, axis=1, keepdims=True)
    # Three numbers are little to tell images apart by: none may seem to be a training image.
    near = 0.9 * (unit @ (bank / np.linalg.norm(bank, axis=1, keepdims=True)).T).max(axis=1)
    widen = rng.normal(size=(3, 5)).astype(np.float32)
    worst = [corruptions.worst_of(seed, SIDE)(inside[seed]) for seed in range(corrupted)]
    beside = outside or worst
    arrays = Arrays(
        labels=truth if labels else np.full(images, -1),
        teacher_embedding=student @ widen,
        teacher_knn=truth if labels else None,
        teacher_logits=np.eye(2, dtype=np.float32)[truth] if labels else None,
        teacher_nearest=near,
        student_embedding=student,
        student_logits=student @ HEAD if labels else None,
        bank=bank,
        bank_labels=bank_truth if labels else np.full(20, -1),
        pixels=np.stack([PREPROCESS.pixels(each) for each in inside[:4]]),
        teacher_mahalanobis=near,
        teacher_mean=(bank @ widen).mean(axis=0),
        orthogonal_map=metrics.fit_orthogonal_map(bank, bank @ widen),
        outside=outside_answers(beside, labels) if beside else None,
        corrupted=corrupted_answers(inside[:corrupted], student, bank, truth, labels)
        if corrupted
        else None,
    )
    golden = Golden(
        root=folder,
        images=tuple(f"images/{n:02d}.png" for n in range(images)),
        ood_images=tuple(f"ood/{n:02d}.png" for n in range(ood)),
        classes=("red", "blue") if labels else (),
        arrays=arrays,
        bank_images=tuple(f"train/{n:02d}.png" for n in range(20)),
        corrupted_px=SIDE if corrupted else 0,
    )
    golden.save(folder, root=".")


def seal_bundle(folder):
    """Write the manifest of what lies in the folder now."""
    manifest = folder / "manifest.json"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != manifest)
    digests = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    write_json(manifest, {"files": digests})


@pytest.fixture(scope="session")
def seal():
    """`seal(folder)`: make the manifest fit again after a test changed a file."""
    return seal_bundle


def write_bundle(
    folder,
    *,
    models=None,
    images=16,
    labels=True,
    ood=6,
    corrupted=0,
    require=None,
    match=None,
    provider="cpu",
    threads=1,
    batches=(1,),
):
    """Write a sealed bundle into a new folder; keywords say how it differs."""
    make_golden(folder / "golden", images=images, labels=labels, ood=ood, corrupted=corrupted)
    artifacts = []
    for stage, content in (models or {"onnx-fp32": model(logits=labels)}).items():
        path = folder / f"student.{stage}.onnx"
        path.write_bytes(content)
        artifacts.append(
            {"stage": stage, "file": path.name, "precision": "fp32", "sha256": sha256_of(path)}
        )
    document = {
        "schema_version": 1,
        "name": "tiny",
        "recipe": {"name": "tiny", "digest": "00"},
        "classes": ["red", "blue"] if labels else [],
        "preprocess": PREPROCESS.to_dict(),
        "ood_threshold": 0.9,
        "target": {
            "name": "this-machine",
            "match": match or {},
            "provider": provider,
            "threads": threads,
            "batches": list(batches),
        },
        "require": require or {},
        "teacher": {"model": "big", "size_mb": 22.5},
        "student": {"model": "small", "size_mb": 1.5},
        "artifacts": artifacts,
    }
    write_json(folder / "bundle.json", document)
    seal_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory):
    """`make_bundle(...)`: a bundle in a new folder, see `write_bundle`."""
    return lambda **how: write_bundle(tmp_path_factory.mktemp("made") / "bundle", **how)


@pytest.fixture(scope="session")
def sound_bundle(make_bundle):
    """A bundle that nobody changes; copy it to change it."""
    return make_bundle()


@pytest.fixture(scope="module")
def calm():
    """No other process is seen at work, so that a requirement of latency can be decided."""
    between = machine_load.between
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            machine_load,
            "between",
            lambda *snapshots: structs.replace(between(*snapshots), busy=False, others=()),
        )
        yield


@pytest.fixture(scope="session")
def change_json():
    """`change_json(path, key=value, ...)`: rewrite some keys of a JSON file, None removes one."""

    def change(path: Path, **changes):
        document = {**json.loads(path.read_text(encoding="utf-8")), **changes}
        kept = {key: value for key, value in document.items() if value is not None}
        path.write_text(json.dumps(kept), encoding="utf-8")

    return change
