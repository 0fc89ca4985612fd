"""Ways to change bytes, documents and texts."""

from __future__ import annotations

import copy
import json
import struct
from random import Random
from typing import Any

LONG = "x" * 70_000
DEEP_LIST = "[" * 3_000 + "]" * 3_000
DEEP_MAP = '{"a":' * 2_000 + "1" + "}" * 2_000
JSON_VALUES = (
    "null", "true", "false", "0", "-1", "1", "0.5", "1e308", "-0.0", "1e999", "NaN", "-Infinity",
    "9" * 4_000, str(2**31), str(2**63), str(2**64), "1" + "0" * 30, "1e-320", "[]", "{}", '""',
    '"0"', '"NaN"', '"true"', "[1,2,3]", "[null]", "[[]]", '{"a":1}', '["a","a"]', '"\\ud800"',
    '"a\\u0000b"', '"\\u001b[2J"', '"../../etc/passwd"', '"/etc/passwd"', '"/dev/zero"', '"/"',
    '"."', '".."', '"~"', '"$HOME"', '"=cmd|x!A1"', '"<script>alert(1)</script>"', '"a\\nb"',
    '"\u202e\ufeff\u00fc\u0308"', '"\U0001f600"', '"' + LONG + '"', DEEP_LIST, DEEP_MAP,
    "[" + "0," * 20_000 + "0]", '"x/' + "y/" * 2_000 + '"', '"http://localhost:1/x"',
)  # fmt: skip
"""Values of JSON, and of YAML, which takes all of them."""
YAML_VALUES = (
    *JSON_VALUES, ".nan", "-.inf", "~", "2020-01-01", "0o17", "0x" + "f" * 5_000, "1_000", "1:30",
    "!!python/object/apply:os.system [true]", "!!binary x", "!!int x", "!x y", "&a [*a]", "*none",
    "? a", "|\n  x", "'", '"', "%", "@x", "`", "<<", "- - -", "{<<: *none}", "\t", "yes", "no", "#",
    "auto", "none", "hub", "folders", "cuda", "&b {k: *b}", "!!set {a, b}", "!!float 1", "a: b: c",
)  # fmt: skip
INTEGERS = (0, 1, -1, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**30)


WAYS = ("alike",) * 6 + ("replace",) * 5 + ("remove", "add", "rename", "twice", "swap", "nest")
WORDS = ("x", "none", "auto", "red", "fp16", "int8", "float32", "cuda", "a b", "\u00e4", "<b>", "|")


def document(rng: Random, sound: Any, values: tuple[str, ...]) -> tuple[str, str]:
    """Return a JSON document as text with one to three changes, and what they are.

    Args:
        rng: draws the changes.
        sound: the document.
        values: texts to put in the place of a value.
    """
    changed, put, said = copy.deepcopy(sound), dict[str, str](), []
    for number in range(rng.choice((1, 1, 1, 1, 2, 3))):
        holder, key = rng.choice(_places(changed) or [([0], 0)])
        mark, value = f"@mark {number}@", rng.choice(values)
        way = rng.choice(WAYS)
        if way == "alike":
            holder[key] = _alike(rng, holder[key])
            said.append(f"{key} is {str(holder[key])[:30]}")
            continue
        said.append(f"{way} {str(key)[:60]} {value[:30]}")
        put[json.dumps(mark)] = value
        if way == "replace":
            holder[key] = mark
        elif way == "remove":
            del holder[key]
        elif way == "nest":
            holder[key] = {"a": [holder[key], mark]}
        elif isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), mark)
        elif way == "add":
            holder[rng.choice(("", "x", "__class__", "\ud800", "a.b", "NAME", LONG))] = mark
        elif way == "rename":
            holder[rng.choice((f"{key}s", str(key).upper(), f" {key}", ""))] = holder.pop(key)
        elif way == "twice":  # the same key again, which a mapping of Python does not have
            put[json.dumps(f"{mark} key")] = json.dumps(key)
            holder[f"{mark} key"] = mark
        else:
            other_holder, other = rng.choice(_places(changed))
            value, holder[key] = holder[key], copy.deepcopy(other_holder[other])
            if other in (other_holder if isinstance(other_holder, dict) else ()):
                other_holder[other] = value
    text = json.dumps(changed, indent=rng.choice((None, 1)))
    for quoted, value in put.items():
        text = text.replace(quoted, value)
    return text, "; ".join(said)


def _alike(rng: Random, value: Any) -> Any:
    """Return another value of the same type, which a reader may take."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((0, 1, 2, 3, 7, 33, 1_000, -value, value + 1, value * 2, value // 2))
    if isinstance(value, float):
        return rng.choice((0.0, 0.5, 1.0, -value, value * 1.1, value / 1e9, value * 1e9, 1 - value))
    if isinstance(value, str):
        return rng.choice((value[::-1], value * 2, value.upper(), value[:1], *WORDS))
    if isinstance(value, list):
        return rng.choice((value[:-1], value[::-1], value * 2, value[:1], [*value, *value[:1]]))
    return value


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Return every value of a document, as the dict or list that holds it, and its key there."""
    found = []
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for key in keys:
        found.append((node, key))
        if isinstance(node[key], (dict, list)):
            found += _places(node[key])
    return found


def content(rng: Random, sound: bytes, *, most: int = 4) -> tuple[bytes, str]:
    """Return changed bytes, and what was done to them."""
    changed, said = bytearray(sound), []
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(changed) + 1)
        near = rng.randrange(min(len(changed), 64) + 1)
        at = rng.choice((at, at, near))  # headers are short, and matter most
        length = rng.choice((1, 2, 4, 16, 256, 4_096))
        way = rng.choice(("flip", "set", "integer", "cut", "end", "insert", "repeat", "zero"))
        said.append(f"{way} at {at}")
        if way == "flip" and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif way == "set" and at < len(changed):
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif way == "integer":
            number = struct.pack(rng.choice("<>") + "q", rng.choice(INTEGERS))
            size = rng.choice((2, 4, 8))
            changed[at : at + size] = number[:size] if rng.random() < 0.5 else number[-size:]
        elif way == "cut":
            del changed[at : at + length]
        elif way == "end":
            del changed[at:]
        elif way == "insert":
            changed[at:at] = rng.randbytes(length)
        elif way == "repeat":
            changed[at:at] = changed[at : at + length] * rng.choice((1, 2, 50))
        else:
            changed[at : at + length] = bytes(len(changed[at : at + length]))
    return bytes(changed), ", ".join(said)


def lines(rng: Random, sound: str, cells: tuple[str, ...]) -> tuple[str, str]:
    """Return a text of lines, changed, and what was done to it."""
    rows, said = sound.split("\n"), []
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randrange(len(rows) + 1), rng.randrange(len(rows) + 1)
        way = rng.choice(("remove", "twice", "swap", "many", "put", "put", "replace", "indent"))
        said.append(f"{way} line {at}")
        cell = rng.choice(cells)
        if way == "remove":
            del rows[at : at + 1]
        elif way == "twice":
            rows[at:at] = rows[at : at + 1]
        elif way == "swap" and max(at, other) < len(rows):
            rows[at], rows[other] = rows[other], rows[at]
        elif way == "many":
            rows[at:at] = rows[at : at + 1] * 3_000
        elif way == "put":
            rows.insert(at, cell)
        elif at < len(rows):
            row = rows[at]
            middle = rng.randrange(len(row) + 1)
            rows[at] = " " * 3 + row if way == "indent" else row[:middle] + cell + row[middle:]
    return "\n".join(rows), ", ".join(said)
