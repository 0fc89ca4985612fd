"""The JSON Schema of report.json: from its types, with scores laid flat as they are written."""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.evaluation import metric_table
from runtime.results.report import Report

_NUMBER = {"type": "number"}
_INTERVAL = {"type": "array", "prefixItems": [_NUMBER, _NUMBER], "minItems": 2, "maxItems": 2}
_PAIR = {"$ref": "#/$defs/Interval"}
_SCORE = "#/$defs/Score"


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of report.json."""
    schema = msgspec.json.schema(Report)
    kinds = {name: _flat(kind) for name, kind in schema["$defs"].items() if name != "Score"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edge-compressor report.json",
        "$ref": schema["$ref"],
        "$defs": {**kinds, "Interval": _INTERVAL},
    }


def _flat(kind: dict[str, Any]) -> dict[str, Any]:
    """A type with each score as two keys: its value, and its interval as `*_ci`."""
    properties, required = dict[str, Any](), list[str]()
    for name, declared in kind.get("properties", {}).items():
        is_required = name in kind.get("required", [])
        if name == "scores" and kind["title"] == "RobustnessEntry":
            kind = {**kind, "additionalProperties": {"anyOf": [_NUMBER, _PAIR]}}
            continue
        if name in ("scores", "series"):
            properties |= _spliced(lists=name == "series")
            continue
        if _is_score(declared):
            properties |= {name: _NUMBER, f"{name}_ci": _PAIR}
            required += [name, f"{name}_ci"] if is_required else []
            continue
        properties[name] = _without_scores(declared)
        required += [name] if is_required else []
    flat = {key: value for key, value in kind.items() if key not in ("properties", "required")}
    return {**flat, "properties": properties, "required": required}


def _spliced(*, lists: bool) -> dict[str, Any]:
    """The keys of scores that lie among others: every metric's, and its interval's."""
    if lists:
        return {
            key: declared
            for name in ("accuracy", "agreement", "stability")
            for key, declared in (
                (name, {"type": "array", "items": _NUMBER}),
                (f"{name}_ci", {"type": "array", "items": _PAIR}),
            )
        }
    return {
        key: declared
        for metric in metric_table.METRICS
        if metric.compute is not None
        for key, declared in ((metric.key, _NUMBER), (f"{metric.key}_ci", _PAIR))
    }


def _without_scores(declared: Any) -> Any:
    """A declaration with any mapping of scores as an object of flat scores."""
    if isinstance(declared, dict):
        if declared.get("additionalProperties") == {"$ref": _SCORE}:
            return {"type": "object", "properties": _spliced(lists=False)}
        return {key: _without_scores(value) for key, value in declared.items()}
    if isinstance(declared, list):
        return [_without_scores(value) for value in declared]
    return declared


def _is_score(declared: dict[str, Any]) -> bool:
    return declared == {"$ref": _SCORE} or {"$ref": _SCORE} in declared.get("anyOf", [])
