"""VIP, Video Instance-level Parsing, read from its native layout (VIP_Fine)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from data_modules.datasets.clips import Context, LabelledClips, check_keys, numbered
from data_modules.datasets.images import Int32, check_size, dense
from data_modules.sampling import draw_keys, key_range, keys_at
from data_modules.transforms import ClipTransform, Labels
from partwise.batches import Annotation
from partwise.errors import InputError
from partwise.labels import VIP as LABELS
from partwise.media import read_ids, read_labels

#: Published numbers of VIP: videos and annotated frames (every 25th frame of each).
PUBLISHED = {"videos": 404, "annotated frames": 21247}


class VIP(LabelledClips):
    """Annotated frames of VIP with parts, persons and part instances: single pictures, or clips of key frames for ATEN.

    Layout: `Images/videosN/%012d.jpg`; `Category_ids`, `Human_ids` and `Instance_ids` with the same names as PNG,
    at the root or under `Annotations/`; `Instance_ids/....txt` rows "part_instance_id class_id human_id";
    `lists/SPLIT_id.txt` rows "videosN/ID"; for clips also VIP_Sequence's `adjacent_frames/videosN/ID/%012d.jpg`.
    Nothing but the lists is read before a sample is asked for.

    Args:
        root: folder of the layout.
        split: name of a list, or the ids themselves.
        transform: makes the training or evaluation clip.
        key_interval: l, frames from key to key; None makes samples single pictures.
        encoding_range: p, key frames beside the current one.
        former_only: training takes earlier key frames where they exist, as evaluation does, instead of either side.
        key_offset: in evaluation, frames from the target to its key frame; None draws it, for each frame once.
        seed: of the draws and the augmentation; None is evaluation.
        annotations: also hand out the native ground truth (evaluation).
    """

    label_set = LABELS
    evenly_numbered = True

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        transform: ClipTransform,
        *,
        key_interval: int | None = None,
        encoding_range: int = 2,
        former_only: bool = False,
        key_offset: int | None = None,
        seed: int | None = None,
        annotations: bool = False,
    ) -> None:
        self.labels_root = root / "Annotations" if (root / "Annotations").is_dir() else root
        for folder in (root / "Images", self.labels_root / "Category_ids", self.labels_root / "Human_ids"):
            if not folder.is_dir():
                raise InputError(
                    f"{root} does not hold VIP: {folder.relative_to(root)}/ is missing; point data.root at the folder"
                    " with Images/, Category_ids/ (or Annotations/Category_ids/) and lists/"
                )
        _check_keys(root, key_interval, encoding_range, key_offset)
        self.key_interval, self.encoding_range = key_interval, encoding_range
        self.former_only, self.key_offset = former_only, key_offset
        ids = read_list(root, split) if isinstance(split, str) else split
        super().__init__(root, ids, transform, seed=seed, annotations=annotations)

    def file(self, index: int) -> Path:
        """Where the annotated frame lies."""
        return self.root / "Images" / f"{self.ids[index]}.jpg"

    def context(self, index: int, rng: np.random.Generator) -> Context | None:
        """The key frames, farthest first and the target's own last."""
        if self.key_interval is None:
            return None
        folder, target = self.root / "adjacent_frames" / self.ids[index], self.file(index)
        frames = numbered(folder)
        t = int(target.stem)
        frames[t] = target
        span = self.key_interval, self.encoding_range
        if self.seed is None and self.key_offset is not None:
            keys = keys_at(t, self.key_offset, *span, frames)
        else:
            keys = draw_keys(rng, t, *span, frames, former_only=self.former_only or self.seed is None)
        if not keys:
            raise InputError(
                f"{folder} lacks frames for {span[1]} more key frames {span[0]} apart; copy the missing ones there, or "
                "lower data.key_interval or data.encoding_range"
            )
        return Context([frames[key] for key in keys], [key - t for key in keys])

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Parts and person ids."""
        parts_file = self.labels_root / "Category_ids" / f"{name}.png"
        persons_file = self.labels_root / "Human_ids" / f"{name}.png"
        parts, persons = read_labels(parts_file), read_ids(persons_file)
        self.label_set.check(parts, parts_file)
        check_size(parts, size, parts_file)
        check_size(persons, size, persons_file)
        return Labels(parts=parts, persons=persons)

    def annotation(self, name: str, labels: Labels) -> Annotation:
        """Parts, persons and part instances."""
        parts, persons = labels["parts"], labels["persons"]
        file = self.labels_root / "Instance_ids" / f"{name}.png"
        ids = read_ids(file)
        check_size(ids, parts.shape, file)
        classes = read_instance_classes(file.with_suffix(".txt"), self.label_set.num_classes)
        return Annotation(
            parts=torch.from_numpy(parts).long(),
            persons=dense(persons, {i: 1 for i in np.unique(persons).tolist() if i}),
            part_instances=dense(ids, covering(ids, classes, file)),
        )


def _check_keys(root: Path, interval: int | None, past: int, offset: int | None) -> None:
    check_keys(interval, past)
    if interval is None:
        return
    if not (root / "adjacent_frames").is_dir():
        raise InputError(
            f"{root}/adjacent_frames/ is missing: key frames come from VIP_Sequence; unpack it there, or leave "
            "data.key_interval unset"
        )
    if offset is not None and offset not in (offsets := key_range(0, interval)):
        raise InputError(f"data.key_offset={offset} is not in {offsets[0]}..{offsets[-1]}, those of l = {interval}")


def read_list(root: Path, split: str) -> list[str]:
    """Ids "videosN/ID" of a split; raises InputError naming the lists there are."""
    file = root / "lists" / f"{split}_id.txt"
    if not file.is_file():
        found = sorted(p.name.removesuffix("_id.txt") for p in (root / "lists").glob("*_id.txt"))
        raise InputError(f"{file} is missing: VIP here has the splits {', '.join(found) or 'none'}")
    ids = file.read_text().split()
    if not ids:
        raise InputError(f"{file} lists no frame; it should hold rows like videos1/000000000001")
    return ids


def read_instance_classes(file: Path, num_classes: int) -> dict[int, int]:
    """Part instance id -> class from rows "part_instance_id class_id human_id"."""
    if not file.is_file():
        raise InputError(f"{file} is missing: each Instance_ids PNG needs the txt that names its classes")
    classes = {}
    for number, row in enumerate(file.read_text().splitlines(), 1):
        if not row.strip():
            continue
        try:
            instance, part = (int(field) for field in row.split()[:2])
        except ValueError:
            raise InputError(f"{file}, line {number}: {row!r} is not 'part_instance_id class_id human_id'") from None
        if not 0 < part < num_classes:
            raise InputError(f"{file}, line {number}: class {part} is not in 1..{num_classes - 1}")
        classes[instance] = part
    return classes


def covering(ids: Int32, classes: dict[int, int], file: Path) -> dict[int, int]:
    """The classes themselves, once every id in the map is known to have one."""
    bare = sorted(set(np.unique(ids).tolist()) - {0} - classes.keys())
    if bare:
        raise InputError(
            f"{file}: part instance {bare[0]} has no row in {file.with_suffix('.txt').name}; add its class"
        )
    return classes
