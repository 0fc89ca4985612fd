"""rounds.json in the folder of a run: a line for each round of labels, and its report beside it.

A run with the images and labels of the last round is this round again; with others it is the next.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import UNSET, Struct, structs

from compressor.data.devices.device_folder import Stream
from compressor.data.layout.labels import UNLABELLED
from compressor.pipeline.context import Run
from runtime.bundle import golden
from runtime.documents import read_object
from runtime.files import replacing, sha256_of, write_json
from runtime.report.comparison import answers
from runtime.results.report import FILE, Report
from runtime.results.rounds import DeviceStream, Round
from runtime.results.scores import from_json, to_json

NAME, FOLDER = "rounds.json", "rounds"
SCHEMA_VERSION = 1
_ACCURACIES = ("accuracy_probe", "accuracy_linear", "accuracy_knn")
"""Of the deployed answers: the first that a file has."""


class _Document(Struct, frozen=True, kw_only=True):
    """rounds.json."""

    schema_version: int = SCHEMA_VERSION
    rounds: tuple[Round, ...]


def read(folder: Path) -> tuple[Round, ...]:
    """Return the rounds of a run, the first one's first; none where no run has finished.

    Raises:
        InputError: the file cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return ()
    document = read_object(path, newest=SCHEMA_VERSION, what="table of rounds")
    return from_json(document, _Document, path).rounds


def before(run: Run) -> tuple[Round, ...]:
    """Return the rounds before the one that the run's images and labels make."""
    found = read(run.folder)
    return found[:-1] if found and found[-1].data == run.dataset_digest() else found


def with_this(run: Run, report: Report, answers: Path) -> tuple[Round, ...]:
    """Return the rounds with the one that a report is of.

    Args:
        run: its step `images` is made.
        report: of its recommended file.
        answers: the golden set in its bundle.
    """
    images, earlier = run.images(), before(run)
    learnt, held = images.part("train", "validation"), images.part("holdout")
    file, student = report.recommended_entry, sha256_of(golden.arrays_path(answers))
    scores = {key: score for key in _ACCURACIES if (score := file.scores.get(key)) is not None}
    again = [each for each in read(run.folder) if each.student == student]
    this = Round(
        round=len(earlier) + 1,
        made="" if report.made is UNSET else report.made,
        data=run.dataset_digest(),
        student=student,
        held_out=report.golden.digest,
        images=len(learnt),
        returned=len(run.returned_ids()),
        labels=int((learnt.labels != UNLABELLED).sum()),
        held_out_labels=int((held.labels != UNLABELLED).sum()),
        accuracy=next(iter(scores.values()), UNSET),
        ood_auroc=file.scores.get("ood_auroc", UNSET),
        devices=again[-1].devices if again else (),
    )
    return (*earlier, this)


def save(folder: Path, report: Report) -> None:
    """Write the rounds of a finished run, and keep its report for comparisons.

    Args:
        folder: of the run.
        report: as it lies there.
    """
    if report.rounds is UNSET or not report.rounds:
        return
    kept = folder / FOLDER / str(report.rounds[-1].round)
    with replacing(kept / FILE) as temporary:
        shutil.copyfile(folder / FILE, temporary)
    answers.save(folder / "bundle" / "golden", kept)
    _write(folder, report.rounds)  # last: a round in the table has its report


def with_device(folder: Path, device: Path, seen: Mapping[str, Stream]) -> tuple[Round, ...]:
    """Note what a device saw beside the round of each student, and return the rounds.

    Args:
        folder: of the run.
        device: the device's folder; what it said before is replaced.
        seen: by the digest of the student.
    """
    name = hashlib.sha256(str(device.resolve()).encode()).hexdigest()[:12]
    rounds = []
    for each in read(folder):
        stream = seen.get(each.student)
        if stream is not None:
            others = tuple(other for other in each.devices if other.device != name)
            said = DeviceStream(name, stream.images, stream.outliers)
            rounds.append(structs.replace(each, devices=(*others, said)))
        else:
            rounds.append(each)
    if tuple(rounds) != read(folder):
        _write(folder, tuple(rounds))
    return tuple(rounds)


def _write(folder: Path, rounds: tuple[Round, ...]) -> None:
    write_json(folder / NAME, to_json(_Document(rounds=rounds)))
