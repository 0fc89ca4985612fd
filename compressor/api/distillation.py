"""Distil a student from a teacher on plain images, without a recipe or a run folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs
from pydantic import ValidationError

from compressor.api.encoders import Network, student_from, teacher_from
from compressor.api.image_inputs import Images, files_of, image_set, records_of
from compressor.api.training import Training
from compressor.data.dataset import ImageSet
from compressor.data.layout.labels import UNLABELLED
from compressor.data.split import assign_splits
from compressor.distillation.epochs import read_log
from compressor.events import EpochEnded, Event, Observer, Reporter, ignore
from compressor.models.compute import Compute
from compressor.models.embed import embed
from compressor.models.encoder import Encoder
from compressor.recipe.choices import METHODS
from compressor.recipe.schema import Distill
from runtime.arrays import Floats, Ints
from runtime.errors import InputError, from_file_system
from runtime.images.preprocess import Preprocess

if TYPE_CHECKING:
    from torch import nn

FEWEST_IMAGES = 16


@dataclass(frozen=True)
class Distilled:
    """A trained student. `export.to_onnx` takes it as it is."""

    encoder: Encoder
    epochs: tuple[EpochEnded, ...]
    """Losses and validation scores of every epoch; the student is that of the last one that is
    marked as the best so far, or without scores of the last one. Epoch 0 is a student with
    pretrained weights before training."""

    @property
    def module(self) -> nn.Module:
        """Maps float32 [B, 3, S, S], normalised, to embeddings [B, D]; on the CPU, in eval mode."""
        return self.encoder.module

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the input of the module."""
        return self.encoder.preprocess

    def embed(self, images: Images) -> Floats:
        """Return the embeddings of images, float32 [N, D].

        Raises:
            InputError: an image cannot be read.
        """
        with tempfile.TemporaryDirectory() as work:
            files = files_of(images, Path(work))
            records_of(files, None, "train")
            compute = Compute.choose("cpu", None)
            return embed(self.encoder, files, compute, label="student on images")

    def to_onnx(self, path: str | Path) -> Path:
        """Write the student as an ONNX file; see `export.to_onnx`.

        Raises:
            InputError: the model has an operation that ONNX does not have.
        """
        from export.onnx_file import to_onnx

        return to_onnx(self, path)


@from_file_system()
def distill(
    images: Images,
    teacher: Network,
    student: Network,
    *,
    method: str = "tintem",
    epochs: int | None = None,
    labels: Sequence[int] | Ints | None = None,
    validation: float | Images = 0.1,
    settings: Mapping[str, object] | None = None,
    on_event: Observer = ignore,
) -> Distilled:
    """Train a student to give the teacher's embeddings; the given networks are left as they are.

    Args:
        images: to train on: a folder or other source, files, or uint8 [N, H, W, 3] in RGB.
        teacher: a timm model, its name, keys of a recipe's section, or an encoder.
        student: the same; by name it has pretrained weights, or new ones where there are none.
        method: `tintem`, or one of those that it is compared with.
        epochs: passes over the training images; None: as many as suit the number of images; 0: the
            closed form alone, for a student with pretrained weights.
        labels: [N] class indices, -1 where not known; only `supervised` learns from them.
        validation: a share of the images, or images of their own, that choose the epoch to keep.
        settings: other keys of a recipe's section `distill`, such as `{"batch": 32, "seed": 1}`.
            With `{"minutes": 5}`, rates are measured first; epochs and views are those that fit.
        on_event: called with messages, progress and epochs; what it raises ends the training.

    Raises:
        InputError: images, labels, a network or a setting is wrong, or the loss is not finite.
        MissingDependencyError: a GPU, a precision, hub weights or disk space are missing.
    """
    share = float(validation) if isinstance(validation, int | float) else 0.1
    settings = settings or {}
    if own := sorted({"method", "epochs", "validation"} & settings.keys()):
        raise InputError(f"settings: {', '.join(own)}: give it as an argument of its own")
    spec = _settings({**settings, "method": method, "epochs": epochs, "validation": share})
    encoder = student_from(student, seed=spec.seed, reporter=Reporter(on_event))
    if spec.epochs == 0 and not encoder.has_start:
        raise InputError(
            "epochs is 0, the closed form alone, and the student has no weights to begin with; "
            "give it some, or let it train"
        )
    loaded = teacher_from(teacher)  # wrong weights are found before the first image is decoded
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        held = share if isinstance(validation, int | float) else validation
        chosen = _image_set(images, labels, held, spec, work)
        training = Training(chosen, loaded, encoder, spec, work)
        ended: list[EpochEnded] = []

        def observe(event: Event) -> None:
            if isinstance(event, EpochEnded):
                ended.append(event)
            on_event(event)

        state = training.run(observe)
        log = read_log(work / "training" / "train.jsonl")
    module = encoder.module.cpu()
    module.load_state_dict(state)
    # Which one is kept is decided when the last one has ended
    told = (
        structs.replace(event, best_so_far=line.best_so_far)
        for event, line in zip(ended, log, strict=True)
    )
    return Distilled(replace(encoder, module=module.eval()), tuple(told))


def _settings(keys: Mapping[str, object]) -> Distill:
    try:
        spec = Distill.model_validate({key: keys[key] for key in keys if keys[key] is not None})
    except ValidationError as error:
        lines = [f"distill.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise InputError("\n  ".join(lines)) from error
    if mistakes := spec.mistakes():
        raise InputError("\n  ".join(f"distill.{key}: {what}" for key, what in mistakes))
    return spec


def _image_set(
    images: Images,
    labels: Sequence[int] | Ints | None,
    validation: float | Images,
    spec: Distill,
    work: Path,
) -> ImageSet:
    """Return training and validation images, decoded once."""
    files = files_of(images, work / "images")
    records = records_of(files, labels, "train")
    known = {record.label for record in records} - {UNLABELLED}
    if METHODS[spec.method].needs_labels and len(known) < 2:
        raise InputError(f"method {spec.method} needs labels of at least two classes")
    if isinstance(validation, float):
        stratified = all(record.label != UNLABELLED for record in records)
        records = assign_splits(records, None, validation, spec.seed, stratified=stratified)
    else:
        others = files_of(validation, work / "validation")
        records += records_of(others, None, "validation")
        files += others
    chosen = image_set(records, files, max(known, default=-1) + 1)
    for split in ("train", "validation"):
        if not len(chosen.part(split)):
            raise InputError(f"{len(records)} images leave none for the {split} split; add images")
    if len(records) < FEWEST_IMAGES:
        raise InputError(f"{len(records)} images; at least {FEWEST_IMAGES} are needed")
    return chosen
