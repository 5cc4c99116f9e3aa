"""Labels of persons of whom only the pose is known (sections 3.5 and 3.6): prior, refinement, back into the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from partwise.labels import IGNORE
from partwise.models.pose_transfer.library import Box, comparable, joint_box, name_of
from partwise.models.pose_transfer.refine import PriorMaker, RefinementNetwork, decode

CROP = 256  # side of the crops where nothing is refined


class Crops(NamedTuple):
    """N persons of one picture, each cut out by the box of the joints and stretched to one size.

    Attributes:
        numbers: of the persons in the picture, from 1.
        boxes: where each crop lies.
        poses: (N, K, 3) in pixels of each box.
        sizes: (N, 2) heights and widths of the boxes.
        images: (N, 3, S, S) in [0, 1].
    """

    numbers: list[int]
    boxes: list[Box]
    poses: Tensor
    sizes: Tensor
    images: Tensor


class Source(NamedTuple):
    """A person of the library whose parts a label comes from, and the distance of the poses."""

    name: str
    distance: float


def cut_out(image: Tensor, poses: Tensor, numbers: Sequence[int], size: tuple[int, int]) -> Crops:
    """Cut persons out of a picture.

    Args:
        image: (3, H, W) in [0, 1].
        poses: (M, K, 3) in pixels of the picture.
        numbers: of the persons to cut out, from 1.
        size: (height, width) of the crops.

    Returns:
        Their crops.
    """
    chosen = poses[[n - 1 for n in numbers]]
    boxes = [joint_box(pose, (image.shape[1], image.shape[2])) for pose in chosen.cpu()]
    corners = chosen.new_tensor([[x0, y0, 0] for x0, y0, _, _ in boxes]).reshape(-1, 1, 3)
    images = [
        F.interpolate(image[None, :, y0:y1, x0:x1], size, mode="bilinear", antialias=True) for x0, y0, x1, y1 in boxes
    ]
    return Crops(
        numbers=list(numbers),
        boxes=boxes,
        poses=chosen - corners,
        sizes=torch.tensor([[y1 - y0, x1 - x0] for x0, y0, x1, y1 in boxes], device=image.device).reshape(-1, 2),
        images=torch.cat(images) if images else image.new_zeros(0, 3, *size),
    )


@dataclass(frozen=True)
class Labeller:
    """Labels the parts of persons by their poses.

    Attributes:
        priors: makes their priors.
        network: refines the priors; None takes them as they are.
    """

    priors: PriorMaker
    network: RefinementNetwork | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) of the crops."""
        return (CROP, CROP) if self.network is None else self.network.crop_size

    @torch.inference_mode()
    def label(self, image: Tensor, poses: Tensor, name: str = "") -> tuple[Tensor, dict[int, list[Source]]]:
        """Label a picture; where persons overlap, the larger class counts, as in the release.

        Args:
            image: (3, H, W) in [0, 1].
            poses: (N, K, 3) in pixels of the picture; those with too few joints get no labels.
            name: of the picture, whose own persons in the library are passed over.

        Returns:
            (H, W) uint8 classes, 0 = background; and by the person's number from 1, whose parts it comes from.
        """
        parts = torch.zeros(image.shape[1:], dtype=torch.uint8, device=image.device)
        library = self.priors.library
        numbers = [n for n, enough in enumerate(comparable(library.skeleton, poses).tolist(), 1) if enough]
        if not numbers:
            return parts, {}
        crops = cut_out(image, poses, numbers, self.size)
        own = library.rows(name_of(name, n) for n in numbers)
        neighbours, distances = self.priors.find(crops.poses, own)
        prior = self.priors.make(neighbours, crops.poses, crops.sizes, self.size)
        labels = decode(self.refine(crops.images, prior))
        for label, (x0, y0, x1, y1) in zip(labels, crops.boxes, strict=True):
            placed = F.interpolate(label[None, None].byte(), (y1 - y0, x1 - x0), mode="nearest-exact")[0, 0]
            torch.maximum(parts[y0:y1, x0:x1], placed, out=parts[y0:y1, x0:x1])
        return parts, {
            n: [Source(library.names[i], d) for i, d in zip(row, away, strict=True) if i >= 0]
            for n, row, away in zip(numbers, neighbours.tolist(), distances.tolist(), strict=True)
        }

    @torch.inference_mode()
    def refine(self, images: Tensor, prior: Tensor) -> Tensor:
        """Refine priors (N, C, S, S) of crops (N, 3, S, S), if there is a network."""
        if self.network is None:
            return prior
        device = next(self.network.parameters()).device
        maps: Tensor = self.network(images.to(device), prior.to(device))
        return maps.to(prior.device)


def ignore_unknown(parts: Tensor, poses: Tensor, known: Iterable[int]) -> Tensor:
    """Ignore the surroundings of persons who get no label, lest a parser learns that they are background.

    Args:
        parts: (H, W) classes of a picture, 0 = background.
        poses: (N, K, 3) of its persons.
        known: numbers, from 1, of those who are labelled.

    Returns:
        (H, W) classes, 255 in the others' joint boxes where nobody else is.
    """
    ignored = torch.zeros_like(parts, dtype=torch.bool)
    for number in {*range(1, len(poses) + 1)} - {*known}:
        if (poses[number - 1, :, 2] > 0).any():
            x0, y0, x1, y1 = joint_box(poses[number - 1], (parts.shape[0], parts.shape[1]))
            ignored[y0:y1, x0:x1] = True
    return parts.masked_fill(ignored & (parts == 0), IGNORE)


def own_parts(parts: Tensor, persons: Tensor, crops: Crops, size: tuple[int, int]) -> Tensor:
    """Cut out the truth of persons: others are background, and what is ignored stays so.

    Args:
        parts: (H, W) classes of the picture, 255 = ignored.
        persons: (H, W) numbers of the persons.
        crops: of the persons.
        size: (height, width) of the result.

    Returns:
        (N, *size) int64.
    """
    truth = [
        torch.where((persons == n) | (parts == IGNORE), parts, 0)[y0:y1, x0:x1]
        for n, (x0, y0, x1, y1) in zip(crops.numbers, crops.boxes, strict=True)
    ]
    # Bytes, for which nearest neighbours are exact and fast.
    return torch.cat([F.interpolate(t[None, None].byte(), size, mode="nearest-exact")[:, 0].long() for t in truth])
