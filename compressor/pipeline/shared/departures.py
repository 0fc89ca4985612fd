"""Where files that miss their parity depart from the student, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.bundle.bundle import Bundle
    from runtime.bundle.golden import Golden
    from runtime.results.ledger import LedgerEntry
    from runtime.results.report import Report

_IMAGES = 4


def with_departures(report: Report, bundle: Bundle, golden: Golden) -> Report:
    """Add to each ONNX file that misses its parity the first layer that departs from the FP32 file.

    Args:
        report: of a check of the bundle on this machine.
        bundle: its first file is the student in FP32.
        golden: a few of its held-out images are looked at.
    """
    from msgspec import UNSET, structs

    from runtime.evaluation.gates import parity_wanted

    def misses(entry: LedgerEntry) -> bool:
        cosine = entry.parity_cosine_min
        return cosine is not UNSET and cosine < parity_wanted(entry)

    paths = {each.stage: each.path for each in bundle.artifacts if each.path.suffix == ".onnx"}
    first, *_ = paths
    ledger = [
        structs.replace(
            entry, departs_at=_departure(paths[first], paths[entry.stage], bundle, golden)
        )
        if entry.stage in paths and entry.stage != first and misses(entry)
        else entry
        for entry in report.ledger
    ]
    return structs.replace(report, ledger=tuple(ledger))


def _departure(reference: Path, file: Path, bundle: Bundle, golden: Golden) -> object:
    import numpy as np
    from msgspec import UNSET

    from export.departure import first_departure
    from runtime.backends.base import inputs_of
    from runtime.backends.registry import open_session

    preprocess = bundle.preprocess
    pictures = golden.inside()[:_IMAGES]
    pixels = np.stack([preprocess.pixels(picture.open()) for picture in pictures])
    images = inputs_of(open_session(reference, provider="cpu"), preprocess, pixels)
    return first_departure(reference, file, images) or UNSET
