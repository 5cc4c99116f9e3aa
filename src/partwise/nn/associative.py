"""Associative embedding (Newell et al., NIPS 2017): joints and tags, which tell the persons that they belong to apart.

Maps lie at stride 4: pixel i of a map is pixel 4 i + 1.5 of the image. A person's joints are those whose tags are
alike. The release's last step, which gives every person all joints, is left out: there would be none to repair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from partwise.arrays import Float64Array
from partwise.nn.hourglass import STRIDE

SIGMA = 2.0  # of the heatmaps' Gaussians, pixels of the maps
TAG_WEIGHT = 1e-3  # of both tag losses
CANDIDATES = 30  # of each joint in an image
THRESHOLD = 0.1  # that a joint's score exceeds
TAG_THRESHOLD = 1.0  # largest distance of a joint's tag from its person's, exclusive
#: Order in which joints are given to persons: head, trunk, arms and legs from within outwards.
ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 13, 14, 9, 10, 15, 16)
_FORBIDDEN = 1e10


def to_maps(places: Tensor) -> Tensor:
    """Convert x, y (..., 2) in pixels of the image to pixels of the maps."""
    return (places + 0.5) / STRIDE - 0.5


def to_image(places: Tensor) -> Tensor:
    """Convert x, y (..., 2) in pixels of the maps to pixels of the image."""
    return (places + 0.5) * STRIDE - 0.5


def heatmap_target(poses: Tensor, size: tuple[int, int]) -> Tensor:
    """Draw the joints of an image's persons; where Gaussians overlap the larger counts.

    Args:
        poses: (N, K, 3) x, y in pixels of the maps and visibility, 0 = missing.
        size: (h, w) of the maps.

    Returns:
        (K, h, w) in [0, 1].
    """
    if not len(poses):
        return poses.new_zeros(poses.shape[1], *size)
    xs, ys = (torch.arange(side, device=poses.device, dtype=poses.dtype) for side in (size[1], size[0]))
    x, y, seen = poses.unbind(-1)
    across, down = ((-(line - place[..., None]).square() / (2 * SIGMA**2)).exp() for line, place in ((xs, x), (ys, y)))
    maps = down[..., :, None] * across[..., None, :] * (seen > 0)[..., None, None]
    return maps.amax(0)


def supervised(poses: Tensor, size: tuple[int, int]) -> Tensor:
    """Mark where heatmaps supervise if a person's missing joints are unknown: not in the box of its known joints.

    Args:
        poses: (N, K, 3) in pixels of the maps.
        size: (h, w) of the maps.

    Returns:
        (K, h, w) bool.
    """
    xs, ys = (torch.arange(side, device=poses.device) for side in (size[1], size[0]))
    known = poses[..., 2] > 0  # (N, K)
    places = poses[..., :2]
    low = places.masked_fill(~known[..., None], torch.inf).amin(1)
    high = places.masked_fill(~known[..., None], -torch.inf).amax(1)
    grown = (high - low) / 4 + 2 * SIGMA
    low, high = low - grown, high + grown
    columns = (xs >= low[:, :1]) & (xs <= high[:, :1])
    rows = (ys >= low[:, 1:]) & (ys <= high[:, 1:])
    boxes = rows[:, :, None] & columns[:, None, :]  # (N, h, w)
    unknown = boxes[:, None] & (~known & known.any(1, keepdim=True))[..., None, None]
    return ~unknown.any(0)


def heatmap_loss(heatmaps: Tensor, poses: Sequence[Tensor], unknown: bool = False) -> Tensor:
    """Compute the mean squared error () of heatmaps.

    Args:
        heatmaps: (B, K, h, w).
        poses: (N, K, 3) of each image, in pixels of the maps.
        unknown: whether missing joints are unknown; otherwise they are nowhere.
    """
    size = (heatmaps.shape[-2], heatmaps.shape[-1])
    target = torch.stack([heatmap_target(p, size) for p in poses])
    error = (heatmaps - target).square()
    if unknown:
        error = error * torch.stack([supervised(p, size) for p in poses])
    return error.mean()


def tag_losses(tags: Tensor, poses: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Compute how far tags are from their person's mean, and how near the means of an image's persons are.

    pull = mean over persons of the mean of (tag - mean)^2; push = half the mean over pairs of exp(-(difference)^2).

    Args:
        tags: (B, K, h, w).
        poses: (N, K, 3) of each image, in pixels of the maps.

    Returns:
        pull () and push (), means over the images.
    """
    pairs = [_of_image(*each) for each in zip(tags, poses, strict=True)]
    pull, push = (torch.stack(losses).mean() for losses in zip(*pairs, strict=True))
    return pull, push


def _of_image(tags: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
    """Pull and push of one image's persons, those without a joint left out."""
    height, width = tags.shape[-2:]
    x, y = poses[..., 0].round().long(), poses[..., 1].round().long()
    seen = (poses[..., 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    kept = seen.any(1)
    x, y, seen = (x.clamp(0, width - 1)[kept], y.clamp(0, height - 1)[kept], seen[kept])
    if not len(seen):
        return 0 * tags.sum(), 0 * tags.sum()
    joints = torch.arange(tags.shape[0], device=tags.device)
    own = tags[joints, y, x]  # (N, K)
    count = seen.sum(1)
    mean = (own * seen).sum(1) / count
    pull = (((own - mean[:, None]).square() * seen).sum(1) / count).mean()
    if len(mean) < 2:
        return pull, 0 * pull
    near = (-(mean[:, None] - mean).square()).exp()
    others = len(mean) * (len(mean) - 1)
    return pull, 0.5 * (near.sum() - len(mean)) / others


@dataclass
class _Group:
    """A person while joints are given out: rows x, y, score by joint, and the tags so far."""

    pose: Float64Array  # (K, 3)
    tags: list[Float64Array]

    @property
    def tag(self) -> Float64Array:
        """The mean of its joints' tags."""
        return np.asarray(np.mean(self.tags, 0))


def group(heatmaps: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
    """Find the joints of an image and give those with like tags to the same person.

    Args:
        heatmaps: (K, h, w).
        tags: (K, h, w, D), D tags of each joint and pixel.

    Returns:
        poses (N, K, 3), x, y in pixels of the maps and score, all 0 where a person lacks a joint; and the persons'
        scores (N,), the means over all K joints.
    """
    scores, places, tag = _candidates(heatmaps, tags)
    people: list[_Group] = []
    for joint in ORDER if len(heatmaps) == len(ORDER) else range(len(heatmaps)):
        kept = scores[joint] > THRESHOLD
        found = np.concatenate([places[joint], scores[joint, :, None]], 1)[kept]
        for n, person in enumerate(_persons_of(people, found[:, 2], tag[joint][kept])):
            if person is None:
                people.append(person := _Group(np.zeros((len(heatmaps), 3)), []))
            person.pose[joint] = found[n]
            person.tags.append(tag[joint][kept][n])
    if not people:
        return heatmaps.new_zeros(0, len(heatmaps), 3), heatmaps.new_zeros(0)
    poses = heatmaps.new_tensor(np.stack([person.pose for person in people]))
    poses[..., :2] = _quarter(poses, heatmaps)
    return poses, poses[..., 2].mean(1)


def _candidates(heatmaps: Tensor, tags: Tensor) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Scores (K, n), places x, y (K, n, 2) and tags (K, n, D) of the highest local maxima of each joint."""
    peaks = heatmaps * (F.max_pool2d(heatmaps[None], 3, 1, 1)[0] == heatmaps)
    flat = peaks.flatten(1)
    scores, at = flat.topk(min(CANDIDATES, flat.shape[1]), 1)
    places = torch.stack([at % heatmaps.shape[-1], at.div(heatmaps.shape[-1], rounding_mode="floor")], -1)
    own = tags.flatten(1, 2).gather(1, at[..., None].expand(-1, -1, tags.shape[-1]))
    return tuple(x.double().cpu().numpy() for x in (scores, places, own))  # type: ignore[return-value]


def _persons_of(people: Sequence[_Group], scores: Float64Array, tags: Float64Array) -> list[_Group | None]:
    """Choose for each of n candidates of a joint the person whose tag is nearest; None begins a new one.

    Rounded distances come first, then the higher score.
    """
    if not people or not len(scores):
        return [None] * len(scores)
    distance = np.linalg.norm(tags[:, None] - np.stack([person.tag for person in people]), axis=-1)
    cost = distance.round() * 100 - scores[:, None]
    nobody = np.full((len(scores), max(len(scores) - len(people), 0)), _FORBIDDEN)
    chosen = dict(zip(*linear_sum_assignment(np.concatenate([cost, nobody], 1)), strict=True))
    near = {n: m for n, m in chosen.items() if m < len(people) and distance[n, m] < TAG_THRESHOLD}
    return [people[near[n]] if n in near else None for n in range(len(scores))]


def _quarter(poses: Tensor, heatmaps: Tensor) -> Tensor:
    """Move joints (N, K, 3) by a quarter pixel towards the higher of the two neighbours, in x and in y: (N, K, 2)."""
    padded = F.pad(heatmaps[None], (1, 1, 1, 1), mode="replicate")[0]
    x, y = poses[..., 0].long() + 1, poses[..., 1].long() + 1
    joints = torch.arange(len(heatmaps), device=heatmaps.device).expand_as(x)
    right = padded[joints, y, x + 1] - padded[joints, y, x - 1]
    below = padded[joints, y + 1, x] - padded[joints, y - 1, x]
    return poses[..., :2] + 0.25 * torch.stack([right, below], -1).sign() * (poses[..., 2:] > 0)
