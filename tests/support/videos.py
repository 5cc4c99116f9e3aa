"""Videos as cameras, editors and recorders write them, in whatever container, codec and timing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from partwise.arrays import UInt8Array


def numbered(count: int, size: tuple[int, int] = (48, 64), first: int = 0) -> list[UInt8Array]:
    """Frames that are one grey each, 8 levels apart, with a red upper left quarter."""
    frames = []
    for n in range(first, first + count):
        frame = np.full((*size, 3), 20 + 8 * n % 200, np.uint8)
        frame[: size[0] // 2, : size[1] // 2] = (220, 0, 0)
        frames.append(frame)
    return frames


def numbers(images: Sequence[UInt8Array]) -> list[int]:
    """Read the numbers back from the lower right corners."""
    return [round((float(image[-8:-2, -8:-2].mean()) - 20) / 8) for image in images]


def encode(
    path: Path,
    frames: Sequence[UInt8Array],
    *,
    codec: str = "libx264",
    unit: Fraction = Fraction(1, 1000),
    times: Sequence[int] | None = None,
    rate: int = 25,
    **options: Any,
) -> Path:
    """Write frames.

    Args:
        path: file; its suffix chooses the container.
        frames: (H, W, 3) uint8 RGB each.
        codec: FFmpeg's name of it.
        unit: seconds per unit of time stamps.
        times: time stamp of each frame in units; None for a constant rate.
        rate: frames per second.
        options: `pix_fmt`, `aspect` of a pixel, `keep` of a packet (a function that returns it, another one, or None),
            and options of the encoder.
    """
    pix_fmt, aspect, keep = options.pop("pix_fmt", "yuv420p"), options.pop("aspect", None), options.pop("keep", None)
    with av.open(str(path), "w") as file:
        stream = add(file, codec, (frames[0].shape[0], frames[0].shape[1]), rate, pix_fmt, options)
        stream.codec_context.time_base = unit
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        times = times or [round(n / rate / unit) for n in range(len(frames))]
        for packet in packets(stream, frames, times, unit):
            kept = keep(packet) if keep else packet
            if kept is not None:
                file.mux(kept)
    return path


def add(
    file: Any,
    codec: str,
    size: tuple[int, int],
    rate: int,
    pix_fmt: str = "yuv420p",
    options: dict[str, Any] | None = None,
) -> Any:
    """Add a video stream to an open container."""
    stream = file.add_stream(codec, rate=rate, options={k: str(v) for k, v in (options or {}).items()})
    (stream.height, stream.width), stream.pix_fmt = size, pix_fmt
    return stream


def packets(stream: Any, frames: Sequence[UInt8Array], times: Sequence[int], unit: Fraction) -> Iterator[Any]:
    """Encode frames."""
    for frame, time in zip(frames, times, strict=True):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = time, unit
        yield from stream.encode(picture)
    yield from stream.encode(None)
