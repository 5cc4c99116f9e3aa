"""A dataset's training samples together with those of a folder of further labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from data_modules.loading.sampling import Draw

PARTS_ALONE = ("images", "parts", "index", "sample_ids")


class Union(Dataset[dict[str, Any]]):
    """Samples of two datasets, with the fields that both have.

    Args:
        first: whose samples come first.
        second: whose samples follow.
        fields: of a sample.
    """

    def __init__(self, first: Any, second: Any, fields: Sequence[str] = PARTS_ALONE) -> None:
        self.first, self.second, self.fields = first, second, fields
        self.ids = [*first.ids, *second.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One sample: image (3, H, W) uint8, parts (H, W), index, sample_id and the other fields."""
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        own = index < len(self.first)
        part, place = (self.first, index) if own else (self.second, index - len(self.first))
        sample = {**part[Draw(place, epoch)], "index": index}
        return {name: sample[name] for name in self.fields}
