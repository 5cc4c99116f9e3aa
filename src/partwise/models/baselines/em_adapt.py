"""EM-Adapt and EM-Fixed (Papandreou et al., ICCV 2015): DeepLab-v2 that also learns from frames without labels.

A frame's classes are known from its tracklet's labelled frame. In the expectation step, the scores of these classes are
raised, by fixed biases or until they cover the frame as expected; the best class is the target of the cross-entropy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from partwise.batches import ClipBatch
from partwise.nn.deeplab_v2 import DeepLabV2
from partwise.nn.dense import DenseParser
from partwise.nn.losses import parsing_loss

ROUNDS = 5  # of the adaptive biases
_BELOW = 1e-5


class EMAdapt(DenseParser):
    """DeepLab-v2 on clips of one unlabelled and one labelled frame of a tracklet.

    Args:
        frame: the parser of single frames.
        mode: "adapt", biases such that every class that is present covers half of what it covers in the labelled
            frames seen so far, on average where it is present; or "fixed" ones.
        biases: added to the scores of background and of the other classes where they are present, in mode "fixed";
            an absent class that is still the best stays so.
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
        # Summed shares of the labelled frames that each class covers, and the number of frames that show it.
        self.register_buffer("areas", torch.zeros(frame.num_classes))
        self.register_buffer("frames", torch.zeros(frame.num_classes))

    def losses(self, batch: ClipBatch) -> dict[str, Tensor]:
        """Compute both kinds of frames' cross-entropy.

        Args:
            batch: clips of an unlabelled frame, then the labelled one; 255 is ignored.
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
            (B, H, W), 255 throughout a frame that shows no class.
        """
        if self.mode == "fixed":
            bias = scores.new_full((scores.shape[1],), self.biases[1])
            bias[:1] = self.biases[0]
            best = (scores + (bias * present)[..., None, None]).argmax(1)
        else:
            biased = adapt(scores, present, 0.5 * self.areas / self.frames.clamp(min=1))
            best = biased.masked_fill(~present[..., None, None], -torch.inf).argmax(1)
        return torch.where(present.any(1)[:, None, None], best, 255)

    def scores(self, batch: ClipBatch) -> Tensor:
        """Score the last frame of each clip by itself: (B, K, H, W)."""
        return self.parser.logits(batch["frames"][:, -1])

    def stream_scores(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Score every frame (1, 3, H, W) of a video by itself; see `ImageParser.stream_scores`."""
        return self.parser.stream_scores(frames)


def adapt(scores: Tensor, present: Tensor, shares: Tensor, orders: Tensor | None = None) -> Tensor:
    """Raise the scores of present classes until each wins its share of the pixels (Algorithm 2 of the paper).

    All frames together: at each step every frame raises one of its classes. A GPU is waited for once.

    Args:
        scores: (B, K, H, W).
        present: (B, K) bool.
        shares: (K,) of the pixels, 0..1.
        orders: (rounds, B, K) of the classes in each frame's rounds, the present ones before the others; drawn by
            `draw_orders` if None.

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
            lack = (f.amax(1) - f[frames, c]).flatten(1)  # how much the class would have to gain at each pixel
            gain = torch.quantile(lack, shares[c], dim=1).diagonal()  # of each frame's class in that frame
            f[frames, c] += (gain * present[frames, c])[:, None, None]
    return f


def draw_orders(present: Tensor) -> Tensor:
    """Draw the order of the classes in each round: background, the other present ones shuffled, the absent ones.

    Args:
        present: (B, K) bool.

    Returns:
        (ROUNDS, B, K) indices of classes.
    """
    keys = torch.rand(ROUNDS, *present.shape, device=present.device)
    keys[..., 0] = -1
    return keys.masked_fill(~present, 2).argsort(-1)
