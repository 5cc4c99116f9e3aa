"""FlyingChairs (Dosovitskiy et al., FlowNet, ICCV 2015): pairs of frames with dense optical flow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import torch
from albumentations.augmentations.dropout.transforms import BaseDropout
from torch.utils.data import Dataset

from data_modules.datasets.clips import read_clip
from data_modules.formats.layout import given_ids, no_such_split, not_held
from data_modules.loading.sampling import Draw
from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.flo import read_flo
from partwise.io.images import check_size
from partwise.labels import FOREGROUND
from partwise.ops.flip import hflip
from partwise.ops.resize import canvas_size

#: Published numbers.
PUBLISHED = {"train": {"pairs": 22232}, "val": {"pairs": 640}}

LIST = "FlyingChairs_train_val.txt"

#: Folder of the frames and flows.
DATA = "FlyingChairs_release/data"

#: The list's number of a split.
_SPLITS = {"train": "1", "val": "2"}


class FlyingChairs(Dataset[dict[str, Any]]):
    """Two frames and the flow from the first to the second.

    Layout: `FlyingChairs_release/data/%05d_{img1,img2}.ppm` and `%05d_flow.flo`, or `data/` at the root, counted from
    1, and beside either `FlyingChairs_train_val.txt`, whose row n is 1 (train) or 2 (val) for pair n.

    Args:
        root: folder of the layout.
        split: "train", "val", "all", or ids ("00001").
        crop: side of a random square crop, or its (height, width); None takes whole frames.
        flip: probability of a horizontal flip.
        augment: albumentations transforms of light, colour and noise, drawn for each frame by itself; never one that
            moves pixels.
        seed: of crop, flip and the rest; None does none of them (evaluation).
    """

    label_set = FOREGROUND  # there are no labels that a flip could exchange

    def __init__(
        self,
        root: Path,
        split: str | Sequence[str],
        *,
        crop: int | Sequence[int] | None = None,
        flip: float = 0.5,
        augment: Sequence[A.BasicTransform] = (),
        seed: int | None = None,
    ) -> None:
        if moving := [type(t).__name__ for t in augment if not isinstance(t, A.ImageOnlyTransform | BaseDropout)]:
            raise InputError(f"data.augment: {', '.join(moving)} moves pixels, but the flow would stay; leave it out")
        self.folder = find_data(root)
        self.ids = read_list(root, split) if isinstance(split, str) else given_ids(split)
        present = {file.name for file in self.folder.iterdir()}
        for name in self.ids:
            for file in pair_files(self.folder, name):
                if file.name not in present:
                    raise InputError(f"{file} is missing; copy it there, or list the ids you have in data.splits")
        self.crop, self.flip, self.seed = None if crop is None else canvas_size(crop), flip, seed
        self.augment = A.Compose(list(augment)) if augment else None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One pair: frames (2, 3, H, W) uint8, flow (2, H, W) float32 in pixels, index and sample_ids."""
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        name = self.ids[index]
        first, second, flow_file = pair_files(self.folder, name)
        frames, flow = np.stack(read_clip([first, second])), read_flo(flow_file)
        check_size(flow[0], frames.shape[1:3], flow_file)
        rng = None if self.seed is None else np.random.default_rng([self.seed, epoch, index])
        if rng is not None and self.crop is not None:
            window = self._window(rng, flow_file, (flow.shape[1], flow.shape[2]))
            frames, flow = frames[:, *window], flow[:, *window]
        if rng is not None and self.augment is not None:
            self.augment.set_random_seed(int(rng.integers(2**31)))  # albumentations ignores numpy's and python's
            frames = np.stack([self.augment(image=frame)["image"] for frame in frames])
        pair = {
            "frames": torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))),
            "flow": torch.from_numpy(np.ascontiguousarray(flow))[None],
        }
        if rng is not None and rng.random() < self.flip:
            pair = hflip(pair, self.label_set)
        return {"frames": pair["frames"], "flow": pair["flow"][0], "index": index, "sample_ids": name}

    def picture(self, index: int) -> UInt8Array:
        """Read the first frame (H, W, 3), RGB."""
        return read_clip([pair_files(self.folder, self.ids[index])[0]])[0]

    def _window(self, rng: np.random.Generator, file: Path, size: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of a random crop."""
        assert self.crop is not None
        height, width = self.crop
        if height > size[0] or width > size[1]:
            raise InputError(f"data.crop={height}x{width} is larger than {file}, {size[0]}x{size[1]}; make it smaller")
        top, left = rng.integers(size[0] - height + 1), rng.integers(size[1] - width + 1)
        return slice(top, top + height), slice(left, left + width)


def pair_files(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """Return the paths of a pair's first frame, second frame and flow.

    Args:
        folder: of the frames and flows.
        name: id of the pair.

    Returns:
        The paths, whether or not the files exist.
    """
    return folder / f"{name}_img1.ppm", folder / f"{name}_img2.ppm", folder / f"{name}_flow.flo"


def find_data(root: Path) -> Path:
    """Return the folder of frames and flows; raise InputError if it is missing."""
    for folder in (root / DATA, root / "data"):
        if folder.is_dir():
            return folder
    place = f"the folder with FlyingChairs_release/ and {LIST}"
    raise not_held(root, "FlyingChairs", f"{DATA}/ is missing", place)


def read_list(root: Path, split: str) -> list[str]:
    """Read the pairs of a split.

    Args:
        root: folder of the layout.
        split: "train", "val" or "all".

    Returns:
        Ids ("00001").

    Raises:
        InputError: no such split or list, a damaged row, or no pair.
    """
    if split not in (*_SPLITS, "all"):
        raise no_such_split("FlyingChairs", split, (*_SPLITS, "all"), root)
    files = [root / LIST, root / "FlyingChairs_release" / LIST]
    file = next((f for f in files if f.is_file()), None)
    if file is None:
        raise InputError(f"{files[0]} is missing; download the list of the splits, or list ids in data.splits")
    rows = file.read_text().split()
    if odd := [n for n, row in enumerate(rows, 1) if row not in _SPLITS.values()]:
        raise InputError(f"{file}, line {odd[0]}: {rows[odd[0] - 1]!r} is neither 1 (train) nor 2 (val)")
    ids = [f"{n:05d}" for n, row in enumerate(rows, 1) if split == "all" or row == _SPLITS[split]]
    if not ids:
        raise InputError(f"{file} has no pair in split {split}; take another split")
    return ids
