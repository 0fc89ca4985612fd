"""Image corruptions: families at several severities, deterministic, with numpy and Pillow.

These corruptions are ours. Their families are the usual ones (Hendrycks and Dietterich, ICLR 2019,
whose strengths some of them take), but the images are not those of ImageNet-C, and scores on them
can only be compared with each other.

Lengths are shares of the image's short side, so that blur and weather hurt small images and large
ones alike; resolution takes a share of the image's own pixels. Of a family with two members an
image gets one, by its seed.

To add a family or a member, add an entry to FAMILIES and raise VERSION.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

VERSION = 1
"""Increases with every change of the corrupted pixels."""
SEVERITIES = (1, 2, 3, 4, 5)

Pixels = npt.NDArray[np.float32]
"""[H, W, 3], 0 to 1."""
Rng = np.random.Generator
Member = Callable[[Image.Image, int, Rng], Image.Image]


@dataclass(frozen=True)
class Corruption:
    """One corruption of one image."""

    family: str
    severity: int
    """1 to 5."""
    seed: int
    """The image's seed: it decides the member of the family and every random number."""
    short_side_px: int
    """A larger image is first shrunk to this; what networks see is no larger."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """RGB image -> RGB image, its short side at most `short_side_px`."""
        members = tuple(FAMILIES[self.family].values())
        number = list(FAMILIES).index(self.family)
        rng = np.random.default_rng([self.seed, number, self.severity])
        member = members[self.seed % len(members)]
        return member(_shrunk(image, self.short_side_px), self.severity, rng)


def _shrunk(image: Image.Image, short_side_px: int) -> Image.Image:
    scale = short_side_px / min(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image, np.float32) / np.float32(255)


def _image(pixels: npt.NDArray[np.floating]) -> Image.Image:
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


# --- noise -----------------------------------------------------------------------------------


def _gaussian_noise(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    spread = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    pixels = _pixels(image)
    return _image(pixels + spread * rng.standard_normal(pixels.shape, np.float32))


def _impulse_noise(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    """Set some values to black or white."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    pixels = _pixels(image)
    chance = rng.random(pixels.shape, np.float32)
    pixels = np.where(chance < share / 2, np.float32(0), pixels)
    return _image(np.where(chance > 1 - share / 2, np.float32(1), pixels))


# --- blur ------------------------------------------------------------------------------------


def _gaussian_blur(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    share = (0.005, 0.009, 0.013, 0.018, 0.027)[severity - 1]
    return image.filter(ImageFilter.GaussianBlur(share * min(image.size)))


def _motion_blur(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    share = (0.04, 0.06, 0.09, 0.12, 0.16)[severity - 1]
    return _image(_smeared(_pixels(image), share * min(image.size), rng.uniform(0, np.pi)))


def _smeared(pixels: Pixels, length: float, angle: float) -> Pixels:
    """Return the mean of copies moved along a line; edge pixels are repeated."""
    steps = max(2, round(length) + 1)
    along = np.linspace(-length / 2, length / 2, steps)
    moves = {(round(at * np.sin(angle)), round(at * np.cos(angle))): 0 for at in along}
    reach = max(max(abs(down), abs(right)) for down, right in moves)
    wide = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = pixels.shape[:2]
    total = np.zeros_like(pixels)
    for down, right in moves:
        total += wide[reach + down : reach + down + height, reach + right : reach + right + width]
    return total / np.float32(len(moves))


# --- weather-like ----------------------------------------------------------------------------


def _fog(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    """Add light grey fog of varying density."""
    thickness = (0.3, 0.42, 0.54, 0.66, 0.78)[severity - 1]
    clouds = _clouds(image.size, rng)[..., None]
    veil = thickness * (0.6 + 0.4 * clouds)
    return _image(_pixels(image) * (1 - veil) + 0.85 * veil)


def _clouds(size: tuple[int, int], rng: Rng) -> Pixels:
    """Return smooth noise of several scales, 0 to 1: [H, W]."""
    total = np.zeros(size[::-1], np.float32)
    for octave in range(1, 6):
        coarse = rng.random((2**octave + 1, 2**octave + 1), np.float32)
        smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        total += np.asarray(smooth, np.float32) / 2**octave
    low, high = float(total.min()), float(total.max())
    return (total - np.float32(low)) / np.float32(max(high - low, 1e-6))


def _snow(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    """Add bright flakes along the wind, and whiten the image."""
    share = (0.01, 0.018, 0.028, 0.04, 0.055)[severity - 1]
    white = (0.1, 0.15, 0.2, 0.26, 0.32)[severity - 1]
    side = min(image.size)
    grid = max(8, min(side, 128))  # a flake is as large in every image
    coarse = tuple(max(1, round(each * grid / side)) for each in image.size)
    flakes = (rng.random(coarse[::-1]) < share).astype(np.float32)
    spread = Image.fromarray(flakes).resize(image.size, Image.Resampling.BILINEAR)
    flying = np.asarray(spread, np.float32)[..., None]
    angle = rng.uniform(np.pi / 4, 3 * np.pi / 4)
    streaks = (3 * _smeared(flying, 0.03 * side, angle)).clip(0, 1)
    pixels = _pixels(image) * (1 - white) + white
    return _image(pixels * (1 - streaks) + streaks)


# --- digital ---------------------------------------------------------------------------------


def _contrast(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    kept = (0.4, 0.3, 0.2, 0.12, 0.07)[severity - 1]
    pixels = _pixels(image)
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    return _image((pixels - mean) * kept + mean)


def _posterised(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    steps = (7, 5, 4, 3, 2)[severity - 1] - 1
    return _image((_pixels(image) * steps).round() / steps)


# --- JPEG and resolution ---------------------------------------------------------------------


def _jpeg(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=(25, 18, 13, 9, 6)[severity - 1])
    with Image.open(file, formats=("JPEG",)) as opened:
        compressed: Image.Image = opened
        return compressed.convert("RGB")


def _coarse(back: Image.Resampling) -> Member:
    def coarse(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
        scale = (0.6, 0.45, 0.33, 0.25, 0.18)[severity - 1]
        width, height = (max(1, round(side * scale)) for side in image.size)
        return image.resize((width, height), Image.Resampling.BOX).resize(image.size, back)

    return coarse


FAMILIES: Mapping[str, Mapping[str, Member]] = {
    "noise": {"gaussian": _gaussian_noise, "impulse": _impulse_noise},
    "blur": {"gaussian": _gaussian_blur, "motion": _motion_blur},
    "weather": {"fog": _fog, "snow": _snow},
    "digital": {"contrast": _contrast, "posterise": _posterised},
    "jpeg": {"jpeg": _jpeg},
    "resolution": {
        "pixelate": _coarse(Image.Resampling.NEAREST),
        "enlarge": _coarse(Image.Resampling.BILINEAR),
    },
}
"""Families of corruptions, each with its members."""


def cells() -> list[tuple[str, int]]:
    """Return every family at every severity, in the order of the arrays [F, S]."""
    return [(family, severity) for family in FAMILIES for severity in SEVERITIES]


def all_of(seed: int, short_side_px: int) -> list[Corruption]:
    """Return all corruptions of one image, in the order of `cells`."""
    return [Corruption(family, severity, seed, short_side_px) for family, severity in cells()]


def worst_cell(seed: int) -> tuple[str, int]:
    """Return one family, chosen by the image's seed, at the highest severity."""
    families = list(FAMILIES)
    return families[(seed // 7) % len(families)], SEVERITIES[-1]


def worst_of(seed: int, short_side_px: int) -> Corruption:
    """Return the stand-in for an image that is not of the task, if the recipe names none."""
    return Corruption(*worst_cell(seed), seed, short_side_px)


def summary() -> str:
    """Return how many families and severities there are, in words."""
    return f"{len(FAMILIES)} families at {len(SEVERITIES)} severities"


def described() -> dict[str, Any]:
    """Return their description, as in report.json."""
    return {
        "name": f"edge-compressor corruptions, version {VERSION} (not ImageNet-C)",
        "families": {family: list(members) for family, members in FAMILIES.items()},
        "severities": list(SEVERITIES),
    }
