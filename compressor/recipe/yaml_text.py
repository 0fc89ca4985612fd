"""YAML text read within limits, so that no file keeps the tool busy or fills its memory.

A recipe is written by hand. A file that is larger, deeper or fuller than any such is refused while
its parts are counted, before anything is built of them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, RoundTripConstructor, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.reader import ReaderError

from runtime.errors import InputError

MOST_BYTES, MOST_VALUES, DEEPEST = 64 * 1024, 2_000, 20
"""Twenty times what the longest of our own recipes has. 2,000 values take 0.2 s to read."""
_TAGS = tuple(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")
)
# What ruamel raises on text that only begins like a number, a tag or a comment, beside its own.
_ODD = (ValueError, IndexError, KeyError, TypeError, AttributeError, AssertionError,
        ArithmeticError, NotImplementedError, RecursionError)  # fmt: skip


class YamlTextError(ValueError):
    """A text is not YAML, or more of it than a recipe can be; has the line, from 1, if known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        FileNotFoundError: there is none.
        InputError: it is no file of text, too large, or cannot be read.
    """
    try:
        # A pipe without a writer would be waited for.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise InputError(f"{path}: not a file but a device, pipe or socket")
            content = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(path)) from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: a folder, not a YAML file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a character that no path can have
        raise InputError(f"{str(path)!r}: not a path: {error}") from error
    if len(content) > MOST_BYTES:
        raise InputError(f"{path}: larger than {MOST_BYTES // 1024} KB; this is no recipe")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error


def parse(text: str, kind: Literal["rt", "safe"] = "rt") -> Any:
    """Return what a YAML text says, as ruamel's values.

    Args:
        text: one document.
        kind: `rt` keeps the line of each key, `safe` gives plain values.

    Raises:
        YamlTextError: it is not YAML, or exceeds a limit.
    """
    try:
        _count(_yaml(kind).parse(text))
        return _yaml(kind).load(text)
    except DuplicateKeyError as error:
        name = str(error.problem).split('"')[1] if '"' in str(error.problem) else "?"
        what = f"{name}: this key appears twice in the same section; keep one"
        raise YamlTextError(what, _line(error)) from error
    except YAMLError as error:
        raise YamlTextError(f"not valid YAML: {_problem(error)}", _line(error)) from error
    except YamlTextError:
        raise
    except _ODD as error:  # such as ruamel on `-_` and `._`, which it takes for numbers
        why = f" ({str(error)[:100]})" if str(error) else ""
        raise YamlTextError(
            f"not valid YAML: a value looks like a number, a date or a tag but is not one{why}; "
            "put it in quotes"
        ) from error


def _count(events: Iterator[Event]) -> None:
    """Refuse too many or too deep values, those that an alias repeats included.

    Raises:
        YamlTextError: with the line.
    """
    total, sizes, open_at = 0, dict[str, int](), list[tuple[str | None, int]]()
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            if event.anchor not in sizes:
                raise YamlTextError(f"not valid YAML: *{event.anchor} names nothing above it", line)
            total += sizes[event.anchor]
        elif isinstance(event, NodeEvent):
            total += 1
            tag = getattr(event, "tag", None)
            if tag is not None and str(tag) not in (*_TAGS, "!"):
                raise YamlTextError(
                    f"the tag {str(tag)[:60]} is not for recipes: leave it out", line
                )
            if isinstance(event, ScalarEvent) and event.anchor:
                sizes[event.anchor] = 1
            if isinstance(event, CollectionStartEvent):
                open_at.append((event.anchor, total))
        elif isinstance(event, CollectionEndEvent):
            anchor, before = open_at.pop()
            if anchor:
                sizes[anchor] = total - before + 1
        if len(open_at) > DEEPEST:
            raise YamlTextError(f"nested more than {DEEPEST} deep; this is no recipe", line)
        if total > MOST_VALUES:
            raise YamlTextError(f"more than {MOST_VALUES:,} values; this is no recipe", line)


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


def _line(error: YAMLError) -> int | None:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    return mark.line + 1 if mark else None


def _problem(error: YAMLError) -> str:
    if isinstance(error, MarkedYAMLError):
        return " ".join(filter(None, (error.context, error.problem)))
    if isinstance(error, ReaderError):
        return f"{error.reason} (character number {error.position + 1})"
    return str(error)
