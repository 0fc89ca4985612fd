"""Images for FP16 and INT8: chosen and decoded once, whoever asks for them."""

import json
from collections import Counter

from compressor.data.image_files import open_rgb
from compressor.pipeline import runner
from compressor.pipeline.context import Run
from compressor.pipeline.shared import calibration_images
from compressor.recipe import plan as plans


def test_fp16_and_int8_decode_each_image_once(base, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGE_COMPRESSOR_CACHE", str(base / "store"))
    recipe = json.loads((base / "recipe.yaml").read_text())
    # No other test asks for 11: its files would be found made
    recipe["export"] = {"precisions": ["fp32", "fp16", "int8"], "calibration_images": 11}
    path = base / f"{tmp_path.name}.yaml"
    path.write_text(json.dumps(recipe))
    opened, real = Counter(), open_rgb

    def counting(image):
        opened[image] += 1
        return real(image)

    monkeypatch.setattr("compressor.pipeline.shared.calibration_images.open_rgb", counting)
    job = Run(plans.load(path), tmp_path / "run", lambda event: None)
    with job.locked():
        runner.run_all(job)
        images = calibration_images.gather(job)
    assert set(opened.values()) == {1}
    assert len(images.selected) == len(images.random) == 11
    assert images.selected.shape[1:] == images.validation.shape[1:]
    first = job.images().paths[int(images.validation_rows[0])]
    assert opened[first] == 1
