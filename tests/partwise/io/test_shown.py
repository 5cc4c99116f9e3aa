import struct
import time
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from videos import add, encode, numbered, numbers, packets

from partwise.errors import InputError
from partwise.io.shown import Clock
from partwise.io.video import open_video


def frames_of(path):
    with open_video(path) as video:
        frames = list(video.frames())
        assert {frame.image.shape[:2] for frame in frames} == {video.size}
    return frames


def times_of(path):
    return [float(frame.time) for frame in frames_of(path)]


def turn(path, a, b, c, d):
    """Write a display matrix into the track header, ISO/IEC 14496-12: 9 numbers of 32 bits."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    assert struct.unpack_from(">9i", content, at) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", content, at, *(round(v * (1 << 16)) for v in (a, b, 0, c, d)), 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def corners(height=48, width=64):
    """One shade of red in each quarter, so that no two orientations look alike."""
    frame = np.zeros((height, width, 3), np.uint8)
    for n, (row, column) in enumerate(np.ndindex(2, 2)):
        frame[row * height // 2 :, column * width // 2 :, 0] = 30 + 60 * n
    return frame


class TestOrientation:
    @pytest.mark.parametrize(
        "matrix", [m for x in (1, -1) for y in (1, -1) for m in ((x, 0, 0, y), (0, x, y, 0))], ids=str
    )
    def test_all_eight_are_shown_as_the_matrix_says(self, tmp_path, matrix):
        flat = corners()
        encode(tmp_path / "a.mp4", [flat] * 3, crf=5)
        turn(tmp_path / "a.mp4", *matrix)
        a, b, c, d = matrix
        # By the standard's words: the pixel (x, y) is shown at (a x + c y, b x + d y), moved to begin at (0, 0).
        y, x = np.mgrid[:48, :64]
        column, row = a * x + c * y, b * x + d * y
        column, row = column - column.min(), row - row.min()
        expected = np.zeros((row.max() + 1, column.max() + 1, 3), np.uint8)
        expected[row, column] = flat
        shown = frames_of(tmp_path / "a.mp4")[0].image
        assert shown.shape == expected.shape
        assert np.abs(shown.astype(int) - expected).mean() < 4

    def test_other_angles_are_rounded(self, tmp_path):
        cos, sin = np.cos(np.radians(80)), np.sin(np.radians(80))
        for name, matrix in (("right.mp4", (0, 1, -1, 0)), ("about.mp4", (cos, sin, -sin, cos))):
            encode(tmp_path / name, [corners()] * 2)
            turn(tmp_path / name, *matrix)
        right, about = (frames_of(tmp_path / name)[0].image for name in ("right.mp4", "about.mp4"))
        np.testing.assert_array_equal(right, about)

    def test_a_turned_video_has_its_pixels_aspect_before_it_is_turned(self, tmp_path):
        encode(tmp_path / "a.mp4", numbered(3), aspect=Fraction(2))
        turn(tmp_path / "a.mp4", 0, 2, -1, 0)  # such matrices also scale
        assert frames_of(tmp_path / "a.mp4")[0].image.shape == (128, 48, 3)


class TestProportions:
    @pytest.mark.parametrize(("aspect", "size"), [((2, 1), (48, 128)), ((1, 2), (96, 64)), ((16, 15), (48, 68))])
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".h264"])
    def test_pixels_become_square_and_no_detail_is_lost(self, tmp_path, aspect, size, suffix):
        path = encode(tmp_path / f"a{suffix}", numbered(4), aspect=Fraction(*aspect))
        frames = frames_of(path)
        assert frames[0].image.shape[:2] == size
        assert numbers([frame.image for frame in frames]) == list(range(4))

    def test_an_absurd_aspect_is_a_defect_of_the_file(self, tmp_path):
        path = encode(tmp_path / "a.mp4", numbered(2), aspect=Fraction(100))
        assert frames_of(path)[0].image.shape[:2] == (48, 64)

    def test_odd_sizes_are_whole(self, tmp_path):
        path = encode(tmp_path / "a.mkv", numbered(3, (47, 63)), codec="ffv1", pix_fmt="bgra")
        np.testing.assert_array_equal(frames_of(path)[2].image, numbered(3, (47, 63))[2])

    def test_another_size_midway_is_fitted_with_black_bars(self, tmp_path):
        wide = encode(tmp_path / "a.h264", numbered(4)).read_bytes()
        tall = encode(tmp_path / "b.h264", numbered(4, (96, 64), 4)).read_bytes()
        half = encode(tmp_path / "c.h264", numbered(4, (24, 32), 8)).read_bytes()
        (tmp_path / "all.h264").write_bytes(wide + tall + half)
        images = [frame.image for frame in frames_of(tmp_path / "all.h264")]
        assert numbers(images[:4] + images[8:]) == [*range(4), *range(8, 12)]
        assert numbers([image[:, 16:48] for image in images[4:8]]) == list(range(4, 8))
        assert not images[5][:, [*range(15), *range(49, 64)]].any()


class TestFilm:
    def write(self, path, streams):
        """Write streams of one size each, with their dispositions; the first frame of each tells it apart."""
        with av.open(str(path), "w") as file:
            made = []
            for codec, size, mark in streams:
                pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                made.append(add(file, codec, size, 25, pix_fmt))
                if mark is not None:
                    made[-1].disposition = getattr(type(made[-1].disposition), mark)
            for stream, (codec, size, _) in zip(made, streams, strict=True):
                count = 1 if codec == "mjpeg" else 5
                for packet in packets(stream, numbered(count, size), list(range(count)), Fraction(1, 25)):
                    file.mux(packet)
        return path

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    def test_a_cover_is_not_the_film(self, tmp_path, suffix):
        streams = [("mjpeg", (96, 96), "attached_pic"), ("libx264", (48, 64), "default")]
        path = self.write(tmp_path / f"a{suffix}", streams)
        assert len(frames_of(path)) == 5

    def test_the_default_stream_is_the_film_and_otherwise_the_largest(self, tmp_path):
        small, large = ("libx264", (48, 64)), ("libx264", (96, 128))
        for name, streams, size in (
            ("a.mkv", [(*large, None), (*small, "default")], (48, 64)),
            ("b.ts", [(*small, None), (*large, None)], (96, 128)),
        ):
            assert frames_of(self.write(tmp_path / name, streams))[0].image.shape[:2] == size

    def test_a_cover_alone_is_no_film(self, tmp_path):
        with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as file:
            cover, sound = (
                add(file, "mjpeg", (96, 96), 25, "yuvj420p"),
                file.add_stream("aac", rate=8000, layout="mono"),
            )
            cover.disposition = type(cover.disposition).attached_pic
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            silence.rate = 8000
            for packet in [*packets(cover, numbered(1, (96, 96)), [0], Fraction(1, 25)), *sound.encode(silence)]:
                file.mux(packet)
            file.mux(sound.encode(None))
        with pytest.raises(InputError, match="no video stream but a cover"), open_video(tmp_path / "a.m4a"):
            pass


class TestTimes:
    variable = (0, 40, 90, 500, 510, 2000)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".flv"])
    def test_each_frame_has_its_own(self, tmp_path, suffix):
        codec = "flv1" if suffix == ".flv" else "libx264"
        path = encode(tmp_path / f"a{suffix}", numbered(6), codec=codec, times=self.variable)
        assert times_of(path) == pytest.approx([n / 1000 for n in self.variable])
        frames = frames_of(path)
        assert all(one.time + one.duration == other.time for one, other in pairwise(frames))
        assert numbers([frame.image for frame in frames]) == list(range(6))

    def test_a_gif_has_its_own(self, tmp_path):
        times = (0, 10, 20, 100, 110)
        path = encode(
            tmp_path / "a.gif", numbered(5), codec="gif", pix_fmt="rgb8", unit=Fraction(1, 100), times=list(times)
        )
        assert times_of(path) == pytest.approx([n / 100 for n in times])

    @pytest.mark.parametrize("suffix", [".ts", ".mp4", ".mov"])
    @pytest.mark.parametrize("offset", [500, 20_000_000])
    def test_a_file_starts_at_0(self, tmp_path, suffix, offset):
        path = encode(tmp_path / f"a{suffix}", numbered(5), times=[offset + 40 * n for n in range(5)])
        assert times_of(path) == pytest.approx([0.04 * n for n in range(5)])

    def test_frames_before_the_edit_list_are_not_shown(self, tmp_path):
        path = encode(tmp_path / "a.mp4", numbered(6), times=[-80, -40, 0, 40, 80, 120])
        frames = frames_of(path)  # and their absence is no damage
        assert numbers([frame.image for frame in frames]) == [2, 3, 4, 5]
        assert times_of(path) == pytest.approx([0, 0.04, 0.08, 0.12])

    def test_a_film_that_starts_after_its_sound_keeps_the_offset(self, tmp_path):
        with av.open(str(tmp_path / "a.mkv"), "w") as file:
            film, sound = add(file, "libx264", (48, 64), 25), file.add_stream("pcm_s16le", rate=8000, layout="mono")
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
            silence.rate, silence.pts = 8000, 0
            for packet in sound.encode(silence):
                file.mux(packet)
            for packet in packets(film, numbered(5), list(range(10, 15)), Fraction(1, 25)):
                file.mux(packet)
        assert times_of(tmp_path / "a.mkv") == pytest.approx([0.4, 0.44, 0.48, 0.52, 0.56])

    def test_joined_broadcasts_go_on(self, tmp_path):
        parts = [(0, 0), (5, 100_000), (10, 0)]
        content = b""
        for first, start in parts:
            path = encode(tmp_path / "a.ts", numbered(5, first=first), times=[start + 40 * n for n in range(5)])
            content += path.read_bytes()
        path.write_bytes(content)
        assert times_of(path) == pytest.approx([0.04 * n for n in range(15)])

    def test_a_long_still_is_no_join(self, tmp_path):
        path = encode(tmp_path / "a.mkv", numbered(3), times=[0, 40, 60_000])
        assert times_of(path) == pytest.approx([0, 0.04, 60])

    def test_raw_streams_are_timed_by_their_rate(self, tmp_path):
        assert times_of(encode(tmp_path / "a.h264", numbered(5))) == pytest.approx([0.04 * n for n in range(5)])

    def test_the_clock_of_a_browsers_recording_is_no_rate(self, tmp_path):
        late = [0, *np.random.default_rng(0).integers(-6, 6, 29).tolist()]
        times = [34 * n + late[n] for n in range(30)]
        path = tmp_path / "a.webm"
        with av.open(str(path), "w", options={"live": "1"}) as file:
            stream = add(file, "libvpx", (48, 64), 1000)
            for packet in packets(stream, numbered(30), times, Fraction(1, 1000)):
                packet.duration = 0
                file.mux(packet)
        content = bytearray(path.read_bytes())
        at = content.index(b"\x23\xe3\x83\x83")  # the duration of a frame, which browsers do not write
        content[at : at + 7] = b"\xec\x85" + bytes(5)
        path.write_bytes(content)
        with open_video(path) as video:
            assert 24 < video.fps < 32
            assert [float(frame.time) for frame in video.frames()] == pytest.approx([n / 1000 for n in times])

    @pytest.mark.parametrize(("times", "told"), [([0, 0, 0, 0], 3), ([0, 40, 80, 120], 0)])
    def test_frames_without_times_of_their_own_are_told(self, tmp_path, capsys, times, told):
        stamps = iter(times)

        def keep(packet):
            packet.pts = packet.dts = next(stamps)
            return packet

        path = encode(tmp_path / "a.mkv", numbered(4), codec="mjpeg", pix_fmt="yuvj420p", keep=keep)
        assert len(frames_of(path)) == 4
        said = capsys.readouterr().err
        assert (f"a.mkv: {told} frames are timed no later" in said) if told else (said == "")

    def test_a_clock(self):
        clock = Clock(Fraction(1, 10), Fraction(1), Fraction(1, 2), joined=False)
        stamps = (5, 6, 6, None, 5, 8, 500, 2, 3, None)
        assert [float(clock.show(stamp)) for stamp in stamps] == [0, 0.1, 0.1, 0.6, 0.6, 0.6, 49.5, 50, 50.1, 50.6]


class TestColours:
    @pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p12le", "yuva420p", "gray", "gray10le"])
    def test_any_depth_gives_the_same_greys(self, tmp_path, pix_fmt):
        path = encode(tmp_path / "a.mkv", numbered(4), codec="ffv1", pix_fmt=pix_fmt)
        assert numbers([frame.image for frame in frames_of(path)]) == list(range(4))

    @pytest.mark.skipif(not hasattr(av.VideoFrame, "color_trc"), reason="this PyAV knows no other tones")
    @pytest.mark.parametrize(("curve", "white"), [(16, 0.58), (18, 0.75)])  # BT.2408: reference white in PQ and HLG
    def test_white_of_high_dynamic_range_is_white(self, tmp_path, curve, white):
        with av.open(str(tmp_path / "a.mkv"), "w") as file:
            stream = add(file, "ffv1", (48, 64), 25, "yuv420p10le")
            frame = av.VideoFrame(64, 48, "yuv420p10le")
            for plane, value in zip(frame.planes, (64 + 876 * white, 512, 512), strict=True):
                plane.update(np.full(plane.buffer_size // 2, round(value), np.uint16).tobytes())
            context = stream.codec_context
            context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, curve, 1
            frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = 9, 9, curve, 1
            for frame.pts in range(8):
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        ends = [time.perf_counter()]
        with open_video(tmp_path / "a.mkv") as video:
            for image in video:
                assert image.min() > 225  # taken as usual tones it is 146
                ends.append(time.perf_counter())
        # What converts the first frame, seconds to make, converts the others too.
        assert len(ends) == 9
        assert ends[-1] - ends[1] < ends[1] - ends[0]
