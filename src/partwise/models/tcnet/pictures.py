"""Figures of TCNet's internals: the fusion's weights (Fig. 7), a clip's context step by step (Fig. 8), flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from partwise import viz
from partwise.arrays import Picture
from partwise.batches import Parsing
from partwise.labels import LabelSet
from partwise.models.tcnet.model import TCNet
from partwise.ops.flow import warp


def frame_names(offsets: Sequence[int]) -> list[str]:
    """Name the frames of a clip for a figure.

    Args:
        offsets: frames from each earlier frame to the current one.

    Returns:
        names such as t−3, t−1, t.
    """
    return [*(f"t−{offset}" for offset in offsets), "t"]


def fusion_weights(network: TCNet) -> Any:
    """Read the weights of the pixel-level fusion.

    Args:
        network: with one layer of fusion.

    Returns:
        (K, T, K): the weight, in the score of each class, of every class of every frame, the current frame last.

    Raises:
        ValueError: the fusion has several layers.
    """
    if len(network.pixel_fusion.layers) > 1:
        raise ValueError("several layers of fusion have no weight a class and frame; train with fusion_layers=1")
    weights = network.pixel_fusion.weights.detach().float().cpu().numpy()
    return weights.reshape(len(weights), -1, len(weights))


def own_weights(network: TCNet) -> dict[str, tuple[float, float]]:
    """Measure how far the paper's finding holds: that the largest weight of a class is its own, and positive.

    Args:
        network: with one layer of fusion.

    Returns:
        per frame, the fraction of classes whose own weight is the frame's largest, and the mean of the own weights.

    Raises:
        ValueError: the fusion has several layers.
    """
    weights = fusion_weights(network)
    own = np.diagonal(weights, axis1=0, axis2=2)  # (T, K)
    largest = weights.argmax(2) == np.arange(len(weights))[:, None]
    rows = zip(frame_names(network.offsets), largest.mean(0), own.mean(1), strict=True)
    return {frame: (float(share), float(mean)) for frame, share, mean in rows}


def plot_fusion_map(network: TCNet, label_set: LabelSet) -> Figure:
    """Draw all weights of both levels: K x TK of the pixel-level fusion, and those of the frames' presences.

    Args:
        network: with one layer of fusion.
        label_set: label set of its parts.

    Returns:
        the figure.

    Raises:
        ValueError: the fusion has several layers.
    """
    weights, names, frames = fusion_weights(network), label_set.names, frame_names(network.offsets)
    count = len(names)
    bars = network.frame_level
    figure = Figure(figsize=(0.17 * count * len(frames) + 2.6 * bars + 2, 0.2 * count + 1.6), layout="constrained")
    left, *right = figure.subplots(
        1, 1 + bars, squeeze=False, width_ratios=[0.17 * count * len(frames), 2][: 1 + bars]
    )[0]
    limit = float(np.abs(weights).max())
    image = left.imshow(weights.reshape(count, -1), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    figure.colorbar(image, ax=left, fraction=0.03, pad=0.01)
    left.set_yticks(range(count), names, fontsize=7)
    _class_ticks(left, names, frames)
    for n, frame in enumerate(frames):
        left.text((n + 0.5) * count - 0.5, -0.8, frame, ha="center", va="bottom")
    left.set_ylabel("score of")
    for axes in right:
        _plot_frame_weights(axes, network, names, frames)
    return figure


def _plot_frame_weights(axes: Axes, network: TCNet, names: Sequence[str], frames: Sequence[str]) -> None:
    """Draw w_{t-l}, w_{t-s} and w_t as bars, and the classes' own weights, if they have any, as dots."""
    weights = network.frame_fusion.weights.detach().float().cpu().numpy()  # (T, 1) or (T, K)
    axes.bar(range(len(frames)), weights.mean(1), color="0.6")
    if weights.shape[1] > 1:
        axes.plot(np.repeat(np.arange(len(frames)), weights.shape[1]), weights.ravel(), "k.", markersize=3)
    for n, value in enumerate(weights.mean(1)):
        axes.annotate(f"{value:.2f}", (n, value), ha="center", va="bottom" if value >= 0 else "top", fontsize=8)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xticks(range(len(frames)), [f"w of {frame}" for frame in frames], fontsize=8)
    axes.set_title("frame level", fontsize=9)
    axes.margins(y=0.15)


def _class_ticks(axes: Axes, names: Sequence[str], frames: Sequence[str]) -> None:
    """Label a horizontal axis with the classes of each frame, and draw lines between the frames."""
    axes.set_xticks(range(len(names) * len(frames)), [*names] * len(frames), rotation=90, fontsize=5.5)
    for n in range(1, len(frames)):
        axes.axvline(n * len(names) - 0.5, color="0.5", linestyle=":", linewidth=1)


def plot_fusion_weights(network: TCNet, label_set: LabelSet, classes: Sequence[str] = ()) -> Figure:
    """Draw the weights of all classes of all frames in the pixel-level score of a class, each frame's largest dotted.

    Args:
        network: with one layer of fusion.
        label_set: label set of its parts.
        classes: names of the classes to show; all by default.

    Returns:
        the figure.

    Raises:
        ValueError: `classes` names an unknown class, or the fusion has several layers.
    """
    if unknown := set(classes) - set(label_set.names):
        raise ValueError(f"no class {', '.join(sorted(unknown))}; there are {', '.join(label_set.names)}")
    weights = fusion_weights(network)
    chosen, frames = list(classes or label_set.names), frame_names(network.offsets)
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.1 * rows), layout="constrained")
    for axes, name in zip(figure.subplots(rows, columns, squeeze=False).flat, chosen, strict=False):
        _plot_weights(axes, weights[label_set.names.index(name)], label_set.names, frames)
        axes.set_title(name)
    for axes in figure.axes[len(chosen) :]:
        axes.set_axis_off()
    return figure


def _plot_weights(axes: Axes, weights: Any, names: Sequence[str], frames: Sequence[str]) -> None:
    """Draw a class's weights (T, K)."""
    count = len(names)
    axes.plot(np.arange(weights.size), weights.ravel(), linewidth=1)
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    for n, frame in enumerate(frames):
        best = int(weights[n].argmax())
        axes.plot(n * count + best, weights[n, best], "ko", markersize=4)
        axes.text((n + 0.5) * count - 0.5, 0.97, frame, ha="center", va="top", transform=axes.get_xaxis_transform())
    _class_ticks(axes, names, frames)
    axes.margins(x=0, y=0.2)


@torch.inference_mode()
def plot_context(network: TCNet, frames: Tensor, label_set: LabelSet, parts: Tensor | None = None) -> Figure:
    """Draw a clip: earlier frames, flow, warped images, confidence and warped parts; then the steps of the fusion.

    Args:
        network: in evaluation mode.
        frames: (T, 3, H, W) in [0, 1], the current one last.
        label_set: label set of the parts.
        parts: (H, W) true parts of the last frame, if known.

    Returns:
        the figure.
    """
    now, fused = network(frames[None])
    names = frame_names(network.offsets)
    longest = max(float(c.flow.norm(dim=1).max()) for c in fused.carried)
    figure = Figure(figsize=(12, 4.2 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), 5)
    current = _picture(frames[-1])
    for row, frame, name, carried in zip(grid, frames, names, fused.carried, strict=False):
        flow = viz.flow_colors(carried.flow[0].cpu().numpy(), longest)
        _show(row[0], _picture(frame), name)
        _show(row[1], flow, f"flow from t, at most {longest:.1f} px")
        _show(row[2], _picture(carried.image[0]), "carried to t")
        _show(row[3], carried.confidence[0, 0].cpu().numpy(), "confidence", vmin=0, vmax=1, cmap="gray")
        _show(row[4], _overlay(current, carried.scores, label_set), "its parts, carried")
    _show(grid[-1][0], current, "t")
    steps = {"frame alone": now.scores, "pixel level": fused.pixel_level, "both levels": fused.scores}
    for axes, (title, scores) in zip(grid[-1][1:], steps.items(), strict=False):
        _show(axes, _overlay(current, scores, label_set), title)
    if parts is None:
        grid[-1][4].set_axis_off()
    else:
        _show(grid[-1][4], viz.overlay(current, Parsing(parts=parts.cpu()), label_set), "truth")
    return figure


def plot_flows(now: Tensor, then: Tensor, flows: Mapping[str, Tensor], truth: Tensor | None = None) -> Figure:
    """Draw flows between two frames side by side on one colour scale, with the frame reconstructed by each.

    Args:
        now: (3, H, W) in [0, 1].
        then: (3, H, W) in [0, 1], an earlier frame.
        flows: (2, H, W) each, pixels from `now` to `then`, by the name of the method.
        truth: (2, H, W) true flow in pixels, if known.

    Returns:
        the figure.
    """
    shown = {**flows, **({} if truth is None else {"truth": truth})}
    longest = max(float(flow.norm(dim=0).max()) for flow in shown.values())
    figure = Figure(figsize=(2.6 * (len(shown) + 1), 9), layout="constrained")
    above, below = figure.subplots(2, len(shown) + 1)
    _show(above[0], _picture(now), "t")
    _show(below[0], _picture(then), "earlier")
    for up, down, (name, flow) in zip(above[1:], below[1:], shown.items(), strict=True):
        image = warp(then[None], flow[None], "border")[0]
        title = f"{name}, at most {float(flow.norm(dim=0).max()):.1f} px"
        if truth is not None:
            title += f"\nend-point error {float((flow - truth).norm(dim=0).mean()):.2f} px"
        _show(up, viz.flow_colors(flow.cpu().numpy(), longest), title)
        _show(down, _picture(image), f"reconstructed to {float((image - now).abs().sum(0).mean()):.3f}")
    return figure


def _overlay(frame: Picture, scores: Tensor, label_set: LabelSet) -> Picture:
    return viz.overlay(frame, Parsing(parts=scores[0].argmax(0).cpu()), label_set)


def _picture(image: Tensor) -> Picture:
    return (image.clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()


def _show(axes: Axes, image: Any, title: str, **options: Any) -> None:
    axes.imshow(image, **options)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
