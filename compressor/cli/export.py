"""The files for the device: `compressor export` and `compressor engine`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from compressor.cli.options import FILE, json_option, require_training_packages
from runtime.cli import say
from runtime.text import command


@click.command()
@click.argument("run_folder", metavar="RUN", type=FILE)
@json_option
def export(run_folder: Path, as_json: bool) -> None:
    """Make the files of a finished RUN again where they are missing or changed, and check them."""
    require_training_packages()
    from compressor.api import job as jobs
    from compressor.cli.console import Console, print_result, set_up_logging

    set_up_logging()
    with Console() as console:
        result = jobs.complete(jobs.reopen_job(run_folder, console))
    print_result(result, as_json=as_json)


@click.command()
@click.argument("bundle", type=FILE)
@click.option(
    "--flavour",
    "flavours",
    multiple=True,
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    help="TensorRT flavour. Default: the recipe's. Repeatable.",
)
@click.option(
    "--compute-capability",
    "capabilities",
    multiple=True,
    metavar="X.Y",
    help="GPU that tensorrt-rtx builds for, such as 8.9. Default: the target's. Repeatable.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Which files of the bundle. Default: all. Repeatable.",
)
@click.option(
    "--batches",
    type=click.IntRange(min=1),
    nargs=3,
    metavar="FROM BEST TO",
    help="Batch sizes: smallest, tuned for, largest. Default: the recipe's.",
)
@click.option(
    "--workspace-mb", type=click.IntRange(min=1), help="Scratch memory of a layer, at most."
)
@json_option
def engine(
    bundle: Path,
    flavours: tuple[Any, ...],
    capabilities: tuple[str, ...],
    precisions: tuple[Any, ...],
    batches: tuple[int, int, int] | None,
    workspace_mb: int | None,
    as_json: bool,
) -> None:
    """Build TensorRT engines from the ONNX files of BUNDLE and add them to it.

    Needs no training package. `tensorrt` builds on the device itself; `tensorrt-rtx` needs no GPU.
    """
    from export.engine import bundle_engines
    from runtime import documents
    from runtime.backends.nvidia import engine_manifest

    request = bundle_engines.EngineRequest(
        flavours, capabilities, precisions, batches, workspace_mb
    )
    engines = bundle_engines.add(bundle, request, note=lambda line: say(line, err=True))
    manifests = {str(path): documents.plain(engine_manifest.load(path)) for path in engines}
    if as_json:
        say(json.dumps(manifests))
    for path in engines:
        say(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)", err=True)
    say(f"Next, on such a GPU: {command('python', '-m', 'runtime', 'check', bundle)}", err=True)
