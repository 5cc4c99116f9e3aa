"""Graph-based structure refinement of poses in video (GBSR, section 3.2).

A joint that one frame hides or blurs is mostly seen in the next. Persons are followed over three frames; their joints
are matched as nodes of graphs, `partwise.models.self_supervised.graphs`; a joint of the middle frame that matches
neither neighbour is replaced by where the neighbours' joints moved to. All persons of a frame are done at once.

| paper | here | shape |
|---|---|---|
| l_m | poses | (N, 17, 3) x, y, score; of COCO |
| f_i(l_m) | crops | (N, 17, D) |
| d(f_i(l_m), f_{i+1}(l_o)) | appearance | (N, 17, 17) |
| v_m | agreement of one joint | (N, 17) |

The paper leaves open how matches refine poses. Here a joint is trusted where it matches the joint of its own name: the
paper's max_o v_mo, which sets the sides of the boxes, is as high for a left ankle that was taken for the right one. The
neck, which COCO does not have, is the midpoint of the shoulders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from partwise.models.self_supervised.graphs import ALPHA, SAME, match_graphs, visibilities
from partwise.ops.flow import sample_flow
from partwise.ops.pose import keypoint_similarity
from partwise.scores.matching import match_most

KAPPA = 0.18  # on rendered people, RGB alone: a little below `graphs.calibrate`, since two neighbours are two chances
MISSING = 0.1  # score below which a joint is missing
TRUSTED = 0.5  # least agreement of a joint that is kept, and of neighbours that replace one
SAME_PERSON = 0.3  # least keypoint similarity after flow
SNAP = 0.1  # reach of the snapping to heatmaps, and how near its candidate a joint is confirmed, in torsos
_CELLS = 7  # a side of a pooled crop
_RINGS, _SPOKES = 5, 16  # of the places that snapping tries
_SHOULDERS, _HIPS = (5, 6), (11, 12)


class Map(NamedTuple):
    """Images or features of three frames."""

    values: Tensor  # (3, C, h, w)
    stride: float = 1.0  # pixels of the frame a pixel of the map


class Window(NamedTuple):
    """Three frames with the poses found in them. At an end of a video the missing frame has no poses."""

    poses: Sequence[Tensor]  # (N, 17, 3) of the previous, the current and the next frame
    maps: Sequence[Map]  # what joints look like: the frames in [0, 1], and features
    flows: tuple[Tensor, Tensor]  # (2, H, W) from the previous and from the next frame to the current one, pixels
    heatmaps: Map | None = None  # (17, 1, h, w) of the current frame's joints


class Refined(NamedTuple):
    """Poses of the current frame: those that were found, in order, and inserted ones."""

    poses: Tensor  # (M, 17, 3); joints that were not replaced are what they were, bit by bit
    supervises: Tensor  # (M, 17) bool, joints good enough to train with: trusted, replaced or confirmed by neighbours
    replaced: Tensor  # (M, 17) bool
    inserted: Tensor  # (M,) bool, persons whom the current frame lacked
    agreement: Tensor  # (M, 17) in [0, 1], how well the joints as they were match a neighbour's: visibilities


def refine(window: Window, kappa: float = KAPPA, alpha: float = ALPHA) -> Refined:
    """Refine the poses of the middle one of three frames.

    Args:
        window: the frames.
        kappa: cost of an unmatched joint.
        alpha: weight of the structure.

    Returns:
        The refined poses, and which joints may supervise.
    """
    poses, inserted = associate(window)
    current, trust = poses[1], agreement(poses, window.maps, kappa, alpha)
    candidate, weight = _candidates(poses, trust, window.flows)
    reach = SNAP * _torso(candidate[..., :2], weight > 0)
    missing, believed = current[..., 2] < MISSING, weight >= TRUSTED
    doubted = missing | (trust[1] < TRUSTED)
    apart = missing | ((candidate - current)[..., :2].norm(dim=-1) > reach[:, None])
    if window.heatmaps is not None:
        candidate = snap(candidate, reach, window.heatmaps)
    replaced = doubted & believed & apart  # what is near its candidate is where snapping would move it
    refined = candidate.to(current).where(replaced[..., None], current)
    kept = ~inserted | replaced.any(1)
    supervises = believed | ~doubted
    return Refined(refined[kept], supervises[kept], replaced[kept], inserted[kept], trust[1][kept])


def associate(window: Window) -> tuple[Tensor, Tensor]:
    """Find the same persons in three frames, by their similarity to poses that moved with the flow.

    Args:
        window: the frames.

    Returns:
        poses (3, P, 17, 3): the persons of the current frame, then those in both neighbours alone; zeros where a person
        is not found. And which P are inserted, (P,) bool.
    """
    before, now, after = window.poses
    moved = [_moved(pose, flow) for pose, flow in zip((before, after), window.flows, strict=True)]
    rows = []  # of each neighbour, for each person of the current frame; -1 for none
    for poses in moved:
        pairs = _same(now, poses)
        rows.append(now.new_full((len(now),), -1, dtype=torch.int64).index_put((pairs[:, 0],), pairs[:, 1]))
    left, right = (_others(row, len(poses)) for row, poses in zip(rows, moved, strict=True))
    lost = _same(moved[0][left], moved[1][right])
    previous, following = torch.cat([rows[0], left[lost[:, 0]]]), torch.cat([rows[1], right[lost[:, 1]]])
    absent = now.new_zeros(len(lost), *now.shape[1:])
    inserted = torch.arange(len(previous), device=now.device) >= len(now)
    return torch.stack([_take(before, previous), torch.cat([now, absent]), _take(after, following)]), inserted


def _same(poses: Tensor, others: Tensor) -> Tensor:
    """Pairs (k, 2) of rows that show the same person."""
    similarity = keypoint_similarity(poses, others, MISSING)
    return torch.from_numpy(match_most(similarity.cpu().numpy(), SAME_PERSON)).to(poses.device)


def _others(rows: Tensor, count: int) -> Tensor:
    """Those of 0..count - 1 that are not in `rows`."""
    every = torch.arange(count, device=rows.device)
    return every[~torch.isin(every, rows)]


def _take(poses: Tensor, rows: Tensor) -> Tensor:
    """Rows of poses; zeros for row -1."""
    return torch.cat([poses, poses.new_zeros(1, *poses.shape[1:])])[rows]


def _moved(poses: Tensor, flow: Tensor) -> Tensor:
    """Move joints (N, K, 3) with a flow (2, H, W) from their frame."""
    places = poses[..., :2]
    return torch.cat([places + sample_flow(flow[None], places.reshape(1, -1, 2)).view_as(places), poses[..., 2:]], -1)


def agreement(poses: Tensor, maps: Sequence[Map], kappa: float = KAPPA, alpha: float = ALPHA) -> Tensor:
    """Compute how well each joint matches the joint of its name in one of the two other frames at least (Eq. 4).

    Args:
        poses: (3, P, 17, 3) of the same persons; joints below `MISSING` cannot match.
        maps: what joints look like in the three frames.
        kappa: cost of an unmatched joint.
        alpha: weight of the structure.

    Returns:
        (3, P, 17) in [0, 1].
    """
    first, second = torch.tensor([[0, 1, 0], [1, 2, 2]], device=poses.device)  # pairs of frames
    matches = match_people(poses, maps, first, second, kappa, alpha).diagonal(dim1=2, dim2=3)
    one, two, three = matches.unbind(0)
    return torch.stack([torch.maximum(one, three), torch.maximum(one, two), torch.maximum(two, three)])


def match_people(
    poses: Tensor, maps: Sequence[Map], first: Tensor, second: Tensor, kappa: float = KAPPA, alpha: float = ALPHA
) -> Tensor:
    """Match joints, and match them again with boxes that are smaller where joints are less visible (section 3.2).

    Args:
        poses: (T, P, 17, 3) of the same persons in T frames.
        maps: what joints look like in the T frames.
        first: (Q,) one frame of each pair.
        second: (Q,) the other frame.
        kappa: cost of an unmatched joint.
        alpha: weight of the structure.

    Returns:
        (Q, P, 17, 17) v_mo.
    """
    frames = torch.stack([first, second]).repeat_interleave(poses.shape[1], 1)  # (2, Q P)
    pairs = poses[torch.stack([first, second])].flatten(1, 2)  # (2, Q P, 17, 3)
    known = pairs[..., 2] >= MISSING
    allowed = known[0][:, :, None] & known[1][:, None] & SAME.to(poses.device)
    sides = box_sides(poses).repeat(len(first))[:, None]
    matches = torch.zeros_like(allowed, dtype=torch.float32)
    factors = torch.ones_like(known, dtype=torch.float32)
    for _ in range(2):
        looks = crops(maps, pairs.flatten(0, 1), frames.flatten(), (sides * factors).flatten(0, 1))
        matches = match_graphs(appearance(*looks.unflatten(0, known.shape[:2])), allowed, kappa, alpha)
        factors = 0.5 + 0.5 * torch.stack(visibilities(matches))
    return matches.unflatten(0, (len(first), poses.shape[1]))


def box_sides(poses: Tensor) -> Tensor:
    """Compute the sides of the boxes around joints: twice the distance from nose to neck, in the median of the frames.

    One wrong nose would otherwise change all crops of the person. Where nose or neck is missing, or they are in line
    with the camera, a share of the pose's extent stands for the distance.

    Args:
        poses: (T, P, 17, 3) of the same persons in T frames.

    Returns:
        (P,) float32 pixels, at least 2.
    """
    known, places = poses[..., 2] >= MISSING, poses[..., :2].float()
    extent = _extent(places, known)
    distance = (places[..., 0, :] - places[..., _SHOULDERS, :].mean(-2)).norm(dim=-1)
    given = known[..., (0, *_SHOULDERS)].all(-1)
    sides = 2 * distance.maximum(extent / 20).where(given, extent / 10)
    return sides.where(known.any(-1), torch.nan).nanmedian(0).values.nan_to_num().clamp(min=2)


def _extent(places: Tensor, known: Tensor) -> Tensor:
    """The longer side (...) of the box around known joints (..., K); 0 without one."""
    low = places.masked_fill(~known[..., None], torch.inf).amin(-2)
    high = places.masked_fill(~known[..., None], -torch.inf).amax(-2)
    return (high - low).amax(-1).clamp(min=0)


def crops(maps: Sequence[Map], poses: Tensor, frames: Tensor, sides: Tensor) -> Tensor:
    """Crop what joints look like, f_i(l_m), pooled to 7 x 7 cells.

    Of every map the crop's mean is taken off, which light changes most, and its L2 norm is made 1.

    Args:
        maps: images and features.
        poses: (N, 17, 3).
        frames: (N,) frame of each pose, row of the maps.
        sides: (N, 17) of the boxes, pixels.

    Returns:
        (N, 17, D) float32, scaled so that the L1 distance of two crops is the mean over all maps of the mean absolute
        difference of values whose mean square is 1.
    """
    middle, half = poses[..., :2].float().flatten(0, 1) + 0.5, sides.float().reshape(-1, 1) / 2  # edges, not centres
    index = frames.repeat_interleave(poses.shape[1])[:, None].float()
    boxes = torch.cat([index, middle - half, middle + half], 1)
    looks = []
    for values, stride in maps:
        look = roi_align(values.float(), boxes, _CELLS, 1 / stride, sampling_ratio=2, aligned=True).flatten(1)
        look = F.normalize(look - look.mean(1, keepdim=True), dim=1, eps=1e-6)
        looks.append(look / (len(maps) * look.shape[1] ** 0.5))
    return torch.cat(looks, 1).unflatten(0, (len(poses), poses.shape[1]))


def appearance(crops_t: Tensor, crops_s: Tensor) -> Tensor:
    """Compute the distances d of the crops of two frames (Eq. 2): (N, 17, D) and (N, 17, D) to (N, 17, 17)."""
    return torch.cdist(crops_t.float(), crops_s.float(), p=1)


def _candidates(poses: Tensor, trust: Tensor, flows: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Where the neighbours' joints moved to, (P, 17, 3) in the mean weighted by agreement; and its weight (P, 17)."""
    neighbours = torch.stack([_moved(pose, flow) for pose, flow in zip((poses[0], poses[2]), flows, strict=True)])
    weights = trust[[0, 2]] * (neighbours[..., 2] >= MISSING)
    total = weights.sum(0)
    mean = (neighbours * weights[..., None]).sum(0) / total.clamp(min=1e-6)[..., None]
    return mean, weights.amax(0)


def snap(poses: Tensor, reach: Tensor, heatmaps: Map) -> Tensor:
    """Move joints to the maxima of their heatmaps within reach.

    Args:
        poses: (P, 17, 3).
        reach: (P,) pixels.
        heatmaps: (17, 1, h, w) of the frame.

    Returns:
        (P, 17, 3); where no place is higher than its own, a joint stays.
    """
    places = poses[..., :2].float()
    radius = torch.arange(_RINGS + 1, device=poses.device) / _RINGS
    angle = torch.arange(_SPOKES, device=poses.device) * (2 * torch.pi / _SPOKES)
    disc = (radius[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)).flatten(0, 1)  # the joint itself first
    tried = places[:, :, None] + reach[:, None, None, None] * disc
    height, width = heatmaps.values.shape[-2:]
    size = places.new_tensor([width, height]) * heatmaps.stride
    grid = (2 * (tried + 0.5) / size - 1).transpose(0, 1)  # (17, P, S, 2)
    heat = F.grid_sample(heatmaps.values.float(), grid, "bilinear", "zeros", align_corners=False)[:, 0]
    best = heat.argmax(2).T  # (P, 17); of equal ones the first
    chosen = tried.gather(2, best[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
    return torch.cat([chosen.to(poses), poses[..., 2:]], -1)


def _torso(places: Tensor, known: Tensor) -> Tensor:
    """The length (P,) from neck to hips, or a third of the extent where it is not known."""
    length = (places[:, _SHOULDERS].mean(1) - places[:, _HIPS].mean(1)).norm(dim=1)
    return length.where(known[:, _SHOULDERS + _HIPS].all(1), _extent(places, known) / 3)
