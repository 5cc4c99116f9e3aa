"""A dataset's training samples together with those of a folder of frames and label maps."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from data_modules.loading.sampling import Draw

FIELDS = ("images", "parts", "index", "sample_ids")


class Union(Dataset[dict[str, Any]]):
    """Samples with parts alone, since not both datasets know persons and poses.

    Args:
        first: whose samples come first.
        second: whose samples follow.
    """

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second
        self.ids = [*first.ids, *second.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One sample: image (3, H, W) uint8, parts (H, W), index and sample_id."""
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        own = index < len(self.first)
        part, place = (self.first, index) if own else (self.second, index - len(self.first))
        sample = {**part[Draw(place, epoch)], "index": index}
        return {name: sample[name] for name in FIELDS}
