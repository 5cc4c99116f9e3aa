"""Reading of checkpoint files, and checks of what they state before it is used."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from partwise.errors import InputError
from partwise.labels import IGNORE, LabelSet

MOST = 256  # number of nested networks

LARGEST_SIDE = 16_384  # pixels of an input


def read(path: Path) -> Any:
    """Read plain containers and tensors from a file that `torch.save` wrote, onto the CPU.

    Args:
        path: the file.

    Returns:
        its content.

    Raises:
        InputError: the file is missing, damaged, or none of `torch.save`.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist; name the file with ckpt=PATH")
    try:
        _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch may raise anything on a damaged file
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(
            f"{path} is not a readable checkpoint ({reason}); give a .ckpt file that run.py wrote"
        ) from error


def _check_archive(path: Path) -> None:
    """Raise ValueError unless a file is an intact zip archive of uncompressed entries, which cannot grow when read."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("it claims to hold more than its size")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} is damaged")


def fault(about: object, weights: object) -> str | None:
    """Describe what is wrong with what a checkpoint states about itself, apart from its network's arguments.

    Args:
        about: what `Provenance` writes into a checkpoint, of any type.
        weights: its state dict, of any type.

    Returns:
        one line, or None if nothing is wrong.
    """
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        return "its weights have no names"
    if not isinstance(about, dict) or not isinstance(about.get("network"), dict):
        return "it does not describe its network"
    if not _is_name(about.get("experiment")):
        return "its experiment has no proper name"
    if not _is_size(about.get("image_size")):
        return f"its image_size is neither a side nor a height and width of 1 to {LARGEST_SIDE} pixels"
    if any(not isinstance(about.get(name, False), bool) for name in ("stretch", "synthetic")):
        return "its stretch or synthetic is neither true nor false"
    labels = about.get("label_set")
    if not isinstance(labels, dict) or not _is_label_set(labels):
        return "its label_set holds no names of classes, or pairs of what is no class"
    if not _fits_classes(about["network"], len(labels["names"])):
        return "its network has other classes than its label_set"
    return None


def _fits_classes(network: dict[Any, Any], count: int) -> bool:
    """Check whether every number of classes in a description, nested networks included, is that of the label set."""
    waiting: list[dict[Any, Any]] = [network]
    for inner in waiting:
        classes = inner.get("num_classes", count)
        if type(classes) is not int or classes != count or len(waiting) > MOST:
            return False
        waiting += [value for value in inner.values() if isinstance(value, dict)]
    return True


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable() and "${" not in value


def _is_size(value: object) -> bool:
    sides = value if isinstance(value, (list, tuple)) and len(value) == 2 else [value]
    return all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides)


def _is_label_set(labels: Mapping[str, Any]) -> bool:
    names, pairs = labels.get("names"), labels.get("pairs")
    if not _is_name(labels.get("name")) or not isinstance(names, list) or not isinstance(pairs, list):
        return False
    if not 0 < len(names) <= IGNORE or not all(map(_is_name, names)) or len(pairs) > len(names):
        return False
    if not all(isinstance(pair, list) and len(pair) == 2 and all(type(i) is int for i in pair) for pair in pairs):
        return False
    try:
        LabelSet.from_state(labels)
    except ValueError:
        return False
    return True


def equal(left: Any, right: Any) -> bool:
    """Compare plain containers, without a difference between lists and tuples.

    Args:
        left: containers and plain values, nested.
        right: containers and plain values, nested.

    Returns:
        whether they are equal.
    """
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)
