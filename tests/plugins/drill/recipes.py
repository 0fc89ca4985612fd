"""Recipes: the text of one, or a value of one, is changed; a dry run reads it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from compressor.distillation.methods import tintem_head
from compressor.distillation.pace import measure
from compressor.recipe import plan as plans
from drill import changes
from drill.case import DONE, LACKING, WRONG_INPUT, Case, Outcome

LINES = (*changes.YAML_VALUES, "name: x", "data:", "- a", "---", "...", "%YAML 9.9", "<<: *a")


def tiny_recipe(folder: Path, images: int = 5) -> dict[str, Any]:
    """Return a recipe, with its images, so many of each class, and its teacher in a folder."""
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("red", "blue")):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(images):
            pixels = rng.integers(0, 200, (32, 32, 3), dtype=np.uint8)
            pixels[..., channel] += 50
            Image.fromarray(pixels).save(folder / "images" / name / f"{number:02}.png")
    args = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2}
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **args)
    save_file(model.state_dict(), folder / "teacher.safetensors")
    return {
        "name": "tiny",
        "data": {"images": str(folder / "images"), "labels": "folders", "min_images": 8},
        "teacher": {
            "model": "vit_tiny_patch16_224",
            "weights": str(folder / "teacher.safetensors"),
            "args": args,
        },
        "student": {"model": "mobilenetv3_small_050", "weights": "none", "image_size": 32},
        "distill": {"epochs": 1, "batch": 8, "views": 1, "device": "cpu", "workers": 1},
        "require": {"latency_p95_ms": 1000, "agreement": 0.1},
    }


class Recipes:
    """A changed recipe beside sound images and a sound teacher."""

    name = "recipes"
    cpu_limit_s = 60.0
    memory_limit_mb = 4_000.0
    """Of a recipe that is taken: a training step of eight images of 1,000 px, which some ask for,
    takes 13 s and 2.3 GB."""
    refused_within_s, refused_within_mb = 20.0, 600.0

    def prepare(self, folder: Path) -> None:
        """Make images, the weights of a small teacher, a short recipe, and one of every key."""
        self.cache = folder / "cache"
        """Of all cases: trying a student's export takes ten seconds, and is remembered there."""
        # A dry run times everything for a second or two: once is enough here. Nothing else changes.
        measure.AT_LEAST_S, tintem_head.FIT_STEPS = 0.0, 1
        short = tiny_recipe(folder)
        path = folder / "short.yaml"
        path.write_text(json.dumps(short), encoding="utf-8")
        whole = plans.load(path).recipe.resolved() | {"label": {"budget": 4}}
        self.sound = [short, short, json.loads(json.dumps(whole))]

    def make(self, rng: Random, folder: Path) -> Case:
        """Change a value, a line, or bytes."""
        sound = rng.choice(self.sound)
        if rng.random() < 0.6:
            text, change = changes.document(rng, sound, changes.YAML_VALUES)
            content = text.encode("utf-8", "surrogatepass")
        else:
            text, change = changes.lines(rng, _block(sound), LINES)
            content = text.encode("utf-8", "surrogatepass")
            if rng.random() < 0.4:
                content, change = changes.content(rng, content)
        (folder / "recipe.yaml").write_bytes(content)
        words = ["compressor", "run", "recipe.yaml", "--dry-run"]
        words += ["--json"] if rng.random() < 0.7 else []
        settings = {"EDGE_COMPRESSOR_CACHE": str(self.cache)}
        codes = frozenset({DONE, WRONG_INPUT, LACKING})

        def judge(outcome: Outcome) -> list[str]:
            if outcome.code == DONE:
                return []
            too_long = outcome.cpu_s > self.refused_within_s
            too_large = outcome.memory_mb > self.refused_within_mb
            return ["a refusal that takes long"] * too_long + ["a large refusal"] * too_large

        return Case(tuple(words), codes, change, judge=judge, settings=settings)


def _block(node: Any, indent: int = 0) -> str:
    """Return a recipe in YAML's block style, one key a line."""
    lines = []
    for key, value in node.items():
        if isinstance(value, dict) and value:
            lines += [f"{' ' * indent}{key}:", _block(value, indent + 2)]
        else:
            lines.append(f"{' ' * indent}{key}: {json.dumps(value)}")
    return "\n".join(lines)
