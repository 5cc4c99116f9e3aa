"""Label maps as samples hold them: renumbered objects, of the size of their picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from partwise.arrays import IntArray
from partwise.batches import InstanceMap
from partwise.io.images import check_size as check_size  # for readers of label maps


def dense(ids: IntArray, classes: Mapping[int, int]) -> InstanceMap:
    """Renumber a sparse id map (H, W) to 1..n in ascending order of the ids; `classes` names each id's class.

    Maps of up to 255 objects are uint8, others int32: they are handed from process to process.
    """
    small = np.uint8 if len(classes) <= 255 else np.int32
    table = np.zeros(max(int(ids.max(initial=0)), max(classes, default=0)) + 1, dtype=small)
    for n, instance in enumerate(sorted(classes), 1):
        table[instance] = n
    return InstanceMap(
        map=torch.from_numpy(table[ids]),
        classes=torch.tensor([classes[i] for i in sorted(classes)], dtype=torch.int64),
    )
