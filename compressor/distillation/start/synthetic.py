"""Synthetic images: a student that has seen them tells images of other tasks apart better.

The images of one task leave many directions of the teacher's space unseen, and a ridge regression
shrinks them away. Images of no task at all, with the teacher's answers to them, fill some: coloured
noise whose power falls with frequency, and dead leaves (opaque discs and rectangles, one over the
other; Lee, Mumford and Huang 2001). Both are known to train useful features (arXiv 2106.05963).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from compressor.data.loading import Arrays, in_batches, load_batches
from compressor.distillation.teacher_features import TeacherRunner
from runtime.arrays import Floats, Pixels
from runtime.images.preprocess import Preprocess
from runtime.progress import Track


@dataclass(frozen=True)
class SyntheticImages:
    """Synthetic images by number, for a network; number, seed and side decide every pixel."""

    preprocess: Preprocess
    seed: int
    side_px: int

    def __getitem__(self, number: int) -> Arrays:
        rng = np.random.default_rng([self.seed, number])
        make = (_noise, _leaves)[number % 2]
        return (self.preprocess.pixels(Image.fromarray(make(rng, self.side_px))),)

    def batches(self, numbers: Sequence[Sequence[int]], workers: int) -> Iterator[Tensor]:
        """Yield the pixels of the images of each batch of numbers, uint8 [B, S, S, 3]."""
        for (pixels,) in load_batches(self, numbers, workers):
            yield pixels


@dataclass(frozen=True)
class SyntheticAnswers:
    """What a teacher answers to the first synthetic images of a seed."""

    pooled: Tensor
    """[n, Dt], not centred."""
    seed: int
    side_px: int

    @classmethod
    def of(
        cls, teacher: TeacherRunner, student: Preprocess, count: int, seed: int, track: Track
    ) -> SyntheticAnswers:
        """Ask the teacher about `count` images, as large as the larger of both networks wants.

        Several processes ask about a part of them each; all get all the answers.

        Raises:
            InputError: its features are not finite.
        """
        own = teacher.teacher.preprocess
        side_px = max(own.resize_px, student.resize_px)
        group, workers = teacher.compute.group, teacher.compute.workers
        numbers = group.dealt(in_batches(range(count)))
        batches = SyntheticImages(own, seed, side_px).batches(numbers, workers)
        tracked = track(batches, label="teacher on synthetic images", total=len(numbers))
        pooled = [teacher.run(pixels).pooled.cpu() for pixels in tracked]
        return cls(torch.cat(group.collected(pooled)), seed, side_px)

    def images(self, student: Preprocess) -> SyntheticImages:
        """Return the same images for the student."""
        return SyntheticImages(student, self.seed, self.side_px)


def _noise(rng: np.random.Generator, side: int) -> Pixels:
    """Noise of random colours; its amplitude is 1 / frequency^a, a from 0.5 to 2.2."""
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    falling = frequency ** -rng.uniform(0.5, 2.2)
    white = np.fft.rfft2(rng.standard_normal((3, side, side)))
    channels = np.fft.irfft2(white * falling, s=(side, side))
    channels -= channels.mean(axis=(1, 2), keepdims=True)
    channels /= channels.std(axis=(1, 2), keepdims=True)
    coloured = np.einsum("chw,cd->hwd", channels, rng.standard_normal((3, 3)))
    return _pixels(0.5 + 0.22 * coloured / coloured.std())


def _leaves(rng: np.random.Generator, side: int) -> Pixels:
    """5 to 120 discs or rectangles of random colours, half of them with a rough surface."""
    image = Image.new("RGB", (side, side), _colour(rng))
    rough = Image.new("L", (side, side))
    draw, draw_rough = ImageDraw.Draw(image), ImageDraw.Draw(rough)
    discs = rng.random() < 0.5
    for _ in range(int(rng.integers(5, 120))):
        radius = rng.uniform(0.02, 0.3) * rng.random()
        x, y = rng.random(2)
        if discs:
            corners = np.array([[x - radius, y - radius], [x + radius, y + radius]])
        else:
            corners = np.array([x, y]) + _rectangle(rng, radius)
        shape = [(float(u), float(v)) for u, v in corners * side]
        surface = 255 * int(rng.random() < 0.5)
        if discs:
            draw.ellipse(shape, fill=_colour(rng))
            draw_rough.ellipse(shape, fill=surface)
        else:
            draw.polygon(shape, fill=_colour(rng))
            draw_rough.polygon(shape, fill=surface)
    grain = rng.normal(0, 0.08, (side, side, 1)) * (np.asarray(rough)[..., None] > 0)
    return _pixels(np.asarray(image) / 255 + grain)


def _rectangle(rng: np.random.Generator, radius: float) -> Floats:
    """[4, 2], the corners of a turned rectangle about 0."""
    across, along = radius, radius * rng.uniform(0.1, 1)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners: Floats = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (across, along) @ turn
    return corners


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3)
    return int(red), int(green), int(blue)


def _pixels(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Pixels:
    """[H, W, 3] in 0 to 1 -> uint8."""
    pixels: Pixels = (values.clip(0, 1) * 255).round().astype(np.uint8)
    return pixels
