"""Skeletons: which joints a pose has, which limb each part lies along, and which classes the parts become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from partwise.errors import InputError
from partwise.ops.pose import Reference

Rows = tuple[int, ...]


@dataclass(frozen=True)
class Skeleton:
    """A kind of body. Part p has id p + 1 in label maps.

    Attributes:
        joints: names of the rows of a pose.
        parts: names of the parts.
        limbs: two ends of each part's limb; an end is the midpoint of the joints with these rows.
        classes: names of the classes that parts are merged into; class c has id c + 1.
        merged: row in `classes` of each part.
        reference: joints by which poses are normalised.
    """

    joints: tuple[str, ...]
    parts: tuple[str, ...]
    limbs: tuple[tuple[Rows, Rows], ...]
    classes: tuple[str, ...]
    merged: tuple[int, ...]
    reference: Reference

    def ends(self, poses: Tensor) -> tuple[Tensor, Tensor]:
        """Find the limbs of poses.

        Args:
            poses: (N, K, 3) x, y in pixels and visibility.

        Returns:
            ends (N, P, 2, 2), x, y of the start and of the end of each part's limb; and whether all joints of a limb
            are known and it is at least a pixel long (N, P) bool: shorter ones say nothing of direction and size.
        """
        rows, weights = (x.to(poses.device) for x in self._ends)
        joints = poses[:, rows]  # (N, P, 2, m, 3)
        ends = (joints[..., :2] * weights.to(poses.dtype)).sum(3)
        seen = (joints[..., 2] > 0).flatten(2).all(2)
        return ends, seen & (ends.diff(dim=2).norm(dim=-1)[..., 0] >= 1)

    @cached_property
    def _ends(self) -> tuple[Tensor, Tensor]:
        """The joints of all limbs' ends (P, 2, m), the first again where there are fewer than m, and their weights."""
        most = max(len(end) for limb in self.limbs for end in limb)
        rows = [[(*end, *end[:1] * (most - len(end))) for end in limb] for limb in self.limbs]
        weights = [[[(place < len(end)) / len(end) for place in range(most)] for end in limb] for limb in self.limbs]
        return torch.tensor(rows), torch.tensor(weights, dtype=torch.float64)[..., None]

    def merge_table(self, device: torch.device | None = None) -> Tensor:
        """Return the table (256,) int64 from part ids to class ids; 0 stays 0, and the rest becomes 255."""
        table = torch.full((256,), 255, device=device)
        table[: len(self.parts) + 1] = torch.tensor([0, *(row + 1 for row in self.merged)], device=device)
        return table


def make_skeleton(
    joints: Sequence[str], parts: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Sequence[str]]
) -> Skeleton:
    """Build a skeleton from plain values, as `experiments/skeleton/*.yaml` hold them.

    Args:
        joints: names of the rows of a pose.
        parts: name of each part, in the order of their ids, to its limb's `start` and `end`, which are lists of joints,
            and the `class` that it is merged into.
        reference: joints `origin`, `end`, `at_origin` and `unused` of `Reference`.

    Returns:
        The skeleton.

    Raises:
        InputError: a joint is named that there is not, or a part lacks a field.
    """
    names = tuple(joints)

    def rows(named: Sequence[str], where: str) -> Rows:
        if unknown := [name for name in named if name not in names]:
            raise InputError(f"skeleton, {where}: {unknown[0]} is no joint; the joints are {', '.join(names)}")
        return tuple(names.index(name) for name in named)

    for part, about in parts.items():
        if lacking := [key for key in ("start", "end", "class") if not about.get(key)]:
            raise InputError(f"skeleton, part {part}: {lacking[0]} is missing; a part has start, end and class")
    if lacking := [key for key in ("origin", "end") if not reference.get(key)]:
        raise InputError(f"skeleton, reference: {lacking[0]} is missing; name one joint or several")
    classes = tuple(dict.fromkeys(str(about["class"]) for about in parts.values()))
    limbs = [tuple(rows(about[end], f"part {part}") for end in ("start", "end")) for part, about in parts.items()]
    return Skeleton(
        joints=names,
        parts=tuple(parts),
        limbs=tuple((start, end) for start, end in limbs),
        classes=classes,
        merged=tuple(classes.index(str(about["class"])) for about in parts.values()),
        reference=Reference(**{field: rows(reference.get(field, ()), "reference") for field in Reference._fields}),
    )
