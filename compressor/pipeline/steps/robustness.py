"""Step `robustness`: the embeddings of corrupted held-out images, by teacher and student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressor.pipeline.context import Run
from compressor.pipeline.shared import teacher_views
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from runtime.arrays import Floats, Ints
from runtime.files import replacing
from runtime.images import corruptions
from runtime.images.corruptions import Corruption
from runtime.sampling import evenly

if TYPE_CHECKING:
    import torch

    from compressor.data.loading import Arrays
    from compressor.models.encoder import Encoder
    from runtime.images.preprocess import Preprocess


PART_IMAGES = 16
"""Images, each with all its corruptions, that a killed run loses at most."""


@dataclass(frozen=True)
class ImagesToCorrupt:
    """Held-out images that are corrupted: R of them."""

    rows: Ints
    """[R], among the held-out images."""
    seeds: Ints
    """[R], from their pixels: another name or place changes nothing."""
    paths: tuple[Path, ...]
    short_side_px: int
    """At which they are corrupted: what the larger of both networks sees."""

    def of(self, at: int) -> list[Corruption]:
        """Everything that is done to one of them."""
        return corruptions.all_of(int(self.seeds[at]), self.short_side_px)


def _rows(run: Run, held: int) -> Ints:
    """Evenly over those held-out images that travel to the device, where they are made again."""
    recipe = run.plan.recipe
    carried = evenly(held, recipe.export.golden_images)
    return carried[evenly(len(carried), recipe.check.robustness_images)]


def chosen(run: Run) -> ImagesToCorrupt:
    """The held-out images that this run corrupts."""
    held = run.images().part("holdout")
    rows = _rows(run, len(held))
    networks, keys, paths = (run.teacher, run.untrained_student), held.keys, held.paths
    return ImagesToCorrupt(
        rows,
        np.array([int(keys[row][:12], 16) for row in rows], np.int64),
        tuple(paths[row] for row in rows),
        max(each.preprocess.resize_px for each in networks),
    )


class Corrupted:
    """Corrupted images as uint8 [C, S, S, 3], asked for by their place among the chosen."""

    def __init__(self, images: ImagesToCorrupt, preprocess: Preprocess) -> None:
        self.images = images
        self.preprocess = preprocess

    def __getitem__(self, at: int) -> Arrays:
        from compressor.data.image_files import open_rgb

        image = open_rgb(self.images.paths[at])
        looks = [self.preprocess.pixels(each(image)) for each in self.images.of(at)]
        return (np.stack(looks),)


def _inputs(run: Run) -> dict[str, object]:
    recipe, held = run.plan.recipe, run.images().part("holdout")
    keys = held.keys
    return {
        "teacher": [run.network_digest(recipe.teacher), recipe.distill.teacher_precision],
        "student": run.network_digest(recipe.student),
        "weights": run.outputs("distill")["student.safetensors"],
        "images": [keys[row] for row in _rows(run, len(held))],
        "corruptions": corruptions.VERSION,
    }


def _make(run: Run, work: Path) -> None:
    from safetensors.numpy import load_file, save_file

    images, precision = chosen(run), teacher_views.precision(run)
    passes = len(images.rows) * len(corruptions.cells())
    if passes:
        run.note(
            f"{passes:,} passes of the teacher: {len(images.rows)} held-out images, six families "
            "of corruptions at five severities (check.robustness_images)"
        )

    def make(path: Path) -> None:
        found = {"teacher": _embed(run, run.teacher, images, "teacher", work, precision)}
        with replacing(path) as temporary:
            save_file(found, temporary)

    # The teacher's part is kept for other students: it is the larger one.
    inputs, device = _inputs(run), run.compute().device.type
    key = [inputs["teacher"], inputs["images"], images.short_side_px, device, str(precision)]
    key += [inputs["corruptions"], teacher_views.code()]
    arrays = load_file(run.shared(["corrupted", *key], "teacher.safetensors", make))
    arrays |= {"rows": images.rows, "seeds": images.seeds}
    arrays["short_side_px"] = np.array([images.short_side_px])
    arrays["student"] = _embed(run, run.trained_student(), images, "student", work, None)
    save_file(arrays, work / "corrupted.safetensors")


def _embed(
    run: Run,
    encoder: Encoder,
    images: ImagesToCorrupt,
    name: str,
    work: Path,
    precision: torch.dtype | None,
) -> Floats:
    """float32 [R, C, D]; finished parts in the work folder are not made again."""
    found = [np.empty((0, len(corruptions.cells()), encoder.dim), np.float32)]
    starts = range(0, len(images.rows), PART_IMAGES)
    for start in run.track(starts, label=f"{name} on corrupted images", total=len(starts)):
        part = work / "parts" / f"{name}-{start:06d}.npy"
        if not part.exists():
            places = range(start, min(start + PART_IMAGES, len(images.rows)))
            made = _embed_part(run, encoder, images, places, precision)
            with replacing(part) as temporary, temporary.open("wb") as file:
                np.save(file, made)
        found.append(np.load(part))
    return np.concatenate(found)


def _embed_part(
    run: Run,
    encoder: Encoder,
    images: ImagesToCorrupt,
    places: Sequence[int],
    precision: torch.dtype | None,
) -> Floats:
    import torch

    from compressor.data.loading import load_batches, to_input
    from compressor.models.compute import autocast

    compute, found = run.compute(), []
    module = encoder.module.eval().to(compute.device)
    batches = [[at] for at in places]  # an image with all its corruptions
    dataset = Corrupted(images, encoder.preprocess)
    with torch.inference_mode(), autocast(precision, compute):
        for (pixels,) in load_batches(dataset, batches, compute.workers):
            output = module(to_input(pixels[0], encoder.preprocess, compute.device))
            found.append(output.float().cpu().numpy())
    return np.stack(found)


STEP = Step(
    name="robustness",
    summary="the answers of teacher and student to corrupted held-out images",
    version=1,
    products=("corrupted.safetensors",),
    needs=("images", "distill"),
    inputs=_inputs,
    make=_make,
    libraries=NETWORK_LIBRARIES,
)
