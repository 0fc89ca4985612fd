"""Ledger entries made from flat keys, as report.json has them."""

from pathlib import Path

import pytest

from runtime.results.ledger import LedgerEntry
from runtime.results.scores import from_json

TIMING = {
    "batch": 1, "runs": 50, "median_ms": 5.0, "p95_ms": 20.0, "p99_ms": 25.0,
    "median_ms_ci": [4.9, 5.1], "steady": True, "includes_preprocessing": False,
    "images_per_s": 200.0,
}  # fmt: skip


@pytest.fixture(scope="session")
def entry_of():
    """`entry_of(stage, agreement_linear=0.8, ...)`: a score without its interval is exact."""

    def make(stage, *, latency=None, **keys):
        document = {"stage": stage, **keys}
        for key, value in keys.items():
            is_score = isinstance(value, float) and key not in LedgerEntry.__struct_fields__
            if is_score and not key.endswith("_ci"):
                document.setdefault(f"{key}_ci", [value, value])
        if latency is not None:
            timed = TIMING | latency
            document["latency"] = {"p95_ms_ci": [timed["p95_ms"]] * 2, **timed}
        return from_json(document, LedgerEntry, Path(stage))

    return make
