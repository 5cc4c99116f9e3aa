"""Parsers from checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from partwise.checkpoints.loading import KEY, build_network, check_fit, load
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.models.contract import FollowsPersons, FromPoses, Network
from partwise.ops.resize import canvas_size
from partwise.predict.detectors import Detector, boxes_of_file, boxes_of_parser, torchvision_detector
from partwise.predict.frames import FrameParser
from partwise.predict.posed import PosedParser
from partwise.predict.tracklets import TrackletParser
from partwise.predict.views import SlidingWindows, with_views


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
    keypoints: str | None = None,
) -> FrameParser | TrackletParser:
    """Load the parser of a checkpoint.

    Args:
        path: file of the checkpoint.
        device: device of the network.
        experiment: experiment that the checkpoint must be of; None accepts any.
        scales: factors on the input's size whose probabilities are averaged; other than 1 alone for dense parsers of
            images only.
        flip: also average the probabilities of the mirror image, for dense parsers of images only.
        size: side of a larger square input in pixels, or its (height, width), which a dense parser of images parses in
            windows of the trained size. None takes the trained size.
        smoothing: weight of earlier frames in a video, 0 (none) to below 1, for dense parsers of images only.
        bfloat16: run convolutions in bfloat16, those of a detector from a checkpoint included.
        channels_last: keep the network in channels-last memory layout, and that of a detector from a checkpoint.
        detector: finds the persons whose tracklets are parsed: "torchvision", a checkpoint, or a JSON file of boxes.
            None takes every frame as a crop of one person. For TCNet only.
        scale_search: the boxes of tracklets may grow and shrink.
        keypoints: JSON file of poses in COCO's form, of which each gets a mask; None lets the network find persons.
            For networks that are `FromPoses` only.

    Returns:
        a `TrackletParser` with `detector`, a `PosedParser` with `keypoints`, else a `FrameParser`.

    Raises:
        InputError: the checkpoint cannot be read or is of another experiment, its network does not support an option,
            or the detector cannot be loaded.
    """
    checkpoint = load(path)
    about = checkpoint[KEY]
    label_set = LabelSet.from_state(about["label_set"])
    check_fit(checkpoint, experiment or about["experiment"], label_set, path)
    network = build_network(checkpoint, path)
    if not isinstance(network, Network):
        raise InputError(f"{path} holds a {type(network).__name__}, which parses nothing; give a parser's checkpoint")
    if keypoints is not None:
        views = tuple(scales) != (1.0,) or flip or size is not None or smoothing != 0 or detector is not None
        _check_takes_poses(network, keypoints, views)
    network = with_views(network, label_set, scales, flip)
    canvas, stretch = about["image_size"], about.get("stretch", False)
    if size is not None:
        network, canvas = SlidingWindows(network, canvas_size(canvas)), size
    if channels_last:
        network.to(memory_format=torch.channels_last)
    if detector is not None:
        if not isinstance(network, FollowsPersons):
            raise InputError(f"detector={detector}: {type(network).__name__} parses whole frames; leave it out")
        find = _detector(detector, device, bfloat16, channels_last)
        return TrackletParser(network, label_set, canvas, device, find, scale_search, bfloat16)
    if keypoints is not None:
        return PosedParser(network, label_set, canvas, device, Path(keypoints), bfloat16, stretch)
    return FrameParser(network, label_set, canvas, device, smoothing=smoothing, bfloat16=bfloat16, stretch=stretch)


def _check_takes_poses(network: object, keypoints: str, views: bool) -> None:
    if not isinstance(network, FromPoses):
        raise InputError(
            f"keypoints={keypoints}: {type(network).__name__} takes no poses from a json; leave it out, or "
            "take a checkpoint of self_supervised_* or pose2seg_module_coco"
        )
    if views:
        raise InputError(
            f"keypoints={keypoints}: {type(network).__name__} sees a picture once, with its poses; leave detector, "
            "testing.views, testing.size and testing.smoothing unset"
        )


def _detector(name: str, device: torch.device, bfloat16: bool, channels_last: bool) -> Detector:
    if name == "torchvision":
        return torchvision_detector(device)
    if name.endswith(".json"):
        return boxes_of_file(name)
    return boxes_of_parser(load_parser(name, device, bfloat16=bfloat16, channels_last=channels_last))
