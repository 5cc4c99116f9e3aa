import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from partwise.errors import InputError
from partwise.io.images import read_ids, read_image, read_labels, write_image, write_labels
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


def test_an_unknown_suffix_is_named(tmp_path):
    with pytest.raises(InputError, match=r"\.jpg or \.png"):
        write_image(tmp_path / "a.xyz", smooth())


def test_photographs_equal_opencvs(real):
    photos = sorted((real / "ccp" / "photos").glob("*.jpg"))[:20]
    assert photos
    for photo in photos:
        expected = cv2.imread(str(photo), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1]
        np.testing.assert_array_equal(read_image(photo, upright=False), expected)
