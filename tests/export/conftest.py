"""Students of every family in ONNX, with random weights and small images; made once."""

import numpy as np
import pytest
from PIL import Image

from runtime.images.preprocess import Preprocess

SIDE = 32
PREPROCESS = Preprocess(
    size_px=SIDE,
    resize_px=SIDE,
    crop_mode="center",
    interpolation="bilinear",
    mean=(0.5, 0.45, 0.4),
    std=(0.25, 0.25, 0.3),
)
FAMILIES = {
    "mobilenetv3": ("mobilenetv3_small_050", {}),
    "mobilenetv4": ("mobilenetv4_conv_small_050", {}),
    "efficientnet_lite": ("tf_efficientnet_lite0", {}),
    "convnext": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (16, 32, 48, 64)}),
    "vit": ("vit_tiny_patch16_224", {"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}),
}


def deployed_student(model, args):
    """A student and a probe on it, in torch."""
    from compressor.models.encoder import create_student
    from compressor.recipe.schema import Student
    from export.onnx_file import Deployed, linear

    width = None if "vit" in model else 16
    spec = Student(model=model, weights="none", image_size=SIDE, args=args, embedding=width)
    student = create_student(spec, seed=0)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, student.dim)).astype(np.float32)
    # The logit of a class without a label, as a probe with few labels has it.
    probe = linear(weight, np.array([0.1, 0.2, -1e4], np.float32))
    return Deployed(student.module, probe)


def export_student(model, args, path):
    from export.onnx_file import export

    export(deployed_student(model, args), SIDE, path, {"note": "kept"})
    return path


@pytest.fixture(scope="session")
def students(tmp_path_factory):
    """`students(family)`: path of its float32 file."""
    folder, made = tmp_path_factory.mktemp("students"), {}

    def get(family):
        if family not in made:
            made[family] = export_student(*FAMILIES[family], folder / f"{family}.fp32.onnx")
        return made[family]

    return get


@pytest.fixture(scope="session")
def networks():
    """`networks(family)`: the student in torch."""
    return lambda family: deployed_student(*FAMILIES[family])


@pytest.fixture(scope="session")
def preprocess():
    """Of all of them."""
    return PREPROCESS


@pytest.fixture(scope="session")
def pixels():
    """64 smooth pictures, uint8 [64, S, S, 3]: noise has no range worth calibrating on."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (64, 4, 4, 3), np.uint8)
    large = [Image.fromarray(each).resize((SIDE, SIDE)) for each in small]
    return np.stack([np.asarray(each) for each in large])


@pytest.fixture(scope="session")
def images(pixels):
    """The same, normalised: float32 [64, 3, S, S]."""
    return PREPROCESS.normalise(pixels)


@pytest.fixture(scope="session")
def precise(students, images, tmp_path_factory):
    """`precise(family, precision)`: path of a finished file."""
    from export import graph
    from export.precision import fp16, int8
    from export.precision.calibration import calibrate

    folder, made = tmp_path_factory.mktemp("precise"), {}

    def get(family, precision):
        key = family, precision
        if precision == "fp32":
            return students(family)
        if key not in made:
            path = folder / f"{family}.{precision}.onnx"
            if precision == "fp16":
                fp16.make(students(family), path, images[:16], images[32:48])
            else:
                quantiser = int8.Quantiser.of(students(family), images[32:48])
                calibration = calibrate(
                    quantiser.model, images[:16], name="selected", method="minmax"
                )
                graph.save(
                    quantiser.quantised(calibration, quantiser.layers), path, {"precision": "int8"}
                )
            made[key] = path
        return made[key]

    return get
