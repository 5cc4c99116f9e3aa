"""Name and shape what travels between data, models, metrics and pictures: every field, with its unit, once.

B images or clips, T frames, H x W pixels, N persons, M part instances, C classes, K keypoints.
"""

from __future__ import annotations

from typing import NotRequired, TypeAlias, TypedDict, final

import torch
from torch import Tensor


@final
class InstanceMap(TypedDict):
    """Disjoint objects of one image. Object n (1-based) is the pixels where `map == n`; its row is n - 1.

    Ids without pixels are allowed and mean an empty object.
    """

    map: Tensor  # (H, W) int64, 0 = nobody
    classes: Tensor  # (n,) int64; all 1 for persons
    scores: NotRequired[Tensor]  # (n,) float32 in [0, 1]; predictions only


@final
class InstanceMasks(TypedDict):
    """Objects of one image that may overlap. Object n (1-based) is row n - 1 of every field.

    Masks are plain tensors, a byte a pixel: twenty people at 640 x 480 take 6 MB, for as long as their image is worked
    on. What is kept for longer, by metrics and in files, is compressed there.
    """

    masks: Tensor  # (N, H, W) bool; an object without pixels is empty
    classes: Tensor  # (N,) int64; all 1 for persons
    scores: NotRequired[Tensor]  # (N,) float32 in [0, 1]; predictions only
    keypoints: NotRequired[Tensor]  # (N, K, 3) float32 x, y in pixels; visibility 0/1/2 as COCO, of predictions >= 0


Instances: TypeAlias = InstanceMap | InstanceMasks


def masks_of(objects: Instances) -> Tensor:
    """Return the masks (N, H, W) bool of objects in either form.

    Raises:
        ValueError: a map has an id without a row, or masks are no bool of as many objects as there are classes.
    """
    count = len(objects["classes"])
    if "map" not in objects:
        masks = objects["masks"]
        if masks.dtype != torch.bool or masks.ndim != 3 or len(masks) != count:
            raise ValueError(f"masks are {masks.dtype} {tuple(masks.shape)}, not bool ({count}, H, W)")
        return masks
    ids = objects["map"]
    low, high = (int(x) for x in ids.aminmax())
    if low < 0 or high > count:
        raise ValueError(f"the map holds id {low if low < 0 else high} but has {count} rows")
    return ids == torch.arange(1, count + 1, device=ids.device).view(-1, 1, 1)


def back_to_front(objects: InstanceMasks) -> list[int]:
    """Order overlapping objects for drawing.

    A higher score is in front, without scores the smaller mask; of equals the earlier row.

    Returns:
        All rows, the last one in front.
    """
    rank = objects["scores"] if "scores" in objects else -objects["masks"].sum((1, 2))
    return rank.argsort(descending=True, stable=True).flip(0).tolist()


def map_of(objects: Instances) -> Tensor:
    """Return the map (H, W) of objects in either form, 0 = nobody; the front one of those that overlap."""
    if "map" in objects:
        return objects["map"]
    front = objects["classes"].new_zeros(objects["masks"].shape[1:])
    for row in back_to_front(objects):
        front[objects["masks"][row]] = row + 1
    return front


class Annotation(TypedDict):
    """The ground truth of one image at its native size, as metrics need it.

    Maps are of smaller integers before `on_after_batch_transfer`.
    """

    parts: Tensor  # (H, W) int64, 255 = ignored
    persons: NotRequired[Instances]
    part_instances: NotRequired[InstanceMap]


class Parsing(TypedDict):
    """A parser's result for one image at its native size. Dense parsers give `parts` alone."""

    parts: Tensor  # (H, W) int64
    persons: NotRequired[Instances]
    boxes: NotRequired[Tensor]  # (N, 4) float32 xyxy pixels, row n of `persons`
    part_instances: NotRequired[InstanceMap]


@final
class ImageBatch(TypedDict):
    """Letterboxed training or evaluation images."""

    images: Tensor  # (B, 3, H, W) float32 RGB in [0, 1], or uint8 in 0..255 before `on_after_batch_transfer`
    parts: NotRequired[Tensor]  # (B, H, W) int64, 0 = background, 255 = ignored (padding too)
    instances: NotRequired[Tensor]  # (B, H, W) int64 person ids, 0 = nobody
    keypoints: NotRequired[list[Tensor]]  # an image (N, K, 3) float32 x, y in pixels and visibility 0/1/2 as COCO
    index: list[int]  # position of each sample in its split
    sample_ids: list[str]  # for messages and file names
    annotations: NotRequired[list[Annotation]]  # native ground truth; evaluation only


@final
class ClipBatch(TypedDict):
    """Clips with one labelled frame each."""

    frames: Tensor  # (B, T, 3, H, W) float32 RGB in [0, 1]; the labelled one, the target, is the last
    offsets: NotRequired[Tensor]  # (B, T) int64, frames from the target to each; 0 for the target itself
    parts: Tensor  # (B, H, W) int64 of the target frame
    instances: NotRequired[Tensor]  # (B, H, W) int64 person ids of the target frame
    index: list[int]
    sample_ids: list[str]
    annotations: NotRequired[list[Annotation]]


def pictures(batch: ImageBatch | ClipBatch) -> Tensor:
    """Return the images (B, 3, H, W) or the clips (B, T, 3, H, W) of a batch."""
    return batch["frames"] if "frames" in batch else batch["images"]


class FlowBatch(TypedDict):
    """Pairs of frames with the flow between them, for training a flow network."""

    frames: Tensor  # (B, 2, 3, H, W) float32 RGB in [0, 1]
    flow: Tensor  # (B, 2, H, W) float32 (dx, dy) pixels, first to second frame
    index: list[int]
    sample_ids: list[str]


class WindowBatch(TypedDict):
    """Windows of consecutive frames without labels."""

    frames: Tensor  # (B, T, 3, H, W) float32 RGB in [0, 1]; T odd, the middle one is the target
    sizes: list[tuple[int, int]]  # native (height, width) of each video
    index: list[int]
    sample_ids: list[str]  # of the middle frames
