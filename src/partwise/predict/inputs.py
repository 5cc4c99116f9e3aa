"""Inputs of `predict`: pictures in natural order, or one video."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

import cv2

from partwise.errors import InputError
from partwise.io.images import IMAGE_SUFFIXES
from partwise.io.video import VIDEO_SUFFIXES


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
    path = Path(spec) if Path(spec).exists() else Path(os.path.expanduser(spec))
    if not str(spec).strip():
        raise InputError("the input is empty; name an image, a folder, a glob pattern or a video")
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return [path] if _is_image(path) else path
    found = [p for p in map(Path, glob.glob(_pattern(path), recursive=True)) if p.is_file()]
    images = natural_sort([p for p in found if p.suffix.lower() in IMAGE_SUFFIXES])
    if images:
        return images
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{spec} matches {len(found)} files and no image; name one video, or images")
    if glob.has_magic(str(spec)):
        raise InputError(f"{spec} matches no file; check the pattern")
    raise InputError(f"input {spec} does not exist; name an image, a folder, a glob pattern or a video")


def natural_sort(paths: list[Path]) -> list[Path]:
    """Sort paths in natural order: 2 before 10."""
    return sorted(paths, key=lambda p: ([_counted(part) for part in p.parts], str(p)))


def _counted(name: str) -> list[tuple[int, str]]:
    return [(int(n or -1), text.lower()) for text, n in re.findall(r"(\D*)(\d*)", name)]


def _is_image(path: Path) -> bool:
    """Check for an image by suffix, or by content if there is no known suffix, as in many downloads."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix in VIDEO_SUFFIXES:
        return suffix in IMAGE_SUFFIXES
    return bool(cv2.haveImageReader(str(path)))


def _folder(path: Path) -> list[Path]:
    children = [p for p in path.iterdir() if not p.name.startswith(".")]
    images = [p for p in children if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if images:
        return natural_sort(images)
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


def _pattern(path: Path) -> str:
    """Return a glob pattern whose leading folders, as far as they exist, are literal."""
    fixed = path
    while not fixed.exists() and fixed != fixed.parent:
        fixed = fixed.parent
    rest = path.parts[len(fixed.parts) :] if fixed != Path() else path.parts
    return str(Path(glob.escape(str(fixed)), *rest))
