"""What the bytes of a picture tell before it is decoded: its size, its orientation, and whether they are whole."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from PIL import Image, TiffImagePlugin

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
#: Formats that Pillow may open; some others that it knows run programs.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_PNM = tuple(b"P%d" % n for n in range(1, 7))
_SIGNATURES = (PNG, JPEG + b"\xff", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ", *_PNM)
_ORIENTATION = 0x0112
Answer = TypeVar("Answer")
#: Markers of a JPEG: of its frame, which states the size, and of its first scan; 0 stands for its bytes' end.
_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0


def is_picture(start: bytes) -> bool:
    """Check by its first 16 bytes whether a file is a picture in one of the formats that are read."""
    return start.startswith(_SIGNATURES) or start[8:12] == b"WEBP" or is_avif(start)


def is_pnm(start: bytes) -> bool:
    """Check by its first 2 bytes whether a file is a PBM, PGM or PPM picture."""
    return start.startswith(_PNM)


def is_avif(start: bytes) -> bool:
    """Check by its first 12 bytes whether a file is an AVIF picture."""
    return start[4:12] in (b"ftypavif", b"ftypavis")


def asked(content: bytes, question: Callable[[Image.Image], Answer], otherwise: Answer) -> Answer:
    """Ask Pillow about a picture, of which it decodes nothing yet.

    Args:
        content: the file's.
        question: to answer.
        otherwise: answer if it is no picture.

    Returns:
        The answer.

    Raises:
        Image.DecompressionBombError: the picture has more than 178,956,970 pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's do not name the file
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                return question(image)
    except Image.DecompressionBombError:
        raise
    except Exception:  # damaged headers make Pillow raise nearly anything
        return otherwise


def pixels_of(content: bytes) -> int:
    """Count the pixels of a picture by its header; 0 if that cannot be read."""
    if content.startswith(PNG):
        width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
        return width * height
    if content.startswith(JPEG):
        at = next((at for marker, at in _segments(content) if marker in _FRAME), len(content))
        return int.from_bytes(content[at + 5 : at + 7], "big") * int.from_bytes(content[at + 7 : at + 9], "big")
    return asked(content, lambda image: image.width * image.height, 0)


def pages_of(content: bytes) -> int:
    """Count the pictures of a file: frames of an animation or pages of a TIFF; previews in a JPEG do not count."""
    if content.startswith(JPEG):
        return 1
    if content.startswith(PNG):
        at = content.find(b"acTL", 0, max(content.find(b"IDAT"), 0))
        return 1 if at < 0 else int.from_bytes(content[at + 4 : at + 8], "big")
    return asked(content, lambda image: getattr(image, "n_frames", 1), 1)


def is_turned(content: bytes) -> bool:
    """Check whether EXIF says that the pixels are to be turned or mirrored, as decoders do it: XMP does not count."""
    return asked(content, _orientation, None) in range(2, 9)


def cut_short(content: bytes) -> bool:
    """Check whether a JPEG or PNG lacks its end.

    Decoders fill the missing part of a JPEG with grey and only warn. An EXIF thumbnail has an end marker of its own, so
    segments before the picture's first scan are skipped. Bytes after the end are common and harmless.
    """
    if content.startswith(PNG[:4]):
        return b"IEND" not in content[-64:] and b"IEND" not in content
    if not content.startswith(JPEG):
        return False
    for marker, at in _segments(content):
        if marker == _SCAN:
            return content.find(b"\xff\xd9", at) < 0
        if marker == _END:
            return True
    return False  # an unusual header is left to the decoder


def damaged_chunk(content: bytes) -> str | None:
    """Find a chunk of a PNG that differs from its checksum. Decoders check the headers' alone.

    Args:
        content: the file's.

    Returns:
        The chunk's type; None if all are whole.
    """
    view, at = memoryview(content), len(PNG)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        kind = bytes(view[at + 4 : at + 8])
        if end > len(content) or zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return repr(kind)[2:-1]
        if kind == b"IEND":
            return None
        at = end
    return "IEND"


def _orientation(image: Image.Image) -> int | None:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2.get(_ORIENTATION)
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return exif.get(_ORIENTATION)


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and place of the segments of a JPEG up to its first scan."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        yield marker, at
        if marker == _SCAN:
            return
        alone = 0xD0 <= marker <= 0xD8  # markers without a length
        at += 2 if alone else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    if at + 4 > len(content):
        yield _END, at
