"""Step `engines`: TensorRT engines of the ONNX files; and what they need before the long work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compressor.pipeline.context import Run
from compressor.pipeline.shared import attempt, deployed
from compressor.pipeline.step import Step
from runtime.bundle.schema import FileNotMade
from runtime.documents import Precision, plain
from runtime.errors import FileNotMadeError, InputError
from runtime.files import write_json

if TYPE_CHECKING:
    from export.engine.build import EngineSpec
    from runtime.backends.nvidia.tensorrt_flavour import Flavour


def refuse_early(run: Run) -> None:
    """Find what engines lack before the long work.

    Raises:
        InputError: nobody says what GPU an engine is for.
        MissingDependencyError: TensorRT-RTX is asked for and not installed.
    """
    from runtime.backends.nvidia import gpu
    from runtime.backends.nvidia.tensorrt_flavour import import_flavour

    plan = run.plan
    if "tensorrt-rtx" not in plan.recipe.export.engines:
        return
    import_flavour("tensorrt-rtx")
    if plan.target.compute_capability is None and gpu.find() is None:
        raise InputError(
            f"export.engines: tensorrt-rtx needs to know which GPU to build for, and the target "
            f"{plan.target_name} names none.\n"
            '  Put `compute_capability: "8.9"` (or what the device has) into a target file of your '
            "own, and name it as `target:`."
        )


def step(before: tuple[str, ...]) -> Step:
    """Return the step that builds engines of the files of some steps."""

    def inputs(run: Run) -> dict[str, object]:
        from runtime.backends.nvidia import gpu
        from runtime.backends.nvidia.tensorrt_flavour import installed_version

        export, here = run.plan.recipe.export, gpu.find()
        return deployed.digests(run, before) | {
            "engines": [[flavour, installed_version(flavour)] for flavour in export.engines],
            "gpu": None if here is None else [here.name, here.compute_capability, here.driver],
            "target": run.plan.target.compute_capability,
            "profile": [export.batches, run.plan.target.batches, export.workspace_mb],
        }

    return Step(
        name=deployed.ENGINES,
        summary="TensorRT engines, each with its manifest",
        version=3,
        products=(deployed.ENGINES,),
        needs=before,
        inputs=inputs,
        make=_make,
    )


def _make(run: Run, work: Path) -> None:
    """Build what can be built here; note what only the device itself can build."""
    from export.engine import build
    from runtime.backends.nvidia import gpu

    folder = work / deployed.ENGINES
    folder.mkdir(parents=True, exist_ok=True)
    pending, failed = list[deployed.PendingBuild](), list[FileNotMade]()
    for flavour in run.plan.recipe.export.engines:
        for precision, path in deployed.onnx_files(run).items():
            if flavour == "tensorrt" and gpu.find() is None:
                pending.append(deployed.PendingBuild(flavour, precision))
                continue
            run.note(f"{flavour}, {precision}")
            try:
                build.build(path, folder, _order(run, flavour, precision), note=run.note)
            except FileNotMadeError as error:
                why = attempt.in_one_line(error, path.parent)
                run.warn(
                    f"no {flavour} engine in {precision}: {why}\n  The run goes on without it."
                )
                stage = f"{flavour}-{precision}"
                failed.append(FileNotMade(stage=stage, precision=precision, why=why))
    write_json(folder / "to_build.json", plain(pending))
    write_json(folder / deployed.NOT_MADE, plain(failed))


def _order(run: Run, flavour: Flavour, precision: Precision) -> EngineSpec:
    from export.engine.build import EngineSpec
    from runtime.backends.nvidia.engine_manifest import Profile

    export, target = run.plan.recipe.export, run.plan.target
    return EngineSpec(
        flavour=flavour,
        precision=precision,
        profile=Profile(*deployed.batches(run)),
        compute_capability=target.compute_capability if flavour == "tensorrt-rtx" else None,
        workspace_mb=export.workspace_mb,
    )
