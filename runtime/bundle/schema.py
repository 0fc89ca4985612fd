"""What bundle.json must hold: checked key by key before anything of it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runtime.images.preprocess import Preprocess

Test = Callable[[Any], bool]
_BEYOND_SENSE = 1e9


def mistakes(document: Mapping[str, Any]) -> Iterator[str]:
    """What is missing or of the wrong kind, with its key; nothing where all is well."""
    yield from _in(document, _BUNDLE, "")
    target = document.get("target")
    if isinstance(target, dict):
        yield from _in(target, _TARGET, "target.")
    for name in ("teacher", "student"):
        if isinstance(card := document.get(name), dict):
            yield from _in(card, _NETWORK, f"{name}.")
    if isinstance(recipe := document.get("recipe"), dict):
        yield from _in(recipe, {"name": _text}, "recipe.")
    if isinstance(probe := document.get("probe"), dict):
        yield from _in(probe, _PROBE, "probe.")
        if probe.get("kind") is not None:
            yield from _in(probe, _FITTED, "probe.")
        for number, each in enumerate(_listed(probe, "candidates")):
            yield from _in(each, _CANDIDATE, f"probe.candidates.{number}.")
    artifacts = _listed(document, "artifacts")
    for number, each in enumerate(artifacts):
        yield from _in(each, _ARTIFACT, f"artifacts.{number}.")
    stages = [each.get("stage") for each in artifacts if isinstance(each, dict)]
    if len(set(map(str, stages))) < len(stages):
        yield "artifacts: a stage stands there twice"


def _in(node: Any, wanted: Mapping[str, Test], where: str) -> Iterator[str]:
    if not isinstance(node, dict):
        yield f"{where.rstrip('.')}: {_shown(node)}"
        return
    for key, test in wanted.items():
        optional = key.endswith("?")
        name = key.rstrip("?")
        if name not in node:
            if not optional:
                yield f"{where}{name}: missing"
        elif not test(node[name]):
            yield f"{where}{name}: {_shown(node[name])}"


def _listed(node: Mapping[str, Any], key: str) -> list[Any]:
    value = node.get(key)
    return value if isinstance(value, list) else []


def _shown(value: Any) -> str:
    return f"{str(value)[:60]!r} ({type(value).__name__})"


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and abs(value) < _BEYOND_SENSE


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _maybe(test: Test) -> Test:
    return lambda value: value is None or test(value)


def _one_of(*known: str) -> Test:
    return lambda value: value in known if isinstance(value, str) else False


def _several(test: Test, *, least: int = 0) -> Test:
    return lambda value: (
        isinstance(value, list) and len(value) >= least and all(test(each) for each in value)
    )


def _patterns(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    try:
        return all(_text(each) and re.compile(each) for each in value.values())
    except re.error:
        return False


def _contract(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    try:
        found = Preprocess.from_dict(value)
    except (TypeError, ValueError, KeyError):
        return False
    sides = _count(found.size_px) and _count(found.resize_px) and found.resize_px <= 4096
    means = len(found.mean) == 3 and all(_number(each) for each in found.mean)
    return (
        sides
        and means
        and len(found.std) == 3
        and all(_number(each) and each > 1e-6 for each in found.std)
    )


def _gates(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    limits = {key: each for key, each in value.items() if key != "undecided"}
    return value.get("undecided", "fail") in ("fail", "pass") and all(
        each is None or _number(each) for each in limits.values()
    )


_BUNDLE: Mapping[str, Test] = {
    "name": _text,
    "recipe": _mapping,
    "classes": _several(_text),
    "preprocess": _contract,
    "ood_threshold?": _number,
    "target": _mapping,
    "require": _gates,
    "teacher": _mapping,
    "student": _mapping,
    "probe?": _maybe(_mapping),
    "precision?": _mapping,
    "artifacts": _several(_mapping, least=1),
    "engines_to_build?": _several(_mapping),
}
_TARGET: Mapping[str, Test] = {
    "name": _text,
    "match": _patterns,
    "provider": _one_of("cpu", "cuda", "tensorrt"),
    "threads": _maybe(_count),
    "batches": _several(lambda value: _count(value) and value <= 4096, least=1),
}
_NETWORK: Mapping[str, Test] = {"model": _text, "size_mb": _positive}
_PROBE: Mapping[str, Test] = {
    "kind": _maybe(_text),
    "why": _text,
    "classes_without_label": _several(_text),
}
_FITTED: Mapping[str, Test] = {
    "labelled": _count,
    "temperature": _positive,
    "calibrated": _flag,
    "candidates?": _maybe(_several(_mapping)),
}
_CANDIDATE: Mapping[str, Test] = {
    "kind": _text,
    "accuracy": _number,
    "accuracy_ci?": _several(_number, least=2),
    "log_loss": _number,
}
_ARTIFACT: Mapping[str, Test] = {
    "stage": _text,
    "file": _text,
    "precision": _one_of("fp32", "fp16", "int8"),
    "sha256": _text,
}
