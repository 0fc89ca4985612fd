"""The names that a recipe can choose from, and where each is implemented.

A new distillation method or labelling strategy is one new file and one line here: the recipe's
allowed values, its JSON schema, its error messages and the plots follow. The implementation is
imported when it is used, so that reading a recipe needs no training package.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_core import PydanticKnownError, core_schema


@dataclass(frozen=True)
class Choice:
    """A name that a recipe can give, and the object it stands for."""

    name: str
    implementation: str
    """`module:attribute`"""

    def load(self) -> Any:
        """Import the object that the name stands for."""
        module, _, attribute = self.implementation.partition(":")
        return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class MethodChoice(Choice):
    """A distillation method: `load` gives a subclass of `distillation.methods.method.Method`."""

    needs_teacher: bool = True
    """Whether the student learns from the teacher's features."""
    needs_labels: bool = False
    """Whether it learns from labels."""
    uses_maps: bool = True
    """Whether it can learn from the teacher's feature maps as well."""
    has_own_layers: bool = True
    """Whether it has layers beside the student's that are solved at the start, without maps too."""


@dataclass(frozen=True)
class StrategyChoice(Choice):
    """A labelling strategy: `load` gives a `selection.strategies.strategy.Strategy`."""

    colour: str = "#22262b"
    """The colour of its line in the plots of a simulation."""
    needs_labels: bool = False
    """Whether it reads the labels that are still to be made: then only a simulation can use it."""


C = TypeVar("C", bound=Choice)


def _by_name(choices: Iterable[C]) -> dict[str, C]:
    return {choice.name: choice for choice in choices}


_METHODS = "compressor.distillation.methods"
METHODS = _by_name(
    [
        MethodChoice("tintem", f"{_METHODS}.tintem:TinTeM", has_own_layers=False),
        MethodChoice("proteus", f"{_METHODS}.proteus:Proteus"),
        MethodChoice("cosine", f"{_METHODS}.cosine:Cosine"),
        MethodChoice(
            "supervised",
            f"{_METHODS}.supervised:Supervised",
            needs_teacher=False,
            needs_labels=True,
            uses_maps=False,
        ),
    ]
)

_STRATEGIES = "compressor.selection.strategies"
STRATEGIES = _by_name(
    [
        StrategyChoice("cold-paws", f"{_STRATEGIES}.cold_paws:COLD_PAWS", "#0f766e"),
        StrategyChoice("cold-paws-cosine", f"{_STRATEGIES}.cold_paws:COLD_PAWS_COSINE", "#4d8f2f"),
        StrategyChoice("k-medoids", f"{_STRATEGIES}.k_medoids:K_MEDOIDS", "#2563c9"),
        StrategyChoice("k-center", f"{_STRATEGIES}.k_center:K_CENTER", "#c79a00"),
        StrategyChoice("mini-max", f"{_STRATEGIES}.k_center:MINI_MAX", "#c2410c"),
        StrategyChoice("maxi-min", f"{_STRATEGIES}.k_center:MAXI_MIN", "#a3456f"),
        StrategyChoice("typiclust", f"{_STRATEGIES}.typiclust:TYPICLUST", "#7c3aed"),
        StrategyChoice("random", f"{_STRATEGIES}.random_choice:RANDOM", "#5b6470"),
        StrategyChoice(
            "stratified-random",
            f"{_STRATEGIES}.random_choice:STRATIFIED_RANDOM",
            "#5b6470",
            needs_labels=True,
        ),
    ]
)


class OneOf:
    """Annotates a recipe's text value that must be a name in one of these tables.

    The table is read when a recipe is validated, not when this module is imported.
    """

    def __init__(self, choices: Mapping[str, Choice]) -> None:
        self.choices = choices

    def __get_pydantic_core_schema__(
        self, source: object, handler: object
    ) -> core_schema.CoreSchema:
        """Validate a value as pydantic validates a `Literal`, with its kind of error."""
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: object, handler: object) -> dict[str, object]:
        """Describe the value as an enumeration."""
        return {"enum": list(self.choices), "type": "string"}

    def _validate(self, value: object) -> str:
        if isinstance(value, str) and value in self.choices:
            return value
        *first, last = (f"'{name}'" for name in self.choices)
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(first)} or {last}"})
