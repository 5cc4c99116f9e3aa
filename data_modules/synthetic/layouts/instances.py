"""Write parts, persons and part instances as VIP and CIHP store them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_modules.formats.label_maps import CATEGORY_IDS, HUMAN_IDS, INSTANCE_IDS
from data_modules.synthetic.layouts.writer import write_rows
from data_modules.synthetic.render.renderer import Frame
from partwise.arrays import UInt8Array
from partwise.io.images import write_labels
from partwise.labels import LabelSet


def write_instances(folder: Path, name: str, frame: Frame, label_set: LabelSet) -> UInt8Array:
    """Write Category_ids/NAME.png, Human_ids/NAME.png, Instance_ids/NAME.png and Instance_ids/NAME.txt.

    Args:
        folder: of the four.
        name: id of the picture.
        frame: the picture and its labels.
        label_set: the classes of the parts.

    Returns:
        The classes (H, W).
    """
    parts = frame.parts(label_set)
    humans = np.where(parts > 0, frame.persons, 0).astype(np.uint8)
    instances, rows = part_instances(parts, humans)
    for kind, ids in ((CATEGORY_IDS, parts), (HUMAN_IDS, humans), (INSTANCE_IDS, instances)):
        write_labels(folder / kind / f"{name}.png", ids, label_set.colors)
    write_rows(folder / INSTANCE_IDS / f"{name}.txt", [" ".join(map(str, row)) for row in rows])
    return parts


def part_instances(parts: UInt8Array, humans: UInt8Array) -> tuple[UInt8Array, list[tuple[int, int, int]]]:
    """Number the part instances of a picture: one for each class of each person.

    Args:
        parts: (H, W) class ids.
        humans: (H, W) person ids, 0 where parts is 0.

    Returns:
        (H, W) instance ids from 1 on, and rows of part instance id, class id, human id.
    """
    pairs = humans.astype(np.int64) * 256 + parts
    found, dense = np.unique(pairs, return_inverse=True)
    ids = np.cumsum(found > 0)  # the background keeps 0
    rows = [(int(i), int(p % 256), int(p // 256)) for i, p in zip(ids, found, strict=True) if p]
    return ids[dense].reshape(parts.shape).astype(np.uint8), rows
