"""Linking of persons from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from partwise.arrays import BoolArray
from partwise.scores.matching import match_most


@dataclass
class _Track:
    id: int
    left: int
    top: int
    mask: BoolArray  # (h, w) within the box at (left, top)
    area: int
    lost: int = 0  # frames since it was last seen


class PersonLinker:
    """Gives persons ids that stay the same from frame to frame.

    Persons are matched by overlap to those seen before, with the Hungarian method over all pairs: first to the persons
    of the last frame, then to those lost for at most `memory` frames. An id is never reused for another person. Memory
    is bounded by the persons of the last `memory` frames, not by the length of the video.

    Args:
        memory: number of frames for which a lost person is remembered.
        min_overlap: least mean of mask IoU and box IoU of the same person in two frames.
    """

    def __init__(self, memory: int = 15, min_overlap: float = 0.15) -> None:
        self.memory, self.min_overlap = memory, min_overlap
        self._tracks: list[_Track] = []
        self._last_id = 0

    def link(self, masks: BoolArray) -> list[int]:
        """Link the persons of the next frame.

        Args:
            masks: (N, H, W) bool, one per person; they may overlap or be empty.

        Returns:
            id of each person, 1, 2, ...; 0 for a person without pixels.
        """
        for track in self._tracks:
            track.lost += 1
        seen = {n: cut for n, mask in enumerate(masks) if (cut := _cut(mask)) is not None}
        waiting = list(seen)
        # Last frame's persons first, so that one who left is not matched to one who stayed.
        for stage in ([t for t in self._tracks if t.lost == 1], [t for t in self._tracks if t.lost > 1]):
            waiting = self._match(seen, waiting, stage)
        for n in waiting:
            self._last_id += 1
            seen[n].id = self._last_id
        found = {track.id for track in seen.values()}
        lost = [t for t in self._tracks if t.id not in found and t.lost <= self.memory]
        self._tracks = [*seen.values(), *lost]
        return [seen[n].id if n in seen else 0 for n in range(len(masks))]

    def _match(self, seen: dict[int, _Track], waiting: list[int], tracks: list[_Track]) -> list[int]:
        """Give ids of `tracks` to the persons whom they overlap; return those still unmatched."""
        overlap = np.array([[_overlap(seen[n], track) for track in tracks] for n in waiting])
        if not overlap.size:
            return waiting
        matched = set()
        for row, column in match_most(overlap, self.min_overlap).tolist():
            seen[waiting[row]].id = tracks[column].id
            matched.add(waiting[row])
        return [n for n in waiting if n not in matched]


def _cut(mask: BoolArray) -> _Track | None:
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return None
    cropped = mask[top : top + height, left : left + width].copy()  # a view would keep the whole frame
    return _Track(0, left, top, cropped, int(cropped.sum()))


def _overlap(a: _Track, b: _Track) -> float:
    """Compute the mean of mask IoU, which separates neighbours, and box IoU, which tolerates moving limbs."""
    left, top = max(a.left, b.left), max(a.top, b.top)
    right = min(a.left + a.mask.shape[1], b.left + b.mask.shape[1])
    bottom = min(a.top + a.mask.shape[0], b.top + b.mask.shape[0])
    if right <= left or bottom <= top:
        return 0.0
    window_a, window_b = (t.mask[top - t.top : bottom - t.top, left - t.left : right - t.left] for t in (a, b))
    shared = int(np.count_nonzero(window_a & window_b))
    box = (right - left) * (bottom - top)
    return float(shared / (a.area + b.area - shared) + box / (a.mask.size + b.mask.size - box)) / 2
