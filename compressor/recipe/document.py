"""A YAML file into a frozen pydantic model; every mistake named by file, line and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML

from compressor.recipe import yaml_text
from compressor.recipe.yaml_text import YamlTextError
from runtime.errors import InputError
from runtime.text import without_secrets

Key = tuple[str | int, ...]


class Section(BaseModel):
    """A part of a YAML file: frozen, strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=Section)

_LONGEST_SHOWN, _MOST_SHOWN = 120, 20
_LARGEST = 2**53
# Pydantic counts a tuple's items after dropping the wrong ones: the wrong ones are named anyway.
_CONSEQUENCES = {"too_short"}


class Document:
    """A YAML file as it was written, its line numbers, and the changes laid over it."""

    def __init__(
        self, path: Path, overrides: Sequence[str] = (), *, given_as: str = "--set"
    ) -> None:
        self.path = path
        self._given_as = given_as
        self._tree = _parse(path)
        self._overridden: dict[Key, str] = {}
        for override in overrides:
            self._apply(override)
        self.data: dict[str, Any] = _plain(self._tree)

    def validate(self, model: type[Model]) -> Model:
        """Build the model.

        Raises:
            InputError: all mistakes at once, one line each.
        """
        if large := list(_too_large(self.data)):
            raise self.error([(key, "a number too large for a recipe") for key in large])
        sections = {
            name for name, field in model.model_fields.items() if isinstance(field.default, Section)
        }
        # A section whose keys are all commented out is null, and means its defaults.
        data = {k: v for k, v in self.data.items() if not (v is None and k in sections)}
        try:
            return model.model_validate(data)
        except ValidationError as error:
            errors = [each for each in error.errors() if each["type"] not in _CONSEQUENCES]
            raise self.error([self._explain(each, model) for each in errors]) from error

    def error(self, mistakes: Sequence[tuple[Key, str]]) -> InputError:
        """An error of one line a mistake: `file:line: key: what is wrong`."""
        in_order = sorted(mistakes, key=lambda mistake: self._line(mistake[0]))
        lines = [
            f"{self._where(key)}: {_short(_dotted(key))}: {what}"
            for key, what in in_order[:_MOST_SHOWN]
        ]
        if len(in_order) > _MOST_SHOWN:
            lines.append(f"and {len(in_order) - _MOST_SHOWN} more")
        return InputError("\n  ".join(lines))

    def _apply(self, override: str) -> None:
        dotted, equals, text = override.partition("=")
        key: Key = tuple(part.strip() for part in dotted.split("."))
        if not equals or not all(key):
            raise InputError(
                f"{self._given_as} {_short(override)}: write key.path=value, as in distill.epochs=2"
            )
        if len(key) > yaml_text.DEEPEST:
            raise InputError(f"{self._given_as} {_short(override)}: no section is so deep")
        try:
            value = yaml_text.parse(text, "safe")
        except YamlTextError as error:
            raise InputError(f"{self._given_as} {_short(override)}: {error}") from error
        node = self._tree
        for depth, part in enumerate(key[:-1]):
            node = node.setdefault(part, {})
            if not isinstance(node, Mapping):
                where = f"{self._given_as} {_short(override)}"
                raise InputError(f"{where}: {_dotted(key[: depth + 1])} is not a section")
        node[key[-1]] = value
        self._overridden[key] = override

    def _where(self, key: Key) -> str:
        for changed, override in reversed(self._overridden.items()):
            shared = min(len(changed), len(key))
            if changed[:shared] == key[:shared]:
                return f"{self._given_as} {_short(override)}"
        return f"{self.path}:{self._line(key)}"

    def _line(self, key: Key) -> int:
        """Line of a key; of the nearest section around it where the key is not there."""
        node, line = self._tree, 1
        for part in key:
            # ruamel keeps, for each key or index, its line and column (both from 0)
            marks = getattr(getattr(node, "lc", None), "data", None) or {}
            if part not in marks:
                break
            line = marks[part][0] + 1
            node = node[part]
        return int(line)

    def _explain(self, error: ErrorDetails, model: type[Section]) -> tuple[Key, str]:
        key = tuple(error["loc"])
        kind, got = error["type"], error["input"]
        if kind == "extra_forbidden":
            return key, "unknown key" + _did_you_mean(str(key[-1]), _fields_at(model, key[:-1]))
        if kind == "missing":
            return key, "missing; it has no default"
        if kind in ("model_type", "model_attributes_type"):
            return key, f"a section with keys is wanted here, got {_shown(got)}"
        if kind == "literal_error":
            choices = error["ctx"]["expected"]
            named = [choice.strip("'") for choice in choices.replace(" or ", ", ").split(", ")]
            return key, f"{_shown(got)} is not one of {choices}" + _did_you_mean(str(got), named)
        if kind == "path_type":
            return key, f"a path is wanted, got {_shown(got)}"
        if kind == "tuple_type":
            return key, f"a list in brackets is wanted, got {_shown(got)}"
        message = error["msg"]
        for prefix in ("Value error, ", "Input ", "String "):
            message = message.removeprefix(prefix)
        return key, f"{message} (got {_shown(got)})"


def dump(data: Mapping[str, object]) -> str:
    """Plain data as YAML text."""
    import io

    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 4096  # a value stays on its line
    yaml.dump(dict(data), stream)
    return stream.getvalue()


def _parse(path: Path) -> Any:
    try:
        tree = yaml_text.parse(yaml_text.read_text(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file" + _similar_file(path)) from error
    except YamlTextError as error:
        line = "" if error.line is None else f":{error.line}"
        raise InputError(f"{path}{line}: {error}") from error
    if not isinstance(tree, Mapping):
        raise InputError(f"{path}: expected a YAML file with sections")
    return tree


def _plain(node: object) -> Any:
    """Ruamel's nodes (which carry comments and lines) as plain Python values."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)  # of a tag such as !!binary


def _too_large(node: object, key: Key = ()) -> Iterator[Key]:
    """Yield the keys of whole numbers that no float holds: no setting is so large."""
    if isinstance(node, int) and abs(node) > _LARGEST:
        yield key
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from _too_large(value, (*key, name))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _too_large(value, (*key, number))


def _fields_at(model: type[Section], key: Key) -> list[str]:
    for part in key:
        annotation = model.model_fields[str(part)].annotation
        # An optional section is a union of it and None.
        sections = [
            each
            for each in (annotation, *get_args(annotation))
            if isinstance(each, type) and issubclass(each, Section)
        ]
        if not sections:
            return []
        model = sections[0]
    return list(model.model_fields)


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _similar_file(path: Path) -> str:
    there = path.parent.glob("*.y*ml") if path.parent.is_dir() else ()
    by_stem = {each.stem: each for each in sorted(there)}
    close = difflib.get_close_matches(path.stem, by_stem, n=1)
    return f"; did you mean {by_stem[close[0]]}?" if close else ""


def _shown(value: object) -> str:
    """Return a wrong value for a message, cut where it is long."""
    try:
        return _short(repr(value))
    except ValueError:  # Python writes no number of so many digits
        return "a number of thousands of digits"


def _short(text: str) -> str:
    text = without_secrets(text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)
