"""Read label maps in the form that samples have: of the size of their picture, objects numbered from 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from partwise.arrays import Int32Array, IntArray, UInt8Array
from partwise.batches import InstanceMap
from partwise.io.images import check_size, read_ids, read_labels
from partwise.io.object_rows import covering, read_instance_classes
from partwise.labels import LabelSet

#: Folders of the maps of VIP and CIHP: classes, persons, and part instances with their rows.
CATEGORY_IDS, HUMAN_IDS, INSTANCE_IDS = "Category_ids", "Human_ids", "Instance_ids"


def read_parts(file: Path, label_set: LabelSet, size: Sequence[int]) -> UInt8Array:
    """Read a label map of parts.

    Args:
        file: indexed or greyscale PNG.
        label_set: the classes of its ids.
        size: (H, W) of the picture.

    Returns:
        Ids of `label_set` (H, W), 255 where ignored.

    Raises:
        InputError: the file cannot be read, differs from the picture's size, or holds an id that is no class.
    """
    parts = read_labels(file)
    label_set.check(parts, file)
    check_size(parts, size, file)
    return parts


def read_persons(file: Path, size: Sequence[int]) -> Int32Array:
    """Read a map of person ids.

    Args:
        file: indexed or greyscale PNG.
        size: (H, W) of the picture.

    Returns:
        Ids (H, W), 0 for nobody.

    Raises:
        InputError: the file cannot be read, or differs from the picture's size.
    """
    persons = read_ids(file)
    check_size(persons, size, file)
    return persons


def number_persons(persons: IntArray) -> InstanceMap:
    """Renumber person ids (H, W) to 1..n; all are of class 1."""
    return dense(persons, {i: 1 for i in np.unique(persons).tolist() if i})


def read_part_instances(file: Path, size: Sequence[int], num_classes: int) -> InstanceMap:
    """Read the part instances of a picture as VIP and CIHP store them.

    Args:
        file: Instance_ids/ID.png, beside which ID.txt has rows of instance, class and person.
        size: (H, W) of the picture.
        num_classes: number of classes, background included.

    Returns:
        The instances, renumbered to 1..n.

    Raises:
        InputError: a file cannot be read, differs from the picture's size, or an instance has no class.
    """
    ids = read_persons(file, size)
    classes = read_instance_classes(file.with_suffix(".txt"), num_classes)
    return dense(ids, covering(ids, classes, file))


def dense(ids: IntArray, classes: Mapping[int, int]) -> InstanceMap:
    """Renumber a sparse map of ids to 1..n in ascending order.

    Maps of up to 255 objects are uint8, others int32: they are handed from process to process.

    Args:
        ids: (H, W), 0 for no object.
        classes: id, at least 1 -> its class; ids of the map that are not among them become 0.

    Returns:
        The renumbered map (H, W) and the classes (n,) int64 in its order.
    """
    small = np.uint8 if len(classes) <= 255 else np.int32
    table = np.zeros(max(int(ids.max(initial=0)), max(classes, default=0)) + 1, dtype=small)
    for n, instance in enumerate(sorted(classes), 1):
        table[instance] = n
    return InstanceMap(
        map=torch.from_numpy(table[ids]),
        classes=torch.tensor([classes[i] for i in sorted(classes)], dtype=torch.int64),
    )
