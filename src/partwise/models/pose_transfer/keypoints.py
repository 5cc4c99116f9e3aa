"""Pictures of a folder with the poses of a json in COCO's form, whoever made them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import torch

from partwise.arrays import Float32Array, Picture
from partwise.errors import InputError
from partwise.io.coco_json import read_annotations, read_detections
from partwise.io.coco_records import Annotation, Id, Result
from partwise.io.images import IMAGE_SUFFIXES, read_image
from partwise.io.json_file import shown
from partwise.io.listing import list_files
from partwise.io.text import read_text
from partwise.ops.pose import mpii_of_coco

COCO, MPII = 17, 16  # keypoints
SCORED = 0.0  # visibility of annotations: 0 is missing


class PosedPictures:
    """Pictures and the poses in them, of those that have some.

    A picture of annotations is the one that `file_name` names, by its path below the folder or its last part; one of
    results that have no `file_name` is the one whose stem is `image_id`, as a text or as a number.

    Args:
        folder: of the pictures, at any depth.
        file: json of COCO's annotations or results, with 17 keypoints of COCO's or 16 of MPII's order.
        least: score up to which keypoints of results are missing.

    Attributes:
        ids: paths below the folder.

    Raises:
        InputError: the folder or the json cannot be read, or a pose is of no picture or has other keypoints.
    """

    def __init__(self, folder: Path, file: Path, least: float = 0.3) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder} (images) is not a folder; name the folder with the pictures")
        self._folder, self._file = folder, file
        self._places: dict[str, list[str]] = defaultdict(list)
        for path in list_files(folder, IMAGE_SUFFIXES):
            name = path.relative_to(folder).as_posix()
            for key in {name, path.name, path.stem, path.stem.lstrip("0") if path.stem.isdigit() else path.stem}:
                self._places[key].append(name)
        self._poses: dict[str, list[Float32Array]] = defaultdict(list)
        for number, name, keypoints, limit in self._rows(least):
            self._poses[name].append(self._pose(number, keypoints, limit))
        self.ids = sorted(self._poses)
        if not self.ids:
            raise InputError(f"{file} has no keypoints of anybody in {folder}; check the json")

    def picture(self, index: int) -> Picture:
        """Read a picture (H, W, 3) RGB, upright as viewers show it."""
        return read_image(self._folder / self.ids[index])

    def labels(self, name: str, size: tuple[int, int]) -> dict[str, Float32Array]:
        """Return `keypoints` (N, 16, 3) of a picture in MPII's order; its size is of no effect."""
        poses = torch.stack([torch.from_numpy(pose) for pose in self._poses[name]])
        return {"keypoints": poses.numpy()}

    def _rows(self, least: float) -> Iterable[tuple[int, str, list[float], float]]:
        """The number of each person, the picture, the keypoints, and the visibility or score that is missing."""
        if read_text(self._file).lstrip()[:1] == "[":
            for number, row in enumerate(read_detections(self._file), 1):
                if row.keypoints:
                    yield number, self._name(number, row, {}), row.keypoints, least
            return
        known = read_annotations(self._file)
        names = {image.id: image.file_name for image in known.images}
        for number, annotation in enumerate(known.annotations, 1):
            if annotation.keypoints and any(annotation.keypoints[2::3]):
                yield number, self._name(number, annotation, names), annotation.keypoints, SCORED

    def _name(self, number: int, row: Annotation | Result, names: dict[Id, str | None]) -> str:
        given = names.get(row.image_id) or getattr(row, "file_name", None)
        asked = [str(given), Path(str(given)).name] if given else [str(row.image_id)]
        found = next((self._places[key] for key in asked if key in self._places), [])
        if len(set(found)) != 1:
            problem = "several pictures" if found else "no picture"
            raise InputError(
                f"{self._file}: pose {number} is of {shown(asked[0])}, for which {self._folder} has {problem}; "
                "name it by file_name"
            )
        return found[0]

    def _pose(self, number: int, keypoints: list[float], least: float) -> Float32Array:
        if len(keypoints) not in (3 * COCO, 3 * MPII):
            raise InputError(
                f"{self._file}: pose {number} has {len(keypoints)} numbers; wanted are x, y and visibility of COCO's "
                "17 or MPII's 16 joints"
            )
        pose = torch.tensor(keypoints, dtype=torch.float32).view(1, -1, 3)
        if pose.shape[1] == COCO:
            found: Float32Array = mpii_of_coco(pose, least)[0].numpy()
            return found
        seen = pose[..., 2:] > least
        mpii: Float32Array = torch.where(
            seen, torch.cat([pose[..., :2], torch.full_like(seen, 2.0, dtype=pose.dtype)], 2), 0.0
        )[0].numpy()
        return mpii
