"""Your own frames with a few label maps, in two folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from data_modules.datasets.images import LabelledImages
from data_modules.formats.label_maps import read_parts
from data_modules.formats.layout import given_ids, no_such_split
from data_modules.loading.transforms import ClipTransform, Labels
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.headers import is_turned
from partwise.io.images import IMAGE_SUFFIXES, read_image, read_labels
from partwise.io.listing import list_files
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
        """Find the names, and the frame and the label map of each."""
        self._frames, self._maps = find_files(self.root)
        ids = split_names(self._maps, split, self.root) if isinstance(split, str) else given_ids(split)
        for folder, files in (("frames", self._frames), ("labels", self._maps)):
            if lost := [name for name in ids if name not in files]:
                raise InputError(f"{lost[0]} is not in {self.root / folder}; a name needs a frame and a label map")
        return ids

    def picture(self, index: int) -> UInt8Array:
        """Read the frame (H, W, 3), RGB, at its native size, upright as viewers show it."""
        return read_image(self._frames[self.ids[index]])

    def labels(self, name: str, size: tuple[int, int]) -> Labels:
        """Read the label map.

        Args:
            name: id of the picture.
            size: (H, W) of the picture.

        Returns:
            Parts.
        """
        file, frame = self._maps[name], self._frames[name]
        try:
            return Labels(parts=read_parts(file, self.classes, size))
        except InputError:
            if _is_turned(frame) and read_labels(file).shape == size[::-1]:
                raise InputError(
                    f"{file} fits {frame} as stored, but EXIF turns that upright, to {size[1]}x{size[0]}; "
                    "turn the label map too, or remove the EXIF orientation"
                ) from None
            raise

    def remarks(self) -> Iterator[str]:
        """Yield a line for what is no fault, but changes how the files are read."""
        turned = [self._frames[name] for name in self.ids if _is_turned(self._frames[name])]
        if turned:
            yield (
                f"{len(turned)} of {len(self)} frames (such as {turned[0]}) have an EXIF orientation and are read "
                "upright; their label maps must be upright too"
            )


def find_files(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Find the frames and the label maps by their names.

    Args:
        root: folder of the layout.

    Returns:
        Frames and label maps, each by name in order.

    Raises:
        InputError: a folder is missing or cannot be read, two files have one name, or there is no label map.
    """
    frames, labels = root / "frames", root / "labels"
    if not frames.is_dir() or not labels.is_dir():
        raise InputError(f"{root} needs the folders frames/ and labels/; label maps are PNGs named like their frames")
    maps = _by_name(labels, (".png",))
    if not maps:
        raise InputError(f"{labels} holds no PNG; put label maps named like their frames there")
    return _by_name(frames, IMAGE_SUFFIXES), maps


def split_names(names: Iterable[str], split: str, root: Path) -> list[str]:
    """Choose the labelled frames of a split.

    Args:
        names: of all labelled frames.
        split: "train", "val" or "all".
        root: folder of the layout, named in messages.

    Returns:
        Names in order.

    Raises:
        InputError: no such split, or no label map in it.
    """
    if split not in SPLITS:
        raise no_such_split("your own data", split, SPLITS, root)
    names = sorted(names)
    groups = sorted({name.rpartition("/")[0] for name in names})
    units = groups if len(groups) > 1 else names
    held_back = set(units[4::5] or units[-1:])
    if split == "all":
        return names
    unit = {name: name.rpartition("/")[0] if len(groups) > 1 else name for name in names}
    chosen = [name for name in names if (unit[name] in held_back) == (split == "val")]
    if not chosen:
        raise InputError(f"{root} has {len(names)} label maps, none left for {split}; it needs at least two")
    return chosen


def _by_name(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in list_files(folder, suffixes):
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise InputError(f"{file} and {files[name]} have one name; keep one of them")
        files[name] = file
    return files


def _is_turned(frame: Path) -> bool:
    return is_turned(frame.read_bytes())
