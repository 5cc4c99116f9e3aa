"""EM-Adapt and EM-Fixed (Papandreou et al., ICCV 2015): DeepLab-v2 that also learns from frames without labels.

A frame's classes are known from its tracklet's labelled frame. In the expectation step, its scores are biased until
these classes, and no others, cover it as expected; their best is the target of the cross-entropy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from partwise.batches import Parsing
from partwise.nn.deeplab import parsing_loss
from partwise.nn.deeplab_v2 import DeepLabV2
from partwise.ops.resize import Letterbox

ROUNDS = 5  # of the adaptive biases
_BELOW = 1e-5


class EMAdapt(nn.Module):
    """DeepLab-v2 on clips of one unlabelled and one labelled frame of a tracklet.

    Args:
        num_classes: part classes, background included.
        image_size: see `DeepLabV2`, as for the last four.
        mode: "adapt", biases such that every class that is present covers half of what it covers in the labelled
            frames seen so far, on average where it is present; or "fixed" ones.
        biases: on the scores of background and of the other classes that are present. Of "fixed".
        weights: of the labelled and of the unlabelled frames' loss.
        pretrained: start from ImageNet weights.
        width: of the classifiers.
        backbone_multiplier: of VGG's widths.
        norm: batch norm.
    """

    areas: Tensor
    frames: Tensor

    def __init__(
        self,
        num_classes: int,
        image_size: int | Sequence[int] = (241, 121),
        mode: Literal["adapt", "fixed"] = "adapt",
        biases: Sequence[float] = (3.0, 5.0),
        weights: Sequence[float] = (0.7, 0.3),
        pretrained: bool = True,
        width: int = 1024,
        backbone_multiplier: float = 1.0,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.parser = DeepLabV2(num_classes, image_size, pretrained, width, backbone_multiplier, norm)
        self.mode, self.biases, self.weights = mode, tuple(biases), tuple(weights)
        # Summed shares of the labelled frames that each class covers, and the number of frames that show it.
        self.register_buffer("areas", torch.zeros(num_classes))
        self.register_buffer("frames", torch.zeros(num_classes))

    def losses(self, frames: Tensor, offsets: Tensor, parts: Tensor, instances: object = None) -> dict[str, Tensor]:
        """Both kinds of frames' cross-entropy.

        Args:
            frames: (B, 2, 3, H, W), an unlabelled frame, then the labelled one.
            offsets: (B, 2); not needed.
            parts: (B, H, W) of the labelled frame, 255 ignored.
            instances: not needed.
        """
        logits = self.parser.logits(frames.flatten(0, 1)).unflatten(0, (-1, 2))
        weak, strong = logits.unbind(1)
        covered = torch.stack([(parts == c).flatten(1).float().mean(1) for c in range(logits.shape[2])], 1)
        present = covered > 0
        if self.training:
            self.areas += covered.sum(0)
            self.frames += present.sum(0)
        target = torch.stack([self.expect(f, p) for f, p in zip(weak.detach().float(), present, strict=True)])
        return {
            "labelled": self.weights[0] * parsing_loss(strong, parts),
            "unlabelled": self.weights[1] * parsing_loss(weak, target),
        }

    def expect(self, scores: Tensor, present: Tensor) -> Tensor:
        """The expectation step for one frame: scores (K, H, W) and present classes (K,) bool -> parts (H, W)."""
        if not present.any():
            return torch.full(scores.shape[1:], 255, device=scores.device)
        if self.mode == "fixed":
            bias = scores.new_full((len(scores),), self.biases[1])
            bias[0] = self.biases[0]
            biased = scores + bias.view(-1, 1, 1)
        else:
            biased = adapt(scores, present, 0.5 * self.areas / self.frames.clamp(min=1))
        return biased.masked_fill(~present.view(-1, 1, 1), -torch.inf).argmax(0)

    def parse(self, frames: Tensor, offsets: Tensor, letterboxes: Sequence[Letterbox]) -> list[Parsing]:
        """Parse the last frame of each clip, by itself."""
        return self.parser.parse(frames[:, -1], letterboxes)

    def stream(self, images: Iterable[Tensor]) -> Iterator[Tensor]:
        """Scores (1, K, H, W) of every image (1, 3, H, W), each by itself."""
        yield from map(self.parser.logits, images)


def adapt(scores: Tensor, present: Tensor, shares: Tensor) -> Tensor:
    """Raise the scores of present classes until each wins its share of the pixels (Algorithm 2 of the paper).

    Args:
        scores: (K, H, W).
        present: (K,) bool, at least one.
        shares: (K,) of the pixels, 0..1.

    Returns:
        (K, H, W); absent classes lie below the present ones everywhere.
    """
    f = scores.clone()
    floor = f[present].amin(0) - _BELOW
    f[~present] = torch.minimum(f[~present], floor)
    classes = present.nonzero().flatten().tolist()
    for _ in range(ROUNDS):
        others = [c for c in classes if c]
        order = [0] * (0 in classes) + [others[i] for i in torch.randperm(len(others)).tolist()]
        for c in order:
            lack = f.amax(0) - f[c]  # how much the class would have to gain at each pixel
            f[c] += torch.quantile(lack.flatten(), float(shares[c]))
    return f
