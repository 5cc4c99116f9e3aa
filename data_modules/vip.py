"""VIP for single-image parsers and, with key frames, for ATEN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_modules.base import ParsingDataModule
from data_modules.datasets.vip import PUBLISHED, VIP
from data_modules.transforms import ClipTransform


class VIPDataModule(ParsingDataModule):
    """Annotated frames of VIP: images, 20 classes, persons; native ground truth for val and test.

    With `key_interval` set, samples are clips: the key frames, farthest first, and last the annotated frame.

    Args:
        root: VIP_Fine's folder; None renders the stand-in.
        image_size: side of the square canvas; the longer side of a frame becomes this.
        key_interval: l, frames from key to key; None yields single pictures.
        encoding_range: p, key frames beside the current one.
        former_only: training takes earlier key frames where they exist, as evaluation does, instead of either side.
        key_offset: in evaluation, frames from the target to its key frame; None draws it, for each frame once.
        splits: list names (or ids) of train, val and test.
        flip: probability of a horizontal flip in training, the paper's only augmentation.
        synthetic: parameters of the stand-in, see `data_modules.synthetic.vip.write_vip`.
        batch_size: frames a process and step.
        num_workers: loader processes.
        seed: of shuffling, key frames and augmentation.
    """

    layout = """\
Images/videosN/000000000001.jpg              annotated frames, counted from 1
{,Annotations/}Category_ids/videosN/ID.png   20 classes
{,Annotations/}Human_ids/videosN/ID.png      persons
{,Annotations/}Instance_ids/videosN/ID.png   part instances, with ID.txt: rows instance, class, person
lists/{train,val,test}_id.txt                rows videosN/ID
adjacent_frames/videosN/ID/ID.jpg            ten frames on each side of an annotated one (for clips)"""
    published = PUBLISHED

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        image_size: int = 512,
        key_interval: int | None = None,
        encoding_range: int = 2,
        former_only: bool = False,
        key_offset: int | None = None,
        splits: Mapping[str, str | Sequence[str]] | None = None,
        flip: float = 0.5,
        synthetic: Mapping[str, Any] | None = None,
        batch_size: int = 4,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            VIP.label_set,
            root=root,
            splits={"train": "train", "val": "val", "test": "test", **(splits or {})},
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.flip = flip
        self.key_interval, self.encoding_range = key_interval, encoding_range
        self.former_only, self.key_offset = former_only, key_offset
        self.stand_in_parameters = dict(synthetic or {})

    def make_stand_in(self) -> Path:
        """Render VIP's stand-in into the cache, or find it there."""
        from data_modules.synthetic.cache import stand_in
        from data_modules.synthetic.vip import write_vip

        return stand_in(write_vip, **self.stand_in_parameters)

    def clip(self) -> list[Path]:
        """The frames adjacent to a test frame that has them, in order, the frame itself in its place."""
        root = self.root()
        for name in VIP(root, self.splits["test"], self._transform("test")).ids:
            frames = {p.stem: p for p in (root / "adjacent_frames" / name).glob("*.jpg")}
            if frames:
                frames[name.split("/")[1]] = root / "Images" / f"{name}.jpg"
                return [frames[stem] for stem in sorted(frames)]
        return []

    def make_dataset(self, root: Path, stage: str) -> VIP:
        """Annotated frames of a stage."""
        training = stage == "train"
        return VIP(
            root,
            self.splits[stage],
            self._transform(stage),
            key_interval=self.key_interval,
            encoding_range=self.encoding_range,
            former_only=self.former_only,
            key_offset=self.key_offset,
            seed=self.seed if training else None,
            annotations=not training,
        )

    def _transform(self, stage: str) -> ClipTransform:
        return ClipTransform(self.image_size, self.label_set, self.flip if stage == "train" else 0.0)
