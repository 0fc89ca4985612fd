"""Step `selection`: which images to label next; a run stops after it while labels are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from compressor.pipeline.context import Run
from compressor.pipeline.step import Step
from compressor.pipeline.storage.digests import digest
from compressor.recipe.schema import Label
from compressor.selection import state
from compressor.selection.label_plan import LabelPlan
from compressor.selection.state import LabellingState
from runtime.arrays import Floats, Ints
from runtime.benchmark.machine import version_of
from runtime.errors import InputError, MissingDependencyError
from runtime.files import replacing

NAME = "selection"
_MAP_VERSION = 1
"""Raise it when the same embeddings give another map."""
_NONE: Ints = np.empty(0, np.int64)
_LIBRARIES = ("openTSNE", "kmedoids", "scikit-learn", "numpy")


def labelling_state(run: Run) -> LabellingState:
    """Return what is proposed and labelled so far; reads the outputs of the step `images`."""
    return state.read(run.images().part("train", "validation"), run.folder)


def settings(run: Run) -> Label:
    """The recipe's `label:` section, or its defaults."""
    return run.plan.recipe.label or Label()


def wanted(run: Run, now: LabellingState) -> int:
    """Labelled images that are needed: the recipe's budget, or all images if they are fewer."""
    return min(settings(run).budget, len(now.pool))


def short(run: Run) -> bool:
    """Whether the run has to wait for labels.

    Raises:
        InputError: there are enough of them, but all of one class.
    """
    if run.plan.recipe.label is None:
        return False
    now = labelling_state(run)
    if len(now.labelled) < wanted(run, now):
        return True
    if len(found := run.images().classes) < 2:
        raise InputError(
            f"{run.plan.recipe.data.labels}: {len(now.labelled)} images have a label, all of them "
            f"{', '.join(found)!r}; at least two classes are needed.\n"
            "  Label more: `compressor label RECIPE --budget 50` says which. Or take the section\n"
            "  `label:` out of the recipe and set `data.labels: none`."
        )
    return False


def require_packages() -> None:
    """Find what is missing before the long work.

    Raises:
        MissingDependencyError: names it, and how to get it.
    """
    missing = [name for name in _LIBRARIES if version_of(name) is None]
    if missing:
        raise MissingDependencyError(
            f"choosing images to label needs packages that are not installed: {', '.join(missing)}"
            "\n  pip install 'edge-compressor[train]', or leave `label:` out of the recipe."
        )


def step(run: Run, *, more: int | None = None, among: Sequence[Path] | None = None) -> Step:
    """Return the step that chooses.

    Args:
        run: its step `images` is made.
        more: how many images beyond those labelled or proposed; None: up to the recipe's budget.
        among: images to choose from, with the budget for them alone; None: all.

    Raises:
        MissingDependencyError: a package that choosing needs is not installed.
    """
    require_packages()
    now = labelling_state(run)
    rows = None if among is None else _open_rows(now, among)
    if rows is not None:
        more = min(settings(run).budget if more is None else more, len(rows))
    total = wanted(run, now) if more is None else len(now.settled) + more
    total = max(len(now.settled), min(total, len(now.pool)))
    return Step(
        name=NAME,
        summary="which images to label first",
        version=1,
        products=state.OUTPUTS,
        needs=("images", "embeddings"),
        inputs=lambda run: _inputs(run, total, rows),
        make=lambda run, work: _make(run, work, total, rows),
        libraries=_LIBRARIES,
        shared=False,  # a choice continues what was proposed in this folder
    )


def _open_rows(now: LabellingState, among: Sequence[Path]) -> Ints:
    """Return the rows of images that are neither labelled nor proposed."""
    wanted = set(among)
    rows = [
        row
        for row, path in enumerate(now.pool.paths)
        if isinstance(path, Path) and path.resolve() in wanted
    ]
    return np.setdiff1d(np.array(rows, np.int64), now.settled)


def _inputs(run: Run, total: int, among: Ints | None) -> dict[str, object]:
    """Neither labels of proposed images nor the proposals themselves: they change no choice."""
    now = labelling_state(run)
    return {
        "embeddings": run.outputs("embeddings")["embeddings.safetensors"],
        "pool": digest([image.id for image in now.pool.records]),
        "elsewhere": digest([now.pool.records[row].id for row in now.elsewhere]),
        "strategy": settings(run).strategy,
        "seed": _seed(run),
        "total": total,
        **({} if among is None else {"among": digest([now.pool.records[row].id for row in among])}),
    }


def _make(run: Run, work: Path, total: int, among: Ints | None) -> None:
    now, embeddings = labelling_state(run), pool_embeddings(run)
    on_map = _map(run, embeddings)
    more = total - len(now.settled)
    if not more:
        plan = _as_it_is(run, embeddings, on_map)
    elif among is None:
        plan = _choice(run, embeddings, on_map, more)
    else:
        plan = _choice_among(run, embeddings, on_map, more, among)
    state.save(now, plan, work)


def _seed(run: Run) -> int:
    seed = settings(run).seed
    return run.plan.recipe.distill.seed if seed is None else seed


def pool_embeddings(run: Run) -> Floats:
    """The teacher's embeddings of the images that can be chosen: [N, D]."""
    pool = run.images().rows("train", "validation")
    embeddings: Floats = run.tensors("embeddings.safetensors")["images"][pool]
    return embeddings


def _map(run: Run, embeddings: Floats) -> Floats | None:
    """Made once: a request for more images uses the same map."""
    from safetensors.numpy import load_file, save_file

    from compressor.selection.tsne_map import tsne_map

    def make(path: Path) -> None:
        made = tsne_map(embeddings, _seed(run))
        with replacing(path) as temporary:
            save_file({"map": np.empty((0, 2), np.float32) if made is None else made}, temporary)

    held = digest([image.split for image in run.images().records])
    key = [
        "map",
        run.outputs("embeddings")["embeddings.safetensors"],
        held,
        _seed(run),
        _MAP_VERSION,
    ]
    found: Floats = load_file(run.shared(key, "map.safetensors", make))["map"]
    return found if len(found) else None


def _choice(run: Run, embeddings: Floats, on_map: Floats | None, more: int) -> LabelPlan:
    from compressor.selection.choose import Request, choose

    now, spec = labelling_state(run), settings(run)
    run.note(f"choosing {more} of {len(embeddings):,} images by {spec.strategy}")
    asked = Request(strategy=spec.strategy, budget=more, seed=_seed(run), settled=now.settled)
    return choose(embeddings, asked, on_map=on_map)


def _choice_among(
    run: Run, embeddings: Floats, on_map: Floats | None, more: int, among: Ints
) -> LabelPlan:
    """Choose from some images only, given all that is labelled or proposed."""
    from compressor.selection.choose import Request, choose
    from compressor.selection.metric_space import Space, distinct

    now, spec = labelling_state(run), settings(run)
    rows = np.union1d(now.settled, among)
    settled = np.searchsorted(rows, now.settled)
    different, which = distinct(Space.cosine(embeddings[rows]).points)
    more = min(more, len(different) - len(np.unique(which[settled])))
    if not more:
        return _as_it_is(run, embeddings, on_map)
    run.note(f"choosing {more} of {len(among):,} images that came back, by {spec.strategy}")
    asked = Request(strategy=spec.strategy, budget=more, seed=_seed(run), settled=settled)
    part = choose(embeddings[rows], asked, on_map=None if on_map is None else on_map[rows])
    return _as_it_is(run, embeddings, on_map, rows[part.chosen])


def _as_it_is(
    run: Run, embeddings: Floats, on_map: Floats | None, chosen: Ints = _NONE
) -> LabelPlan:
    """Return the plan with these new images; without any after other labels or another recipe."""
    from compressor.selection.metric_space import Space

    now = labelling_state(run)
    centres = np.concatenate([now.settled, chosen])
    nearest, distance = Space.cosine(embeddings).nearest(centres)
    return LabelPlan(
        strategy=settings(run).strategy,
        seed=_seed(run),
        chosen=chosen,
        settled=now.settled,
        centre=centres[nearest],
        distance=distance,
        map=on_map,
    )
