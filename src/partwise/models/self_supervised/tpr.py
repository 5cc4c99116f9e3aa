"""Temporal parsing refinement, the TPR Module (section 3.3): masks correct the flow, and the flow carries masks.

"A Self-Supervised Framework for Human Instance Segmentation". One round of Fig. 5 (a), in the paper's order:

    M_t = argmax a_t                        what the Seg Module sees, (B, H, W)
    F_{t->s}                                flow from frame t to a neighbour s of its window, (B, 2, H, W)
    M_t(x) != M_s(x + F_{t->s}(x))          unreliable vectors, for which frame s is searched again
    Softmax(a_t + sum_s a_s(x + F_{t->s}))  Eq. 5
    argmax                                  what the Seg Module is trained on next

Departures:

- Eq. 5 reads the frame before at x - u_t(x), u_t = F_{t-1->t}. That flow lies on the pixels of t-1, so that this is
  right to first order only; here every neighbour is read along its own flow from t. `literal` does as printed.
- The search is open to all labels, as the paper has it. Where it is narrowed to pixels of the label M_t(x), all that is
  added up at x has its maximum at M_t(x), whatever the number of classes: no label can change, but for interpolation.
- Vectors that leave the picture are not searched again; that neighbour adds nothing there.
- The paper's Eqs. 6 to 9 explain how masks travel over many frames and are nothing that is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from partwise.ops.flow import targets, warp

#: Where a vector is searched again: nowhere, at pixels of any label, or at those that have the pixel's own label.
Search = Literal["none", "all", "same_label"]

_OUTSIDE = -1  # the label beyond the picture
_AT_A_TIME = {"cpu": 256}  # pixels, whose costs the cache can keep; other devices take many
_MANY = 16384


class Neighbour(NamedTuple):
    """Another frame s of the window around t."""

    logits: Tensor  # (B, C, H, W) a_s, before softmax
    frame: Tensor  # (B, 3, H, W) any type and range
    flow: Tensor  # (B, 2, H, W) F_{t->s}, pixels
    back: Tensor | None = None  # (B, 2, H, W) F_{s->t}, which the literal Eq. 5 takes of frames before t


class Corrected(NamedTuple):
    """A flow that masks have corrected."""

    flow: Tensor  # (B, 2, H, W) float32 or wider, whole pixels where corrected
    valid: Tensor  # (B, 1, H, W) bool: where the neighbour counts
    unreliable: Tensor  # (B, 1, H, W) bool: where the flow as it was stays in the picture, but disagrees with the masks


class Refined(NamedTuple):
    """What a round makes of frame t."""

    logits: Tensor  # (B, C, H, W) the sum in Eq. 5, before softmax
    flows: list[Tensor]  # (B, 2, H, W) each, corrected, one a neighbour
    valid: list[Tensor]  # (B, 1, H, W) bool each: where that neighbour counts
    unreliable: list[Tensor]  # (B, 1, H, W) bool each: vectors that disagreed with the masks


def propagate(
    logits: Tensor,
    frame: Tensor,
    neighbours: Sequence[Neighbour],
    search: Search = "all",
    radius: int = 8,
    patch: int = 7,
    literal: bool = False,
) -> Refined:
    """Refine frame t by the other frames of its window: one round without the training.

    Args:
        logits: (B, C, H, W) a_t, before softmax.
        frame: (B, 3, H, W) in the units of the neighbours' frames.
        neighbours: any number of frames of any distance; one makes a window of 2, t-1 and t+1 one of 3.
        search: among which pixels unreliable vectors are searched again; "none" takes the flow as it is.
        radius: of the search, pixels.
        patch: side of the compared patches, odd.
        literal: whether neighbours with `back` are read at x - back(x), as Eq. 5 prints it.

    Returns:
        The sum of logits, and what it is made of.
    """
    labels = logits.argmax(1)
    corrected = []
    for other in neighbours:
        flow = -other.back if literal and other.back is not None else other.flow
        labels_s = other.logits.argmax(1)
        corrected.append(
            correct_flow(frame, other.frame, labels, labels_s, flow, search=search, radius=radius, patch=patch)
        )
    flows, valid, unreliable = ([each[n] for each in corrected] for n in range(3))
    return Refined(fuse(logits, [other.logits for other in neighbours], flows, valid), flows, valid, unreliable)


def reliable(labels_t: Tensor, labels_s: Tensor, flow: Tensor) -> Tensor:
    """Find the vectors that agree with the masks: M_t(x) = M_s(x + F_{t->s}(x)), to the nearest pixel.

    Args:
        labels_t: (B, H, W) int, M_t.
        labels_s: (B, H, W) int, M_s.
        flow: (B, 2, H, W) F_{t->s}, pixels.

    Returns:
        (B, 1, H, W) bool; False where a vector leaves the picture.
    """
    x, y, inside = _landing(flow)
    there = labels_s.flatten(1).gather(1, (y * labels_s.shape[2] + x).flatten(1)).view_as(labels_t)
    return (inside & (there == labels_t))[:, None]


def correct_flow(
    frame_t: Tensor,
    frame_s: Tensor,
    labels_t: Tensor,
    labels_s: Tensor,
    flow: Tensor,
    search: Search = "all",
    radius: int = 8,
    patch: int = 7,
) -> Corrected:
    """Search again for the pixels whose vectors disagree with the masks (Optical Flow Refinement Unit).

    Of the pixels q of s within `radius` of round(x + F_{t->s}(x)), horizontally and vertically, the one whose patch has
    the least sum of absolute differences to that of x; of equals the one nearest to the window's middle. Patches go on
    beyond the picture with its outermost pixels.

    Args:
        frame_t: (B, 3, H, W).
        frame_s: (B, 3, H, W) in the same units.
        labels_t: (B, H, W) int, M_t.
        labels_s: (B, H, W) int, M_s.
        flow: (B, 2, H, W) F_{t->s}, pixels.
        search: among which pixels; "none" leaves the flow as it is.
        radius: of the search, pixels.
        patch: side of the compared patches, odd.

    Returns:
        The flow; not valid where x + F leaves the picture and where the window has no pixel of the same label, if that
        is asked for.

    Raises:
        ValueError: `patch` is even.
    """
    if patch % 2 == 0:
        raise ValueError(f"patch {patch} has no middle; give an odd side")
    flow = flow.to(torch.promote_types(flow.dtype, torch.float32), copy=True)
    valid = _landing(flow)[2][:, None]
    wrong = valid & ~reliable(labels_t, labels_s, flow)
    if search == "none":
        return Corrected(flow, valid, wrong)
    if search == "all":
        labels_t, labels_s = torch.zeros_like(labels_t), torch.zeros_like(labels_s)
    for b, y, x, vectors, found in _search(frame_t, frame_s, labels_t, labels_s, flow, wrong[:, 0], radius, patch):
        flow[b, :, y, x] = torch.where(found[:, None], vectors.to(flow), flow[b, :, y, x])
        valid[b, 0, y, x] = found
    return Corrected(flow, valid, wrong)


def fuse(logits: Tensor, others: Sequence[Tensor], flows: Sequence[Tensor], valid: Sequence[Tensor]) -> Tensor:
    """Add up the logits of a window at the pixels of t: the argument of softmax in Eq. 5.

    Args:
        logits: (B, C, H, W) a_t.
        others: (B, C, H, W) a_s each.
        flows: (B, 2, H, W) F_{t->s} each, pixels.
        valid: (B, 1, H, W) bool each; elsewhere that frame adds 0, as it does outside the picture.

    Returns:
        (B, C, H, W) float32 or wider.
    """
    total = logits.to(torch.promote_types(logits.dtype, torch.float32))
    for other, flow, counts in zip(others, flows, valid, strict=True):
        total = total + warp(other.to(total.dtype), flow) * counts
    return total


def pseudo_labels(logits: Tensor) -> Tensor:
    """Decide for a class: labels (B, H, W) int64 of fused logits (B, C, H, W), to train the Seg Module on."""
    return logits.argmax(1)


def _landing(flow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pixel next to x + F(x) as int64 x and y, clipped to the picture, and whether it is inside; (B, H, W) each."""
    height, width = flow.shape[-2:]
    x, y = (place.round() for place in targets(flow.to(torch.promote_types(flow.dtype, torch.float32))))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return x.clamp(0, width - 1).nan_to_num().long(), y.clamp(0, height - 1).nan_to_num().long(), inside


def _search(
    frame_t: Tensor,
    frame_s: Tensor,
    labels_t: Tensor,
    labels_s: Tensor,
    flow: Tensor,
    where: Tensor,
    radius: int,
    patch: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Yield some pixels' batch, y and x, their vectors (n, 2) and whether they were found (n,)."""
    half, window = patch // 2, 2 * radius + 1
    own, around = (
        F.pad(frame.float(), [margin] * 4, mode="replicate").transpose(0, 1).contiguous()
        for frame, margin in ((frame_t, half), (frame_s, half + radius))
    )
    known = F.pad(labels_s, [radius] * 4, value=_OUTSIDE)[None]
    near = _outwards(radius, flow.device)
    to_x, to_y, _ = _landing(flow)
    pixels = where.nonzero()
    for some in pixels.split(_AT_A_TIME.get(flow.device.type, _MANY)):
        b, y, x = some.unbind(1)
        at_x, at_y = to_x[b, y, x], to_y[b, y, x]
        there = _blocks(around, b, at_y, at_x, window + patch - 1)
        costs = _differences(_blocks(own, b, y, x, patch), there, window)
        same = _blocks(known, b, at_y, at_x, window)[0] == labels_t[b, y, x]
        best, order = costs.masked_fill_(~same, torch.inf).flatten(0, 1)[near].min(0)
        step = near[order]
        ends = torch.stack([at_x - x + step % window - radius, at_y - y + step // window - radius], 1)
        yield b, y, x, ends, best.isfinite()


def _blocks(maps: Tensor, b: Tensor, y: Tensor, x: Tensor, side: int) -> Tensor:
    """Cut n squares out of maps (C, B, H, W), y and x their first pixels: (C, side, side, n)."""
    height, width = maps.shape[2:]
    steps = torch.arange(side, device=maps.device)
    square = (steps[:, None] * width + steps).flatten()
    first = (b * height + y) * width + x
    return maps.flatten(1)[:, square[:, None] + first].unflatten(1, (side, side))


def _differences(own: Tensor, around: Tensor, window: int) -> Tensor:
    """Sums of absolute differences of patches (C, P, P, n) to all places of (C, P + W - 1, P + W - 1, n): (W, W, n).

    A pixel of the patch at a time, for all places together.
    """
    costs = around.new_zeros(window, window, around.shape[3])
    buffer = torch.empty_like(costs)
    for channel, other in zip(own, around, strict=True):
        for dy, row in enumerate(channel):
            for dx, value in enumerate(row):
                torch.sub(other[dy : dy + window, dx : dx + window], value, out=buffer)
                costs += buffer.abs_()
    return costs


def _outwards(radius: int, device: torch.device) -> Tensor:
    """The places of a window, nearest to the middle first: (W * W,) indices, row by row."""
    steps = torch.arange(-radius, radius + 1, device=device).square()
    return (steps[:, None] + steps).flatten().argsort(stable=True)
