"""CIHP: several people a picture, for parsers of parts and persons."""

from __future__ import annotations

from data_modules.datasets.cihp import CIHP, PUBLISHED
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.stills import CIHPWriter


class CIHPDataModule(StillsDataModule):
    """Pictures and 20 classes, persons where they are numbered; native ground truth for val and test.

    Args:
        options: further arguments of `StillsDataModule`: label_set, root (instance-level_human_parsing/ or the folder
            above), splits ("train", "val", or ids), synthetic (options of `CIHPWriter`), image_size, flip, augment,
            batch_size, num_workers, seed and test_root.
    """

    layout = """\
instance-level_human_parsing/{Training,Validation}/Images/ID.jpg
instance-level_human_parsing/{Training,Validation}/Category_ids/ID.png                 20 classes
instance-level_human_parsing/{Training,Validation}/{Human_ids,Instance_ids}/ID.png     if there are any
instance-level_human_parsing/{Training/train_id.txt,Validation/val_id.txt}"""
    published = PUBLISHED
    reader = CIHP
    writer = CIHPWriter
