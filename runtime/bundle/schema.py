"""The types of bundle.json and manifest.json; what they do not allow is refused on reading."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from runtime.documents import Count, Number, Positive, Precision, Text
from runtime.files import stays_below
from runtime.images.preprocess import Preprocess
from runtime.metrics.outliers import CHANCE

SCHEMA_VERSION = 1

Flavour = Literal["tensorrt", "tensorrt-rtx"]
Batch = Annotated[int, Meta(ge=1, le=4096)]


class Manifest(Struct, frozen=True, kw_only=True):
    """manifest.json: every other file of the bundle."""

    files: dict[str, str]
    """Name below the bundle's folder -> hex sha256."""


class RecipeName(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The recipe that a run followed."""

    name: Text
    digest: str | None = None
    """sha256 of what the user wrote."""


class Target(Struct, frozen=True, kw_only=True):
    """The device that the student is made for."""

    name: Text
    match: dict[str, Text]
    """Regular expressions, all of which must be found, on `arch`, `cpu`, `board`, `gpu` or `os`."""
    provider: Literal["cpu", "cuda", "tensorrt"]
    threads: Count | None
    batches: Annotated[tuple[Batch, ...], Meta(min_length=1)]
    """Batch sizes to time; the first is the one that requirements are about."""
    description: str = ""
    precisions: tuple[Precision, ...] = ()
    engines: tuple[Flavour, ...] = ()
    compute_capability: str | None = None
    """Of its GPU, such as 8.9."""
    students: tuple[str, ...] = ()
    memory_gb: Positive | None = None

    def __post_init__(self) -> None:
        for key, pattern in self.match.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"match.{key}: not a regular expression ({error})") from error


class Requirements(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The recipe's gates. An unknown one is refused, because nothing could judge it."""

    latency_p95_ms: Number | None = None
    agreement: Number | None = None
    accuracy_drop: Number | None = None
    size_mb: Number | None = None
    similarity_correlation: Number | None = None
    ood_auroc: Number | None = None
    undecided: Literal["fail", "pass"] = "fail"


class Network(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Teacher or student: the architecture and where its weights come from."""

    model: Text
    """Its name in timm."""
    size_mb: Positive
    """Of its weights in float32, 10^6 bytes."""
    weights: str | None = None
    args: dict[str, Any] = {}
    """Keyword arguments of timm.create_model."""
    hub_id: str | None = None
    package: str | None = None
    """Name and version of the package that the weights are from."""
    license: str | None = None
    sha256: str | None = None
    """Of a local file of weights."""
    part: str | None = None
    """Which of the weights in that file were taken, in words."""
    embedding: Count | None = None
    """Width of its embedding."""
    preprocess: Preprocess | None = None
    computed_in: str | None = None
    """The precision that the teacher's features were computed in."""


class EncoderCard(Network, frozen=True, kw_only=True, omit_defaults=True):
    """teacher.json and student.json in the folder of a run."""

    preprocess: Preprocess


class ProbeCandidate(Struct, frozen=True, kw_only=True):
    """One kind of probe that was tried, at its best strength."""

    kind: Text
    accuracy: Number
    log_loss: Number
    accuracy_ci: Annotated[tuple[Number, ...], Meta(min_length=2, max_length=2)] | None = None
    strength: Number | None = None


class ProbeChoice(Struct, frozen=True, kw_only=True):
    """The deployed probe and why it was chosen."""

    kind: Text | None
    """None where no class is answered."""
    why: Text
    classes_without_label: tuple[Text, ...]
    labelled: Annotated[int, Meta(ge=0)] | None = None
    temperature: Positive | None = None
    calibrated: bool | None = None
    strength: Number | None = None
    candidates: tuple[ProbeCandidate, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind is not None:
            needed = ("labelled", "temperature", "calibrated")
            if missing := [key for key in needed if getattr(self, key) is None]:
                raise ValueError(f"{missing[0]}: missing")


class OutlierCheck(Struct, frozen=True, kw_only=True):
    """How well the student recognised images that are not of its task, on all held-out images."""

    source: Literal["data.ood", "corruptions"]
    images: Count
    """That are not of the task."""
    auroc: Number
    auroc_ci: Annotated[tuple[Number, ...], Meta(min_length=2, max_length=2)]

    @property
    def told(self) -> bool:
        """Whether they are shown to be recognised better than by chance."""
        return self.auroc_ci[0] > CHANCE


class OnnxFacts(Struct, frozen=True, kw_only=True):
    """Versions and shapes of the float32 ONNX file."""

    opset: dict[str, int]
    ir_version: int
    producer: str
    inputs: dict[str, tuple[str | int, ...]]
    outputs: dict[str, tuple[str | int, ...]]


class EngineOrder(Struct, frozen=True, kw_only=True):
    """The TensorRT engines that the recipe asks for."""

    flavours: tuple[Flavour, ...] = ()
    batches: tuple[int, int, int] | None = None
    """From, tuned for, up to."""
    workspace_mb: Count | None = None


class ArtifactEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One deployable file."""

    stage: Text
    """Its line in the ledger, such as `onnx-fp32`."""
    file: Text
    precision: Precision
    sha256: Text
    """Of the file; with `parts`, of all of them in this order, one after the other."""
    parts: tuple[Text, ...] = ()
    """Other files that it cannot run without, such as the weights of a network of ncnn."""

    def __post_init__(self) -> None:
        for name in (self.file, *self.parts):
            if not stays_below(name):
                raise ValueError(f"file: {name!r} points outside the bundle; refused")


def extras(files: Iterable[str], provider: str) -> str:
    """Return the extras of edge-compressor that run some files, as pip takes them: `cpu,ncnn`.

    Args:
        files: their names.
        provider: of the target.
    """
    found = {_EXTRAS[ending] for name in files if (ending := PurePath(name).suffix) in _EXTRAS}
    return ",".join(["gpu" if provider == "cuda" else "cpu", *sorted(found)])


_EXTRAS = {".param": "ncnn", ".tflite": "litert"}


class PendingEngine(Struct, frozen=True, kw_only=True):
    """An engine that only the device itself can build."""

    stage: Text
    precision: Precision
    not_run: Text
    """Why, and the command that builds it."""


class FileNotMade(Struct, frozen=True, kw_only=True):
    """A file that the recipe asks for and that could not be made."""

    stage: Text
    precision: Precision
    why: Text


class BundleDocument(Struct, frozen=True, kw_only=True):
    """bundle.json: what the bundle is, and all that a device must know of it."""

    schema_version: int = SCHEMA_VERSION
    name: Text
    recipe: RecipeName
    classes: tuple[Text, ...]
    preprocess: Preprocess
    ood_threshold: Number | None = None
    """An image that is less like the training images is an outlier. None where they are recognised
    no better than by chance, as far as is known: then no image is called an outlier or not."""
    outliers: OutlierCheck | None = None
    """None in older bundles, and where no image was known that is not of the task."""
    target: Target
    require: Requirements
    teacher: Network
    student: Network
    probe: ProbeChoice | None = None
    onnx: OnnxFacts | None = None
    input: Literal["float32", "uint8"] = "float32"
    precision: dict[Precision, dict[str, Any]] = {}
    """How FP16 and INT8 were made; `export.precision` writes it and the report shows it."""
    engines: EngineOrder = EngineOrder()
    engines_to_build: tuple[PendingEngine, ...] = ()
    not_made: tuple[FileNotMade, ...] = ()
    artifacts: Annotated[tuple[ArtifactEntry, ...], Meta(min_length=1)]
    recommended: Text | None = None
    """Stage of the file that `predict` and `load` take: the one that the run's check recommended.
    Older bundles have none."""

    def __post_init__(self) -> None:
        stages = [artifact.stage for artifact in self.artifacts]
        if twice := {stage for stage in stages if stages.count(stage) > 1}:
            raise ValueError(f"artifacts: stage {min(twice)!r} is there twice")
        if self.recommended is not None and self.recommended not in stages:
            raise ValueError(f"recommended: {self.recommended!r} is none of {', '.join(stages)}")


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of bundle.json."""
    schema = msgspec.json.schema(BundleDocument)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edge-compressor bundle.json",
        **schema,
    }
