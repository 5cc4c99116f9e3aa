"""Pictures of a folder with the poses of a json in COCO's form, whoever made them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from partwise.arrays import Float32Array, Picture
from partwise.errors import InputError
from partwise.io.images import IMAGE_SUFFIXES, read_image
from partwise.io.json_file import shown
from partwise.io.listing import list_files
from partwise.io.poses import LEAST, PictureNames, Pose, read_poses
from partwise.ops.mpii import mpii_of_coco, pascal_heads

COCO, MPII = 17, 16  # keypoints


class PosedPictures:
    """Pictures and the poses in them, of those that have some.

    A picture is the one that `file_name` names, by its path or its last part; without a `file_name` it is the one whose
    stem is `image_id`, as a text or as a number.

    Args:
        folder: of the pictures, at any depth.
        file: json of COCO's annotations or results, with 17 keypoints of COCO's or 16 of MPII's order.
        least: score up to which keypoints of results are missing.

    Attributes:
        ids: paths below the folder.

    Raises:
        InputError: the folder or the json cannot be read, or a pose is of no picture or has other keypoints.
    """

    def __init__(self, folder: Path, file: Path, least: float = LEAST) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder} (images) is not a folder; name the folder with the pictures")
        self._folder, self._file = folder, file
        paths = list_files(folder, IMAGE_SUFFIXES)
        names = PictureNames(paths)
        self._poses: dict[str, list[Float32Array]] = defaultdict(list)
        for pose in read_poses(file, (COCO, MPII), least):
            path = paths[self._index(pose, names)]
            self._poses[path.relative_to(folder).as_posix()].append(_mpii(pose))
        self.ids = sorted(self._poses)
        if not self.ids:
            raise InputError(f"{file} has no keypoints of anybody in {folder}; check the json")

    def picture(self, index: int) -> Picture:
        """Read a picture (H, W, 3) RGB, upright as viewers show it."""
        return read_image(self._folder / self.ids[index])

    def labels(self, name: str, size: tuple[int, int]) -> dict[str, Float32Array]:
        """Return `keypoints` (N, 16, 3) of a picture with `pascal_heads`, in MPII's order; its size is of no effect."""
        poses = torch.stack([torch.from_numpy(pose) for pose in self._poses[name]])
        return {"keypoints": poses.numpy()}

    def _index(self, pose: Pose, names: PictureNames) -> int:
        found, _ = names.find(pose.name)
        if len(found) != 1:
            problem = "several pictures" if found else "no picture"
            raise InputError(
                f"{self._file}: pose {pose.number} is of {shown(pose.name)}, for which {self._folder} has {problem}; "
                "name it by file_name"
            )
        return found[0]


def _mpii(pose: Pose) -> Float32Array:
    """The 16 joints of MPII's order; visibility 2, or 0 with x = y = 0 where a joint is missing."""
    points = torch.from_numpy(np.column_stack([pose.keypoints[:, :2], np.where(pose.known, np.float32(2), 0)]))
    joints = (
        mpii_of_coco(points[None]) if len(points) == COCO else (points * torch.from_numpy(pose.known)[:, None])[None]
    )
    made: Float32Array = pascal_heads(joints)[0].numpy()
    return made
