"""The library: persons with parts and poses, whose parts are carried to persons with poses alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from partwise.errors import InputError
from partwise.models.pose_transfer.skeleton import Skeleton
from partwise.ops.pose import LEAST, nearest_poses, normalise

GROWN = 0.25  # of a joint box's width or height, added on each side
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 are outside


class Person(NamedTuple):
    """One person's crop."""

    parts: Tensor  # (H, W) uint8 part ids; 0 where nothing or somebody else is
    pose: Tensor  # (K, 3) x, y in pixels of the crop, and visibility


def joint_box(pose: Tensor, size: tuple[int, int]) -> Box:
    """Find the box of a pose's known joints, grown by a quarter of its width and height on each side and clipped.

    Args:
        pose: (K, 3) with at least one known joint.
        size: (height, width) of the picture.

    Returns:
        x0, y0, x1, y1, at least one pixel wide and high.
    """
    places = pose[pose[:, 2] > 0, :2]
    low, high = places.amin(0), places.amax(0)
    grown = GROWN * (high - low)
    (x0, y0), (x1, y1) = (low - grown).floor().int().tolist(), (high + grown).floor().int().tolist()
    x0, y0 = min(max(x0, 0), size[1] - 1), min(max(y0, 0), size[0] - 1)
    return x0, y0, max(min(x1 + 1, size[1]), x0 + 1), max(min(y1 + 1, size[0]), y0 + 1)


def crop_person(parts: Tensor, pose: Tensor, mask: Tensor | None = None) -> Person:
    """Crop a person out of a picture by the box of the joints.

    Args:
        parts: (H, W) part ids of the picture; 255 is ignored, which counts as no part.
        pose: (K, 3) in pixels of the picture, with at least one known joint.
        mask: (H, W) bool, the person's pixels; None where nobody else is in the picture.

    Returns:
        The person.
    """
    x0, y0, x1, y1 = joint_box(pose, (parts.shape[0], parts.shape[1]))
    own = parts[y0:y1, x0:x1].to(torch.uint8)
    own = own * (own != 255)
    if mask is not None:
        own = own * mask[y0:y1, x0:x1]
    return Person(own, pose - pose.new_tensor([x0, y0, 0]))


def crop_people(skeleton: Skeleton, parts: Tensor, persons: Tensor, poses: Tensor) -> list[Person]:
    """Crop those persons of a picture whose parts are seen and whose poses can be compared with others.

    Args:
        skeleton: of the poses.
        parts: (H, W) part ids, 255 = ignored.
        persons: (H, W) ids, 0 = nobody.
        poses: (N, K, 3) in pixels of the picture; row n - 1 is person n, and rows beyond the persons are nobody's.

    Returns:
        Their crops.
    """
    enough = normalise(poses, skeleton.reference)[1].sum(1) >= LEAST
    numbers = [n for n, pose_is_enough in enumerate(enough.tolist(), 1) if pose_is_enough]
    people = [crop_person(parts, poses[n - 1], persons == n) for n in numbers]
    return [person for person in people if person.parts.any()]


@dataclass(frozen=True)
class Library:
    """M persons' crops.

    Attributes:
        skeleton: of all poses.
        poses: (M, K, 3) in pixels of each crop, and visibility.
        parts: M maps (H, W) uint8 of part ids, of any sizes.
        boxes: (M, P, 4) int64 x0, y0, x1, y1 of each part's pixels, x1 and y1 outside; all 0 for parts without pixels.
    """

    skeleton: Skeleton
    poses: Tensor
    parts: tuple[Tensor, ...]
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.poses)

    def neighbours(self, poses: Tensor, n: int, own: Tensor | None = None) -> Tensor:
        """Find the persons with the nearest poses (section 3.3).

        Args:
            poses: (N, K, 3).
            n: how many to find.
            own: (N,) index of each pose itself in the library, which is left out; -1 where it is not there.

        Returns:
            (N, n) indices, nearest first; -1 where no further pose can be compared.

        Raises:
            InputError: the library has fewer than `n` persons.
        """
        if n > len(self):
            raise InputError(f"a library of {len(self)} persons has no {n} neighbours; lower n or add persons")
        indices, distances = nearest_poses(poses, self.poses.to(poses.device), n, own, self.skeleton.reference)
        return indices.where(distances.isfinite(), -1)


def draw(neighbours: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw k of the n neighbours of each pose without replacement, as training does afresh for each sample (3.6).

    Args:
        neighbours: (N, n) output of `Library.neighbours`, on the CPU where a generator of the CPU is given.
        k: how many to draw, at most n.
        generator: source of the draw; None takes torch's own.

    Returns:
        (N, k) indices; -1 only where fewer than k are there.
    """
    order = torch.rand(neighbours.shape, generator=generator, device=neighbours.device)
    order = order.masked_fill(neighbours < 0, 2.0)  # what is missing comes last
    return neighbours.gather(1, order.argsort(1)[:, :k])


def make_library(persons: Iterable[Person], skeleton: Skeleton) -> Library:
    """Build a library.

    Args:
        persons: their crops, with part ids of the skeleton.
        skeleton: of their poses.

    Returns:
        The library.

    Raises:
        InputError: there are no persons, or a pose or a part is none of the skeleton's.
    """
    found = list(persons)
    if not found:
        raise InputError("a library of poses needs at least one person with parts and joints; take another split")
    for parts, pose in found:
        if pose.shape != (len(skeleton.joints), 3):
            raise InputError(f"a pose has {len(pose)} joints, not the skeleton's {len(skeleton.joints)}; take its own")
        if parts.max() > len(skeleton.parts):
            raise InputError(f"part {int(parts.max())} is none of the skeleton's {len(skeleton.parts)}; take its own")
    return Library(
        skeleton=skeleton,
        poses=torch.stack([pose.float() for _, pose in found]),
        parts=tuple(parts for parts, _ in found),
        boxes=torch.stack([_part_boxes(parts, len(skeleton.parts)) for parts, _ in found]),
    )


def _part_boxes(parts: Tensor, count: int) -> Tensor:
    """(P, 4) boxes of the pixels of parts 1..P."""
    masks = parts == torch.arange(1, count + 1).view(-1, 1, 1)
    sides = []
    for along in (masks.any(1), masks.any(2)):  # columns, rows
        first, behind = along.int().argmax(1), along.shape[1] - along.flip(1).int().argmax(1)
        sides.append((first * along.any(1), behind * along.any(1)))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], 1)
