"""VIP for single-image parsers and, with key frames, for ATEN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from data_modules.base import ParsingDataModule
from data_modules.datasets.vip import ADJACENT, IMAGES, PUBLISHED, VIP, read_list
from data_modules.loading.contexts import Around
from data_modules.synthetic.layouts.vip import VIPWriter
from partwise.io.listing import hidden


class VIPDataModule(ParsingDataModule):
    """Annotated frames of VIP: images, 20 classes, persons; native ground truth for val and test.

    With `around` set, samples are clips: the frames that it chooses, and last the annotated frame.

    Args:
        around: chooses the frames that go with the annotated one (`data_modules.loading.contexts`); None yields single
            pictures.
        options: further arguments of `ParsingDataModule`: label_set, root (VIP_Fine's folder), splits (names of lists,
            or ids), synthetic (options of `VIPWriter`), image_size, flip (the paper's only augmentation), augment,
            batch_size, num_workers, seed and test_root.
    """

    layout = """\
Images/videosN/000000000001.jpg              annotated frames, counted from 1
{,Annotations/}Category_ids/videosN/ID.png   20 classes
{,Annotations/}Human_ids/videosN/ID.png      persons
{,Annotations/}Instance_ids/videosN/ID.png   part instances, with ID.txt: rows instance, class, person
lists/{train,val,trainval,test}_id.txt       rows videosN/ID
adjacent_frames/videosN/ID/ID.jpg            ten frames on each side of an annotated one (for clips)"""
    published = PUBLISHED
    reader = VIP
    writer = VIPWriter

    def __init__(self, *, around: Around | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.around = around

    def count(self, dataset: Any) -> Mapping[str, int]:
        """Count its videos and those of their frames that are samples."""
        return {"videos": len({name.split("/")[0] for name in dataset.ids}), "annotated frames": len(dataset)}

    def check(self, *stages: str) -> None:
        """Open every split that will be used, and say where training and evaluation share frames.

        Args:
            stages: of "train", "val" and "test"; none stands for all three.
        """
        super().check(*stages)
        wanted = stages or self.stages
        if "train" in wanted:
            seen = set(self._ids("train"))
            for stage in (s for s in wanted if s != "train"):
                shared = seen.intersection(ids := self._ids(stage))
                if shared:
                    _say(
                        f"data.splits.train={self.splits['train']} holds {len(shared)} of the {len(ids)} frames of "
                        f"{stage}: the metrics of {stage} are of frames seen in training"
                        + (", and best.ckpt is chosen by them" if stage == "val" else "")
                    )

    def _ids(self, stage: str) -> Sequence[str]:
        split = self.splits[stage]
        return read_list(self.root(stage), split) if isinstance(split, str) else split

    def clip(self) -> list[Path]:
        """Return the frames adjacent to a test frame that has them, in order, the frame itself in its place."""
        root = self.root("test")
        for name in self.read(root, "test").ids:
            frames = {p.stem: p for p in (root / ADJACENT / name).glob("*.jpg") if not hidden(p.name)}
            if frames:
                frames[name.split("/")[1]] = root / IMAGES / f"{name}.jpg"
                return [frames[stem] for stem in sorted(frames)]
        return []

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Return the further arguments of `VIP`."""
        return {"around": self.around}


@rank_zero_only
def _say(line: str) -> None:
    print(line, flush=True)
