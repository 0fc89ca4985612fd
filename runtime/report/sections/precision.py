"""What a report says about FP16, INT8 and engines: how they were made, and what did not run."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from runtime.backends.base import Proof
from runtime.evaluation.gates import parity_wanted
from runtime.results.ledger import Departure, LedgerEntry
from runtime.results.making import Fp16Decision, Int8Decision, QatDecision
from runtime.results.report import Report
from runtime.text import in_code, inert


def lines(report: Report) -> list[str]:
    """Return paragraphs in Markdown; none where there is nothing but float32."""
    found, made = list[str](), report.precision
    if made.fp16 is not UNSET:
        found.append(_fp16(made.fp16))
    if made.int8 is not UNSET:
        found.append(_int8(made.int8))
    found += not_made(report)
    found += [
        _runs_in(entry.stage, entry.runs_in)
        for entry in report.ledger
        if entry.runs_in is not UNSET
    ]
    found += [_second_runtime(report, each) for each in report.ledger if each.same_file_as]
    found += [_departs(each, each.departs_at) for each in report.ledger if each.departs_at]
    for entry in report.ledger:
        if entry.dominated_by is not UNSET and entry.dominated_by:
            found.append(
                f"**Dominated: `{entry.stage}`** is slower than {', '.join(entry.dominated_by)} on "
                "this machine and no more faithful."
            )
        if entry.not_run is not UNSET:
            found.append(f"**Not run here: `{entry.stage}`**: {entry.not_run}.")
    return found


def _departs(entry: LedgerEntry, found: Departure) -> str:
    """Where a file departs from the student."""
    error = "is not finite" if found.error is None else f"is off by {100 * found.error:.0f} %"
    cause = "made there" if found.is_own else "grown over the layers before it"
    return (
        f"**`{entry.stage}` departs** from the FP32 file at `{in_code(found.node)}` "
        f"({inert(found.operator)}): its output {error}, its inputs by {100 * found.before:.1f} %; "
        f"the error is {cause}."
    )


def _second_runtime(report: Report, entry: LedgerEntry) -> str:
    """Whether a file departs, or one of the two runtimes that run it."""
    own = next(each for each in report.ledger if each.stage == entry.same_file_as)
    wanted = parity_wanted(own)
    cosines = [
        -1.0 if each.parity_cosine_min is UNSET else each.parity_cosine_min for each in (own, entry)
    ]
    first, second = (cosine >= wanted for cosine in cosines)
    said = {
        (True, True): f"its answers are the student's, to a parity cosine of {wanted:g}",
        (True, False): f"**{entry.provider} departs, not the file**",
        (False, True): "**ONNX Runtime departs, not the file**",
        (False, False): "**the file departs**: its answers are not the student's in either runtime",
    }[first, second]
    lowest = f"lowest parity cosine {cosines[1]:.6f}, in ONNX Runtime {cosines[0]:.6f}"
    return f"`{entry.stage}`: {entry.file} in {entry.provider}; {said} ({lowest})."


def not_made(report: Report) -> list[str]:
    """Return a paragraph for each file that the recipe asks for and that could not be made."""
    return [
        _not_made(entry.stage, entry.not_made)
        for entry in report.ledger
        if entry.not_made is not UNSET
    ]


def _runs_in(stage: str, proof: Proof) -> str:
    """Say what a file really runs in."""
    total = sum(proof.nodes.values())
    parts = [f"{name} {count} of {total} operators" for name, count in proof.nodes.items()]
    parts += [f"{name} {share:.0%}" for name, share in proof.types.items()]
    lacks = f" Its precision is not proved: {proof.not_proved}." if proof.not_proved else ""
    shown = ", ".join(parts) or "nothing"
    return f"`{stage}` runs in, by {proof.read_from}: {shown}.{lacks}"


def _not_made(stage: str, why: str) -> str:
    return f"**Not made: `{stage}`**, which the recipe asks for: {why}"


def _fp16(decision: Fp16Decision) -> str:
    kept = [*decision.kept_float32_for_parity, *decision.kept_float32_for_overflow]
    why = f"Kept in float32: {_listed(kept)}" if kept else "Nothing had to stay float32"
    return (
        f"FP16: {why}. With every tensor rounded to half precision, the worst validation image has "
        f"a cosine of {decision.parity_cosine_min:.6f} with float32 "
        f"(wanted {decision.parity_wanted:g})."
    )


def _int8(decision: Int8Decision) -> str:
    tried = sorted(decision.calibrations_tried, key=lambda trial: trial.error)
    errors = "; ".join(
        f"{trial.images} images, {trial.method} {trial.error:.2e}" for trial in tried
    )
    layers = "All layers are quantised: leaving some in float did not pay"
    if kept := decision.layers_kept_float:
        steps = {step.layers: step for step in decision.layers_steps}
        step = steps[len(kept)]
        layers = (
            f"In float stay {_listed(kept)}: {step.work:.0%} of the multiply-adds, which lowered "
            f"the error from {steps[0].error:.2e} to {step.error:.2e}"
        )
    proof = ""
    if decision.proof is not UNSET and decision.proof.integer_kernels is not UNSET:
        share = f"{decision.proof.integer_kernels:.0%}"
        proof = f" ONNX Runtime runs {share} of the quantised operators in integers on a CPU."
    qat = "" if decision.qat is UNSET else _qat(decision.qat)
    return (
        f"INT8: calibrated on {decision.calibration_images} training images by "
        f"{decision.calibration_method}, the smallest error (1 - cosine with float32 on validation "
        f"images) of: {errors}. {layers}{qat}.{proof}"
    )


def _qat(tried: QatDecision) -> str:
    """Return whether quantisation-aware training helped."""
    metric, before, after = "agreement", tried.before.agreement, tried.after.agreement
    if before is None or after is None:
        metric = "similarity_correlation"
        before, after = tried.before.similarity_correlation, tried.after.similarity_correlation
    helped = "it helped and is kept" if tried.kept else "it did not help and was dropped"
    return (
        f". On validation images plain INT8 missed {', '.join(tried.missed)}, so {tried.epochs} "
        f"epochs of quantisation-aware distillation were tried: {metric} {before:.3f} before, "
        f"{after:.3f} after; {helped}"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"
