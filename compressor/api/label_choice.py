"""Which images to label first, for an array of embeddings or a folder of images."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from compressor.recipe.choices import STRATEGIES
from compressor.selection.choose import Request, choose
from runtime.arrays import Floats, Ints
from runtime.errors import InputError, from_file_system

if TYPE_CHECKING:
    from compressor.api.encoders import Network
    from compressor.api.image_inputs import Images


@dataclass(frozen=True)
class Selection:
    """The images to label, the best first."""

    rows: Ints
    """[budget] rows of the embeddings, or of `paths`."""
    paths: tuple[Path, ...]
    """The chosen files in the same order; empty for a choice among embeddings."""
    represented_by: Ints
    """[N] for each image the chosen or already labelled row that is nearest to it."""
    distance: Floats
    """[N] cosine distance to that row, 0 to 2."""
    embeddings: Floats
    """[N, D]"""


@from_file_system()
def select_images(
    images: Images | npt.NDArray[np.floating],
    *,
    budget: int,
    strategy: str = "cold-paws-cosine",
    seed: int = 0,
    already: Sequence[int] | Ints = (),
    teacher: Network | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> Selection:
    """Choose which images to label first. Reads no label and trains nothing.

    Args:
        images: embeddings, float [N, D]; or, with a teacher, a folder, files, or uint8
            [N, H, W, 3].
        budget: how many to choose.
        strategy: one that docs/label.md describes.
        seed: of the map and the search.
        already: rows that have labels; the choice continues from them.
        teacher: embeds images; None where `images` are embeddings.
        device: where the teacher runs.

    Raises:
        InputError: the budget, the strategy, the seed, the embeddings, an image or the teacher is
            wrong.
        MissingDependencyError: openTSNE, kmedoids, a GPU, hub weights or disk space are missing.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"strategy {strategy!r} is not one of {', '.join(STRATEGIES)}")
    if seed < 0:
        raise InputError(f"seed {seed}: 0 or more is wanted")
    paths, embeddings = _embedded(images, teacher, device)
    settled = np.unique(_rows(already))
    if settled.size and (settled[0] < 0 or settled[-1] >= len(embeddings)):
        raise InputError(f"already: rows from 0 to {len(embeddings) - 1} are possible")
    request = Request(strategy=strategy, budget=budget, seed=seed, settled=settled)
    plan = choose(embeddings, request)
    chosen = tuple(paths[row] for row in plan.chosen) if paths else ()
    return Selection(plan.chosen, chosen, plan.centre, plan.distance, embeddings)


def _embedded(
    images: Images | npt.NDArray[np.floating],
    teacher: Network | None,
    device: Literal["auto", "cpu", "cuda"],
) -> tuple[list[Path], Floats]:
    """Return the files, if there are any, and the embeddings [N, D]."""
    if isinstance(images, np.ndarray) and images.dtype != np.uint8:
        return [], _checked(np.asarray(images, np.float32))
    if teacher is None:
        raise InputError("select_images: images need a teacher that embeds them")
    from compressor.api.encoders import teacher_from
    from compressor.api.image_inputs import files_of, records_of
    from compressor.models.compute import Compute
    from compressor.models.embed import embed

    encoder, compute = teacher_from(teacher), Compute.choose(device, None)
    with tempfile.TemporaryDirectory() as work:
        files = files_of(images, Path(work))  # type: ignore[arg-type]
        paths = [file for file in files if isinstance(file, Path)]
        if len(paths) < len(files):
            raise InputError(
                f"{images}: select_images answers with files, so it takes a folder or files; "
                "`compressor label` takes other sources too"
            )
        records_of(files, None, "train")
        embeddings = embed(encoder, paths, compute, label="teacher on images")
    return ([] if isinstance(images, np.ndarray) else paths), embeddings


def _rows(already: Sequence[int] | Ints) -> Ints:
    rows = np.asarray(already)
    if rows.size and (rows.ndim != 1 or rows.dtype.kind not in "iu"):  # not a mask of True, False
        raise InputError(
            f"already: numbers of rows are wanted, not {rows.dtype} {list(rows.shape)}; "
            "np.flatnonzero(mask) gives those of a mask"
        )
    return rows.astype(np.int64)


def _checked(embeddings: Floats) -> Floats:
    if embeddings.ndim != 2 or not len(embeddings):
        raise InputError(f"embeddings of shape {list(embeddings.shape)}; expected [N, D]")
    if not np.isfinite(embeddings).all() or not embeddings.any(axis=1).all():
        raise InputError("an embedding is zero or not finite")
    return embeddings
