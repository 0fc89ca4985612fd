"""Views: fixed, seeded augmentations that teacher and student both see.

A view depends only on the image's pixels, the number of the view and the recipe's seed. So the
teacher's features of a view can be computed once and stay valid; features are never augmented.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt
from PIL import Image

PLAIN = 0
"""Number of the view without augmentation: the image, preprocessed as on the device."""
COLOUR_JITTER = 0.4
"""Brightness, contrast and saturation vary by up to this factor, as in SimCLR's small variants."""
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow's "L"
_MIRROR = Image.Transpose.FLIP_LEFT_RIGHT


@dataclass(frozen=True)
class View:
    """One augmentation of one image, independent of the image size."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom as shares of the image's width and height."""
    flip: bool
    brightness: float
    contrast: float
    saturation: float

    def render(
        self, image: Image.Image, size_px: int, resampling: Image.Resampling
    ) -> npt.NDArray[np.uint8]:
        """Crop, resize, recolour and flip an RGB image: uint8 [S, S, 3]."""
        width, height = image.size
        left, top, right, bottom = self.box
        box = (left * width, top * height, right * width, bottom * height)
        view = self._recoloured(image.resize((size_px, size_px), resampling, box=box))
        # Pillow flips, not numpy: stacking flipped numpy arrays is slow
        return np.asarray(view.transpose(_MIRROR) if self.flip else view)

    def _recoloured(self, image: Image.Image) -> Image.Image:
        """Brightness, then contrast about the mean luma, then saturation about each pixel's luma.

        All three are linear in a pixel's colour. Together they are one matrix: a gain of the own
        value, a share of the luma, and an offset. Values are rounded and clipped once, at the end.
        """
        gain = self.brightness * self.contrast
        own, of_luma = gain * self.saturation, gain * (1 - self.saturation)
        mean = float(np.asarray(image.convert("L")).mean())
        offset = (1 - self.contrast) * self.brightness * mean
        red, green, blue = (of_luma * weight for weight in _LUMA)
        return image.convert(
            "RGB",
            (
                *(own + red, green, blue, offset),
                *(red, own + green, blue, offset),
                *(red, green, own + blue, offset),
            ),
        )


def seeded_view(
    key: str, number: int, *, seed: int, size: tuple[int, int], scale: tuple[float, float]
) -> View:
    """Return view `number` of the image whose pixels have the sha256 `key`.

    Args:
        key: sha256 of the image's pixels.
        number: 1, 2, ...; PLAIN (0) has no augmentation.
        seed: of the recipe.
        size: width and height of the image in pixels (or of a resized copy; only the ratio counts).
        scale: smallest and largest share of the image's area that the view covers.
    """
    digest = hashlib.sha256(f"view {seed} {number} {key}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
    box = _random_box(rng, size[0] / size[1], scale)
    jitter = rng.uniform(1 - COLOUR_JITTER, 1 + COLOUR_JITTER, 3)
    return View(box, bool(rng.random() < 0.5), *(float(factor) for factor in jitter))


def first_unmixed(mixed: Collection[int]) -> int:
    """Return the number of the first augmented view that is none of the mixed ones."""
    return next(number for number in count(PLAIN + 1) if number not in mixed)


def _random_box(
    rng: np.random.Generator, image_ratio: float, scale: tuple[float, float]
) -> tuple[float, float, float, float]:
    """A box of random area and ratio (3/4 to 4/3) inside the image, in shares of its sides."""
    for _ in range(10):
        area = rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        width = math.sqrt(area * ratio / image_ratio)
        height = math.sqrt(area / ratio * image_ratio)
        if width <= 1 and height <= 1:
            left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
            return (left, top, left + width, top + height)
    # Very long images: the largest square in the centre.
    width, height = min(1.0, 1 / image_ratio), min(1.0, image_ratio)
    return ((1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2)
