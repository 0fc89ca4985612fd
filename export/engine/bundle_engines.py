"""Add engines to an existing bundle, on the device or for another GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export import bundle as bundles
from export.engine import build
from export.engine.build import EngineSpec, Note
from runtime import documents
from runtime.backends.nvidia.engine_manifest import Profile
from runtime.backends.nvidia.tensorrt_flavour import ENGINE_SUFFIX, Flavour
from runtime.bundle import bundle as existing
from runtime.bundle.bundle import Artifact, Bundle
from runtime.documents import Precision, read_json
from runtime.errors import InputError
from runtime.files import write_json


@dataclass(frozen=True)
class EngineRequest:
    """The engines to build for a bundle; None: as in its recipe."""

    flavours: Sequence[Flavour] = ()
    capabilities: Sequence[str] = ()
    """Compute capabilities for `tensorrt-rtx`; empty: the target's, else that of the GPU here."""
    precisions: Sequence[Precision] = ()
    batches: tuple[int, int, int] | None = None
    workspace_mb: int | None = None


def add(folder: Path, request: EngineRequest, *, note: Note = lambda line: None) -> list[Path]:
    """Build engines from the ONNX files of a bundle, into it, and write its manifest again.

    Returns:
        The engines.

    Raises:
        InputError: the bundle is damaged, has no such file, or an engine cannot be built.
        MissingDependencyError: the flavour or the GPU that it needs is not here.
    """
    bundle = existing.load(folder)
    sources, made = _sources(bundle, request), []
    for flavour in _flavours(bundle, request):
        for capability in _capabilities(bundle, request, flavour):
            for source in sources:
                spec = _spec(bundle, request, flavour, source.precision, capability)
                note(
                    f"{flavour} from {source.path.name}, {capability or 'the GPU of this machine'}"
                )
                made.append(build.build(source.path, folder / bundles.ENGINES, spec, note=note))
                _note(bundle)  # now: if the next one fails, the bundle is whole with this one
                bundles.seal(folder)
    return made


def _sources(bundle: Bundle, request: EngineRequest) -> list[Artifact]:
    there = {each.precision: each for each in bundle.artifacts if each.path.suffix == ".onnx"}
    if missing := [each for each in request.precisions if each not in there]:
        raise InputError(
            f"{bundle.folder}: has no {', '.join(missing)} file; it has {', '.join(there)}.\n"
            "  `export.precisions` of the recipe says which are made."
        )
    return [there[each] for each in request.precisions or there]


def _flavours(bundle: Bundle, request: EngineRequest) -> Sequence[Flavour]:
    flavours = request.flavours or bundle.document.engines.flavours
    if not flavours:
        raise InputError(
            f"{bundle.folder}: its recipe names no engines. Name a flavour:\n"
            "  --flavour tensorrt       on the device, with its GPU\n"
            "  --flavour tensorrt-rtx   anywhere, for --compute-capability"
        )
    return flavours


def _capabilities(bundle: Bundle, request: EngineRequest, flavour: Flavour) -> Sequence[str | None]:
    if flavour == "tensorrt":
        return request.capabilities or [None]
    return request.capabilities or [bundle.target.compute_capability]


def _spec(
    bundle: Bundle,
    request: EngineRequest,
    flavour: Flavour,
    precision: Precision,
    capability: str | None,
) -> EngineSpec:
    recipe, sizes = bundle.document.engines, bundle.target.batches
    batches = request.batches or recipe.batches or (1, sizes[0], max(sizes))
    try:
        profile = Profile(*batches)
    except ValueError as error:
        raise InputError(f"batches {batches}: {error}") from error
    if lacks := profile.lacks(sizes):
        raise InputError(f"{bundle.folder}: batches {batches}: {lacks}")
    return EngineSpec(
        flavour=flavour,
        precision=precision,
        profile=profile,
        compute_capability=capability,
        workspace_mb=request.workspace_mb or recipe.workspace_mb,
        timing_caches=bundle.folder / bundles.ENGINES,
    )


def _note(bundle: Bundle) -> None:
    """List every engine of the bundle in bundle.json."""
    document, path = bundle.document, bundle.folder / "bundle.json"
    kept = [entry for entry in document.artifacts if not entry.file.endswith(ENGINE_SUFFIX)]
    built = bundles.engines_in(bundle.folder / bundles.ENGINES)
    kept += [engine.entry(engine.path.relative_to(bundle.folder).as_posix()) for engine in built]
    pending = [
        entry
        for entry in document.engines_to_build
        if not any(engine.stage.startswith(f"{entry.stage}-") for engine in built)
    ]
    # Onto the file as it is: it may have keys that this version does not know.
    changed = {"artifacts": documents.plain(kept), "engines_to_build": documents.plain(pending)}
    write_json(path, read_json(path) | changed)
