"""Step `robustness`: the embeddings of corrupted held-out images, by teacher and student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def rows(run: Run) -> Ints:
    """Return the held-out images that are corrupted: evenly over those that travel to the device.

    There they are corrupted again.
    """
    recipe = run.plan.recipe
    carried = evenly(len(run.images().part("holdout")), recipe.export.golden_images)
    return carried[evenly(len(carried), recipe.check.robustness_images)]


def chosen(run: Run) -> ImagesToCorrupt:
    """The held-out images that this run corrupts."""
    held = run.images().part("holdout")
    corrupted = rows(run)
    networks, keys, paths = (run.teacher, run.initial_student), held.keys, held.paths
    return ImagesToCorrupt(
        corrupted,
        np.array([int(keys[row][:12], 16) for row in corrupted], np.int64),
        tuple(paths[row] for row in corrupted),
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
    recipe, keys = run.plan.recipe, run.images().part("holdout").keys
    return {
        "teacher": [run.network_digest(recipe.teacher), recipe.distill.teacher_precision],
        "student": run.network_digest(recipe.student),
        "weights": run.outputs("distill")["student.safetensors"],
        "images": [keys[row] for row in rows(run)],
        "rows": rows(run).tolist(),
        "corruptions": corruptions.VERSION,
    }


def _make(run: Run, work: Path) -> None:
    from safetensors.numpy import load_file, save_file

    images, precision = chosen(run), teacher_views.precision(run)
    passes = len(images.rows) * len(corruptions.cells())
    if passes:
        run.note(
            f"{passes:,} passes of the teacher: {len(images.rows)} held-out images, "
            f"{corruptions.summary()} (check.robustness_images)"
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
    """Return float32 [R, C, D]; finished parts in the work folder are not made again."""
    count = len(images.rows)
    found = np.empty((count, len(corruptions.cells()), encoder.dim), np.float32)
    answers = _answers(run, encoder, images, work / "parts" / name, precision)
    tracked = run.track(answers, label=f"{name} on corrupted images", total=count)
    for at, answer in enumerate(tracked):
        found[at] = answer
    return found


def _answers(
    run: Run,
    encoder: Encoder,
    images: ImagesToCorrupt,
    parts: Path,
    precision: torch.dtype | None,
) -> Iterator[Floats]:
    """Yield [C, D] for each image, in order."""
    for start in range(0, len(images.rows), PART_IMAGES):
        part = parts.with_name(f"{parts.name}-{start:06d}.npy")
        if part.exists():
            yield from np.load(part)
            continue
        places = range(start, min(start + PART_IMAGES, len(images.rows)))
        made = []
        for answer in _embed_each(run, encoder, images, places, precision):
            made.append(answer)
            yield answer
        with replacing(part) as temporary, temporary.open("wb") as file:
            np.save(file, np.stack(made))


def _embed_each(
    run: Run,
    encoder: Encoder,
    images: ImagesToCorrupt,
    places: Sequence[int],
    precision: torch.dtype | None,
) -> Iterator[Floats]:
    """Yield [C, D] for each of some images."""
    import torch

    from compressor.data.loading import load_batches, to_input
    from compressor.models.compute import autocast

    compute = run.compute()
    module = encoder.module.eval().to(compute.device)
    batches = [[at] for at in places]  # an image with all its corruptions
    dataset = Corrupted(images, encoder.preprocess)
    for (pixels,) in load_batches(dataset, batches, compute.workers):
        with torch.inference_mode(), autocast(precision, compute):
            output = module(to_input(pixels[0], encoder.preprocess, compute.device))
            answer = output.float().cpu().numpy()
        yield answer


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
