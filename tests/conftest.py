"""Fixtures that many tests share: images, a teacher of one block, a recipe."""

import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from tiny_training import TINY_TRAINING

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's client reads it: no test asks a real hub

# From tests/plugins.
pytest_plugins = [
    "browser",
    "hand_made_bundle",
    "local_hub",
    "object_store",
    "one_student",
    "opened_images",
    "stand_in_gpu",
    "typed_command",
]

SLOW = (
    "compressor/api/test_distillation.py",
    "compressor/api/test_run.py",
    "compressor/cli/test_wrong_folders.py",
    "compressor/device/",
    "compressor/distillation/test_methods_in_the_loop.py",
    "compressor/distillation/test_processes.py",
    "compressor/distillation/test_trainer.py",
    "compressor/models/test_families.py",
    "compressor/observers/tracking/",
    "compressor/pipeline/steps/",
    "compressor/pipeline/test_edits.py",
    "compressor/pipeline/test_early_bundle.py",
    "compressor/pipeline/test_judged_again.py",
    "compressor/pipeline/settling/test_disk_limit.py",
    "compressor/pipeline/settling/test_faithfulness.py",
    "compressor/pipeline/settling/test_student_search.py",
    "compressor/pipeline/settling/test_teachers.py",
    "compressor/pipeline/test_unchanged.py",
    "compressor/pipeline/test_versions.py",
    "e2e/",
    "export/engine/",
    "export/precision/",
    "export/test_onnx_file.py",
    "export/test_precision_proof.py",
    "export/test_uint8_input.py",
    "runtime/bundle/test_fault_drill.py",
    "runtime/evaluation/test_check.py",
    "runtime/findings/test_contamination.py",
    "runtime/metrics/test_intervals.py",
    "runtime/test_cli.py",
    "test_benchmarks.py",
    "test_packaging.py",
    "test_readme_commands.py",
    "test_selection_benchmarks.py",
    "test_site.py",
)
"""Files that train, export, or start processes: marked `slow`, as are all tests with a browser."""


def pytest_collection_modifyitems(items):
    """Mark the slow tests, so that `make quick` can leave them out."""
    here = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        if path.startswith(SLOW) or "tab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def no_home_cache(tmp_path_factory):
    """No test, and no process that one starts, writes into the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_COMPRESSOR_CACHE", str(folder))
        patch.delenv("EDGE_COMPRESSOR_CACHE_GB", raising=False)
        yield folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Each test has a cache of its own; only fixtures of wider scope share the one above.

    It is empty, but for exports that were tried before where the test writes a recipe.
    """
    folder = tmp_path_factory.getbasetemp() / f"cache-{uuid4().hex}"
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def folder_of_images(tmp_path_factory):
    """48 different PNGs of 32 x 32 pixels in the folders `blue` and `red`; read only."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, channel in (("blue", 2), ("red", 0)):
        (folder / name).mkdir()
        for number in range(24):
            pixels = rng.integers(0, 128, (32, 32, 3), np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def tiny_teacher(tmp_path_factory):
    """The `teacher:` section of a recipe: a ViT of one block for 32 pixels, with its weights."""
    import timm
    import torch
    from safetensors.torch import save_file

    args: dict[str, Any] = {
        "img_size": 32,
        "patch_size": 16,
        "embed_dim": 24,
        "depth": 1,
        "num_heads": 2,
    }
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **args)
    save_file(model.state_dict(), path)
    return {"model": "vit_tiny_patch16_224", "weights": str(path), "args": args}


@pytest.fixture
def session_cache(no_home_cache, own_cache, monkeypatch):
    """The cache of the session in the place of the test's: what is in it is not made again."""
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(no_home_cache))


@pytest.fixture(scope="session")
def tried_exports(tmp_path_factory):
    """Cache entries of exports that were tried: what they say depends on the student alone."""
    return tmp_path_factory.mktemp("tried-exports")


@pytest.fixture
def tried_before(own_cache, tried_exports):
    """The test's cache has the exports that tests before it tried."""
    shutil.copytree(tried_exports, own_cache / "entries")
    yield
    for trial in own_cache.glob("entries/*/export_trial.json"):
        if not (kept := tried_exports / trial.parent.name).exists():
            trial.parent.replace(kept)  # the test may have filled the disk


@pytest.fixture
def write_recipe(tmp_path, folder_of_images, tiny_teacher, tried_before):
    """Write a recipe that runs in seconds; `{"distill.epochs": 2}` changes a key."""
    from ruamel.yaml import YAML

    def write(changes=None, path: Path = tmp_path / "recipe.yaml"):
        document: dict[str, Any] = {
            "name": "tiny",
            "data": {"images": str(folder_of_images), "labels": "folders", "holdout": 0.25},
            "teacher": dict(tiny_teacher),
            "student": {
                "model": "mobilenetv3_small_050",
                "weights": "none",
                "image_size": 32,
                "embedding": 16,
            },
            "distill": dict(TINY_TRAINING),
            "target": "cpu",
        }
        for dotted, value in (changes or {}).items():
            *sections, key = dotted.split(".")
            node = document
            for section in sections:
                node = node.setdefault(section, {})
            node[key] = value
        yaml: Any = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False
        path.parent.mkdir(parents=True, exist_ok=True)
        yaml.dump(document, path)
        return path

    return write
