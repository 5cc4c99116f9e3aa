"""MPII Human Pose: poses without masks, among which pose transfer looks for similar ones."""

from __future__ import annotations

from typing import Any

from data_modules.datasets.mpii import MPII, PUBLISHED
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.mpii import MPIIWriter
from partwise.ops.flip import MPII_KEYPOINT_PAIRS


class MPIIDataModule(StillsDataModule):
    """Pictures and 16 joints: pose transfer's keypoint-only pool of people.

    Args:
        single: whether to leave out pictures of several people.
        full_body: whether to leave out pictures in which somebody lacks one of the sixteen joints.
        heads: "official", or "pascal_person_part" for necks and heads where that dataset has them.
        options: further arguments of `StillsDataModule`: label_set, root (the folder with images/ and annot/*.json or
            the release's .mat), splits ("train", "val", "all", or file names of pictures; the joints of the test set
            are not public), synthetic (options of `MPIIWriter`), image_size, flip, augment, batch_size, num_workers,
            seed and test_root.
    """

    keypoint_pairs = MPII_KEYPOINT_PAIRS

    layout = """\
images/000001.jpg
mpii_human_pose_v1_u12_1.mat    or annot/{train,valid}.json, the list form"""
    published = PUBLISHED
    reader = MPII
    writer = MPIIWriter

    def __init__(
        self, *, single: bool = False, full_body: bool = False, heads: str = "official", **options: Any
    ) -> None:
        super().__init__(**options)
        self.single, self.full_body, self.heads = single, full_body, heads

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Return the further arguments of `MPII`."""
        return {"single": self.single, "full_body": self.full_body, "heads": self.heads}
