"""What a run settles before its first step: defaults that follow from student and device."""

from __future__ import annotations

from compressor.pipeline.context import Run


def with_training_defaults(run: Run) -> Run:
    """Return the run with the defaults of `distill:` that suit its student and this machine."""
    recipe = run.plan.recipe
    distill = recipe.distill.settled(
        from_weights=recipe.student.pretrained, on_gpu=run.device_type() == "cuda"
    )
    return run.with_sections(distill=distill)
