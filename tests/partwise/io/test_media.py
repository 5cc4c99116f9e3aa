import errno
import io
import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from partwise.errors import InputError
from partwise.io.atomic import atomic, write_json, write_text
from partwise.io.images import read_ids, read_image, read_labels, write_image, write_labels
from partwise.io.video import VideoWriter, open_video
from partwise.labels import voc_colors


def smooth(height=48, width=64, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def jpeg(image, **options):
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=95, **options)
    return content.getvalue()


JPEG = jpeg(smooth())


class TestReadImage:
    def test_png_comes_back_exactly(self, tmp_path):
        write_image(tmp_path / "a b[1]=~.png", smooth())
        np.testing.assert_array_equal(read_image(tmp_path / "a b[1]=~.png"), smooth())

    def test_jpeg_comes_back_nearly_and_in_rgb(self, tmp_path):
        red = np.zeros((32, 32, 3), np.uint8)
        red[..., 0] = 200
        write_image(tmp_path / "a.jpg", red)
        assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - red).max() < 4

    @pytest.mark.parametrize(("upright", "shape"), [(True, (64, 48, 3)), (False, (48, 64, 3))])
    def test_exif_orientation_is_a_choice(self, tmp_path, upright, shape):
        exif = Image.Exif()
        exif[0x0112] = 6
        (tmp_path / "a.jpg").write_bytes(jpeg(smooth(), exif=exif))
        assert read_image(tmp_path / "a.jpg", upright=upright).shape == shape

    def test_grey_pictures_get_three_channels(self, tmp_path):
        Image.fromarray(smooth()[..., 0]).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png").shape == (48, 64, 3)

    @given(cut=st.integers(1, len(JPEG) - 1))
    @settings(max_examples=60, deadline=None)
    def test_every_cut_of_a_jpeg_is_noticed(self, tmp_path_factory, cut):
        path = tmp_path_factory.getbasetemp() / "cut.jpg"
        path.write_bytes(JPEG[:cut])
        with pytest.raises(InputError, match=r"cut\.jpg"):
            read_image(path)

    @pytest.mark.parametrize("progressive", [False, True])
    def test_the_thumbnails_end_is_not_the_pictures(self, tmp_path, progressive):
        whole = jpeg(smooth(200, 200), progressive=progressive)
        thumbnail = jpeg(smooth(16, 16))
        segment = b"Exif\0\0" + thumbnail
        whole = whole[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + whole[2:]
        (tmp_path / "a.jpg").write_bytes(whole)
        assert read_image(tmp_path / "a.jpg").shape == (200, 200, 3)
        (tmp_path / "a.jpg").write_bytes(whole[:-300])
        with pytest.raises(InputError, match="cut short"):
            read_image(tmp_path / "a.jpg")

    def test_bytes_after_the_end_are_harmless(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(JPEG + b"\0\0 trailer of a phone")
        assert read_image(tmp_path / "a.jpg").shape == (48, 64, 3)

    @pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
    def test_a_cut_png_is_noticed(self, tmp_path, share):
        write_image(tmp_path / "a.png", smooth())
        content = (tmp_path / "a.png").read_bytes()
        (tmp_path / "a.png").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(InputError, match=r"a\.png"):
            read_image(tmp_path / "a.png")

    @pytest.mark.parametrize(
        ("content", "says"),
        [(None, "does not exist"), (b"", "empty"), (b"<html>quota exceeded</html>", "no image")],
    )
    def test_what_is_no_picture_is_one_line(self, tmp_path, content, says):
        path = tmp_path / "a.jpg"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=says) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_folder_is_no_picture(self, tmp_path):
        with pytest.raises(InputError, match="cannot read"):
            read_image(tmp_path)


class TestLabels:
    @given(labels=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
    @settings(max_examples=30, deadline=None)
    def test_round_trip(self, tmp_path_factory, labels):
        path = tmp_path_factory.getbasetemp() / "labels.png"
        write_labels(path, labels, voc_colors())
        np.testing.assert_array_equal(read_labels(path), labels)
        assert Image.open(path).mode == "P"

    @given(ids=hnp.arrays(np.int64, (5, 7), elements=st.integers(0, 65535)))
    @settings(max_examples=30, deadline=None)
    def test_ids_round_trip(self, tmp_path_factory, ids):
        path = tmp_path_factory.getbasetemp() / "ids.png"
        write_labels(path, ids, voc_colors())
        got = read_ids(path)
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, ids)

    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    def test_palettes_of_any_depth_are_read_by_index(self, tmp_path, bits):
        labels = (np.arange(48).reshape(6, 8) % 2**bits).astype(np.uint8)
        picture = Image.fromarray(labels)
        picture.putpalette([200, 10, 30] * 2**bits)  # all the same colour: only the index tells
        picture.save(tmp_path / "a.png", bits=bits)
        np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)

    def test_grey_is_read_as_it_is(self, tmp_path):
        labels = np.array([[0, 7], [255, 3]], np.uint8)
        Image.fromarray(labels).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)

    def test_colour_pictures_are_refused(self, tmp_path):
        write_image(tmp_path / "a.png", smooth())
        with pytest.raises(InputError, match=r"a\.png is a colour picture .* an index map is needed"):
            read_labels(tmp_path / "a.png")

    def test_jpegs_are_refused(self, tmp_path):
        Image.fromarray(smooth()[..., 0]).save(tmp_path / "a.jpg")
        with pytest.raises(InputError, match="blurs"):
            read_labels(tmp_path / "a.jpg")

    def test_ids_above_255_are_no_labels(self, tmp_path):
        write_labels(tmp_path / "a.png", np.array([[0, 300]]), voc_colors())
        with pytest.raises(InputError, match="300"):
            read_labels(tmp_path / "a.png")

    def test_a_cut_map_is_noticed(self, tmp_path):
        labels = np.random.default_rng(0).integers(0, 20, (64, 64), dtype=np.uint8)
        write_labels(tmp_path / "a.png", labels, voc_colors())
        content = (tmp_path / "a.png").read_bytes()
        for share in (0.05, 0.5, 0.9):
            (tmp_path / "a.png").write_bytes(content[: int(len(content) * share)])
            with pytest.raises(InputError, match=r"a\.png is damaged"):
                read_labels(tmp_path / "a.png")

    @pytest.mark.parametrize("ids", [[[-1]], [[65536]]])
    def test_ids_that_do_not_fit_are_not_wrapped(self, tmp_path, ids):
        with pytest.raises(ValueError, match="do not fit"):
            write_labels(tmp_path / "a.png", np.array(ids), voc_colors())


class TestAtomic:
    def test_an_error_leaves_the_old_file_and_nothing_else(self, tmp_path):
        write_text(tmp_path / "a.txt", "old")
        with pytest.raises(IsADirectoryError), atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("half") and tmp_path.read_text()
        assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
        assert (tmp_path / "a.txt").read_text() == "old"

    def test_folders_are_made(self, tmp_path):
        write_text(tmp_path / "x" / "y" / "a.txt", "ä")
        assert (tmp_path / "x" / "y" / "a.txt").read_text(encoding="utf-8") == "ä"

    def test_json_refuses_what_others_cannot_read(self, tmp_path):
        write_json(tmp_path / "a.json", {"a": 1})
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "a.json", {"a": float("nan")})
        assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'

    def test_a_file_in_the_way_is_named(self, tmp_path):
        write_text(tmp_path / "file", "")
        with pytest.raises(InputError, match="cannot write"):
            write_text(tmp_path / "file" / "a.txt", "")

    def test_a_full_disk_is_one_line(self, tmp_path, monkeypatch):
        def full(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(InputError, match=r"cannot write .*a\.txt \(No space left on device\)"):
            write_text(tmp_path / "a.txt", "")

    def test_an_unknown_suffix_is_named(self, tmp_path):
        with pytest.raises(InputError, match=r"\.jpg or \.png"):
            write_image(tmp_path / "a.xyz", smooth())


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

    def test_the_decoder_turns_frames_as_the_file_says(self, tmp_path):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[:24, :32, 0] = 220  # red at the upper left
        write_video(tmp_path / "flat.mp4", [frame] * 3)
        with av.open(str(tmp_path / "flat.mp4")) as flat, av.open(str(tmp_path / "turned.mp4"), "w") as turned:
            stream = turned.add_stream_from_template(flat.streams.video[0])
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotation")
            stream.set_display_rotation(-90)  # to be shown a quarter turn clockwise
            for packet in flat.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    turned.mux(packet)
        with open_video(tmp_path / "turned.mp4") as video:
            shown = next(iter(video))
            assert video.size == shown.shape[:2] == (64, 48)
        red = shown[..., 0] > 110
        assert red[:30, 26:].all()  # upper right
        assert not red[34:].any()

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

    @pytest.mark.parametrize("damage", ["cut", "zeros"])
    def test_a_video_that_breaks_off_gives_its_frames_and_says_so(self, tmp_path, damage):
        noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
        write_video(tmp_path / "a.mp4", list(noise))
        content = (tmp_path / "a.mp4").read_bytes()
        half = len(content) // 2
        tail = b"" if damage == "cut" else bytes(4000) + content[half + 4000 :]
        (tmp_path / "a.mp4").write_bytes(content[:half] + tail)
        frames = []
        with open_video(tmp_path / "a.mp4") as video, pytest.raises(InputError, match="breaks off after frame"):
            frames.extend(video)
        assert 5 < len(frames) < 35


@pytest.mark.real
@pytest.mark.skipif("PARTWISE_REAL" not in os.environ, reason="PARTWISE_REAL does not name the real samples")
class TestReal:
    def test_photographs_equal_opencvs(self):
        photos = sorted((Path(os.environ["PARTWISE_REAL"]) / "ccp" / "photos").glob("*.jpg"))[:20]
        assert photos
        for photo in photos:
            expected = cv2.imread(str(photo), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1]
            np.testing.assert_array_equal(read_image(photo, upright=False), expected)

    def test_a_video_has_all_its_frames(self):
        with open_video(Path(os.environ["PARTWISE_REAL"]) / "video" / "sam2_bedroom.mp4") as video:
            assert (video.fps, video.num_frames, video.size) == (30, 200, (540, 960))
            assert sum(1 for _ in video) == 200
