"""Reading and writing of pictures and label maps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from partwise.arrays import AnyArray, Int32Array, UInt8Array
from partwise.errors import InputError
from partwise.io.atomic import reason, write_bytes

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")


def read_image(path: str | Path, *, upright: bool = True) -> UInt8Array:
    """Read a picture.

    Args:
        path: JPEG, PNG, WebP, BMP, TIFF or PPM file.
        upright: apply the EXIF orientation. False for datasets, whose label maps belong to the pixels as stored.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: the file is missing, empty, cut short or no picture.
    """
    content = _read_bytes(path)
    if _cut_short(content):
        raise InputError(f"image {path} is cut short ({len(content)} bytes); copy or download it again")
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:  # the picture exceeds OpenCV's size limit
        raise InputError(f"image {path} cannot be decoded ({error.err}); make it smaller or leave it out") from error
    if image is None:
        raise InputError(f"{path} is damaged or no image; replace it with a whole JPEG or PNG, or leave it out")
    return image.astype(np.uint8, copy=False)


def read_labels(path: str | Path) -> UInt8Array:
    """Read a label map: the indices of a palette PNG, the values of a greyscale one.

    Args:
        path: the file.

    Returns:
        (H, W) uint8 ids.

    Raises:
        InputError: the file is missing, empty, damaged, a colour picture or a JPEG, or an id is above 255.
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
        InputError: the file is missing, empty, damaged, a colour picture or a JPEG.
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
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "JPEG":
                raise InputError(f"{path} is a JPEG, which blurs ids; an index map must be a PNG")
            if image.mode not in ("1", "P", "L", "I", "I;16", "I;16B"):
                raise InputError(
                    f"{path} is a colour picture ({image.mode}), an index map is needed; "
                    "give the PNG whose pixel values are the ids"
                )
            return np.array(image)  # a copy, which is writable
    # Damaged PNGs also raise SyntaxError and ValueError.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is damaged or no image ({error}); replace it with a whole PNG") from error


def write_image(path: str | Path, image: UInt8Array, *, quality: int = 92) -> None:
    """Write a picture in the format of its suffix.

    Args:
        path: file to write, .jpg or .png.
        image: (H, W, 3) uint8 RGB.
        quality: quality of a JPEG, 0..100.

    Raises:
        InputError: the suffix is no image's, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise InputError(f"{path} does not name an image; end it in .jpg or .png")
    jpeg = suffix in (".jpg", ".jpeg")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else []
    encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1]
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


def _cut_short(content: bytes) -> bool:
    """Check whether a JPEG or PNG lacks its end.

    Decoders fill the missing part of a JPEG with grey and only warn. An EXIF thumbnail has an end marker of its own, so
    segments before the picture's first scan are skipped. Bytes after the end are common and harmless.
    """
    if content.startswith(b"\x89PNG"):
        return b"IEND" not in content[-64:] and b"IEND" not in content
    if not content.startswith(b"\xff\xd8"):
        return False
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        if content[position + 1] == 0xDA:
            return content.find(b"\xff\xd9", position) < 0
        # Fill bytes, and markers without a length field, are skipped one by one.
        alone = content[position + 1] == 0xFF or 0xD0 <= content[position + 1] <= 0xD8
        step = 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        position += (1 if content[position + 1] == 0xFF else 2) if alone else step
    return position + 4 > len(content)  # an unusual header is left to the decoder
