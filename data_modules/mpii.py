"""MPII Human Pose: poses without masks, to find similar poses for."""

from __future__ import annotations

from typing import Any

from data_modules.datasets.mpii import MPII, PUBLISHED
from data_modules.stills import StillsDataModule
from data_modules.synthetic.layouts.mpii import MPIIWriter
from partwise.ops.flip import MPII_KEYPOINT_PAIRS


class MPIIDataModule(StillsDataModule):
    """Pictures and 16 joints: pose transfer's keypoint-only pool of people.

    Splits are "train", "val", "all", or file names of pictures; the joints of MPII's test set are secret.

    Args:
        full_body: leave out people without all sixteen joints.
        options: see `StillsDataModule`. `root` is the folder with images/ and annot/*.json or the release's .mat;
            `synthetic` are parameters of `data_modules.synthetic.layouts.mpii.MPIIWriter`.
    """

    keypoint_pairs = MPII_KEYPOINT_PAIRS

    layout = """\
images/000001.jpg
mpii_human_pose_v1_u12_1.mat    or annot/{train,valid}.json, the list form"""
    published = PUBLISHED
    reader = MPII
    writer = MPIIWriter

    def __init__(self, *, full_body: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.full_body = full_body

    def reader_options(self, stage: str) -> dict[str, Any]:
        """Returns the further arguments of `MPII`."""
        return {"full_body": self.full_body}
