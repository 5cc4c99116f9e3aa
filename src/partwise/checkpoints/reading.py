"""Reading of checkpoint files, and checks of what they state before it is used."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from partwise.checkpoints import standin
from partwise.checkpoints.archive import check_archive
from partwise.errors import InputError
from partwise.labels import IGNORE, LabelSet

KEY = "partwise"  # entry of a checkpoint that holds what rebuilds its network

MOST = 256  # number of nested networks
LARGEST_SIDE = 4_096  # pixels of an input; a larger one would take tens of GB


class UnfitError(ValueError):
    """A file that reads well and states what cannot be; the message is one line."""


Count = Annotated[int, Meta(ge=0)]
Side = Annotated[int, Meta(ge=1, le=LARGEST_SIDE)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Pair = Annotated[list[int], Meta(min_length=2, max_length=2)]


class _LabelSet(msgspec.Struct):
    name: Name
    names: Annotated[list[Name], Meta(min_length=1, max_length=IGNORE)]
    pairs: Annotated[list[Pair], Meta(max_length=IGNORE)]

    def __post_init__(self) -> None:
        _check_names(self.name, *self.names)
        LabelSet.from_state(msgspec.structs.asdict(self))


class _About(msgspec.Struct):
    experiment: Name
    network: dict[str, Any]
    label_set: _LabelSet
    image_size: Side | Annotated[list[Side], Meta(min_length=2, max_length=2)]
    synthetic: bool = False
    stretch: bool = False

    def __post_init__(self) -> None:
        _check_names(self.experiment)
        if not _fits_classes(self.network, len(self.label_set.names)):
            raise ValueError("its network has other classes than its label_set")


class _Checkpoint(msgspec.Struct, rename={"version": "pytorch-lightning_version", "about": KEY}):
    """What a checkpoint states; `run.py` writes all of it, weights alone are enough to parse with."""

    about: _About
    state_dict: dict[str, Any]
    current_model_state: dict[str, Any] = {}  # the trained weights, where `state_dict` holds their average
    epoch: Count = 0
    global_step: Count = 0
    version: Annotated[str, Meta(pattern=r"^\d+\.\d+[\w.+]*$")] = "2.0"
    loops: dict[str, Any] | None = None
    callbacks: dict[str, Any] | None = None
    optimizer_states: list[Any] | None = None
    lr_schedulers: list[Any] | None = None


def read(path: Path) -> Any:
    """Read plain containers and tensors from a file that `torch.save` wrote, onto the CPU.

    Args:
        path: the file, or standin/NAME for one that the package brings.

    Returns:
        its content.

    Raises:
        InputError: the file is missing, damaged, or none of `torch.save`.
    """
    if path.as_posix().startswith(standin.PREFIX) and not path.exists():
        return standin.read(path.as_posix())
    if not path.is_file():
        found = "is no file" if path.exists() else "does not exist"
        raise InputError(f"checkpoint {path} {found}; name the file with ckpt=PATH")
    try:
        with path.open("rb") as file:
            check_archive(file, path.stat().st_size)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch may raise anything on a damaged file
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(
            f"{path} is not a readable checkpoint ({reason}); take another of run.py, such as best.ckpt beside it"
        ) from error


def check(checkpoint: dict[str, Any]) -> None:
    """Check what a checkpoint states, apart from its network's arguments, and make lists of its sequences in place.

    Args:
        checkpoint: content of the file, whose values may be anything.

    Raises:
        UnfitError: an entry is missing, has the wrong type or an impossible value, or a weight is not finite.
    """
    try:
        content = msgspec.convert(checkpoint, _Checkpoint)
    except Exception as error:  # msgspec may raise other than its own on tensors
        raise UnfitError(
            f"{' '.join(str(error).split())[:200]}; it is no checkpoint of run.py, do not use it"
        ) from error
    about = content.about
    checkpoint[KEY].update(label_set=msgspec.structs.asdict(about.label_set), image_size=about.image_size)
    for weights in (content.state_dict, content.current_model_state):
        _check_tensors(weights)


def _check_names(*names: str) -> None:
    if any("${" in name or not name.isprintable() for name in names):
        raise ValueError("a name is not printable, or would be interpolated")


def _fits_classes(network: dict[Any, Any], count: int) -> bool:
    """Check whether every number of classes in a description, nested networks included, is that of the label set.

    A detector of persons may parse another one's.
    """
    waiting: list[dict[Any, Any]] = [network]
    for inner in waiting:
        classes = inner.get("num_classes", count)
        if type(classes) is not int or classes != count or len(waiting) > MOST:
            return False
        waiting += [value for key, value in inner.items() if isinstance(value, dict) and key != "detector"]
    return True


def _check_tensors(weights: Mapping[str, Any]) -> None:
    """Refuse tensors that claim more memory than the file holds, or that are not finite."""
    for name, weight in weights.items():
        if not isinstance(weight, Tensor) or weight.layout != torch.strided or weight.device.type != "cpu":
            raise UnfitError(f"its {short(name)} is no dense tensor")
    # A stride of zero makes a tensor of any size from a single number.
    held = {w.untyped_storage().data_ptr(): w.untyped_storage().nbytes() for w in weights.values()}
    if sum(w.numel() * w.element_size() for w in weights.values()) > sum(held.values()):
        raise UnfitError("its weights are larger than what the file holds")
    for name, weight in weights.items():
        # NaN and infinity show in the extremes, which take a tenth of the time of `isfinite`.
        if weight.numel() and not torch.stack(weight.aminmax()).isfinite().all():
            raise UnfitError(f"its {short(name)} is not finite: training has failed there; use an earlier checkpoint")


def short(value: object) -> str:
    """Show a value on one line, shortened for a message; other than plain values by their type alone."""
    if not isinstance(value, (str, int, float, list, tuple, dict, NoneType)):
        return f"of type {type(value).__name__}"
    return " ".join(reprlib.repr(value).split())


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
