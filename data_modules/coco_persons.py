"""COCOPersons: persons of COCO, on which the self-supervised loop trains first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from data_modules.datasets.coco_persons import COCOPersons
from data_modules.datasets.union import PARTS_ALONE, Union
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.coco_persons import COCOPersonsWriter


class COCOPersonsDataModule(StillsDataModule):
    """Pictures, foreground, person ids and 17 keypoints; native ground truth for val and test.

    Serves pose transfer as a mask-and-keypoint pool. In training, pictures without persons are left out.

    Args:
        options: further arguments of `StillsDataModule`: label_set, extra (a folder of the same layout, whose training
            split is added to this one's), root (the folder with train2017/, val2017/ and annotations/), splits
            ("train", "val", the name of a json, or file names of pictures), synthetic (options of
            `COCOPersonsWriter`), image_size, flip, augment, batch_size, num_workers, seed and test_root.
    """

    layout = """\
{train2017,val2017}/000000000001.jpg
annotations/person_keypoints_{train2017,val2017}.json    or Pose2Seg's names"""
    reader = COCOPersons
    writer = COCOPersonsWriter

    def join(self, own: Any, extra: Path) -> Dataset[dict[str, Any]]:
        """Add the training split of another folder of this layout, such as labels of videos.

        Args:
            own: the training split.
            extra: the other folder.
        """
        return Union(own, self.read(extra, "train", "train"), (*PARTS_ALONE, "instances", "keypoints"))
