"""Checkpoints: written atomically, of plain containers only, and enough by themselves to parse pictures.

A checkpoint may come from anywhere. What it says is checked before it is used; see also `partwise.networks`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from partwise.checkpoint_checks import equal, fault, read
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.models.contract import FollowsPersons, Network
from partwise.networks import build
from partwise.nn.multi_scale import SlidingWindows, with_views
from partwise.ops.resize import canvas_size
from partwise.parsers import FrameParser
from partwise.tracklets import Detector, TrackletParser, boxes_of_file, boxes_of_parser, torchvision_detector

KEY = "partwise"  # where a checkpoint keeps what rebuilds its network
#: What a training goes on from, beside the weights.
STATE = ("pytorch-lightning_version", "epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write to a temporary name and rename: a kill while saving leaves the last whole checkpoint."""

    def __init__(self) -> None:
        self.expected: Mapping[str, Any] = {}  # what `Provenance` says of the run
        self._written: set[str] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save and then rename."""
        temporary = Path(f"{path}.tmp")
        super().save_checkpoint(checkpoint, temporary, storage_options)
        os.replace(temporary, path)
        self._written.add(str(path))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint to go on from; one without a description where the Trainer has no `Provenance`.

        Raises:
            InputError: also where it holds weights alone, or is of another network or other data than the run.
        """
        checkpoint: dict[str, Any] = load(path) if self.expected else read(Path(path))
        other = [name for name, value in self.expected.items() if not equal(checkpoint[KEY].get(name, value), value)]
        if other:
            raise InputError(f"{path} is not of this run, its {other[0]} is another: start a new run without resume=")
        if missing := [name for name in STATE if name not in checkpoint]:
            raise InputError(f"{path} has no {missing[0]}, which going on takes: start a new run with init=[{path}]")
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint that this process wrote: the list of older ones that a checkpoint holds may be wrong."""
        if str(path) in self._written:
            Path(path).unlink(missing_ok=True)


class Provenance(pl.Callback):
    """Puts what `load_network` needs into every checkpoint.

    Args:
        experiment: name of the experiment.
        network: `_target_` and arguments of the network, plain containers.
        label_set: of its parts.
        image_size: side of its square input, or its (height, width).
        synthetic: whether it was trained on the stand-in.
        stretch: whether images fill the input instead of keeping their aspect.
    """

    def __init__(
        self,
        *,
        experiment: str,
        network: Mapping[str, Any],
        label_set: LabelSet,
        image_size: int | Sequence[int],
        synthetic: bool,
        stretch: bool = False,
    ) -> None:
        self.state = {
            "experiment": experiment,
            "network": dict(network),
            "label_set": label_set.state(),
            "image_size": image_size,
            "synthetic": synthetic,
            "stretch": stretch,
        }

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Say what a checkpoint must be of that the Trainer is to go on from."""
        if isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO):
            trainer.strategy.checkpoint_io.expected = self.state

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the description."""
        checkpoint[KEY] = self.state


class RandomState(pl.Callback):
    """Carries torch's, numpy's and python's random numbers across an interruption, as plain values.

    Evaluation leaves them as it found them, so that a run resumed behind one equals a run that went through it.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Any] | None = None
        self._before_evaluation: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """The generators' states now."""
        return random_state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states for the first step: setting up loaders may draw in between."""
        self._pending = state_dict

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore them right before the first resumed step."""
        if self._pending is not None:
            set_random_state(self._pending)
            self._pending = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the states."""
        self._before_evaluation = random_state()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on from the remembered states."""
        set_random_state(self._before_evaluation)


def random_state() -> dict[str, Any]:
    """States of the global generators, in containers that `torch.load(weights_only=True)` accepts."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - libraries draw from it
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
        "python": [version, list(internal), gauss],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set the global generators to what `random_state` returned."""
    name, keys, position, has_gauss, cached = state["numpy"]
    version, internal, gauss = state["python"]
    torch.set_rng_state(state["torch"].cpu())
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
    random.setstate((version, tuple(internal), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this project onto the CPU and check what it says of itself.

    Raises:
        InputError: the file is missing, damaged, another program's, or says what cannot be.
    """
    checkpoint = read(Path(path))
    if not isinstance(checkpoint, dict) or KEY not in checkpoint or "state_dict" not in checkpoint:
        raise InputError(
            f"{path} was not written by run.py (it does not say which network it holds); give one that was"
        )
    if wrong := fault(checkpoint[KEY], checkpoint["state_dict"]):
        raise InputError(f"{path} is no checkpoint of run.py: {wrong}; do not use it")
    return checkpoint


def build_network(checkpoint: Mapping[str, Any], path: str | Path) -> nn.Module:
    """The network a checkpoint describes, with its weights; see `networks.build`."""
    prefix = "network."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    return build(checkpoint[KEY]["network"], weights, path)


def start_from(network: nn.Module, paths: Sequence[str | Path]) -> None:
    """Load trained parts of other networks: whatever part has the same name, or is that other network.

    A frame model gives ATEN its feature and heads; a flow network goes where the network keeps one of its kind.

    Args:
        network: receives the weights.
        paths: checkpoints, later ones over earlier ones.

    Raises:
        InputError: a checkpoint cannot be read, has no part of the network, or one of another size.
    """
    for path in paths:
        checkpoint = load(path)
        trained = build_network(checkpoint, path)
        places = [part for part in network.modules() if type(part) is type(trained)]
        own = dict(network.named_children())
        pairs = [(part, trained) for part in places] or [
            (own[name], part) for name, part in trained.named_children() if name in own
        ]
        if not pairs:
            raise InputError(f"{path} holds a {type(trained).__name__}, no part of which fits {type(network).__name__}")
        for part, source in pairs:
            try:
                part.load_state_dict(source.state_dict())
            except RuntimeError as error:
                raise InputError(
                    f"{path}: its weights do not fit ({' '.join(str(error).split())[:160]}...); "
                    "set model.network and image_size as that run had them"
                ) from error


def load_parser(
    path: str | Path,
    device: torch.device,
    experiment: str | None = None,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    size: int | Sequence[int] | None = None,
    smoothing: float = 0.0,
    bfloat16: bool = False,
    channels_last: bool = False,
    detector: str | None = None,
    scale_search: bool = False,
) -> FrameParser | TrackletParser:
    """The parser in a checkpoint.

    Args:
        path: of the checkpoint.
        device: where to run.
        experiment: the one that the user named; a checkpoint of another is refused.
        scales: see `MultiScale`, as for `flip`.
        flip: also parse the mirror image.
        size: of a larger input, which a dense parser parses in windows of the trained size.
        smoothing: see `FlowSmoother`.
        bfloat16: see `FrameParser`.
        channels_last: memory layout of the network.
        detector: finds the persons whose tracklets are parsed: "torchvision", a checkpoint, or a JSON file of boxes;
            None takes every frame for a crop of one person. Of TCNet only.
        scale_search: see `TrackletParser`.

    Raises:
        InputError: the checkpoint, or the detector, does not fit.
    """
    checkpoint = load(path)
    about = checkpoint[KEY]
    label_set = LabelSet.from_state(about["label_set"])
    check_fit(checkpoint, experiment or about["experiment"], label_set, path)
    network = build_network(checkpoint, path)
    if not isinstance(network, Network):
        raise InputError(f"{path} holds a {type(network).__name__}, which parses nothing; give a parser's checkpoint")
    network = with_views(network, label_set, scales, flip)
    canvas, stretch = about["image_size"], about.get("stretch", False)
    if size is not None:
        network, canvas = SlidingWindows(network, canvas_size(canvas)), size
    if channels_last:
        network.to(memory_format=torch.channels_last)
    if detector is not None:
        if not isinstance(network, FollowsPersons):
            raise InputError(f"detector={detector}: {type(network).__name__} parses whole frames; leave it out")
        find = _detector(detector, device)
        return TrackletParser(network, label_set, canvas, device, find, scale_search, bfloat16)
    return FrameParser(network, label_set, canvas, device, smoothing=smoothing, bfloat16=bfloat16, stretch=stretch)


def _detector(name: str, device: torch.device) -> Detector:
    if name == "torchvision":
        return torchvision_detector(device)
    return boxes_of_file(name) if name.endswith(".json") else boxes_of_parser(load_parser(name, device))


def check_fit(checkpoint: Mapping[str, Any], experiment: str, label_set: LabelSet, path: str | Path) -> None:
    """Raise InputError if a checkpoint is not of the experiment and the labels asked for."""
    trained = checkpoint[KEY]["experiment"]
    if experiment != trained:
        raise InputError(
            f"{path} was trained by experiment={trained}, not {experiment}; leave experiment= out or correct it"
        )
    labels = checkpoint[KEY]["label_set"]
    if labels != label_set.state():
        raise InputError(f"{path} parses {labels['name']}'s classes, the data have {label_set.name}'s; they do not fit")
