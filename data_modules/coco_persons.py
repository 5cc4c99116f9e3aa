"""COCOPersons: persons of COCO, on which the self-supervised loop trains first."""

from __future__ import annotations

from data_modules.datasets.coco_persons import COCOPersons
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.coco_persons import COCOPersonsWriter


class COCOPersonsDataModule(StillsDataModule):
    """Pictures, foreground, person ids and 17 keypoints; native ground truth for val and test.

    Serves pose transfer as a mask-and-keypoint pool. In training, pictures without persons are left out.

    Args:
        options: further arguments of `StillsDataModule`: label_set, root (the folder with train2017/, val2017/ and
            annotations/), splits ("train", "val", the name of a json, or file names of pictures), synthetic (options of
            `COCOPersonsWriter`), image_size, flip, augment, batch_size, num_workers, seed and test_root.
    """

    layout = """\
{train2017,val2017}/000000000001.jpg
annotations/person_keypoints_{train2017,val2017}.json    or Pose2Seg's names"""
    reader = COCOPersons
    writer = COCOPersonsWriter
