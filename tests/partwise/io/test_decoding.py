from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from videos import encode, numbered, numbers

from partwise.errors import InputError
from partwise.io.video import open_video

#: Codecs by container; each codes every frame by itself or little else, so that one damaged packet costs one frame.
KINDS: dict[str, dict[str, Any]] = {
    ".mp4": {},
    ".mkv": {},
    ".avi": {"codec": "mpeg4", "unit": Fraction(1, 25), "b": 4_000_000},
    ".mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    ".webm": {"codec": "libvpx-vp9"},
}


def read(path):
    """Read all frames; return what is said about missing ones too."""
    images = []
    with open_video(path) as video:
        try:
            for frame in video.frames():
                images.append(frame)
        except InputError as error:
            return images, str(error)
    return images, ""


def noise(count=40):
    return list(np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3), dtype=np.uint8))


def spoil(which):
    """Replace the content of packets by what no decoder takes."""
    count = iter(range(1000))

    def keep(packet):
        if next(count) not in which:
            return packet
        bad = av.Packet(b"\0\0\0\1\x65" + b"\xff" * 20)
        bad.pts, bad.dts, bad.time_base, bad.stream = packet.pts, packet.dts, packet.time_base, packet.stream
        bad.duration = packet.duration
        return bad

    return keep


@pytest.mark.parametrize("suffix", KINDS)
def test_a_damaged_packet_costs_its_frame_alone(tmp_path, suffix):
    path = encode(tmp_path / f"a{suffix}", numbered(20), g=1, keep=spoil({9}), **KINDS[suffix])
    frames, said = read(path)
    assert 19 <= len(frames) <= 20
    assert numbers([frame.image for frame in frames[:9] + frames[-10:]]) == [*range(9), *range(10, 20)]
    assert [round(25 * frame.time) for frame in frames[:9] + frames[-10:]] == [*range(9), *range(10, 20)]
    assert f"{path}: 1 of 20 frames" in said


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_damage_near_the_end_is_counted(tmp_path, suffix):
    frames, said = read(encode(tmp_path / f"a{suffix}", numbered(20), g=1, bf=0, keep=spoil({18})))
    assert 10 < len(frames) < 20
    assert f"{20 - len(frames)} of 20 frames could not be decoded" in said


def test_where_nothing_can_be_decoded_the_reason_is_one_line(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(5), g=1, keep=spoil(range(5)))
    with (
        pytest.raises(InputError, match=r"a\.mp4: 5 of 5 frames could not be decoded \(Invalid data"),
        open_video(path),
    ):
        pass


@pytest.mark.parametrize(
    ("suffix", "options", "stated"),
    [
        (".avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "unit": Fraction(1, 25)}, " of 40"),
        (".mkv", {}, ""),
        (".flv", {"codec": "flv1"}, ""),
        (".webm", {"codec": "libvpx"}, ""),
    ],
)
def test_a_missing_end_is_told_in_numbers(tmp_path, suffix, options, stated):
    path = encode(tmp_path / f"a{suffix}", noise(), **options)
    assert read(path)[1] == ""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10])
    frames, said = read(path)
    assert 15 < len(frames) < 35
    assert f"breaks off after frame {len(frames)}{stated}, at " in said
    assert said.count("s of 1.6 s") == 1


WHOLE: dict[str, dict[str, Any]] = {
    "broadcast.ts": {},
    "program.mpg": {"codec": "mpeg2video", "unit": Fraction(1, 25)},
    "b_frames.avi": {"codec": "mpeg4", "unit": Fraction(1, 25), "bf": 2},
    "raw.h264": {},
    "still.gif": {"codec": "gif", "pix_fmt": "rgb8", "unit": Fraction(1, 100)},
    "window.wmv": {"codec": "wmv2"},
    "transparent.webm": {"codec": "libvpx-vp9", "pix_fmt": "yuva420p"},
    "fast.mp4": {"rate": 1000},
    "interlaced.mpg": {"codec": "mpeg2video", "unit": Fraction(1, 25), "flags": "+ilme+ildct"},
    "long_end.mp4": {"times": [*range(0, 760, 40), 9000]},
    "long_end.mkv": {"times": [*range(0, 760, 40), 9000]},
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("count", [20, 1])
def test_nothing_is_missing_of_a_whole_file(tmp_path, name, count):
    options = dict(WHOLE[name])
    if "times" in options:
        options["times"] = options["times"][:count]
    frames, said = read(encode(tmp_path / name, numbered(count), **options))
    assert (len(frames), said) == (count, "")


def test_a_frame_that_a_recorder_dropped_is_no_damage(tmp_path):
    def keep(packet):
        if packet.pts not in (4, 5):
            return packet
        empty = av.Packet(b"")
        empty.pts, empty.dts, empty.time_base, empty.stream = packet.pts, packet.dts, packet.time_base, packet.stream
        return empty

    options = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "unit": Fraction(1, 25)}
    frames, said = read(encode(tmp_path / "a.avi", numbered(20), keep=keep, **options))
    assert (numbers([frame.image for frame in frames]), said) == ([*range(4), *range(6, 20)], "")
    assert (frames[3].time, frames[3].duration) == (Fraction(3, 25), Fraction(3, 25))


def test_equal_times_are_two_frames(tmp_path):
    times = iter([0, 40, 40, 80, 80, 120])

    def keep(packet):
        packet.pts = packet.dts = next(times)
        return packet

    options = {"codec": "mjpeg", "pix_fmt": "yuvj420p"}
    path = encode(tmp_path / "a.mkv", numbered(6), keep=keep, **options)
    frames, said = read(path)
    assert (numbers([frame.image for frame in frames]), said) == (list(range(6)), "")
    assert [float(frame.time) for frame in frames] == pytest.approx([0, 0.04, 0.04, 0.08, 0.08, 0.12])


def test_a_broadcast_cut_at_its_start_begins_with_what_can_be_decoded(tmp_path):
    path = encode(tmp_path / "a.ts", noise(), g=20, bf=0)
    content = path.read_bytes()
    path.write_bytes(content[len(content) // 188 // 3 * 188 :])
    frames, _ = read(path)
    assert 15 < len(frames) < 30


def test_a_file_that_is_still_written_gives_what_is_there(tmp_path):
    content = encode(tmp_path / "a.mkv", numbered(60), g=5).read_bytes()
    lengths = []
    for part in (0.6, 0.8, 1):
        (tmp_path / "b.mkv").write_bytes(content[: int(len(content) * part)])
        lengths.append(len(read(tmp_path / "b.mkv")[0]))
    assert 0 < lengths[0] < lengths[1] < lengths[2] == 60
