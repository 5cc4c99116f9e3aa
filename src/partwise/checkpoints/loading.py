"""Loading of checkpoints and of the networks in them.

A checkpoint may come from anywhere, so its contents are checked before use. `checkpoints.networks` checks networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from partwise.checkpoints.descriptions import upgraded
from partwise.checkpoints.networks import build
from partwise.checkpoints.reading import KEY as KEY
from partwise.checkpoints.reading import UnfitError, check, read
from partwise.errors import InputError
from partwise.io.listing import warn_once
from partwise.labels import LabelSet


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this project onto the CPU and check what it states about itself.

    Args:
        path: file that run.py wrote.

    Returns:
        the checkpoint; `KEY` holds what rebuilds its network, in the current form.

    Raises:
        InputError: the file is missing, damaged, from another program, or states impossible values.
    """
    checkpoint = read(Path(path))
    if not isinstance(checkpoint, dict) or KEY not in checkpoint or "state_dict" not in checkpoint:
        raise InputError(
            f"{path} was not written by run.py (it does not say which network it holds); give one that was"
        )
    try:
        check(checkpoint)
    except UnfitError as error:
        raise InputError(f"{path} is refused: {error}") from error
    checkpoint[KEY]["network"] = upgraded(checkpoint[KEY]["network"])
    return checkpoint


def build_network(checkpoint: Mapping[str, Any], path: str | Path) -> nn.Module:
    """Build the network that a checkpoint describes and load its weights.

    Args:
        checkpoint: result of `load`.
        path: its file, named in messages.

    Returns:
        the network, on the CPU, in evaluation mode.

    Raises:
        InputError: the checkpoint describes no network of partwise, or one that its weights do not fit.
    """
    prefix = "network."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    return build(checkpoint[KEY]["network"], weights, path)


def start_from(network: nn.Module, paths: Sequence[str | Path], num_classes: int | None = None) -> None:
    """Load the weights of trained networks into parts of a network.

    A trained network of the same type as parts of `network` is loaded into each of these; otherwise, parts of the same
    name are. A frame model thus provides ATEN's feature and heads, a flow network ATEN's flow. A child that the trained
    network does without, such as the poses of a Pose2Seg that was trained on true ones, stays as it is.

    Args:
        network: receives the weights.
        paths: checkpoints; later ones override earlier ones.
        num_classes: of the network, background included. The last layers of one that was trained on another number stay
            as they are, with a warning. None takes whole networks alone.

    Raises:
        InputError: a checkpoint cannot be read, has no part of the network, or has one of another size.
    """
    for path in paths:
        checkpoint = load(path)
        trained = build_network(checkpoint, path)
        classes = len(checkpoint[KEY]["label_set"]["names"]), num_classes
        places = [part for part in network.modules() if type(part) is type(trained)]
        own = dict(network.named_children())
        pairs = [(part, trained) for part in places] or [
            (own[name], part) for name, part in trained.named_children() if name in own
        ]
        if not pairs:
            raise InputError(f"{path} holds a {type(trained).__name__}, no part of which fits {type(network).__name__}")
        for part, source in pairs:
            try:
                kept = _classifiers(source.state_dict(), part.state_dict(), *classes)
                part.load_state_dict({**_of_other_children(part, source), **source.state_dict(), **kept})
            except RuntimeError as error:
                raise InputError(
                    f"{path}: its weights do not fit ({' '.join(str(error).split())[:160]}...); "
                    "set model.network and image_size as that run had them"
                ) from error
            if kept:
                warn_once(f"{path} has {classes[0]} classes, this run {classes[1]}: {', '.join(kept)} start anew")


def _of_other_children(part: nn.Module, source: nn.Module) -> dict[str, Tensor]:
    """Take the weights of a part's children that a source of the same type does not have at all."""
    absent = dict(part.named_children()).keys() - dict(source.named_children()).keys()
    return {key: value for key, value in part.state_dict().items() if key.partition(".")[0] in absent}


def _classifiers(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], trained: int, wanted: int | None
) -> dict[str, Tensor]:
    """Take a part's own weights whose first side is its number of classes, where `state` has another number."""
    return {
        key: own[key]
        for key, value in state.items()
        if key in own
        and (value.shape[:1], own[key].shape[:1]) == ((trained,), (wanted,))
        and value.shape != own[key].shape
        and value.shape[1:] == own[key].shape[1:]
    }


def check_fit(checkpoint: Mapping[str, Any], experiment: str, label_set: LabelSet, path: str | Path) -> None:
    """Check that a checkpoint belongs to an experiment and to a label set.

    Args:
        checkpoint: result of `load`.
        experiment: name of the experiment.
        label_set: label set of the data.
        path: the checkpoint's file, named in messages.

    Raises:
        InputError: the checkpoint is of another experiment or label set.
    """
    trained = checkpoint[KEY]["experiment"]
    if experiment != trained:
        raise InputError(
            f"{path} was trained by experiment={trained}, not {experiment}; leave experiment= out or correct it"
        )
    labels = checkpoint[KEY]["label_set"]
    if labels != label_set.state():
        raise InputError(f"{path} parses {labels['name']}'s classes, the data have {label_set.name}'s; they do not fit")
