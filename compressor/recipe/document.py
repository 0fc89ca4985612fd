"""A YAML file into a frozen pydantic model; every mistake named by file, line and key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, RoundTripConstructor, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from runtime.errors import InputError

Key = tuple[str | int, ...]


class Section(BaseModel):
    """A part of a YAML file: frozen, strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=Section)

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
        lines = (f"{self._where(key)}: {_dotted(key)}: {what}" for key, what in in_order)
        return InputError("\n  ".join(lines))

    def _apply(self, override: str) -> None:
        dotted, equals, text = override.partition("=")
        key: Key = tuple(part.strip() for part in dotted.split("."))
        if not equals or not all(key):
            raise InputError(
                f"{self._given_as} {override}: write key.path=value, as in distill.epochs=2"
            )
        try:
            value = _yaml("safe").load(text)
        except (YAMLError, ValueError, IndexError) as error:
            raise InputError(
                f"{self._given_as} {override}: the value is not YAML ({_problem(error)})"
            ) from error
        node = self._tree
        for depth, part in enumerate(key[:-1]):
            node = node.setdefault(part, {})
            if not isinstance(node, Mapping):
                raise InputError(
                    f"{self._given_as} {override}: {_dotted(key[: depth + 1])} is not a section"
                )
        node[key[-1]] = value
        self._overridden[key] = override

    def _where(self, key: Key) -> str:
        for changed, override in reversed(self._overridden.items()):
            shared = min(len(changed), len(key))
            if changed[:shared] == key[:shared]:
                return f"{self._given_as} {override}"
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
            return key, f"a section with keys is wanted here, got {got!r}"
        if kind == "literal_error":
            choices = error["ctx"]["expected"]
            named = [choice.strip("'") for choice in choices.replace(" or ", ", ").split(", ")]
            return key, f"{got!r} is not one of {choices}" + _did_you_mean(str(got), named)
        if kind == "path_type":
            return key, f"a path is wanted, got {got!r}"
        if kind == "tuple_type":
            return key, f"a list in brackets is wanted, got {got!r}"
        message = error["msg"]
        for prefix in ("Value error, ", "Input ", "String "):
            message = message.removeprefix(prefix)
        return key, f"{message} (got {got!r})"


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
        tree = _yaml("rt").load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file" + _similar_file(path)) from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: a folder, not a YAML file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    except DuplicateKeyError as error:
        name = str(error.problem).split('"')[1] if '"' in str(error.problem) else "?"
        raise InputError(
            f"{_at(path, error)}: {name}: this key appears twice in the same section; keep one"
        ) from error
    except YAMLError as error:
        raise InputError(f"{_at(path, error)}: not valid YAML: {_problem(error)}") from error
    except (ValueError, IndexError) as error:  # ruamel on `-_` and `._`, which it takes for numbers
        raise InputError(
            f"{path}: not valid YAML: a value looks like a number but is not one ({error}); "
            "put it in quotes"
        ) from error
    if not isinstance(tree, Mapping):
        raise InputError(f"{path}: expected a YAML file with sections")
    return tree


class _Text(RoundTripConstructor):
    """YAML 1.2 has no dates: 2024-05-01 is text, and may well be a folder."""


class _PlainText(SafeConstructor):
    """The same, without comments and lines."""


_DATE = "tag:yaml.org,2002:timestamp"
_Text.add_constructor(_DATE, RoundTripConstructor.construct_yaml_str)
_PlainText.add_constructor(_DATE, SafeConstructor.construct_yaml_str)


def _yaml(kind: Literal["rt", "safe"]) -> YAML:
    yaml = YAML(typ=kind, pure=True)
    yaml.Constructor = _Text if kind == "rt" else _PlainText
    return yaml


def _at(path: Path, error: YAMLError) -> str:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    return f"{path}:{mark.line + 1}" if mark else str(path)


def _problem(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError):
        return " ".join(filter(None, (error.context, error.problem)))
    if isinstance(error, ReaderError):
        return f"{error.reason} (character number {error.position + 1})"
    return str(error)


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


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)
