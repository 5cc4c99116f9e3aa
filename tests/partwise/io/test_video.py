import gc
import multiprocessing
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from videos import encode, numbered, numbers

from partwise.errors import InputError
from partwise.io.video import VideoWriter, open_video


def smooth(height=48, width=64, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def write_video(path, frames, fps=30.0):
    with VideoWriter(path, fps, frames[0].shape[:2]) as video:
        for frame in frames:
            video.write(frame)


class TestVideo:
    @pytest.mark.parametrize(("suffix", "size"), [(".mp4", (48, 64)), (".mp4", (49, 65)), (".mkv", (48, 64))])
    def test_round_trip(self, tmp_path, suffix, size):
        frames = [smooth(*size, seed=n // 4) for n in range(12)]
        path = tmp_path / f"a: b=[1]~{suffix}"
        write_video(path, frames, 30000 / 1001)
        with open_video(path) as video:
            assert video.fps == pytest.approx(29.97, abs=0.01)
            assert video.num_frames in (12, None)
            assert video.size == (size[0] + size[0] % 2, size[1] + size[1] % 2)
            got = list(video)
        assert len(got) == 12
        for frame, expected in zip(got, frames, strict=True):
            assert frame.dtype == np.uint8
            assert np.abs(frame[: size[0], : size[1]].astype(int) - expected).mean() < 6

    @pytest.mark.parametrize("size", [(64, 64), (720, 1280)])  # players guess the colour matrix from the size
    def test_colours_do_not_shift(self, tmp_path, size):
        color = np.array([180, 60, 40], np.uint8)
        write_video(tmp_path / "a.mp4", [np.full((*size, 3), color)] * 3)
        with open_video(tmp_path / "a.mp4") as video:
            assert np.abs(next(iter(video)).mean((0, 1)) - color).max() < 3

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    @pytest.mark.parametrize("clock", [Fraction(1, 1000), Fraction(1, 12800), Fraction(1, 1_000_000)])
    def test_times_and_the_last_duration_survive(self, tmp_path, suffix, clock):
        times = [Fraction(n, 1000) for n in (0, 40, 90, 500, 500, 2000)]
        ends = [*times[1:], Fraction(5)]
        path = tmp_path / f"a{suffix}"
        with VideoWriter(path, 3, (48, 64), clock) as writer:
            for frame, time, end in zip(numbered(6), times, ends, strict=True):
                writer.write(frame, time, end - time)
        with open_video(path) as video:
            frames = list(video.frames())
        assert numbers([frame.image for frame in frames]) == list(range(6))
        # Of equal times the later one is moved by a tick.
        assert [float(frame.time) for frame in frames] == pytest.approx(list(map(float, times)), abs=0.0011)
        assert frames[-1].time + frames[-1].duration == pytest.approx(5)
        with av.open(str(path)) as file:
            assert file.duration == pytest.approx(5e6, abs=1100)

    @pytest.mark.parametrize(("size", "written"), [((48, 20_000), (40, 16_384)), ((20_001, 33), (16_384, 28))])
    def test_frames_longer_than_h264_allows_are_made_smaller(self, tmp_path, capsys, size, written):
        frame = np.zeros((*size, 3), np.uint8)
        frame[: size[0] // 2] = 200
        write_video(tmp_path / "a.mp4", [frame] * 2)
        with open_video(tmp_path / "a.mp4") as video:
            assert video.size == written
            (first, _) = video
        half = written[0] // 2
        assert abs(int(first[: half - 2].min()) - 200) < 8
        assert first[half + 2 :].max() < 8
        assert "a.mp4 is made smaller than its frames" in capsys.readouterr().err

    def test_a_frame_of_another_size_leaves_no_file(self, tmp_path):
        with pytest.raises(ValueError, match="frame"):
            write_video(tmp_path / "a.mp4", [smooth(48), smooth(48), smooth(50)])
        assert not list(tmp_path.iterdir())

    def test_without_frames_there_is_no_file(self, tmp_path):
        with VideoWriter(tmp_path / "a.mp4", 30, (48, 64)):
            pass
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("content", "says"), [(None, "does not exist"), (b"", "empty"), (b"no video" * 99, "no readable video")]
    )
    def test_what_is_no_video_is_one_line(self, tmp_path, content, says):
        path = tmp_path / "a.mp4"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=says) as caught, open_video(path):
            pass
        assert str(path) in str(caught.value)

    def test_sound_alone_is_no_video(self, tmp_path):
        with av.open(str(tmp_path / "a.wav"), "w") as file:
            stream = file.add_stream("pcm_s16le", rate=8000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            sound.rate = 8000
            file.mux(stream.encode(sound))
        with pytest.raises(InputError, match="no video stream"), open_video(tmp_path / "a.wav"):
            pass

    def test_an_unknown_codec_is_not_taken_for_a_cover(self, tmp_path):
        path = encode(tmp_path / "a.avi", numbered(5), codec="mpeg4", unit=Fraction(1, 25))
        path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZZZ"))
        with pytest.raises(InputError, match=r"a\.avi is coded in a way that cannot be decoded"), open_video(path):
            pass

    @pytest.mark.parametrize("damage", ["cut", "zeros"])
    def test_a_damaged_video_gives_its_frames_and_says_what_is_missing(self, tmp_path, damage):
        noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
        write_video(tmp_path / "a.mp4", list(noise))
        content = (tmp_path / "a.mp4").read_bytes()
        half = len(content) // 2
        tail = b"" if damage == "cut" else bytes(4000) + content[half + 4000 :]
        (tmp_path / "a.mp4").write_bytes(content[:half] + tail)
        frames = []
        says = {
            "cut": r"breaks off after frame \d+ of 40, at \d\.\d s of 1\.3 s",
            "zeros": r"\d of 40 frames could not",
        }
        with open_video(tmp_path / "a.mp4") as video, pytest.raises(InputError, match=says[damage]):
            frames.extend(video)
        assert 5 < len(frames) < 35 if damage == "cut" else 35 < len(frames) < 40


def test_a_video_has_all_its_frames(real):
    with open_video(real / "video" / "sam2_bedroom.mp4") as video:
        assert (video.fps, video.num_frames, video.size) == (30, 200, (540, 960))
        assert sum(1 for _ in video) == 200


def test_a_forked_process_collects_no_frames_of_its_parent():
    gc.disable()
    try:
        frame = av.VideoFrame.from_ndarray(np.zeros((720, 1280, 3), np.uint8), format="rgb24")
        frame.reformat(format="yuv420p")  # with threads, where there are several cores
        cycle = [frame]
        cycle.append(cycle)
        del frame, cycle
        child = multiprocessing.get_context("fork").Process(target=gc.collect)
        child.start()
        child.join(30)
        ended = child.exitcode
        child.kill()
    finally:
        gc.enable()
    assert ended == 0
