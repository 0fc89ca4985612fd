"""A finished run that tests of the pipeline share."""

import json
import shutil

import pytest

from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.recipe import plan as plans
from tiny_training import TINY_TRAINING


@pytest.fixture(scope="session")
def base(tmp_path_factory, folder_of_images, tiny_teacher):
    """A finished run, with a store, images and weights of its own."""
    place = tmp_path_factory.mktemp("base")
    shutil.copytree(folder_of_images, place / "images")
    shutil.copy2(tiny_teacher["weights"], place / "teacher.safetensors")
    rows = [
        f"{path.parent.name}/{path.name},{path.parent.name}"
        for path in sorted((place / "images").rglob("*.png"))
    ]
    # One image has no label: the split is not stratified, so that a label moves no image.
    (place / "labels.csv").write_text("\n".join(["image,label", *rows[1:]]) + "\n")
    args = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}
    recipe = {
        "name": "base",
        "data": {"images": "images", "labels": "labels.csv", "holdout": 0.25},
        "teacher": {**tiny_teacher, "weights": "teacher.safetensors"},
        "student": {
            "model": "vit_tiny_patch16_224",
            "weights": "none",
            "image_size": 32,
            "args": args,
        },
        "distill": {
            **TINY_TRAINING,
            "teacher_precision": "fp32",  # `auto` is bfloat16 where the processor has it
        },
        "export": {"precisions": ["fp32", "fp16", "int8"]},
        "check": {"robustness_images": 2},
        "target": "cpu",
    }
    (place / "recipe.yaml").write_text(json.dumps(recipe))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_COMPRESSOR_CACHE", str(place / "store"))
        run = Run(plans.load(place / "recipe.yaml"), place / "run")
        with run.locked():
            runner.run_all(run)
    return place
