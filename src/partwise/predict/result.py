"""What a parser found in a picture or a frame: arrays, a picture, COCO's results, files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from partwise import viz
from partwise.arrays import AnyArray, BoolArray, Int32Array, Picture, UInt8Array
from partwise.batches import Parsing, map_of, masks_of
from partwise.io.images import LONGEST_JPEG, write_image, write_labels
from partwise.io.listing import warn_once
from partwise.labels import LabelSet


@dataclass(frozen=True, eq=False)
class Result:
    """Parsing of a picture, or of a frame of a video.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        parsing: tensors of that size.
        label_set: label set of the parts.
        ids: id of each person from 1, the same in all frames of a video; 0 for one without pixels.
        time: seconds from the start of the video at which the frame is shown; None for pictures and plain frames.
    """

    image: Picture
    parsing: Parsing
    label_set: LabelSet
    ids: Sequence[int] = ()
    time: float | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.parsing["parts"].shape)
        if shape != self.image.shape[:2]:
            raise ValueError(f"the parser gave parts {shape} for a frame of {self.image.shape[:2]}")

    @property
    def names(self) -> Sequence[str]:
        """Names of the classes, by id."""
        return self.label_set.names

    @property
    def parts(self) -> UInt8Array:
        """Part ids (H, W), 0 = background."""
        return self.parsing["parts"].numpy().astype(np.uint8)

    @property
    def finds_persons(self) -> bool:
        """Whether the network tells persons apart; false of dense parsers."""
        return "persons" in self.parsing

    @property
    def persons(self) -> Int32Array:
        """Person ids (H, W), 0 = nobody; where persons overlap, the front one with the higher score."""
        if not self.finds_persons:
            return np.zeros(self.image.shape[:2], np.int32)
        ids: Int32Array = np.take(np.array([0, *self.ids], np.int32), map_of(self.parsing["persons"]).numpy())
        return ids

    @property
    def masks(self) -> BoolArray:
        """Whole masks (N, H, W) of the persons, row n of `ids[n]`."""
        if not self.finds_persons:
            return np.zeros((0, *self.image.shape[:2]), bool)
        masks: BoolArray = masks_of(self.parsing["persons"]).numpy()
        return masks

    @property
    def scores(self) -> list[float]:
        """Score of each person, in [0, 1]; 1 where the network gives none."""
        persons = self.parsing.get("persons")
        return [1.0] * len(self.ids) if persons is None or "scores" not in persons else persons["scores"].tolist()

    def overlay(self, alpha: float = 0.5) -> Picture:
        """Blend the parts over the image, and outline each person.

        Args:
            alpha: weight of the parts' colours, 0..1.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        return viz.overlay(self.image, self.parsing, self.label_set, person_ids=self.ids, alpha=alpha)

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """Make COCO's results of the persons that have pixels.

        Args:
            image_id: id of the image in COCO's annotations.

        Returns:
            rows of `coco_row` with their `image_id`.
        """
        persons: Any = self.parsing.get("persons", {})
        poses = persons["keypoints"].flatten(1).tolist() if "keypoints" in persons else [None] * len(self.ids)
        rows = zip(self.ids, self.scores, self.masks, poses, strict=True)
        return [
            {"image_id": image_id, **coco_row(mask, score, person, pose)}
            for person, score, mask, pose in rows
            if person
        ]

    def save(self, folder: str | Path, name: str) -> None:
        """Write overlays/NAME.jpg, parts/NAME.png and, of a network that finds them, persons/NAME.png.

        Args:
            folder: made if missing; files of these names are replaced.
            name: of the files, without suffix.

        Raises:
            InputError: a file cannot be written.
        """
        write_overlay(Path(folder, "overlays", f"{name}.jpg"), self.overlay())
        self.save_maps(folder, name)

    def save_maps(self, folder: str | Path, name: str) -> None:
        """Write the index maps alone, parts/NAME.png and, of a network that finds persons, persons/NAME.png.

        Args:
            folder: made if missing; files of these names are replaced.
            name: of the files, without suffix.

        Raises:
            InputError: a file cannot be written.
        """
        write_labels(Path(folder, "parts", f"{name}.png"), self.parts, viz.palette())
        if self.finds_persons:
            write_labels(Path(folder, "persons", f"{name}.png"), self.persons, viz.person_palette())


def write_overlay(file: Path, drawn: Picture) -> None:
    """Write a picture as JPEG, smaller if it is longer than a JPEG may be, which is said.

    Args:
        file: path of the JPEG.
        drawn: (H, W, 3) uint8 RGB.

    Raises:
        InputError: it cannot be written.
    """
    if max(drawn.shape[:2]) > LONGEST_JPEG:
        warn_once(f"{file} is made smaller than its picture: a JPEG has {LONGEST_JPEG} pixels a side at most")
    write_image(file, viz.fit(drawn, *(min(side, LONGEST_JPEG) for side in drawn.shape[:2])))


def coco_row(mask: AnyArray, score: float, person: int, keypoints: Sequence[float] | None = None) -> dict[str, Any]:
    """Make the row of a person in COCO's results format.

    Args:
        mask: (H, W) bool.
        score: in [0, 1].
        person: id, the same in all frames of a video.
        keypoints: x, y, visibility of K keypoints, 3 K numbers; None if they are not known.

    Returns:
        category_id, person_id, bbox (x, y, width, height) of the mask in pixels, score, the mask as compressed RLE, and
        the keypoints if any. COCO's evaluator takes the bbox's area for the result's in APM and APL.
    """
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    row = {
        "category_id": 1,
        "person_id": int(person),
        "bbox": rle.toBbox(encoded).tolist(),
        "score": float(score),
        "segmentation": {"size": [int(s) for s in encoded["size"]], "counts": encoded["counts"].decode()},
    }
    return row if keypoints is None else row | {"keypoints": list(keypoints)}
