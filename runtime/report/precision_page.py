"""What a report says of FP16, INT8 and engines: how they came to be, and what did not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lines(report: Mapping[str, Any]) -> list[str]:
    """Sentences for the page; nothing where there is nothing but float32."""
    found = []
    decisions = report.get("precision") or {}
    if "fp16" in decisions:
        found.append(_half(decisions["fp16"]))
    if "int8" in decisions:
        found.append(_int8(decisions["int8"]))
    for entry in report["ledger"]:
        if by := entry.get("dominated_by"):
            found.append(
                f"**Dominated: `{entry['stage']}`** is slower than {', '.join(by)} on this machine "
                "and no more faithful."
            )
        if "not_run" in entry:
            found.append(f"**Not run here: `{entry['stage']}`**: {entry['not_run']}.")
    return found


def _half(decision: Mapping[str, Any]) -> str:
    kept = [*decision["kept_float32_for_parity"], *decision["kept_float32_for_overflow"]]
    why = f"Kept in float32: {_named(kept)}" if kept else "Nothing had to stay float32"
    return (
        f"FP16: {why}. With every tensor rounded to half precision, the worst validation image has "
        f"a cosine of {decision['parity_cosine_min']:.6f} with float32 "
        f"(wanted {decision['parity_wanted']:g})."
    )


def _int8(decision: Mapping[str, Any]) -> str:
    tried = sorted(decision["calibrations_tried"], key=lambda each: float(each["error"]))
    told = "; ".join(
        f"{each['images']} images, {each['method']} {each['error']:.2e}" for each in tried
    )
    steps = {each["layers"]: each for each in decision["layers_steps"]}
    kept = decision["layers_kept_float"]
    layers = "All layers are quantised: leaving some in float did not pay"
    if kept:
        step = steps[len(kept)]
        layers = (
            f"In float stay {_named(kept)}: {step['work']:.0%} of the multiply-adds, which took "
            f"the error from {steps[0]['error']:.2e} to {step['error']:.2e}"
        )
    integer = decision["proof"]["integer_kernels"]
    layers += _qat(decision.get("qat"))
    return (
        f"INT8: calibrated on {decision['calibration_images']} training images by "
        f"{decision['calibration_method']}, the least error (1 - cosine with float32 on validation "
        f"images) of: {told}. {layers}. ONNX Runtime runs {integer:.0%} of the quantised operators "
        "in integers on a CPU."
    )


def _qat(tried: Mapping[str, Any] | None) -> str:
    """Whether learning the rounding helped; nothing where it was not needed."""
    if tried is None:
        return ""
    figure = "similarity_correlation" if tried["after"]["agreement"] is None else "agreement"
    before, after = (tried[when][figure] for when in ("before", "after"))
    helped = "it helped and is kept" if tried["kept"] else "it did not help and was left"
    return (
        f". On validation images plain INT8 missed {', '.join(tried['missed'])}, so "
        f"{tried['epochs']} epochs of distillation with its rounding were tried: {figure} "
        f"{before:.3f} before, {after:.3f} after; {helped}"
    )


def _named(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"
