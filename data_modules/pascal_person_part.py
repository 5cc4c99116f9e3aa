"""Pascal-Person-Part: parts, persons and poses in PASCAL VOC pictures, for Instance CRF and pose transfer."""

from __future__ import annotations

from typing import Any

from data_modules.datasets.pascal_person_part import PUBLISHED, PascalPersonPart, PascalPersonPartLR
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter
from partwise.errors import InputError
from partwise.ops.flip import MPII_KEYPOINT_PAIRS

FORMS = {"seven": PascalPersonPart, "left_right": PascalPersonPartLR}


class PascalPersonPartDataModule(StillsDataModule):
    """Pictures with 7 classes, or 11 with left and right limbs apart; persons and keypoints (N, 16, 3) where annotated.

    Args:
        form: "seven", or "left_right" for the ten parts and the background.
        class_order: of the PNGs: "official", or "bupt" for the repackaging that permutes the classes.
        options: further arguments of `StillsDataModule`: root (the folder with JPEGImages/, Annotations_Part/ or
            pascal_person_part/, and PersonJoints/ if wanted), splits (names of lists, ids, or "all" where there are
            no lists), synthetic (options of `PascalPersonPartWriter`), image_size, flip, augment, batch_size,
            num_workers, seed and test_root.
    """

    keypoint_pairs = MPII_KEYPOINT_PAIRS

    layout = """\
JPEGImages/ID.jpg                                      VOC2010's pictures
Annotations_Part/ID.mat                                PASCAL-Part: persons and raw parts; and/or
pascal_person_part/pascal_person_part_gt/ID.png        7 classes, ready made
pascal_person_part/pascal_person_part_trainval_list/{train_id,val_id}.txt
PersonJoints/ID.mat                                    poses of Xia et al., if wanted"""
    published = PUBLISHED
    writer = PascalPersonPartWriter

    def __init__(self, *, form: str = "seven", class_order: str = "official", **options: Any) -> None:
        if form not in FORMS:
            raise InputError(f"data.form={form} is not known; it is one of {', '.join(FORMS)}")
        super().__init__(FORMS[form].label_set, **options)
        self.reader, self.class_order = FORMS[form], class_order

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Return the further arguments of `PascalPersonPart`."""
        return {"class_order": self.class_order}
