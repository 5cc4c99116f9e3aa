"""VIP for single-image parsers and, with key frames, for ATEN."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_modules.base import ParsingDataModule
from data_modules.contexts import Around
from data_modules.datasets.vip import PUBLISHED, VIP


class VIPDataModule(ParsingDataModule):
    """Annotated frames of VIP: images, 20 classes, persons; native ground truth for val and test.

    With `around` set, samples are clips: the frames that it chooses, and last the annotated frame.

    Args:
        around: the frames that go with the labelled one, see `data_modules.contexts`; None yields single pictures.
        options: see `ParsingDataModule`. `root` is VIP_Fine's folder; a horizontal flip is the paper's only
            augmentation; `synthetic` are parameters of `data_modules.synthetic.vip.write_vip`.
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
        around: Around | None = None,
        **options: Any,
    ) -> None:
        super().__init__(VIP.label_set, **options)
        self.around = around

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Its videos and those of their frames that are samples."""
        return {"videos": len({name.split("/")[0] for name in dataset.ids}), "annotated frames": len(dataset)}

    def make_stand_in(self) -> Path:
        """Render VIP's stand-in into the cache, or find it there."""
        from data_modules.synthetic.cache import stand_in
        from data_modules.synthetic.vip import write_vip

        return stand_in(write_vip, **self.stand_in_parameters)

    def clip(self) -> list[Path]:
        """The frames adjacent to a test frame that has them, in order, the frame itself in its place."""
        root = self.root("test")
        for name in VIP(root, self.splits["test"], self.transform("test")).ids:
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
            self.transform(stage),
            around=self.around,
            seed=self.seed if training else None,
            annotations=not training,
        )
