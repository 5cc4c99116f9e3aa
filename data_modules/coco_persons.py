"""COCOPersons: what the self-supervised loop trains on first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_modules.datasets.coco_persons import COCOPersons
from data_modules.loading.transforms import ClipTransform
from data_modules.stills import StillsDataModule


class COCOPersonsDataModule(StillsDataModule):
    """Pictures, foreground, person ids and 17 keypoints; native ground truth for val and test.

    Serves pose transfer as a mask-and-keypoint pool. Splits are "train", "val", the name of a json, or file names of
    pictures. In training, pictures without persons are left out.

    Args:
        options: see `StillsDataModule`. `root` is the folder with train2017/, val2017/ and annotations/; `synthetic`
            are parameters of `data_modules.synthetic.layouts.coco_persons.write_coco_persons`.
    """

    layout = """\
{train2017,val2017}/000000000001.jpg
annotations/person_keypoints_{train2017,val2017}.json    or Pose2Seg's names"""

    def __init__(self, **options: Any) -> None:
        super().__init__(COCOPersons.label_set, **options)

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.loading.cache import stand_in
        from data_modules.synthetic.layouts.coco_persons import write_coco_persons

        return stand_in(write_coco_persons, **self.stand_in_parameters)

    def read(
        self, root: Path, split: str | Sequence[str], transform: ClipTransform, *, seed: int | None, annotations: bool
    ) -> COCOPersons:
        """The reader of a split."""
        return COCOPersons(root, split, transform, seed=seed, annotations=annotations)
