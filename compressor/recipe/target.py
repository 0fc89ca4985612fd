"""A target: the device a student is made for, as `recipes/targets/NAME.yaml` describes it."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from compressor.recipe.document import Document, Section
from compressor.recipe.values import unusable
from runtime.errors import InputError


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Regex = Annotated[str, AfterValidator(_compiles)]


class Match(Section):
    """How to recognise the device: regular expressions that must all match. Empty: any device."""

    arch: Regex | None = Field(None, description="processor architecture, as `uname -m` prints it")
    cpu: Regex | None = Field(None, description="CPU model, as /proc/cpuinfo has it")
    board: Regex | None = Field(None, description="board, as /proc/device-tree/model has it")
    gpu: Regex | None = Field(None, description="GPU, as nvidia-smi names it")
    os: Regex | None = Field(None, description="system and kernel, as Python's platform names them")


STUDENTS = (
    "mobilenetv4_conv_medium",
    "convnext_femto",
    "efficientnet_b0",
    "convnext_atto",
    "mobilenetv3_large_100",
    "efficientnet_lite0",
    "mobilenetv4_conv_small",
    "mobilenetv2_100",
    "lcnet_100",
    "mobilenetv3_small_100",
    "lcnet_050",
    "mobilenetv3_small_050",
)
"""In the order of their ImageNet accuracy in timm's results (79 % to 58 %): what they can learn."""


class Target(Section):
    """One device: what runs there and how to know it."""

    description: str = Field(description="what the device is, for `compressor targets`")
    match: Match = Field(Match(), description="how to recognise the device")
    provider: Literal["cpu", "cuda", "tensorrt"] = Field(
        "cpu", description="ONNX Runtime's provider; a provider that does not start is an error"
    )
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="CPU threads within one operator; null leaves it to the backend"
    )
    batches: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        (1, 8),
        description="batch sizes to time; requirements are judged at the first",
    )
    precisions: tuple[Literal["fp32", "fp16", "int8"], ...] = Field(
        ("fp32",), description="precisions worth trying there"
    )
    engines: tuple[Literal["tensorrt", "tensorrt-rtx"], ...] = Field(
        (), description="TensorRT flavours that run there"
    )
    compute_capability: str | None = Field(
        None, pattern=r"^\d+\.\d$", description="CUDA compute capability of its GPU, such as 8.9"
    )
    students: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        STUDENTS,
        description="timm models that `student.model: auto` compares; where none has weights, it "
        "takes the first that fits: name the most capable first",
    )
    memory_gb: Annotated[float, Field(gt=0)] | None = Field(
        None, description="memory that the student can use, in GB; of the GPU if there is one"
    )

    runtimes: tuple[str, ...] = Field(
        (), description="what runs its files there, with the oldest version where that matters"
    )
    sources: dict[str, str] = Field(
        {}, description="where each number of this file comes from, and when it was read"
    )

    @property
    def pattern(self) -> dict[str, str]:
        """What `match` gives, as `machine.matches` takes it and a bundle carries it."""
        found: dict[str, str] = self.match.model_dump(exclude_none=True)
        return found


def recipes_folder() -> Path:
    """Return the folder of the recipes: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "_recipes"
    return packaged if packaged.is_dir() else package.parent / "recipes"


def names() -> list[str]:
    """Names of the targets that come with the tool."""
    return sorted(path.stem for path in (recipes_folder() / "targets").glob("*.yaml"))


FORMER = {"raspberry-pi-5": "pi-5"}
"""Former names of targets, which are still taken."""


def path_of(name: str, relative_to: Path) -> Path:
    """The file of a target: one of ours by name, or a path to a `.yaml` of the user's.

    Raises:
        InputError: neither.
    """
    if name.endswith((".yaml", ".yml")):
        if why := unusable(relative_to / name):
            raise InputError(f"{name[:120]!r}: {why}")
        if not (relative_to / name).is_file():
            raise InputError(f"no such file: {relative_to / name}")
        return relative_to / name
    name = FORMER.get(name, name)
    if name in names():
        return recipes_folder() / "targets" / f"{name}.yaml"
    close = difflib.get_close_matches(name, [*names(), *FORMER], n=1)
    hint = (
        f"did you mean {FORMER.get(close[0], close[0])}?"
        if close
        else f"known: {', '.join(names())}"
    )
    raise InputError(f"{name!r} is not a target; {hint} (or a path to a .yaml of your own)")


def load(path: Path) -> Target:
    """Read a target file.

    Raises:
        InputError: with file, line and key of every mistake.
    """
    return Document(path).validate(Target)
