"""Associative embedding (Newell et al., NIPS 2017, arXiv:1611.05424): joints with tags, and persons made of them.

| paper | here     | shape                                                                        |
|-------|----------|------------------------------------------------------------------------------|
| h_k   | heatmaps | (B, K, h, w), where joints k are                                             |
| h     | tags     | (B, K, h, w) or of T values (B, K, h, w, T); alike for the joints of a person |
| x_nk  | joints   | (B, N, K, 3) x, y in pixels of the input, and visibility, 0 = unknown        |
| h-bar | means    | a person's mean tag                                                          |

Where a map's pixel is `stride` input pixels wide, input pixel x lies at (x + 1/2) / stride - 1/2 on the map: centres
are integers on both. Unlike in the release, heatmaps peak at the joint itself rather than at the pixel that holds it,
so that `decode` finds targets again to a quarter of a pixel; and a Gaussian is not cut off after 3.5 sigma, where it is
0.002.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from partwise.arrays import FloatArray, Int64Array
from partwise.nn.hourglass import STRIDE
from partwise.ops.flip import COCO_KEYPOINT_PAIRS, mirrored

SIGMA = 2.0  # of the heatmaps' Gaussians, in pixels of the map
TAG_WEIGHT = 1e-3  # of push and of pull
#: COCO's keypoints in the order in which persons are put together: face, shoulders, hips, arms, legs.
COCO_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
MOST = 30  # candidates of a joint, and persons
THRESHOLD = 0.1  # of a joint's score
TIE = 1e-6  # cost of a distance beside that of the rounded distance
TAG_THRESHOLD = 1.0  # distance of a joint's tag from its person's


class Persons(NamedTuple):
    """N persons of one image.

    Attributes:
        poses: (N, K, 3) x, y in pixels of the input and score in (0, 1]; 0, 0, 0 where a joint is missing.
        scores: (N,) mean scores of the K joints, missing ones included.
    """

    poses: Tensor
    scores: Tensor


class Candidates(NamedTuple):
    """The M highest peaks of each heatmap.

    Attributes:
        places: (B, K, M, 2) x, y in pixels of the map.
        scores: (B, K, M), highest first; 0 where a map has fewer peaks.
        tags: (B, K, M, T).
    """

    places: Tensor
    scores: Tensor
    tags: Tensor


def make_heatmaps(joints: Tensor, size: tuple[int, int], stride: int = STRIDE, sigma: float = SIGMA) -> Tensor:
    """Draw a Gaussian of height 1 at every known joint; where several meet the highest counts.

    Args:
        joints: (B, N, K, 3).
        size: (height, width) of the maps.
        stride: input pixels per pixel of the map.
        sigma: standard deviation in pixels of the map.

    Returns:
        (B, K, h, w); 0 where no joint is known on the map.
    """
    corner, known = _on_map(joints, size, stride)
    columns, rows = (
        (torch.arange(side, device=joints.device) + 0.5 - corner[..., axis, None]).square()
        for axis, side in enumerate((size[1], size[0]))
    )  # (B, N, K, w), (B, N, K, h)
    columns = columns.masked_fill(~known[..., None], torch.inf)
    nearest = columns.new_full((len(joints), joints.shape[2], *size), torch.inf)
    for person in range(joints.shape[1]):  # one at a time: all together would take as much memory as thirty maps
        squared = rows[:, person, :, :, None] + columns[:, person, :, None, :]
        nearest = torch.minimum(nearest, squared)
    return torch.exp(-nearest / (2 * sigma**2))


def tag_losses(tags: Tensor, joints: Tensor, stride: int = STRIDE) -> tuple[Tensor, Tensor]:
    """Compute how little the tags tell persons apart (push), and how much they differ within one (pull).

    push = 1/2 mean over pairs of persons of exp(-(difference of their means) ** 2); 0 with fewer than two.
    pull = mean over persons of the mean squared difference of joint and mean.
    (The paper has these as sums with other factors; this is the release.)

    Args:
        tags: (B, S, K, h, w).
        joints: (B, N, K, 3).
        stride: input pixels per pixel of the map.

    Returns:
        push and pull, (B, S) each; 0 for images without joints.
    """
    corner, known = _on_map(joints, (tags.shape[3], tags.shape[4]), stride)
    x, y = corner.long().unbind(-1)
    cells = torch.where(known, y * tags.shape[4] + x, 0).transpose(1, 2)[:, None]  # (B, 1, K, N)
    own = tags.flatten(3).gather(3, cells.expand(-1, tags.shape[1], -1, -1))  # (B, S, K, N)
    counted = known.transpose(1, 2)[:, None]
    joint_count = counted.sum(2)  # (B, 1, N)
    each = joint_count.clamp(min=1)
    means = (own * counted).sum(2) / each  # (B, S, N)
    spread = ((own - means[:, :, None]).square() * counted).sum(2) / each
    there = joint_count > 0
    pull = spread.sum(2) / there.sum(2).clamp(min=1)
    pairs = (there[..., :, None] & there[..., None, :]).triu(1)
    likeness = torch.exp(-(means[..., :, None] - means[..., None, :]).square()) * pairs
    push = 0.5 * likeness.sum((2, 3)) / pairs.sum((2, 3)).clamp(min=1)
    return push, pull


def associative_losses(
    maps: Tensor,
    joints: Tensor | Sequence[Tensor],
    mask: Tensor | None = None,
    stride: int = STRIDE,
    sigma: float = SIGMA,
) -> dict[str, Tensor]:
    """Compute the training losses, means over images and hourglasses.

    Args:
        maps: (B, S, 2 K, h, w), heatmaps and tags of S hourglasses.
        joints: (B, N, K, 3), padded with visibility 0; or an image (N, K, 3), each with its own N. A joint of
            visibility 0 has neither peak nor tag: its place counts as empty, unless the mask leaves it out.
        mask: (B, 1, h, w), or (B, K, h, w) for each joint, bool: pixels that the heatmaps learn from. To leave a joint
            open that may be there, give `make_heatmaps(doubtful, ...) < 0.01`. None is all pixels.
        stride: input pixels per pixel of the map.
        sigma: standard deviation of the heatmaps' Gaussians, in pixels of the map.

    Returns:
        `heatmap`, the squared error, a mean over all pixels with 0 for those left out; `push` and `pull`, times 1e-3.
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    if not isinstance(joints, Tensor):
        joints = pad_sequence(list(joints), batch_first=True)
    heatmaps, tags = maps.chunk(2, 2)
    size = (maps.shape[3], maps.shape[4])
    error = (heatmaps - make_heatmaps(joints, size, stride, sigma)[:, None]).square()
    if mask is not None:
        error = error * mask[:, None]
    push, pull = tag_losses(tags, joints, stride)
    return {"heatmap": error.mean(), "push": TAG_WEIGHT * push.mean(), "pull": TAG_WEIGHT * pull.mean()}


def join_flips(
    maps: Tensor, of_flipped: Tensor, pairs: Sequence[tuple[int, int]] = COCO_KEYPOINT_PAIRS
) -> tuple[Tensor, Tensor]:
    """Join what a network makes of images and of the flipped images.

    Args:
        maps: (B, 2 K, h, w), heatmaps and tags of images.
        of_flipped: the same of the flipped images.
        pairs: (left, right) joints that a flip exchanges.

    Returns:
        Mean heatmaps (B, K, h, w), at most 1; and tags (B, K, h, w, 2), one of each.
    """
    heatmaps, tags = maps.chunk(2, 1)
    order = mirrored(heatmaps.shape[1], pairs)
    others, other_tags = (half.flip(-1)[:, order] for half in of_flipped.chunk(2, 1))
    return ((heatmaps + others) / 2).clamp(max=1), torch.stack([tags, other_tags], -1)


def find_candidates(heatmaps: Tensor, tags: Tensor, most: int = MOST) -> Candidates:
    """Find the highest local maxima (3x3) of each heatmap.

    Each is moved a quarter of a pixel to its higher neighbour along x and along y; not where both are equal, where the
    release moves it to the left and up.

    Args:
        heatmaps: (B, K, h, w).
        tags: (B, K, h, w, T).
        most: how many to find, at most.

    Returns:
        The peaks of each joint.
    """
    width = heatmaps.shape[3]
    peaks = heatmaps * (F.max_pool2d(heatmaps, 3, 1, 1) == heatmaps)
    scores, cells = peaks.flatten(2).topk(min(most, peaks[0, 0].numel()), 2)
    around = F.pad(heatmaps, (1, 1, 1, 1), mode="replicate")
    slopes = (around[..., 1:-1, 2:] - around[..., 1:-1, :-2], around[..., 2:, 1:-1] - around[..., :-2, 1:-1])
    shift = torch.stack([slope.flatten(2).gather(2, cells).sign() / 4 for slope in slopes], -1)
    places = torch.stack([cells % width, cells // width], -1) + shift
    own = tags.flatten(2, 3).gather(2, cells[..., None].expand(*cells.shape, tags.shape[-1]))
    return Candidates(places, scores, own)


def group(
    scores: FloatArray,
    tags: FloatArray,
    order: Sequence[int] = COCO_ORDER,
    threshold: float = THRESHOLD,
    tag_threshold: float = TAG_THRESHOLD,
    most: int = MOST,
) -> Int64Array:
    """Put persons together from candidates of joints, one joint after the other.

    Each joint's candidates are assigned to the persons found so far, by the least sum of round(distance) * 100 - score,
    where the distance is the root mean square of tag less mean tag. Those that are too far away, and those left over,
    begin new persons.

    The release leaves open which of several assignments of the same sum is taken, and rounding makes many the same: of
    two persons at 0.6 and 1.4 it may take the one that is too far. Here the least distances decide between them. From
    `most` persons on the release drops whole joints; here only candidates that would begin new persons.

    Args:
        scores: (K, M).
        tags: (K, M, T).
        order: the joints, first to last.
        threshold: candidates that score at most this do not count.
        tag_threshold: distance from which on a joint is not the person's.
        most: how many persons there are at most.

    Returns:
        (P, K) candidate of each person's joints, -1 where one is missing.
    """
    persons = np.full((0, len(scores)), -1)
    for joint in order:
        found = np.flatnonzero(scores[joint] > threshold)
        apart = tags[joint, found][:, None] - _mean_tags(persons, tags)
        distances = np.sqrt(np.square(apart).mean(2))
        cost = np.round(distances) * 100 - scores[joint, found, None]
        rows, columns = linear_sum_assignment(cost + TIE * distances)
        near = distances[rows, columns] < tag_threshold
        persons[columns[near], joint] = found[rows[near]]
        new = np.delete(found, rows[near])[: most - len(persons)]
        begun = np.full((len(new), len(scores)), -1)
        begun[:, joint] = new
        persons = np.concatenate([persons, begun])
    return persons


def decode(
    heatmaps: Tensor,
    tags: Tensor,
    stride: int = STRIDE,
    order: Sequence[int] = COCO_ORDER,
    threshold: float = THRESHOLD,
) -> list[Persons]:
    """Find the persons of heatmaps and tags.

    The release then fills each person's missing joints in, wherever the heatmap is highest with a tag that is not far.
    This is left out: it gives everybody all joints, hidden ones at wrong places too, and leaves nothing that a
    refinement by neighbouring frames could tell from a joint that was seen.

    Args:
        heatmaps: (B, K, h, w).
        tags: (B, K, h, w, T).
        stride: input pixels per pixel of the map.
        order: the joints as `group` takes them.
        threshold: joints that score at most this are missing.

    Returns:
        B images' persons.
    """
    places, scores, own = find_candidates(heatmaps.float(), tags.float())
    values = torch.cat([(places + 0.5) * stride - 0.5, scores[..., None]], -1)  # (B, K, M, 3)
    joints = torch.arange(values.shape[1], device=values.device)
    found = []
    for image, score, tag in zip(values, scores.double().cpu().numpy(), own.double().cpu().numpy(), strict=True):
        persons = torch.from_numpy(group(score, tag, order, threshold)).to(values.device)
        poses = image[joints, persons.clamp(min=0)] * (persons >= 0)[..., None]
        found.append(Persons(poses, poses[..., 2].mean(1)))
    return found


def _mean_tags(persons: Int64Array, tags: FloatArray) -> FloatArray:
    """(P, T) means over the joints that persons (P, K) have of their candidates' tags (K, M, T)."""
    own = tags[np.arange(len(tags)), persons]  # (P, K, T)
    known = (persons >= 0)[..., None]
    mean: FloatArray = (own * known).sum(1) / known.sum(1)
    return mean


def _on_map(joints: Tensor, size: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
    """Find joints on a map: x, y from its upper left corner (B, N, K, 2), and which are known and on it (B, N, K)."""
    corner = (joints[..., :2].to(torch.promote_types(joints.dtype, torch.float32)) + 0.5) / stride
    within = (corner >= 0) & (corner < corner.new_tensor([size[1], size[0]]))
    return corner, (joints[..., 2] > 0) & within.all(-1)
