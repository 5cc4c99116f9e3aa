import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from partwise.errors import InputError
from partwise.io.headers import is_picture, is_turned
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
        with pytest.raises(InputError, match="may blur"):
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


def with_size(content, at, width=30000, height=30000):
    return content[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + content[at + 4 :]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def index_png(ids, depth, color, *, further=b"", palette=b"", interlaced=False):
    """A PNG of few bits a pixel, which Pillow does not write; every chunk in `further` goes before the pixels."""
    starts = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    passes = [ids[y::dy, x::dx] for x, y, dx, dy in starts] if interlaced else [ids]
    rows = [row.astype(np.uint8)[:, None] for part in passes if part.size for row in part]
    packed = b"".join(b"\0" + np.packbits(np.unpackbits(row, axis=1)[:, 8 - depth :]).tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], depth, color, 0, 0, interlaced)
    colors = chunk(b"PLTE", palette) if palette else b""
    body = colors + further + chunk(b"IDAT", zlib.compress(packed))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


IDS = np.random.default_rng(0).integers(0, 16, (13, 17))
PALETTED = index_png(IDS, 4, 3, palette=bytes(48))


class TestStoredValues:
    @pytest.mark.parametrize("interlaced", [False, True])
    @pytest.mark.parametrize("color", [0, 3])
    @pytest.mark.parametrize("depth", [1, 2, 4, 8])
    def test_values_are_those_stored(self, tmp_path, depth, color, interlaced):
        ids = IDS % 2**depth
        palette = bytes(3 * 2 ** min(depth, 4)) if color else b""
        (tmp_path / "a.png").write_bytes(index_png(ids, depth, color, palette=palette, interlaced=interlaced))
        np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), ids)

    @pytest.mark.parametrize(
        "content",
        [
            index_png(IDS, 4, 3, palette=bytes(21)),  # values beyond the palette
            index_png(IDS, 8, 3, palette=bytes(48), further=chunk(b"tRNS", b"\0\x80")),
            index_png(IDS, 4, 0, further=chunk(b"tRNS", b"\0\3")),
            index_png(IDS, 4, 0, further=chunk(b"gAMA", struct.pack(">I", 30000)) + chunk(b"sBIT", b"\2")),
            PALETTED + b"further bytes",
        ],
    )
    def test_other_chunks_change_no_value(self, tmp_path, content):
        (tmp_path / "a.png").write_bytes(content)
        np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), IDS)

    def test_every_damaged_byte_is_noticed(self, tmp_path):
        for at in range(len(PALETTED)):
            damaged = bytearray(PALETTED)
            damaged[at] ^= 1
            (tmp_path / "a.png").write_bytes(damaged)
            with pytest.raises(InputError, match=r"a\.png"):
                read_labels(tmp_path / "a.png")

    @pytest.mark.parametrize("kind", ["JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
    def test_other_formats_are_refused_whatever_their_suffix(self, tmp_path, kind):
        Image.fromarray(IDS.astype(np.uint8)).save(tmp_path / "a.png", kind)
        with pytest.raises(InputError, match=f"is a {kind}, which may blur ids"):
            read_labels(tmp_path / "a.png")

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
    def test_colours_are_refused(self, tmp_path, mode):
        Image.fromarray(IDS.astype(np.uint8)).convert(mode).save(tmp_path / "a.png")
        with pytest.raises(InputError, match=rf"colour picture \({mode}\)"):
            read_labels(tmp_path / "a.png")

    def test_animations_are_refused(self, tmp_path):
        first, second = Image.fromarray(IDS.astype(np.uint8)), Image.fromarray(IDS[::-1].astype(np.uint8))
        first.save(tmp_path / "a.png", save_all=True, append_images=[second])
        with pytest.raises(InputError, match="animation of 2"):
            read_labels(tmp_path / "a.png")


class TestSizes:
    @pytest.mark.parametrize(
        "content",
        [
            PALETTED[:16] + struct.pack(">II", 30000, 30000) + PALETTED[24:],
            with_size(JPEG, JPEG.find(b"\xff\xc0") + 5),
            b"P6 40000 40000 255\n" + bytes(100),
        ],
    )
    def test_huge_pictures_are_refused_before_they_are_decoded(self, tmp_path, content, monkeypatch):
        monkeypatch.setattr(cv2, "imdecode", None)
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(InputError, match="more than 178 million pixels"):
            read_image(tmp_path / "a.png")

    def test_huge_label_maps_are_refused(self, tmp_path):
        (tmp_path / "a.png").write_bytes(PALETTED[:16] + struct.pack(">II", 30000, 30000) + PALETTED[24:])
        with pytest.raises(InputError, match="more than 178 million pixels"):
            read_labels(tmp_path / "a.png")

    def test_a_picture_that_its_format_does_not_hold_is_one_line(self, tmp_path):
        with pytest.raises(InputError, match=r"a\.jpg cannot be written: \.jpg does not hold 65600x6 pixels"):
            write_image(tmp_path / "a.jpg", np.zeros((6, 65600, 3), np.uint8))


class TestKinds:
    """Every kind that is read, against Pillow."""

    @pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
    @pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF"])
    def test_all_are_turned_upright(self, tmp_path, kind, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"tiffinfo": {0x0112: orientation}} if kind == "TIFF" else {"exif": exif}
        Image.fromarray(smooth()).save(tmp_path / "a", kind, **options)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a")).convert("RGB")).astype(int)
        assert np.abs(read_image(tmp_path / "a") - expected).max() <= 1
        assert is_turned((tmp_path / "a").read_bytes()) == (orientation != 1)

    @pytest.mark.parametrize(
        ("mode", "kind"),
        [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("L", "JPEG"), ("1", "PNG"), ("1", "TIFF"), ("RGB", "JPEG2000"),
         ("RGB", "BMP"), ("L", "PPM"), ("1", "PPM")],
    )  # fmt: skip
    def test_colour_modes(self, tmp_path, mode, kind):
        Image.fromarray(smooth()).convert(mode).save(tmp_path / "a", kind)
        expected = np.asarray(Image.open(tmp_path / "a").convert("RGB")).astype(int)
        assert np.abs(read_image(tmp_path / "a") - expected).max() <= 1
        assert is_picture((tmp_path / "a").read_bytes()[:16])

    def test_sixteen_bits_become_eight(self, tmp_path):
        cv2.imwrite(str(tmp_path / "a.png"), smooth()[..., ::-1].astype(np.uint16) * 257)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), smooth())

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"P5 2 2 15\n" + bytes([0, 5, 10, 15]), [0, 85, 170, 255]),
            (b"P2 2 2 15\n0 5 10 15\n", [0, 85, 170, 255]),
            (b"P5 2 1 1023\n" + struct.pack(">HH", 0, 1023), [0, 255]),
            (b"P5 2 1 65535\n" + struct.pack(">HH", 32768, 65535), [128, 255]),
        ],
    )
    def test_the_white_of_a_pnm_is_what_its_header_says(self, tmp_path, content, expected):
        (tmp_path / "a.pgm").write_bytes(content)
        read = read_image(tmp_path / "a.pgm")
        np.testing.assert_array_equal(read.reshape(-1, 3), np.repeat(expected, 3).reshape(-1, 3))

    def test_what_does_not_turn_a_picture_does_not_count_as_turned(self, tmp_path, recwarn):
        xmp = b'http://ns.adobe.com/xap/1.0/\0<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
        unknown = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x09\0\0\0\0\0\0"
        cut = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\x12"
        for segment in (xmp, unknown, cut):
            content = JPEG[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + JPEG[2:]
            (tmp_path / "a.jpg").write_bytes(content)
            assert read_image(tmp_path / "a.jpg").shape == (48, 64, 3)
            assert not is_turned(content)
        assert not recwarn

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
    def test_of_several_pictures_the_first_is_read_and_that_is_said(self, tmp_path, kind, capsys):
        first = Image.fromarray(smooth())
        first.save(tmp_path / "a", kind, save_all=True, append_images=[first.rotate(180)])
        assert np.abs(read_image(tmp_path / "a").astype(int) - smooth()).mean() < 10
        assert capsys.readouterr().err == f"warning: {tmp_path / 'a'} holds 2 pictures; the first one is read\n"

    @pytest.mark.parametrize("kind", ["WEBP", "AVIF", "BMP", "PPM", "TIFF", "JPEG2000"])
    def test_cut_ones_are_one_line(self, tmp_path, kind, capfd):
        Image.fromarray(smooth()).save(tmp_path / "a", kind)
        content = (tmp_path / "a").read_bytes()
        (tmp_path / "a").write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(InputError, match="is damaged"):
            read_image(tmp_path / "a")
        assert capfd.readouterr().err == ""

    def test_names_with_line_breaks_and_links_that_lead_nowhere(self, tmp_path):
        (tmp_path / "a\nb.jpg").write_bytes(b"x")
        (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
        (tmp_path / "self.jpg").symlink_to("self.jpg")
        for name, says in (
            ("a\nb.jpg", "a b.jpg is damaged"),
            ("gone.jpg", "does not exist"),
            ("self.jpg", "cannot read"),
        ):
            with pytest.raises(InputError, match=says) as caught:
                read_image(tmp_path / name)
            assert "\n" not in str(caught.value)
