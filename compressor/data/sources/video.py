"""Frames of videos: key frames, which can be read on their own, thinned where little changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from compressor.data.image_files import thumbprint
from compressor.data.sources.rendered import TO_DECODE, TO_KEEP, png
from compressor.data.sources.source import Source
from compressor.data.sources.stored_file import LocalFile
from runtime.backends.cores import cores
from runtime.errors import InputError, MissingDependencyError

SAME_GREY_LEVELS = 1.5
"""A frame is left out if its thumbprint (the mean grey levels of 16 x 16 cells) differs from the
last kept frame's by no more than this, as a root mean square. Frames of 320 x 240 of a still scene
with noise of 0, 5 and 15 grey levels (H.264, MPEG-4) differed by 1.04 at most; an object of 16 x 16
pixels that comes in makes 1.0, one of 24 x 24 makes 2.6."""

_EARLIER_S = 10
"""Where a frame is looked for, if it is not where the container seeks to."""


@dataclass(frozen=True)
class _Frame:
    video: LocalFile
    pts: int
    """When it is shown, in the stream's own units."""


class Videos(Source):
    """Key frames of videos, at most one in so many seconds, without those like the one before.

    A frame is named after its video and its time in seconds: `clip.mp4/000012.480.png`.
    """

    def __init__(self, address: str, videos: Sequence[LocalFile], seconds: float) -> None:
        """Decode the key frames once to choose among them.

        Args:
            address: as it is shown.
            videos: the files.
            seconds: the least time between two frames.

        Raises:
            InputError: a file cannot be decoded as a video.
            MissingDependencyError: PyAV is missing.
        """
        super().__init__(address)
        self._videos, self._seconds = videos, seconds
        with ThreadPoolExecutor(cores()) as pool:  # decoding frees the interpreter lock
            found = list(pool.map(lambda video: _chosen(video, seconds), videos))
        self._frames = {
            f"{video.name}/{time:010.3f}.png": _Frame(video, pts)
            for video, chosen in zip(videos, found, strict=True)
            for time, pts in chosen.frames
        }
        self._names = sorted(self._frames)
        alike, near = sum(each.alike for each in found), sum(each.near for each in found)
        self.notes = [
            f"{len(self._names)} frames of {len(videos)} videos: key frames; left out: {near} less "
            f"than {seconds:g} s after another, {alike} like the one before",
            *(each.damage for each in found if each.damage),
        ]

    @property
    def names(self) -> Sequence[str]:
        """The name of each frame, sorted."""
        return self._names

    def open(self, name: str) -> BinaryIO:
        """Decode a frame."""
        return png(self._image(name), TO_DECODE)

    def read(self, name: str) -> bytes:
        """Return a frame as a compressed PNG."""
        return png(self._image(name), TO_KEEP).getvalue()

    def _image(self, name: str) -> Image.Image:
        frame = self._frames[name]
        # Some containers seek to a later place, or count anew from there: then from the beginning
        for before_s in (0, _EARLIER_S, None):
            with _stream(frame.video) as (container, stream):
                if before_s is not None:
                    earlier = int(before_s / (stream.time_base or 1))
                    container.seek(max(frame.pts - earlier, stream.start_time or 0), stream=stream)
                for found in container.decode(stream):
                    if found.pts == frame.pts:
                        return _upright(found)
                    if found.pts is not None and found.pts > frame.pts:
                        break
        raise InputError(f"{frame.video}: was changed while it was read; run again")

    def folders(self, name: str) -> tuple[str, ...]:
        """Return the folders around the video, which may name its class."""
        return tuple(name.split("/")[:-2])

    def fingerprint(self) -> object:
        """Return names, sizes and times of the files, and the time between frames."""
        return [self._seconds, SAME_GREY_LEVELS, [video.stamp() for video in self._videos]]


@dataclass
class _Chosen:
    frames: list[tuple[float, int]]
    """Seconds and units of each frame."""
    near: int = 0
    """Key frames left out because another was shown shortly before."""
    alike: int = 0
    """Key frames left out because they are like the one before."""
    damage: str = ""
    _last: Any = None

    def take(self, frame: Any, time: float, seconds: float) -> None:
        """Take a frame, unless one shortly before it, or one like it, was taken."""
        if self.frames and time - self.frames[-1][0] < seconds:
            self.near += 1
            return
        seen = np.frombuffer(thumbprint(_upright(frame)), np.uint8).astype(np.float32)
        if self._last is not None and _difference(seen, self._last) <= SAME_GREY_LEVELS:
            self.alike += 1
            return
        self.frames.append((time, frame.pts))
        self._last = seen


def _chosen(video: LocalFile, seconds: float) -> _Chosen:
    """Decode the key frames of a video and choose among them.

    Raises:
        InputError: there is none.
    """
    chosen = _Chosen([])
    with _stream(video) as (container, stream):
        track = _Track(stream, container)
        try:
            for packet in container.demux(stream):
                track.count(packet)
                for frame in packet.decode():
                    if frame.pts is not None:
                        chosen.take(frame, track.time(frame.pts), seconds)
        except (OSError, ValueError) as error:  # PyAV's errors are both
            if not chosen.frames:
                raise
            chosen.damage = f"{video}: damaged after {chosen.frames[-1][0]:.1f} s ({error})"
        if not chosen.damage and (cut := track.cut()):
            chosen.damage = f"{video}: cut short: {cut}"
    if not chosen.frames:
        raise InputError(f"{video}: no frame could be decoded")
    return chosen


class _Track:
    """How much of a video was there."""

    def __init__(self, stream: Any, container: Any) -> None:
        self._unit, self._start = Fraction(stream.time_base or 1), stream.start_time or 0
        self._frames, self._packets, self._end_s = stream.frames, 0, 0.0
        self._duration_s = (container.duration or 0) / 1e6

    def time(self, pts: int) -> float:
        """Return the seconds since the beginning."""
        return max(0.0, float((pts - self._start) * self._unit))

    def count(self, packet: Any) -> None:
        """Note that a part was there."""
        if packet.pts is not None:
            self._packets += 1
            self._end_s = max(self._end_s, self.time(packet.pts + (packet.duration or 0)))

    def cut(self) -> str:
        """Say how much of what the file announces was there, if it was not all."""
        if self._frames and self._packets < 0.98 * self._frames:
            return f"{self._packets} of {self._frames} frames are there"
        if self._duration_s - self._end_s > max(1.0, 0.05 * self._duration_s):
            return f"{self._end_s:.1f} of {self._duration_s:.1f} s are there"
        return ""


def _difference(one: Any, other: Any) -> float:
    return float(np.sqrt(((one - other) ** 2).mean()))


def _upright(frame: Any) -> Image.Image:
    """Return a frame as RGB, turned as the file says."""
    image: Image.Image = frame.to_image()
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # to the left
    return image.rotate(90 * turns, expand=True) if turns else image


@contextmanager
def _stream(video: LocalFile) -> Iterator[tuple[Any, Any]]:
    """Open a video so that only its key frames are decoded.

    Raises:
        InputError: it cannot be decoded, or has no pictures.
        MissingDependencyError: PyAV is missing.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            "videos need one more package: pip install 'edge-compressor[video]'"
        ) from error
    try:
        with av.open(str(video.path)) as container:
            if not container.streams.video:
                raise InputError(f"{video}: has no pictures, only {_kinds(container)}")
            stream = container.streams.video[0]
            stream.codec_context.skip_frame = "NONKEY"
            yield container, stream
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{video}: cannot be decoded as a video: {error}") from error


def _kinds(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
