"""Detectors of persons in a frame: a file of boxes, a parser of this suite, or torchvision."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from partwise.arrays import Picture
from partwise.errors import InputError
from partwise.io.text import read_text

Boxes = list[tuple[float, float, float, float]]
Detector = Callable[[Picture], Boxes]

_PERSON, _LEAST = 1, 0.7  # torchvision's label of persons, and the score threshold


def boxes_of_file(file: str | Path) -> Detector:
    """Make a detector that returns the boxes of a JSON file for every frame.

    Args:
        file: JSON file of [[x1, y1, x2, y2], ...] in pixels.

    Returns:
        the detector.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    try:
        boxes = [tuple(float(v) for v in box) for box in json.loads(read_text(file))]
    except (ValueError, TypeError) as error:
        raise InputError(f"detector={file} cannot be read ({error}); it should hold [[x1, y1, x2, y2], ...]") from error
    if not boxes or any(len(box) != 4 or box[2] <= box[0] or box[3] <= box[1] for box in boxes):
        raise InputError(f"detector={file} should hold [[x1, y1, x2, y2], ...] with x1 < x2 and y1 < y2, in pixels")
    return lambda frame: [(box[0], box[1], box[2], box[3]) for box in boxes]


def boxes_of_parser(parser: Any) -> Detector:
    """Make a detector of the persons that a parser such as Parsing R-CNN finds.

    The detector raises InputError if the parser finds no boxes of persons.

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
        raise InputError(
            f"detector=torchvision: its weights cannot be had ({type(error).__name__}); place "
            f"{weights.url.rsplit('/', 1)[-1]} in the torch hub cache (TORCH_HOME), or take detector=CKPT of Parsing "
            "R-CNN or detector=BOXES.json"
        ) from error

    @torch.inference_mode()
    def detect(frame: Picture) -> Boxes:
        image = torch.from_numpy(frame).permute(2, 0, 1).to(device).float() / 255
        found = network([image])[0]
        chosen = (found["labels"] == _PERSON) & (found["scores"] >= _LEAST)
        return _usable(found["boxes"][chosen].tolist())

    return detect


def _usable(boxes: list[list[float]]) -> Boxes:
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes if x2 > x1 and y2 > y1]
