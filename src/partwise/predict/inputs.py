"""Inputs of `predict`: pictures in natural order, or one video."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from partwise.errors import InputError
from partwise.io.atomic import reason
from partwise.io.headers import is_picture
from partwise.io.images import IMAGE_SUFFIXES
from partwise.io.listing import hidden, list_files, warn_once
from partwise.io.video import VIDEO_SUFFIXES

#: Pictures that would be taken for videos, or for the preview in them.
_UNREADABLE = (
    ".heic", ".heif", ".jxl", ".j2k", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd", ".svg", ".tga"
)  # fmt: skip


def list_inputs(spec: str | Path) -> list[Path] | Path:
    """List the pictures that an input names in natural order, or return its one video.

    Args:
        spec: image, folder of images, glob pattern or video. An existing path is taken literally, whatever characters
            it holds.

    Returns:
        a list of pictures, or the path of a video.

    Raises:
        InputError: nothing is there, or nothing that can be read.
    """
    if not str(spec).strip():
        raise InputError("the input is empty; name an image, a folder, a glob pattern or a video")
    try:
        return _inputs(spec)
    except OSError as error:
        raise InputError(f"cannot read {spec} ({reason(error)}); check the path and its permissions") from error


def _inputs(spec: str | Path) -> list[Path] | Path:
    path = Path(spec) if Path(spec).exists() else Path(os.path.expanduser(spec))
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return [path] if _is_image(path) else path
    if path.exists():
        raise InputError(f"input {spec} is a device or a pipe; save what it gives as a file, and name that")
    if path.is_symlink():
        raise InputError(f"input {spec} is a broken link; name the file itself")
    found = _matches(path)
    images = natural_sort([p for p in found if p.suffix.lower() in IMAGE_SUFFIXES])
    if images:
        if others := [p for p in found if p not in set(images)]:
            warn_once(f"{spec}: {len(others)} of {len(found)} files are no images (such as {others[0]}) and left out")
        return images
    if len(found) == 1:
        return [found[0]] if _is_image(found[0]) else found[0]
    if found:
        raise InputError(f"{spec} matches {len(found)} files and no image; name one video, or images")
    if glob.has_magic(str(spec)):
        raise InputError(f"{spec} matches no file; check the pattern")
    if "://" in str(spec):
        raise InputError(f"input {spec} is an address; download the file, and name that")
    raise InputError(f"input {spec} does not exist; name an image, a folder, a glob pattern or a video")


def natural_sort(paths: list[Path]) -> list[Path]:
    """Sort paths in natural order: 2 before 10."""
    return sorted(paths, key=lambda p: ([_counted(part) for part in p.parts], str(p)))


def _counted(name: str) -> list[tuple[int, str]]:
    return [(int(n or -1), text.lower()) for text, n in re.findall(r"(\D*)(\d*)", name)]


def _is_image(path: Path) -> bool:
    """Check for an image by suffix, or by content if there is no known suffix, as in many downloads.

    Raises:
        InputError: it is a picture that cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in _UNREADABLE:
        raise InputError(f"{path} is a picture in a format that cannot be read; convert it to JPEG or PNG")
    if suffix in IMAGE_SUFFIXES or suffix in VIDEO_SUFFIXES:
        return suffix in IMAGE_SUFFIXES
    with path.open("rb") as file:
        return is_picture(file.read(16))


def _folder(path: Path) -> list[Path]:
    images = list_files(path, IMAGE_SUFFIXES, deep=False)
    if images:
        return natural_sort(images)
    children = [p for p in path.iterdir() if not hidden(p.name)]
    folders = sum(p.is_dir() for p in children)
    videos = [p.name for p in natural_sort(children) if p.suffix.lower() in VIDEO_SUFFIXES]
    hint = (
        f"name one of its videos, such as {videos[0]}"
        if videos
        else f"name one of its {folders} subfolders"
        if folders
        else f"put {', '.join(IMAGE_SUFFIXES[:3])} ... files there"
    )
    raise InputError(f"folder {path} has no images at its top level; {hint}")


def _matches(path: Path) -> list[Path]:
    """Find the files of a pattern, whose leading folders, as far as they exist, are literal."""
    fixed = path
    while not fixed.exists() and fixed != fixed.parent:
        fixed = fixed.parent
    rest = path.parts[len(fixed.parts) :] if fixed != Path() else path.parts
    matches = map(Path, glob.glob(str(Path(glob.escape(str(fixed)), *rest)), recursive=True))
    found = [p for p in matches if not p.is_dir() and not _aside(p.relative_to(fixed), fixed, rest)]
    if lost := [p for p in found if not p.is_file()]:
        warn_once(f"{path}: {len(lost)} broken links, devices or pipes (such as {lost[0]}) are left out")
    return [p for p in found if p.is_file()]


def _aside(match: Path, fixed: Path, asked: Sequence[str]) -> bool:
    """Check for hidden files that the pattern does not name, and for folders entered through a loop of links."""
    folders = [os.path.realpath(fixed / parent) for parent in match.parents]
    unseen = any(hidden(part) for part in match.parts if part not in asked)
    return unseen or (".." not in asked and len(set(folders)) < len(folders))
