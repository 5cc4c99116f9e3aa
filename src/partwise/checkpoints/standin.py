"""Weights that the package brings: networks of the demo profile's sizes, trained on rendered people.

A file holds the description of its network and those weights that it does not share with another file, in float16.
`scripts/make_standin_weights.py` trains and writes them; a card beside each says on what.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open
from torch import Tensor

from partwise.errors import InputError

#: Where a trunk's weights come from; true and false mean imagenet and none.
Pretrained = Literal["imagenet", "standin", "none"] | bool

PREFIX = "standin/"  # of the names by which checkpoints of this folder are asked for
FOLDER = Path(__file__).parents[1] / "weights"
ABOUT, PARTS = "partwise", "parts"  # entries of a file's metadata: what rebuilds the network, and files of its parts
#: File and prefix of the weights of each trunk, by name and width.
TRUNKS = {
    "resnet18 x 0.5": ("parsing_rcnn_vip", "network.feature.backbone.body."),
}


def initial_weights(pretrained: Pretrained) -> Literal["imagenet", "standin", "none"]:
    """Return the source of a trunk's initial weights by its name, true and false included.

    Raises:
        InputError: there is no such source.
    """
    if isinstance(pretrained, bool):
        return "imagenet" if pretrained else "none"
    if pretrained not in ("imagenet", "standin", "none"):
        raise InputError(f"pretrained={pretrained} does not exist; it is imagenet, standin or none")
    return pretrained


def names() -> list[str]:
    """List the checkpoints that the package brings, each beginning with `PREFIX`."""
    return [f"{PREFIX}{file.stem}" for file in sorted(FOLDER.glob("*.safetensors"))]


def trunk(name: str) -> dict[str, Tensor]:
    """Read the stand-in weights of a trunk.

    Args:
        name: name and width, one of `TRUNKS`.

    Returns:
        its state dict, float32, on the CPU.

    Raises:
        InputError: there are none.
    """
    if name not in TRUNKS:
        raise InputError(
            f"pretrained=standin has no weights of {name}, only of {' and '.join(TRUNKS)}; set pretrained=none"
        )
    file, prefix = TRUNKS[name]
    return {key.removeprefix(prefix): value for key, value in _tensors(file).items() if key.startswith(prefix)}


def read(name: str) -> dict[str, Any]:
    """Read a whole network.

    Args:
        name: "standin/NAME", one of `names`.

    Returns:
        a checkpoint: what rebuilds the network, and its state dict, float32, on the CPU.

    Raises:
        InputError: there is no such network.
    """
    if name not in names():
        raise InputError(f"{name} does not exist; the package brings {', '.join(names())}")
    own = name.removeprefix(PREFIX)
    metadata = _metadata(own)
    state = {
        key: value
        for prefix, part in json.loads(metadata[PARTS]).items()
        for key, value in shared(prefix, part).items()
    }
    return {ABOUT: json.loads(metadata[ABOUT]), "state_dict": state | _tensors(own)}


def shared(prefix: str, part: str) -> dict[str, Tensor]:
    """Read what a network shares with another one.

    Args:
        prefix: of the names of the shared weights in the network.
        part: "NAME" of the other one, or "NAME/PREFIX" of its weights that are shared.

    Returns:
        the weights under their names in the network, float32, on the CPU.
    """
    name, _, inner = part.partition("/")
    whole = f"network.{inner}"
    weights = read(f"{PREFIX}{name}")["state_dict"]
    return {f"network.{prefix}{k.removeprefix(whole)}": v for k, v in weights.items() if k.startswith(whole)}


def _metadata(file: str) -> dict[str, str]:
    with safe_open(FOLDER / f"{file}.safetensors", "pt") as held:
        metadata: dict[str, str] = held.metadata()
    return metadata


def _tensors(file: str) -> dict[str, Tensor]:
    return {key: value.float() if value.is_floating_point() else value for key, value in _stored(file).items()}


def _stored(file: str) -> dict[str, Tensor]:
    with safe_open(FOLDER / f"{file}.safetensors", "pt") as held:
        return {key: held.get_tensor(key) for key in held.keys()}  # noqa: SIM118 it is no dictionary
