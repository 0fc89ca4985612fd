"""Kinds of values that several sections of a recipe share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

Share = Annotated[float, Field(gt=0, lt=1, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def unusable(path: Path) -> str | None:
    """Return why no file can have this path, or None; a file that is not there could have it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"not a path that can be used: {error.strerror}"
    except ValueError:
        return "not a path: it has a character that no path can have (NUL, or no Unicode)"
    return None


_TIMES = r"(\d{1,5}(?:\.\d{1,4})?)\s*x"


def _patience(value: object) -> object:
    """`3x` -> 3.0. A bare number is refused: it used to mean what is `stop_after` now."""
    written = re.fullmatch(_TIMES, value.strip()) if isinstance(value, str) else None
    if written is not None and float(written[1]) > 0:
        return float(written[1])
    if value is None:
        return 1.0
    raise ValueError(
        "expected how many times the default number of epochs, such as 3x; to stop after some "
        "epochs without a better student, use distill.stop_after"
    )


Patience = Annotated[
    float,
    BeforeValidator(_patience),
    PlainSerializer(lambda times: f"{times:.9g}x", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{_TIMES}$"}),
]
"""A multiple of a default, written with an x."""
