"""Holistic, Instance-level Human Parsing (Li, Arnab and Torr, BMVC 2017).

| paper            | here             | shape, H x W the input's                                         |
|------------------|------------------|------------------------------------------------------------------|
| I                | image            | (B, 3, H, W) in [0, 1]                                           |
| Q                | Q                | (P + 1, H, W) probabilities of the parts and the background      |
| B_i, s_i         | boxes, scores    | (D, 4) xyxy, ends included; (D,), D differs between images       |
| w_1, w_2         | w                | (2,) weights of the box and the global term                      |
| psi_Box          | box_term         | (D, P, H, W), Eq. 2                                              |
| psi_Global       | global_term      | (D, P, H, W), Eq. 3                                              |
| psi_Pairwise     | crf              | Gaussian kernels, mean field; Eqs. 5 and 6 of the appendix       |
| V, P             | labels           | (H, W), 0 background, 1 + (i - 1) P + (j - 1) part j of person i |
| Y*               | target           | (H, W), Eq. 4                                                    |
| K                | hardest          | share of an image's pixels that the loss is computed over        |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partwise.batches import ImageBatch, Parsing
from partwise.errors import InputError
from partwise.models.instance_crf.detectors import Detections
from partwise.models.instance_crf.matching import IGNORED, matched_target
from partwise.models.instance_crf.potentials import inside, log_potentials
from partwise.models.instance_crf.readout import read_out
from partwise.nn.crf import DenseCRF
from partwise.nn.dense import ImageParser
from partwise.nn.losses import hardest_mean
from partwise.ops.resize import Letterbox


class Detector(Protocol):
    """Finds the persons of images."""

    def __call__(self, batch: ImageBatch) -> list[Detections]:
        """Find the persons of a batch's images."""
        ...


class InstanceCRF(nn.Module):
    """Labels every pixel with a part of one of the detected persons, however many there are.

    Args:
        semantic: the category-level module, which computes logits of P + 1 classes.
        detector: finds the persons.
        crf: the pairwise term and its mean field; no updates leave it out.
        global_term: whether persons have the global term.
        end_to_end: whether gradients reach the category-level module; otherwise it stays as it started.
        hardest: share of an image's pixels, the hardest, that the loss is computed over; None takes all.
        together: whether all parts of a true person take the same detection.
    """

    def __init__(
        self,
        semantic: ImageParser,
        detector: nn.Module,
        crf: DenseCRF,
        global_term: bool = True,
        end_to_end: bool = True,
        hardest: float | None = None,
        together: bool = False,
    ) -> None:
        super().__init__()
        self.semantic, self.detector, self.crf = semantic, detector, crf
        self.global_term, self.end_to_end = global_term, end_to_end
        self.hardest, self.together = hardest, together
        self.unary = UnaryWeights()
        if not end_to_end:
            semantic.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> InstanceCRF:
        """Set the mode; a category-level module that is not trained stays in evaluation mode."""
        super().train(mode)
        if not self.end_to_end:
            self.semantic.eval()
        return self

    def potentials(self, Q: Tensor, image: Tensor, found: Detections) -> Tensor:
        """Infer the labels of one image (Eq. 1).

        Args:
            Q: (P + 1, H, W) probabilities of the parts, background first.
            image: (3, H, W) in [0, 1].
            found: D detections.

        Returns:
            (P D + 1, H, W) log-potentials; their softmax are the marginals.
        """
        members = inside(found.boxes, *Q.shape[1:])
        u = log_potentials(Q, members, found.scores, *self.unary.w, everywhere=self.global_term)
        updated: Tensor = self.crf(u, image)
        return updated

    def losses(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy () of the matched ground truth (section 3.3), by name.

        Raises:
            InputError: the data have no persons.
        """
        if "instances" not in batch:
            raise InputError("the Instance CRF learns from persons; these pictures have none")
        logits = self.semantic.logits(batch["images"]).float()
        losses = [0 * (logits.sum() + self.unary.w.sum() + self.crf.weights.sum())]  # all take part, as DDP requires
        found = self.detector(batch)
        for Q, image, detections, parts, persons in zip(
            logits.softmax(1), batch["images"], found, batch["parts"], batch["instances"], strict=True
        ):
            u = self.potentials(Q, image, detections)
            target = matched_target(
                u.argmax(0), parts, persons, detections.boxes, len(Q) - 1, together=self.together
            )  # Eq. 4
            pixels = F.cross_entropy(u[None], target[None], ignore_index=IGNORED, reduction="none")
            losses.append(hardest_mean(pixels, target[None] != IGNORED, self.hardest) / len(found))
        return {"instance": torch.stack(losses).sum()}

    def parse(self, batch: ImageBatch, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parse a batch's images.

        Args:
            batch: batch of B samples.
            letterboxes: how each of the B images lies on the canvas.

        Returns:
            B parsings at the images' native sizes.
        """
        probabilities = self.semantic.logits(batch["images"]).float().softmax(1)
        cases = zip(probabilities, batch["images"], self.detector(batch), letterboxes, strict=True)
        return [self._parse(*case) for case in cases]

    def stream(self, frames: Iterable[Tensor], letterbox: Letterbox) -> Iterator[Parsing]:
        """Parse a video frame by frame, as the paper does.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.
            letterbox: how the frames lie on the canvas.

        Yields:
            one parsing per frame at its native size, in order.
        """
        for frame in frames:
            yield from self.parse(ImageBatch(images=frame, index=[0], sample_ids=[""]), [letterbox])

    def _parse(self, Q: Tensor, image: Tensor, found: Detections, letterbox: Letterbox) -> Parsing:
        u = self.potentials(Q, image, found)
        labels = letterbox.restore(u[None])[0].argmax(0)
        ends = found.boxes + found.boxes.new_tensor([0, 0, 1, 1])
        return read_out(labels, letterbox.restore(Q[None])[0], letterbox.restore_boxes(ends))


class UnaryWeights(nn.Module):
    """w_1 and w_2, a module of their own so that they can have their own learning rate."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
