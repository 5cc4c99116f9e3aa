"""LIP: crops of single people, for dense parsers."""

from __future__ import annotations

from data_modules.datasets.lip import LIP, PUBLISHED
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.stills import LIPWriter


class LIPDataModule(StillsDataModule):
    """Crops and 20 classes; native ground truth for val and test.

    Args:
        options: further arguments of `StillsDataModule`: label_set, root (the folder with TrainVal_images/ and
            TrainVal_parsing_annotations/, or the one above), splits ("train", "val", or ids), synthetic (options of
            `LIPWriter`), image_size, flip, augment, batch_size, num_workers, seed and test_root.
    """

    layout = """\
TrainVal_images/{train,val}_images/ID.jpg
TrainVal_parsing_annotations/{train,val}_segmentations/ID.png    20 classes
TrainVal_images/{train,val}_id.txt                               or beside TrainVal_images/"""
    published = PUBLISHED
    reader = LIP
    writer = LIPWriter
