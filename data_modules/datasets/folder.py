"""Your own frames with a few label maps, in two folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_modules.datasets.images import LabelledImages
from data_modules.formats.label_maps import read_parts
from data_modules.formats.layout import given_ids, no_such_split
from data_modules.loading.transforms import ClipTransform, Labels
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.images import IMAGE_SUFFIXES, read_image
from partwise.labels import LabelSet

SPLITS = ("train", "val", "all")


class LabelledFolder(LabelledImages):
    """Pictures that have a label map of the same name.

    Layout: `frames/NAME.jpg` (or any other picture) and `labels/NAME.png` (index or greyscale PNG, 255 = ignored);
    NAME may hold folders, one a video. Frames without labels are left out. Every fifth labelled frame validates; where
    there are folders, every fifth folder does, so that no video is on both sides.

    Args:
        root: folder of the layout.
        split: "train", "val", "all", or the names themselves.
        transform: makes the training or evaluation sample.
        label_set: the classes of the label maps.
        seed: of the augmentation; None does none.
        annotations: whether samples have the native ground truth (evaluation).
    """

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        transform: ClipTransform,
        *,
        label_set: LabelSet,
        seed: int | None = None,
        annotations: bool = False,
    ) -> None:
        self.classes = label_set
        super().__init__(root, split, transform, seed=seed, annotations=annotations)

    def find_ids(self, split: str | Sequence[str]) -> list[str]:
        """Find the names, and the file of each frame."""
        files = _frames(self.root)
        ids = split_names(self.root, split) if isinstance(split, str) else given_ids(split)
        if lost := [name for name in ids if name not in files]:
            where = self.root / "frames"
            raise InputError(f"frame {lost[0]} is not in {where}; it is listed in the split or has labels")
        self._files = [files[name] for name in ids]
        return ids

    def picture(self, index: int) -> UInt8Array:
        """Read the frame (H, W, 3), RGB, at its native size."""
        return read_image(self._files[index], upright=False)

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the label map.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Parts.
        """
        return Labels(parts=read_parts(self.root / "labels" / f"{name}.png", self.classes, size))


def split_names(root: Path, split: str) -> list[str]:
    """List the labelled frames of a split.

    Args:
        root: folder of the layout.
        split: "train", "val" or "all".

    Returns:
        Names in order.

    Raises:
        InputError: no such split, or no label map in it.
    """
    if split not in SPLITS:
        raise no_such_split("your own data", split, SPLITS, root)
    folder = root / "labels"
    names = sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.png"))
    if not names:
        raise InputError(f"{folder} holds no PNG; put label maps named like their frames there")
    groups = sorted({name.rpartition("/")[0] for name in names})
    units = groups if len(groups) > 1 else names
    held_back = set(units[4::5] or units[-1:])
    if split == "all":
        return names
    unit = {name: name.rpartition("/")[0] if len(groups) > 1 else name for name in names}
    chosen = [name for name in names if (unit[name] in held_back) == (split == "val")]
    if not chosen:
        raise InputError(f"{folder} has {len(names)} label maps, none left for {split}; it needs at least two")
    return chosen


def _frames(root: Path) -> dict[str, Path]:
    folder = root / "frames"
    if not folder.is_dir() or not (root / "labels").is_dir():
        raise InputError(f"{root} needs the folders frames/ and labels/; label maps are PNGs named like their frames")
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in IMAGE_SUFFIXES:
            name = file.relative_to(folder).with_suffix("").as_posix()
            if name in files:
                raise InputError(f"{file} and {files[name]} have one name; keep one of them")
            files[name] = file
    return files
