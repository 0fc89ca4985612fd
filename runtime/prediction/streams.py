"""Videos and cameras: one frame in so many seconds, read by PyAV (FFmpeg's libraries).

A camera has no end of its own: where its stream ends, it went away, and that is told.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import InputError, MissingDependencyError
from runtime.text import public_address, without_secrets

if TYPE_CHECKING:  # names of commands need no numpy
    import numpy as np
    import numpy.typing as npt
    from av.container import InputContainer

OPEN_S, SILENCE_S = 10.0, 10.0
"""Seconds that a stream may take to open, and that no data may come, before it is given up."""
_CAMERA = re.compile(r"/dev/video\d+")
_LIVE = ("rtsp://", "rtsps://", "rtmp://", "udp://", "tcp://", "srt://")
_ADDRESSES = (*_LIVE, "http://", "https://")
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv",
    ".3gp", ".mjpeg", ".mjpg",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """A picture of a stream."""

    seconds: float
    """From the beginning of the video, or since the camera was opened."""
    pixels: npt.NDArray[np.uint8]
    """[H, W, 3], RGB, upright."""


@dataclass(frozen=True)
class Stream:
    """A video or a camera, as it was named."""

    address: str
    live: bool
    """Whether it goes on until somebody stops it."""

    @property
    def name(self) -> str:
        """What is shown of it: the address without what could be a secret."""
        return public_address(self.address)

    @property
    def last_part(self) -> str:
        """The last part of its path, for the names of files."""
        path = self.name.partition("?")[0] if "://" in self.address else self.name
        return path.rstrip("/").rpartition("/")[2] or "stream"


def stream_of(word: str) -> Stream | None:
    """Return the stream that a word names: a camera, an address, a video file; None: none."""
    lower = word.lower()
    if _CAMERA.fullmatch(word) or lower.startswith(_LIVE):
        return Stream(word, live=True)
    if lower.startswith(_ADDRESSES) or lower.endswith(VIDEO_SUFFIXES):
        return Stream(word, live=False)
    return None


def require_package() -> None:
    """Refuse where PyAV is missing.

    Raises:
        MissingDependencyError: it is.
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "videos and cameras need PyAV, which is not installed.\n"
            "  pip install 'edge-compressor[video]'"
        ) from error


def frames(stream: Stream, *, every_s: float = 1.0, most: int | None = None) -> Iterator[Frame]:
    """Yield frames of a video or a camera.

    Args:
        stream: which.
        every_s: seconds from one to the next, of the video's or the camera's own time; 0: all.
        most: the number after which to stop; None: to the end of the video, of a camera never.

    Raises:
        InputError: it cannot be opened, it has no frames, or the camera went away; the message says
            after how many frames.
    """
    require_package()
    container = _opened(stream)
    try:
        count, due = 0, 0.0
        for frame in _decoded(stream, container):
            if frame.seconds + 1e-6 < due:
                continue
            yield frame
            count, due = count + 1, max(due + every_s, frame.seconds)
            if count == most:
                return
        if not count:
            raise InputError(f"{stream.name}: opened, but no frame came out of it")
        if stream.live:
            raise InputError(f"{stream.name}: the camera went away after {count} frames")
    finally:
        container.close()


def _opened(stream: Stream) -> InputContainer:
    import av

    if _CAMERA.fullmatch(stream.address):
        if not Path(stream.address).exists():
            raise InputError(f"{stream.name}: no such camera; `ls /dev/video*` shows those here")
    elif "://" not in stream.address and not Path(stream.address).is_file():
        raise InputError(f"{stream.name}: no such file")
    options = {"rtsp_transport": "tcp"} if stream.address.lower().startswith("rtsp") else {}
    how: dict[str, Any] = {"options": options, "timeout": (OPEN_S, SILENCE_S)}
    if _CAMERA.fullmatch(stream.address):
        how["format"] = "v4l2"
    began = time.monotonic()
    try:
        container: InputContainer = av.open(stream.address, **how)
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"{stream.name}: cannot be opened: {_why(error, began, OPEN_S)}"
        ) from error
    if not container.streams.video:
        container.close()
        raise InputError(f"{stream.name}: it has no picture, only other tracks")
    return container


def _decoded(stream: Stream, container: InputContainer) -> Iterator[Frame]:
    """Yield every frame; where reading fails, say after how many."""
    import av
    import numpy as np

    began, first, count = time.monotonic(), None, 0
    last = began
    try:
        for frame in container.decode(video=0):
            if stream.live or frame.time is None:
                seconds = time.monotonic() - began
            else:
                first = frame.time if first is None else first
                seconds = frame.time - first
            turns = round(getattr(frame, "rotation", 0) / 90) % 4
            pixels = np.rot90(frame.to_ndarray(format="rgb24"), turns)
            count += 1
            yield Frame(round(seconds, 3), np.ascontiguousarray(pixels))
            last = time.monotonic()
    except (av.FFmpegError, OSError) as error:
        why = _why(error, last, SILENCE_S)
        if not count:
            what = "no frame came out of it"
        elif stream.live:
            what = f"the camera went away after {count} pictures"
        else:
            what = f"damaged after {count} pictures"
        raise InputError(f"{stream.name}: {what}: {why}") from error


def _why(error: Exception, since: float, limit_s: float) -> str:
    """Return FFmpeg's reason in words; an error after the limit is that of the time being over."""
    if time.monotonic() - since >= limit_s:
        return f"nothing came for {limit_s:g} s"
    return without_secrets(getattr(error, "strerror", None) or str(error))
