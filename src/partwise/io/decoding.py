"""Decoding of a video that may be damaged: what can be decoded is, and what is missing is counted."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from partwise.io.atomic import reason

#: Packets in a row that cannot be read, after which the rest of a file is given up.
_UNREADABLE = 100

#: Flags of FFmpeg's formats: without time stamps, whose duration is estimated; broadcasts, whose packets may be fields.
_ESTIMATED, _BROADCAST = 0x80, 0x200

#: Codecs whose packets are a shown frame each, and whose decoders may drop a damaged one without an error.
_FRAME_BY_FRAME = ("h264", "hevc")


class Decoder:
    """One pass over the frames of a stream; packets that cannot be read or decoded are counted and passed over.

    Args:
        container: PyAV's open container.
        stream: one of its video streams.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self._packets = self._frames = self._failed = self._damaged = 0
        self._reason = self._broken = ""
        self._fields = False
        self._ends = dict[bool, Fraction]()  # in seconds, of the stream (True) and of the others (False)

    def frames(self) -> Iterator[Any]:
        """Yield PyAV's frames in the order in which they are shown."""
        for packet in self._film():
            try:
                frames = self._stream.decode(packet)
            except (av.error.FFmpegError, OSError) as error:
                # At the end, when there is no packet, an error hides all frames that the decoder still holds.
                self._failed = max(self._failed + 1, 0 if packet else self._packets - self._frames)
                self._reason = self._reason or reason(error)
                continue
            self._frames += len(frames)
            self._damaged += sum(frame.is_corrupt for frame in frames)
            self._fields = self._fields or any(frame.interlaced_frame for frame in frames)
            yield from frames

    def missing(self) -> str:
        """Tell after the last frame what could not be decoded, and whether the end is missing; empty if all is there.

        Whether the end is missing is judged by time, not by the number of frames: a trimmed video holds frames that
        are not meant to be shown.
        """
        faults = []
        failed = max(self._failed, self._dropped())
        count = max(self._stream.frames, self._frames + failed)
        if failed:
            why = f" ({self._reason})" if self._reason else ""
            faults.append(f"{failed} of {count} frames could not be decoded{why}")
        if self._damaged:
            faults.append(f"{self._damaged} of {count} frames are damaged, but used")
        stated, reached = self._durations()
        if self._broken or stated - reached > max(Fraction(1, 10), min(Fraction(1, 2), stated / 10)):
            of = f" of {self._stream.frames}" if self._stream.frames else ""
            why = f" ({self._broken})" if self._broken else ""
            where = f", at {float(reached):.1f} s of {float(stated):.1f} s" if stated else ""
            faults.append(f"it breaks off after frame {self._frames}{of}{where}{why}")
        return ", ".join(faults)

    def _dropped(self) -> int:
        """Count frames that the decoder left out without an error, where that can be known."""
        unsure = self._fields or self._container.format.flags & (_ESTIMATED | _BROADCAST)
        known = self._stream.codec_context.codec.name in _FRAME_BY_FRAME and not unsure
        return self._packets - self._frames if known else 0

    def _film(self) -> Iterator[Any]:
        """Yield the packets of the stream, and None at the end."""
        failures = 0
        while True:
            try:
                for packet in self._container.demux():
                    failures = 0
                    film = packet.stream_index == self._stream.index
                    self._note_end(packet, film)
                    if film and packet.size:  # an empty one repeats the frame before it
                        self._packets += not packet.is_discard  # by an edit list
                        yield packet
                break
            except (av.error.FFmpegError, OSError) as error:
                failures += 1
                if failures == _UNREADABLE or not isinstance(error, av.error.InvalidDataError):
                    self._broken = reason(error)
                    break
        yield None

    def _note_end(self, packet: Any, film: bool) -> None:
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None:
            end = Fraction(stamp + (packet.duration or 0)) * packet.time_base
            self._ends[film] = max(end, self._ends.get(film, end))

    def _durations(self) -> tuple[Fraction, Fraction]:
        """Return how long the film is by its header, 0 if that does not tell, and how far it was read, in seconds.

        A container's duration is that of its longest stream.
        """
        unit = self._stream.time_base
        start = Fraction(self._container.start_time or 0, av.time_base)
        stated, end = Fraction(self._container.duration or 0, av.time_base), max(self._ends.values(), default=start)
        if self._stream.duration:
            # FFmpeg shortens the duration of a cut AVI, whose frames are as many as its units of time.
            length = max(self._stream.duration, self._stream.frames if self._container.format.name == "avi" else 0)
            start = (self._stream.start_time or 0) * unit
            stated, end = length * unit, self._ends.get(True, start)
        return (Fraction(0) if self._container.format.flags & _ESTIMATED else stated), end - start
