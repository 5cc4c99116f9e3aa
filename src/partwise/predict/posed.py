"""Segmentation of persons whose poses a json gives, whoever estimated them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count as counting
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partwise.arrays import Picture
from partwise.batches import Parsing
from partwise.errors import InputError
from partwise.io.json_file import shown
from partwise.io.listing import warn_once
from partwise.io.poses import Claim, Pose, poses_of_pictures, read_poses, settle, without_suffix
from partwise.io.video import VIDEO_SUFFIXES
from partwise.labels import LabelSet
from partwise.ops.resize import Letterbox
from partwise.predict.frames import FrameParser
from partwise.scores.coco import KEYPOINTS


class PosedParser(FrameParser):
    """Gives each pose of a json a mask, in the json's order. Where it has no poses there is nobody.

    A pose needs a known joint; its score is that of the json, 1 where there is none. The keypoints of the results are
    the json's, unchanged.

    Args:
        network: a `FromPoses` of `partwise.models.contract`.
        label_set: label set of its parts.
        image_size: side of its square input in pixels, or its (height, width).
        device: device of the network.
        file: json of COCO's annotations or results, with 17 keypoints.
        bfloat16: run convolutions in bfloat16.
        stretch: frames fill the input, as in the network's training; otherwise they keep their aspect ratio.

    Raises:
        InputError: the json is missing or damaged, or has other keypoints.
    """

    def __init__(
        self,
        network: Any,
        label_set: LabelSet,
        image_size: int | Sequence[int],
        device: torch.device,
        file: Path,
        bfloat16: bool = False,
        stretch: bool = False,
    ) -> None:
        super().__init__(network, label_set, image_size, device, bfloat16=bfloat16, stretch=stretch)
        self._file = file
        self._poses = [pose for pose in read_poses(file, (KEYPOINTS,)) if pose.known.any()]

    def stream(self, frames: Iterable[Picture]) -> Iterator[Parsing]:
        """Refuse frames without a file, whose poses cannot be found.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self._file} has poses of files; give the path of a picture or video, not its pixels")

    def of_pictures(self, paths: Sequence[Path]) -> Callable[[int], _Given]:
        """Return the parser of each picture, by its index.

        Raises:
            InputError: no pose is of a picture, or it is not clear which one is.
        """
        found = poses_of_pictures(self._poses, paths, self._file)
        if missing := [path for index, path in enumerate(paths) if index not in found]:
            says = f"no poses of {len(missing)} of {len(paths)} pictures (such as {missing[0].name})"
            if not found:
                raise self._nothing(says)
            warn_once(f"{self._file} has {says}; nobody is there")
        return lambda index: _Given(self, lambda frame: found.get(index, []))

    def of_video(self, path: Path, count: int | None = None) -> _Given:
        """Return the parser of a video, the frames of whose poses `frame_of` tells.

        Args:
            path: of the video.
            count: number of its frames, None if it is not known.

        Raises:
            InputError: no pose is of a frame, or several names mean the same one.
        """
        found = settle([claim for pose in self._poses if (claim := frame_of(pose, path))], self._file)
        if not found or (count is not None and min(found) >= count):
            frames = f"{count} frames" if count else "frames"
            raise self._nothing(f"no poses of {path.name}'s {frames}, which are numbered from 0")
        return _Given(self, lambda frame: found.get(frame, []))

    def _nothing(self, says: str) -> InputError:
        of = f"its first one is of {shown(self._poses[0].name)}" if self._poses else "it has none at all"
        return InputError(f"{self._file} has {says}; {of}. Name pictures by file_name, or their stems by image_id")

    @torch.inference_mode()
    def with_poses(self, frames: Iterable[Picture], poses: Callable[[int], Sequence[Pose]]) -> Iterator[Parsing]:
        """Segment the persons of pictures or frames.

        Args:
            frames: (H, W, 3) uint8 RGB each, of one size, in order.
            poses: gives the poses of a frame by its number, from 0.

        Yields:
            one parsing per frame at its size, on the CPU, in order.

        Raises:
            InputError: a pose lies outside of its frame, or a frame's size differs from the first one's.
        """

        def segment(images: Iterator[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
            for number, image in zip(counting(), images, strict=False):
                yield self._segment(image, poses(number), letterbox)

        yield from self._parsed(frames, segment)

    def _segment(self, image: Tensor, poses: Sequence[Pose], letterbox: Letterbox) -> Parsing:
        for pose in poses:
            self._check_inside(pose, letterbox.native)
        keypoints = torch.from_numpy(np.array([p.keypoints for p in poses], np.float32).reshape(-1, KEYPOINTS, 3))
        known = torch.from_numpy(np.array([p.known for p in poses], bool).reshape(-1, KEYPOINTS, 1))
        placed = torch.cat([letterbox.place_points(keypoints[..., :2]), keypoints[..., 2:]], -1) * known
        scores = torch.tensor([pose.score for pose in poses]).clamp(0, 1)
        given = (placed.to(self.device), scores.to(self.device))
        network: Any = self.network
        parsing: Parsing = network.from_poses(image, [given], [letterbox])[0]
        persons: Any = {**parsing["persons"], "keypoints": keypoints}
        return {**parsing, "persons": persons}

    def _check_inside(self, pose: Pose, size: tuple[int, int]) -> None:
        x, y = pose.keypoints[pose.known, :2].T
        if not ((x >= -0.5) & (x < size[1]) & (y >= -0.5) & (y < size[0])).any():
            raise InputError(
                f"{self._file}: pose {pose.number} of {shown(pose.name)} is outside, but the picture is "
                f"{size[1]}x{size[0]}; take the poses of this input, in pixels of its size"
            )


class _Given:
    """A parser of pictures or frames whose poses are known by their numbers."""

    def __init__(self, parser: PosedParser, poses: Callable[[int], Sequence[Pose]]) -> None:
        self.label_set = parser.label_set
        self._parser, self._poses = parser, poses

    def stream(self, frames: Iterable[Picture]) -> Iterator[Parsing]:
        return self._parser.with_poses(frames, self._poses)


def frame_of(pose: Pose, video: Path) -> Claim | None:
    """Tell which frame of a video a pose is of, counted from 0.

    The frame is the number that ends the name of its picture (000012.jpg, NAME_000012.jpg), or `image_id` where the
    json names no file or the video itself. What stands before the number, and the folder, should name the video;
    `settle` leaves out those that do not where some do.

    Args:
        pose: of the json.
        video: path of the video.

    Returns:
        the claim; None if the pose is of no frame, or of another video.
    """
    path = PurePosixPath(pose.name)
    if pose.file_name is not None and path.name == video.name:
        number = str(pose.image_id)
        return Claim(pose, int(number), 1, True, False) if re.fullmatch("[0-9]+", number) else None
    found = re.fullmatch("(.*?)([0-9]+)", without_suffix(pose.name))
    if not found or path.suffix.lower() in VIDEO_SUFFIXES or pose.name.startswith("-"):
        return None
    before, folder = found[1].rstrip("_-. "), path.parent.name
    agrees = video.stem in (before, folder)
    return Claim(pose, int(found[2]), int(agrees), agrees, not before and not folder)
