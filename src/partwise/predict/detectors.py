"""Detectors of persons in a frame: a file of boxes, a parser of this suite, or torchvision."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from partwise.arrays import Picture
from partwise.errors import InputError
from partwise.io.boxes import REACH, fault_of_box
from partwise.io.json_file import Misfit, read_json
from partwise.nn.weights import TORCH_HUB, missing_weights

Boxes = list[tuple[float, float, float, float]]
Detector = Callable[[Picture], Boxes]

_PERSON, _LEAST = 1, 0.7  # torchvision's label of persons, and the score threshold


def boxes_of_file(file: str | Path) -> Detector:
    """Make a detector that returns the boxes of a JSON file for every frame; there may be none.

    The detector raises InputError if a box lies outside the frame, or reaches more than ten times its longer side.

    Args:
        file: JSON file of [[x1, y1, x2, y2], ...] in pixels.

    Returns:
        the detector.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    want = "it should hold [[x1, y1, x2, y2], ...] in pixels, with x1 < x2 and y1 < y2"
    try:
        boxes: Boxes = read_json(Path(file), list[tuple[float, float, float, float]])
    except Misfit as misfit:
        place = f"box {int(misfit.path[0]) + 1}" if misfit.path else "it"
        raise InputError(f"detector={file}: {place} {misfit.says}; {want}") from misfit
    for number, box in enumerate(boxes, 1):
        fault = fault_of_box(box) or ("is empty" if box[2] == box[0] or box[3] == box[1] else None)
        if fault:
            raise InputError(f"detector={file}: box {number}, {list(box)}, {fault}; {want}")

    def detect(frame: Picture) -> Boxes:
        height, width = frame.shape[:2]
        for number, box in enumerate(boxes, 1):
            fault = fault_of_box(box, REACH * max(height, width))
            if box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0:
                fault = "is outside"
            if fault:
                raise InputError(
                    f"detector={file}: box {number}, {list(box)}, {fault}, but the frame is {width}x{height}; take the "
                    "boxes of this video"
                )
        return boxes

    return detect


def boxes_of_parser(parser: Any) -> Detector:
    """Make a detector of the persons that a parser such as Parsing R-CNN finds.

    The detector raises InputError if the parser finds no boxes of persons, or boxes that are not finite.

    Args:
        parser: parser of frames with `stream`.

    Returns:
        the detector.
    """

    def detect(frame: Picture) -> Boxes:
        parsing = next(iter(parser.stream([frame])))
        if "boxes" not in parsing:
            raise InputError("the detector's checkpoint finds no persons; take one of Parsing R-CNN with persons")
        return _usable(parsing["boxes"].tolist())

    return detect


def torchvision_detector(device: torch.device) -> Detector:
    """Make a detector of torchvision's Faster R-CNN, trained on COCO.

    Args:
        device: device of the network.

    Returns:
        the detector.

    Raises:
        InputError: the weights cannot be loaded.
    """
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights, fasterrcnn_resnet50_fpn

    weights = FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    try:
        network = fasterrcnn_resnet50_fpn(weights=weights).to(device).eval()
    except Exception as error:
        file, instead = weights.url.rsplit("/", 1)[-1], "take detector=CKPT of Parsing R-CNN or detector=BOXES.json"
        raise missing_weights("detector=torchvision: its weights", error, file, TORCH_HUB, instead) from error

    @torch.inference_mode()
    def detect(frame: Picture) -> Boxes:
        image = torch.from_numpy(frame).permute(2, 0, 1).to(device).float() / 255
        found = network([image])[0]
        chosen = (found["labels"] == _PERSON) & (found["scores"] >= _LEAST)
        return _usable(found["boxes"][chosen].tolist())

    return detect


def _usable(boxes: list[list[float]]) -> Boxes:
    """The boxes that are not empty."""
    if not all(math.isfinite(corner) for box in boxes for corner in box):
        raise InputError("the detector finds boxes that are not finite; its weights are damaged, take others")
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes if x2 > x1 and y2 > y1]
