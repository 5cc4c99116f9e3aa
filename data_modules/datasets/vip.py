"""VIP, Video Instance-level Parsing, read from its native layout (VIP_Fine)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from data_modules.datasets.clips import Context, LabelledClips, numbered
from data_modules.formats.label_maps import check_size, dense
from data_modules.loading.contexts import Around
from data_modules.loading.transforms import ClipTransform, Labels
from partwise.batches import Annotation
from partwise.errors import InputError
from partwise.io.images import read_ids, read_labels
from partwise.io.object_rows import covering, read_instance_classes
from partwise.labels import VIP as LABELS

#: Published numbers; every 25th frame of a video is annotated.
PUBLISHED = {
    "in all": {"videos": 404, "annotated frames": 21247},
    "train": {"videos": 304},
    "val": {"videos": 50},
    "test": {"videos": 50},
}


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
        around: the frames that go with the annotated one; None makes samples single pictures.
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
        around: Around | None = None,
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
        if around is not None and not (root / "adjacent_frames").is_dir():
            raise InputError(
                f"{root}/adjacent_frames/ is missing: the frames around the annotated ones come from VIP_Sequence; "
                "unpack it there, or leave data.around unset"
            )
        self.around = around
        ids = read_list(root, split) if isinstance(split, str) else split
        super().__init__(root, ids, transform, seed=seed, annotations=annotations)

    def file(self, index: int) -> Path:
        """Where the annotated frame lies."""
        return self.root / "Images" / f"{self.ids[index]}.jpg"

    def context(self, index: int, rng: np.random.Generator) -> Context | None:
        """The frames around the target."""
        if self.around is None:
            return None
        folder, target = self.root / "adjacent_frames" / self.ids[index], self.file(index)
        frames = numbered(folder)
        t = int(target.stem)
        frames[t] = target
        chosen = (self.around.score if self.seed is None else self.around.draw)(rng, t, frames)
        if not chosen:
            raise InputError(
                f"{folder} lacks frames for {self.around}; copy the missing ones there, or lower those numbers in "
                "data.around"
            )
        return Context([frames[key] for key in chosen], [key - t for key in chosen])

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
            parts=torch.from_numpy(parts),
            persons=dense(persons, {i: 1 for i in np.unique(persons).tolist() if i}),
            part_instances=dense(ids, covering(ids, classes, file)),
        )


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
