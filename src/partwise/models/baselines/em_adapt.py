"""EM-Adapt and EM-Fixed (Papandreou et al., ICCV 2015): DeepLab-v2 that also learns from frames without labels.

The classes of an unlabelled frame are those of its tracklet's labelled frame. The expectation step raises their scores,
by fixed biases or until each covers its expected share of the frame. The best class is then the target of the
cross-entropy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from partwise.batches import ClipBatch
from partwise.labels import IGNORE
from partwise.nn.deeplab_v2 import DeepLabV2
from partwise.nn.dense import DenseParser
from partwise.nn.losses import parsing_loss

ROUNDS = 5  # iterations over all classes that adapt the biases
_BELOW = 1e-5


class EMAdapt(DenseParser[ClipBatch]):
    """DeepLab-v2 trained on clips of one unlabelled and one labelled frame of a tracklet.

    Args:
        frame: the parser of single frames.
        mode: "adapt" chooses biases such that each present class covers half of its mean area in the labelled frames
            seen so far that show it; "fixed" takes `biases`.
        biases: added to the scores of background and of the other present classes in mode "fixed". An absent class may
            still be the best.
        weights: of the labelled and of the unlabelled frames' loss.
    """

    areas: Tensor
    frames: Tensor

    def __init__(
        self,
        frame: DeepLabV2,
        mode: Literal["adapt", "fixed"] = "adapt",
        biases: Sequence[float] = (3.0, 5.0),
        weights: Sequence[float] = (0.7, 0.3),
    ) -> None:
        super().__init__()
        self.parser = frame
        self.mode, self.biases, self.weights = mode, tuple(biases), tuple(weights)
        # Per class: sum of the fractions of labelled frames that it covers, and number of frames that show it.
        self.register_buffer("areas", torch.zeros(frame.num_classes))
        self.register_buffer("frames", torch.zeros(frame.num_classes))

    def losses(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy of labelled and unlabelled frames; in training, update the classes' mean areas.

        Args:
            batch: clips of an unlabelled frame, then the labelled one; label 255 is ignored.

        Returns:
            two losses () by name.
        """
        parts = batch["parts"]
        logits = self.parser.logits(batch["frames"].flatten(0, 1)).unflatten(0, (-1, 2))
        weak, strong = logits.unbind(1)
        covered = torch.stack([(parts == c).flatten(1).float().mean(1) for c in range(logits.shape[2])], 1)
        present = covered > 0
        if self.training:
            self.areas += covered.sum(0)
            self.frames += present.sum(0)
        target = self.expect(weak.detach().float(), present)
        return {
            "labelled": self.weights[0] * parsing_loss(strong, parts),
            "unlabelled": self.weights[1] * parsing_loss(weak, target),
        }

    def expect(self, scores: Tensor, present: Tensor) -> Tensor:
        """Estimate the parts of unlabelled frames (the expectation step).

        Args:
            scores: (B, K, H, W) logits.
            present: (B, K) bool, the classes that a frame is known to show.

        Returns:
            (B, H, W) int64; 255 throughout a frame that shows no class.
        """
        if self.mode == "fixed":
            bias = scores.new_full((scores.shape[1],), self.biases[1])
            bias[:1] = self.biases[0]
            best = (scores + (bias * present)[..., None, None]).argmax(1)
        else:
            biased = adapt(scores, present, 0.5 * self.areas / self.frames.clamp(min=1))
            best = biased.masked_fill(~present[..., None, None], -torch.inf).argmax(1)
        return torch.where(present.any(1)[:, None, None], best, IGNORE)

    def scores(self, batch: ClipBatch) -> Tensor:
        """Compute logits (B, K, H, W) of the last frame of each clip, independent of the others."""
        return self.parser.logits(batch["frames"][:, -1])

    def stream_scores(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Compute the logits of a video, some frames together, each independent of the others.

        Args:
            frames: (1, 3, H, W) each, float32 in [0, 1], in order.

        Yields:
            (n, K, H, W) logits of the next n frames.
        """
        return self.parser.stream_scores(frames)


def adapt(scores: Tensor, present: Tensor, shares: Tensor, orders: Tensor | None = None) -> Tensor:
    """Raise the scores of present classes until each wins its share of the pixels (Algorithm 2 of the paper).

    Each step raises one class of every frame. The host waits for the device once.

    Args:
        scores: (B, K, H, W) logits.
        present: (B, K) bool, the classes that a frame shows.
        shares: (K,) fractions of the pixels, 0..1.
        orders: (rounds, B, K) order of the classes in each round of a frame, present ones first; None draws it
            (`draw_orders`).

    Returns:
        (B, K, H, W); absent classes lie below the present ones everywhere.
    """
    absent = ~present[..., None, None]
    floor = scores.masked_fill(absent, torch.inf).amin(1, keepdim=True) - _BELOW
    f = torch.where(absent, torch.minimum(scores, floor), scores)
    most = int(present.sum(1).max())
    frames = torch.arange(len(f), device=f.device)
    for order in draw_orders(present) if orders is None else orders:
        for c in order[:, :most].unbind(1):
            lack = (f.amax(1) - f[frames, c]).flatten(1)  # what the class needs to win each pixel
            gain = torch.quantile(lack, shares[c], dim=1).diagonal()  # one class per frame
            f[frames, c] += (gain * present[frames, c])[:, None, None]
    return f


def draw_orders(present: Tensor) -> Tensor:
    """Draw the order of the classes in each round: background, the other present ones shuffled, the absent ones.

    Args:
        present: (B, K) bool, the classes that a frame shows.

    Returns:
        (ROUNDS, B, K) indices of classes.
    """
    keys = torch.rand(ROUNDS, *present.shape, device=present.device)
    keys[..., 0] = -1
    return keys.masked_fill(~present, 2).argsort(-1)
