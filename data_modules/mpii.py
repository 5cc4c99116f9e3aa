"""MPII Human Pose: poses without masks, to find similar poses for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_modules.datasets.mpii import MPII, PUBLISHED
from data_modules.loading.transforms import ClipTransform
from data_modules.stills import StillsDataModule
from partwise.ops.flip import MPII_KEYPOINT_PAIRS


class MPIIDataModule(StillsDataModule):
    """Pictures and 16 joints: pose transfer's keypoint-only pool of people.

    Splits are "train", "val", "all", or file names of pictures; the joints of MPII's test set are secret.

    Args:
        full_body: leave out people without all sixteen joints.
        options: see `StillsDataModule`. `root` is the folder with images/ and annot/*.json or the release's .mat;
            `synthetic` are parameters of `data_modules.synthetic.layouts.mpii.write_mpii`.
    """

    keypoint_pairs = MPII_KEYPOINT_PAIRS

    layout = """\
images/000001.jpg
mpii_human_pose_v1_u12_1.mat    or annot/{train,valid}.json, the list form"""
    published = PUBLISHED

    def __init__(self, *, full_body: bool = False, **options: Any) -> None:
        super().__init__(MPII.label_set, **options)
        self.full_body = full_body

    def make_stand_in(self) -> Path:
        """Render the stand-in into the cache, or find it there."""
        from data_modules.loading.cache import stand_in
        from data_modules.synthetic.layouts.mpii import write_mpii

        return stand_in(write_mpii, **self.stand_in_parameters)

    def read(
        self, root: Path, split: str | Sequence[str], transform: ClipTransform, *, seed: int | None, annotations: bool
    ) -> MPII:
        """The reader of a split."""
        return MPII(root, split, transform, seed=seed, annotations=annotations, full_body=self.full_body)
