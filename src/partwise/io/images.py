"""Reading and writing of pictures and label maps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from partwise.arrays import AnyArray, Int32Array, UInt8Array
from partwise.errors import InputError
from partwise.io.atomic import reason, write_bytes
from partwise.io.headers import PNG, asked, cut_short, damaged_chunk, is_avif, is_pnm, pages_of, pixels_of
from partwise.io.listing import warn_once

# What is wrong with a file is said in one line, by an exception.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

#: Files that `read_image` reads, and listings list.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".jp2",
    ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
#: Pixels of a picture at most, which is Pillow's limit too: a small file may state any size.
MOST_PIXELS = 178_956_970
#: Longer side of a JPEG at most.
LONGEST_JPEG = 65_500


def read_image(path: str | Path, *, upright: bool = True) -> UInt8Array:
    """Read a picture; of an animation or of several pages the first one.

    Args:
        path: file of one of `IMAGE_SUFFIXES`.
        upright: apply the EXIF orientation. False for published datasets, whose labels belong to the pixels as stored.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: the file is missing, empty, cut short, too large or no picture.
    """
    content = _read_bytes(path)
    if cut_short(content):
        raise InputError(f"image {path} is cut short ({len(content)} bytes); copy or download it again")
    _check_pixels(content, path)
    if (pages := pages_of(content)) > 1:
        warn_once(f"{path} holds {pages} pictures; the first one is read")
    if is_avif(content) or is_pnm(content):  # OpenCV leaves the one lying on its side, and the other's values unscaled
        return _decode_by_pillow(content, path, upright)
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:  # a side exceeds OpenCV's limit
        raise InputError(f"image {path} cannot be decoded ({error.err}); make it smaller or leave it out") from error
    if image is None:
        raise InputError(f"{path} is damaged or no image that can be read; replace it with a whole JPEG or PNG")
    return image.astype(np.uint8, copy=False)


def _decode_by_pillow(content: bytes, path: str | Path, upright: bool) -> UInt8Array:
    try:
        with Image.open(io.BytesIO(content), formats=("AVIF", "PPM")) as image:
            if image.mode == "I":  # grey of more than 8 bits, scaled to 16
                return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, 2)
            return np.array((ImageOps.exif_transpose(image) if upright else image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); replace it with a whole JPEG or PNG") from error


def read_labels(path: str | Path) -> UInt8Array:
    """Read a label map: the indices of a palette PNG, the values of a greyscale one, as stored at any depth.

    Args:
        path: the file.

    Returns:
        (H, W) uint8 ids.

    Raises:
        InputError: the file is missing, empty, damaged, too large, in colour or no PNG, or an id is above 255.
    """
    ids = _read_map(path)
    if ids.dtype != np.uint8 and ids.size and int(ids.max()) > 255:
        raise InputError(f"{path} holds id {int(ids.max())}, labels end at 255; is it an instance map?")
    return ids.astype(np.uint8, copy=False)


def read_ids(path: str | Path) -> Int32Array:
    """Read an instance map of 8 or 16 bits.

    Args:
        path: the file.

    Returns:
        (H, W) int32 ids.

    Raises:
        InputError: the file is missing, empty, damaged, too large, in colour or no PNG.
    """
    return _read_map(path).astype(np.int32)


def check_size(labels: AnyArray, size: Sequence[int], file: Path, beside: str = "its image") -> None:
    """Check that labels have the size of their image.

    Args:
        labels: (H, W) map.
        size: (H, W) of the image, or of another map of it.
        file: the labels' file, named in the message.
        beside: what `size` is of, for the message.

    Raises:
        InputError: the sizes differ.
    """
    if labels.shape != tuple(size):
        raise InputError(
            f"{file} is {labels.shape[1]}x{labels.shape[0]} but {beside} is {size[1]}x{size[0]}; "
            "labels must have their image's own size"
        )


def _read_map(path: str | Path) -> AnyArray:
    """Read ids (H, W) as stored."""
    content = _read_bytes(path)
    _check_pixels(content, path)
    if not content.startswith(PNG):
        if kind := asked(content, lambda image: image.format, None):
            raise InputError(f"{path} is a {kind}, which may blur ids; an index map must be a PNG")
        raise InputError(f"{path} is damaged or no image; replace it with a whole PNG")
    if chunk := damaged_chunk(content):
        raise InputError(f"{path} is damaged (chunk {chunk}); replace it with a whole PNG")
    if (pages := pages_of(content)) > 1:
        raise InputError(f"{path} is an animation of {pages} pictures; an index map must be a single one")
    depth, color = content[24], content[25]
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if color not in (0, 3):
                raise InputError(
                    f"{path} is a colour picture ({image.mode}), an index map is needed; "
                    "give the PNG whose pixel values are the ids"
                )
            ids = np.array(image)  # a copy, which is writable
    # Damaged PNGs also raise SyntaxError and ValueError.
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is damaged or no image ({error}); replace it with a whole PNG") from error
    if color == 0 and depth in (2, 4):  # Pillow spreads the values of few bits over 0..255
        ids //= 255 // (2**depth - 1)
    return ids


def _check_pixels(content: bytes, path: str | Path) -> None:
    """Raise InputError if a header states more pixels than memory is meant for."""
    try:
        pixels = pixels_of(content)
    except Image.DecompressionBombError:
        pixels = MOST_PIXELS + 1
    if pixels > MOST_PIXELS:
        raise InputError(f"{path} has more than {MOST_PIXELS // 10**6} million pixels; make it smaller or leave it out")


def write_image(path: str | Path, image: UInt8Array, *, quality: int = 92) -> None:
    """Write a picture in the format of its suffix.

    Args:
        path: file to write, .jpg or .png.
        image: (H, W, 3) uint8 RGB.
        quality: quality of a JPEG, 0..100.

    Raises:
        InputError: the suffix is no image's, the picture does not fit the format, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise InputError(f"{path} does not name an image; end it in .jpg or .png")
    jpeg = suffix in (".jpg", ".jpeg")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else []
    fits, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not fits:
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise InputError(f"{path} cannot be written: {suffix} does not hold {size} pixels; make the picture smaller")
    write_bytes(path, encoded.tobytes())


def write_labels(path: str | Path, labels: AnyArray, colors: UInt8Array) -> None:
    """Write an index PNG: 8 bits with a palette, or 16 bits without one if an id is above 255.

    Args:
        path: file to write.
        labels: (H, W) integer ids, 0..65535.
        colors: (256, 3) RGB palette.

    Raises:
        InputError: the file cannot be written.
        ValueError: an id is out of range.
    """
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > 65535:
        raise ValueError(f"ids {low}..{high} do not fit an index PNG (0..65535)")
    picture = Image.fromarray(labels.astype(np.uint8 if high < 256 else np.uint16))
    if high < 256:
        picture.putpalette(colors.astype(np.uint8).tobytes())
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=4)
    write_bytes(path, encoded.getvalue())


def _read_bytes(path: str | Path) -> bytes:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"image {path} does not exist; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({reason(error)}); check the path and its permissions") from error
    if not content:
        raise InputError(f"image {path} is empty (0 bytes); copy or download it again")
    return content
