"""Pose-guided priors on a CPU: retrieval of similar poses, and morphing of their parts, beside what one would write.

Poses are random bodies, and parts are thick lines along their limbs. The loops get fewer targets, and their times are
told for as many as ours. "As released" turns and resizes each part in a whole canvas, as the authors' script does, but
masks and not coloured pictures; it is written anew from the paper's description.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.table import Table
from torch import Tensor

from benchmarks.timing import in_turn
from partwise.arrays import UInt8Array
from partwise.models.pose_transfer.library import Library, Person, make_library
from partwise.models.pose_transfer.prior import part_prior
from partwise.models.pose_transfer.skeleton import Skeleton
from partwise.ops.pose import LEAST, limb_similarity, nearest_poses, normalise

SKELETON = Path(__file__).parents[2] / "experiments" / "skeleton" / "person.yaml"
SIDE = 256
K = 3

#: A standing body, MPII's joints: x, y in parts of the crop's side.
_BODY = np.array([
    (0.40, 0.90), (0.42, 0.72), (0.44, 0.55), (0.56, 0.55), (0.58, 0.72), (0.60, 0.90), (0.50, 0.55), (0.50, 0.30),
    (0.50, 0.25), (0.50, 0.10), (0.30, 0.58), (0.33, 0.42), (0.41, 0.28), (0.59, 0.28), (0.67, 0.42), (0.70, 0.58),
])  # fmt: skip


def random_poses(count: int, seed: int, missing: float = 0.0) -> Tensor:
    """Bodies (N, 16, 3) with every joint shaken; a share of the joints is missing."""
    rng = np.random.default_rng(seed)
    places = SIDE * (_BODY + rng.normal(0, 0.05, (count, 16, 2)))
    seen = 2.0 * (rng.random((count, 16, 1)) >= missing)
    return torch.from_numpy(np.concatenate([places, seen], 2)).float()


def random_people(skeleton: Skeleton, count: int, seed: int) -> list[Person]:
    """Crops of bodies with lines along their limbs."""
    people = []
    for pose in random_poses(count, seed):
        parts = np.zeros((SIDE, SIDE), np.uint8)
        ends = skeleton.ends(pose[None])[0][0].round().int().tolist()
        for part, (start, end) in enumerate(ends, 1):
            cv2.line(parts, start, end, part, 50 if part == 2 else 22)
        people.append(Person(torch.from_numpy(parts), pose))
    return people


def masked_loop(poses: Tensor, library: Tensor) -> None:
    """Neighbours of one pose after the other, each in NumPy over the whole library."""
    others, theirs = (x.numpy() for x in normalise(library))
    for place, seen in zip(*(x.numpy() for x in normalise(poses)), strict=True):
        both = theirs & seen
        common = both.sum(1)
        squared = (((others - place) ** 2).sum(2) * both).sum(1)
        np.argsort(np.where(common >= LEAST, squared / np.maximum(common, 1), np.inf))[:5]


def plain_prior(library: Library, neighbours: Tensor, poses: Tensor, way: Callable[..., None]) -> None:
    """Priors of one target after the other, by `way` of drawing one person's parts (H, W) into maps (C, H, W)."""
    for row, pose in zip(neighbours.tolist(), poses, strict=True):
        total = np.zeros((len(library.skeleton.classes), SIDE, SIDE), np.float32)
        for n in row:
            maps = np.zeros(total.shape, np.uint8)
            way(library.skeleton, library.parts[n].numpy(), library.poses[n], pose, maps)
            total += maps
        total /= K


def whole_canvases(skeleton: Skeleton, parts: UInt8Array, source: Tensor, target: Tensor, maps: UInt8Array) -> None:
    """One warpAffine a part."""
    (a, b), (known, wanted) = zip(*(skeleton.ends(p[None].double()) for p in (source, target)), strict=True)
    moves = limb_similarity(a[0, :, 0], a[0, :, 1], b[0, :, 0], b[0, :, 1]).numpy()
    for part in (known & wanted)[0].nonzero()[:, 0].tolist():
        mask = (parts == part + 1).astype(np.uint8)
        row = skeleton.merged[part]
        np.maximum(maps[row], cv2.warpAffine(mask, moves[part], (SIDE, SIDE), flags=cv2.INTER_NEAREST), out=maps[row])


def as_released(skeleton: Skeleton, parts: UInt8Array, source: Tensor, target: Tensor, maps: UInt8Array) -> None:
    """Turn each part in the middle of the canvas, resize that, and lay it on the target."""
    (a, b), (known, wanted) = zip(*(skeleton.ends(p[None].double()) for p in (source, target)), strict=True)
    for part in (known & wanted)[0].nonzero()[:, 0].tolist():
        (from_a, from_b), (to_a, to_b) = a[0, part].numpy(), b[0, part].numpy()
        (dx, dy), (tx, ty) = from_b - from_a, to_b - to_a
        angle, scale = np.degrees(np.arctan2(dy, dx) - np.arctan2(ty, tx)), np.hypot(tx, ty) / np.hypot(dx, dy)
        turn = cv2.getRotationMatrix2D(tuple((from_a + from_b) / 2), angle, 1)
        turn[:, 2] += SIDE / 2 - (from_a + from_b) / 2
        turned = cv2.warpAffine((parts == part + 1).astype(np.uint8), turn, (SIDE, SIDE), flags=cv2.INTER_NEAREST)
        large = cv2.resize(turned, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        x, y = ((to_a + to_b) / 2 - scale * SIDE / 2).round().astype(int)
        laid = large[max(-y, 0) : max(SIDE - y, 0), max(-x, 0) : max(SIDE - x, 0)]
        top, left = max(y, 0), max(x, 0)
        view = maps[skeleton.merged[part], top : top + laid.shape[0], left : left + laid.shape[1]]
        np.maximum(view, laid, out=view)


def piecewise(skeleton: Skeleton, parts: UInt8Array, source: Tensor, target: Tensor, maps: UInt8Array) -> None:
    """scikit-image's piecewise affine transform of the whole person by its joints and the corners."""
    transform = import_module("skimage.transform")
    corners = np.array([(0, 0), (SIDE, 0), (0, SIDE), (SIDE, SIDE)], float)
    used = [joint for joint in range(len(source)) if joint not in skeleton.reference.unused]
    places = [np.concatenate([pose[used, :2].numpy(), corners]) for pose in (target, source)]
    warp = transform.PiecewiseAffineTransform()
    warp.estimate(*places)
    moved = transform.warp(parts, warp, order=0, preserve_range=True).astype(np.uint8)
    for part, row in enumerate(skeleton.merged, 1):
        np.maximum(maps[row], moved == part, out=maps[row])


def run(targets: int = 1000, library: int = 7000, looped: int = 50, rounds: int = 3) -> list[Table]:
    """Measure on one thread, the rounds of all contestants interleaved, and take the best."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        return [*(retrieval(targets, library, looped, rounds, missing) for missing in (0.2, 0.0)), morphing(rounds)]
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def retrieval(targets: int, library: int, looped: int, rounds: int, missing: float) -> Table:
    """Five neighbours of every target; without the neck or a hip, as with many missing joints, there are none."""
    poses, others = random_poses(targets, 0, missing), random_poses(library, 1, missing)
    works: dict[str, Callable[[], object]] = {
        "masked loop": partial(masked_loop, poses[:looped], others),
        "partwise": partial(nearest_poses, poses, others, 5),
    }
    taken = in_turn(works, rounds)
    taken["masked loop"] *= targets / looped
    title = f"5 neighbours of {targets} poses among {library}, {missing:.0%} of the joints missing"
    table = Table("", "s", "times as fast as the loop", title=title)
    for way, seconds in taken.items():
        table.add_row(way, f"{seconds:.3f}", f"{taken['masked loop'] / seconds:.1f}")
    return table


def morphing(rounds: int, batch: int = 8, looped: int = 4) -> Table:
    """Priors of three neighbours each at 256 x 256."""
    skeleton: Skeleton = instantiate(OmegaConf.load(SKELETON))
    library = make_library(random_people(skeleton, 64, 2), skeleton)
    poses, sizes = random_poses(batch, 3), torch.full((batch, 2), SIDE)
    neighbours, _ = library.neighbours(poses, K)
    ways = {"as released": as_released, "one warpAffine a part": whole_canvases, "scikit-image, piecewise": piecewise}
    if find_spec("skimage") is None:
        del ways["scikit-image, piecewise"]
    works: dict[str, Callable[[], object]] = {
        title: partial(plain_prior, library, neighbours[:looped], poses[:looped], way) for title, way in ways.items()
    }
    works["partwise"] = partial(part_prior, library, neighbours, poses, sizes, (SIDE, SIDE))
    works["partwise, one at a time"] = partial(part_prior, library, neighbours[:1], poses[:1], sizes[:1], (SIDE, SIDE))
    counts = dict.fromkeys(ways, looped) | {"partwise": batch, "partwise, one at a time": 1}
    each = {title: seconds / counts[title] for title, seconds in in_turn(works, rounds).items()}
    table = Table(
        "",
        "priors a second",
        "times as fast as released",
        title=f"priors of {K} neighbours, {SIDE} x {SIDE}, one thread",
    )
    for title, seconds in each.items():
        table.add_row(title, f"{1 / seconds:.0f}", f"{each['as released'] / seconds:.1f}")
    return table
