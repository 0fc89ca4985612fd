"""A small teacher and what it says of views: in shards, at once, and of one view alone."""

import numpy as np
import torch
from PIL import Image

from compressor.data.augmentation import PLAIN, seeded_view
from compressor.data.loading import Augmentation, load_batches, to_input
from compressor.distillation import teacher_features
from compressor.distillation.teacher_features import (
    CachedFeatures,
    OnlineFeatures,
    shard_name,
    write_shard,
)
from compressor.models.compute import Compute
from compressor.models.encoder import create_student
from compressor.recipe.schema import Student

CPU = Compute(torch.device("cpu"), workers=0)
AUGMENT = Augmentation(seed=1, scale=(0.25, 1.0), side_px=64)
GRID = (3, 2)
VIEWS = 2
COUNT = 48
"""Images in the fixture `images`."""
VIT = Student(
    model="vit_tiny_patch16_224",
    weights="none",
    image_size=32,
    args={"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "drop_path_rate": 0.5},
)


def make_teacher():
    """A small ViT that sees 4 x 4 patches of 32 pixels."""
    teacher = create_student(VIT, seed=0)
    assert (teacher.dim, teacher.map_shape) == (24, (4, 4, 24))
    return teacher


def write(runner, views, folder, count=VIEWS):
    """The shards of all images, for the views 0 to `count` - 1."""
    for number in range(count):
        for start in range(0, len(views.paths), teacher_features.SHARD_IMAGES):
            write_shard(folder / shard_name(number, start), runner, views, number, start)
    return CachedFeatures(folder, count, len(views.paths))


def look(teacher, images, row, number):
    """What the teacher says of one view, alone."""
    with Image.open(images.paths[row]) as file:
        image = file.convert("RGB")
    if number == PLAIN:
        seen = teacher.preprocess.pixels(image)
    else:
        view = seeded_view(images.keys[row], number, seed=1, size=image.size, scale=(0.25, 1.0))
        seen = view.render(image, 32, teacher.preprocess.resampling)
    one = to_input(torch.from_numpy(seen.copy())[None], teacher.preprocess, CPU.device)
    with torch.inference_mode():
        found = teacher.module.eval().features(one)
    return found.pooled[0].numpy(), found.maps[0].numpy()


def some_jobs(views=VIEWS, count=30):
    rng = np.random.default_rng(0)
    return [(int(rng.integers(COUNT)), int(rng.integers(views))) for _ in range(count)]


def shown(views, jobs):
    """PreprocessedImages of some views."""
    ((pixels,),) = load_batches(views, [jobs], 0)
    return pixels


def kept(cached, jobs):
    """What the shards hold, which does not depend on what is shown."""
    return cached.features(jobs, [])


def asked(runner, views, jobs):
    """What the teacher answers at once."""
    return OnlineFeatures(runner, views).features(jobs, [shown(views, jobs)])
