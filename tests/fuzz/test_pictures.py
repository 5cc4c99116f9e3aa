"""Damaged pictures, label maps, videos and flow."""

import numpy as np
import pytest
from mutations import EXAMPLES, fuzz

from data_modules.formats.label_maps import read_part_instances
from partwise.io.flo import read_flo, write_flo
from partwise.io.images import read_ids, read_image, read_labels, write_image, write_labels
from partwise.io.video import VideoWriter, open_video
from partwise.labels import VIP

RNG = np.random.default_rng(0)
MAP = RNG.integers(0, 20, (24, 33), dtype=np.uint8).repeat(2, 0)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".ppm"])
def test_pictures(suffix, tmp_path):
    file = tmp_path / f"picture{suffix}"
    write_image(file, RNG.integers(0, 255, (24, 33, 3), dtype=np.uint8).repeat(2, 0))

    def read(file):
        image = read_image(file)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3

    fuzz(read, file)


@pytest.mark.parametrize(("read", "highest"), [(read_labels, 19), (read_ids, 19), (read_ids, 300)])
def test_label_maps(read, highest, tmp_path):
    file = tmp_path / "map.png"
    write_labels(file, MAP.astype(np.uint16) + highest - 19, VIP.colors)
    fuzz(read, file, verified=True)


def test_part_instances(tmp_path):
    file = tmp_path / "a.png"
    write_labels(file, MAP.clip(0, 3), VIP.colors)
    rows = file.with_suffix(".txt")
    rows.write_text("1 5 1\n2 6 1\n3 19 2\n")
    fuzz(lambda rows: read_part_instances(file, MAP.shape, 20), rows)


def test_flow(tmp_path):
    file = tmp_path / "a.flo"
    write_flo(file, RNG.normal(size=(2, 9, 12)).astype(np.float32))
    fuzz(read_flo, file)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_videos(suffix, tmp_path):
    file = tmp_path / f"a{suffix}"
    with VideoWriter(file, 10, (32, 48)) as writer:
        for picture in RNG.integers(0, 255, (6, 32, 48, 3), dtype=np.uint8):
            writer.write(picture)

    def read(file):
        with open_video(file) as video:
            for n, frame in enumerate(video):
                assert frame.shape == (*video.size, 3)
                assert n < 1000

    fuzz(read, file, examples=EXAMPLES // 2)
