"""The library: persons with parts and poses, whose parts are carried to persons with poses alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    name: str = ""  # of the picture, and the person's number in it


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


def comparable(skeleton: Skeleton, poses: Tensor) -> Tensor:
    """Find the poses (N, K, 3) with enough joints to be compared with others: (N,) bool."""
    return normalise(poses, skeleton.reference)[1].sum(1) >= LEAST


def crop_people(skeleton: Skeleton, parts: Tensor, persons: Tensor, poses: Tensor, name: str = "") -> list[Person]:
    """Crop those persons of a picture whose parts are seen and whose poses can be compared with others.

    Args:
        skeleton: of the poses.
        parts: (H, W) part ids, 255 = ignored.
        persons: (H, W) ids, 0 = nobody.
        poses: (N, K, 3) in pixels of the picture; row n - 1 is person n, and rows beyond the persons are nobody's.
        name: of the picture.

    Returns:
        Their crops.
    """
    numbers = [n for n, enough in enumerate(comparable(skeleton, poses).tolist(), 1) if enough]
    people = [crop_person(parts, poses[n - 1], persons == n)._replace(name=name_of(name, n)) for n in numbers]
    return [person for person in people if person.parts.any()]


def name_of(picture: str, number: int) -> str:
    """Name a person by the picture and the number there, from 1."""
    return f"{picture}#{number}"


@dataclass(frozen=True)
class Library:
    """M persons' crops.

    Attributes:
        skeleton: of all poses.
        poses: (M, K, 3) in pixels of each crop, and visibility.
        parts: M maps (H, W) uint8 of part ids, of any sizes.
        boxes: (M, P, 4) int64 x0, y0, x1, y1 of each part's pixels, x1 and y1 outside; all 0 for parts without pixels.
        names: of the persons.
    """

    skeleton: Skeleton
    poses: Tensor
    parts: tuple[Tensor, ...]
    boxes: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.poses)

    def neighbours(self, poses: Tensor, n: int, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Find the persons with the nearest poses (section 3.3).

        Args:
            poses: (N, K, 3).
            n: how many to find.
            own: (N,) index of each pose itself in the library, which is left out; -1 where it is not there.

        Returns:
            (N, n) indices, nearest first, -1 where no further pose can be compared; and (N, n) distances.

        Raises:
            InputError: the library has fewer than `n` persons.
        """
        if n > len(self):
            raise InputError(f"a library of {len(self)} persons has no {n} neighbours; lower n or add persons")
        indices, distances = nearest_poses(poses, self.poses.to(poses.device), n, own, self.skeleton.reference)
        return indices.where(distances.isfinite(), -1), distances

    def rows(self, names: Iterable[str]) -> Tensor:
        """Find persons by name: (N,) indices, -1 for those who are not here."""
        known = {name: row for row, name in enumerate(self.names)}
        return torch.tensor([known.get(name, -1) for name in names], dtype=torch.long, device=self.poses.device)


def draw(neighbours: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw k of the n neighbours of each pose without replacement, as training does afresh for each sample (3.6).

    Args:
        neighbours: (N, n) indices of `Library.neighbours`, on the CPU where a generator of the CPU is given.
        k: how many to draw, at most n.
        generator: source of the draw; None takes torch's own.

    Returns:
        (N, k) columns of `neighbours`; of what is missing only where fewer than k are there.
    """
    order = torch.rand(neighbours.shape, generator=generator, device=neighbours.device)
    order = order.masked_fill(neighbours < 0, 2.0)  # what is missing comes last
    return order.argsort(1)[:, :k]


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
    for parts, pose, _ in found:
        if pose.shape != (len(skeleton.joints), 3):
            raise InputError(f"a pose has {len(pose)} joints, not the skeleton's {len(skeleton.joints)}; take its own")
        if parts.max() > len(skeleton.parts):
            raise InputError(f"part {int(parts.max())} is none of the skeleton's {len(skeleton.parts)}; take its own")
    return Library(
        skeleton=skeleton,
        poses=torch.stack([person.pose.float() for person in found]),
        parts=tuple(person.parts for person in found),
        boxes=torch.stack([_part_boxes(person.parts, len(skeleton.parts)) for person in found]),
        names=tuple(person.name for person in found),
    )


def read_people(dataset: Any, skeleton: Skeleton) -> list[Person]:
    """Crop the persons of a dataset of labelled pictures.

    Args:
        dataset: with `ids`, `picture(index)` (H, W, 3) and `labels(name, (H, W))`: parts, persons and keypoints.
        skeleton: of its poses and parts.

    Returns:
        Their crops, in the order of the pictures.

    Raises:
        InputError: its pictures have no parts, persons or poses.
    """
    found = []
    for index, name in enumerate(dataset.ids):
        labels = dataset.labels(name, dataset.picture(index).shape[:2])
        if lacking := [key for key in ("parts", "persons", "keypoints") if key not in labels]:
            raise InputError(f"{dataset.root} has no {lacking[0]} of {name}; a library needs parts, persons and poses")
        parts, persons, poses = (torch.from_numpy(labels[key]) for key in ("parts", "persons", "keypoints"))
        found += crop_people(skeleton, parts, persons, poses, name)
    return found


def _part_boxes(parts: Tensor, count: int) -> Tensor:
    """(P, 4) boxes of the pixels of parts 1..P."""
    masks = parts == torch.arange(1, count + 1).view(-1, 1, 1)
    sides = []
    for along in (masks.any(1), masks.any(2)):  # columns, rows
        first, behind = along.int().argmax(1), along.shape[1] - along.flip(1).int().argmax(1)
        sides.append((first * along.any(1), behind * along.any(1)))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], 1)
