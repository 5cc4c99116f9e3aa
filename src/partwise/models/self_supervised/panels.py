"""Panels of the pictures of a labelling: each is drawn on axes of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from partwise import viz
from partwise.arrays import AnyArray, FloatArray, Picture
from partwise.batches import InstanceMasks, Parsing
from partwise.labels import FOREGROUND, LIMBS
from partwise.models.self_supervised.found import Pose
from partwise.models.self_supervised.tpr import Corrected

PROBABILITY, VISIBILITY = "magma", "viridis"  # colours from 0 to 1
DISAGREE, LEAVE = "#ff3c3c", "#50a0ff"  # vectors that disagree with the masks, and that leave the picture
REPLACED, INSERTED, OPEN = ("s", "red"), ("D", "blue"), ("X", "white")  # joints' markers, no person's colours
FASTEST = 0.95  # share of the vectors that are shorter than the one in full colour
WORST = 8.0  # end-point error in full colour, pixels
JOINTS = ("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
          "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee",
          "left ankle", "right ankle")  # fmt: skip


def fastest_of(flow: Tensor) -> float:
    """Return the length in pixels, of the vectors of a flow (2, H, W), that is drawn in full colour."""
    return float(np.quantile(flow.norm(dim=0).cpu().numpy(), FASTEST))


def draw_unreliable(axis: Axes, image: Picture, corrected: Corrected) -> None:
    """Mark the vectors that disagree with the masks over the frame (H, W, 3), in grey."""
    drawn = _pale(np.repeat(image.mean(2, keepdims=True), 3, 2))
    drawn[~corrected.valid[0].cpu().numpy()] = _rgb(LEAVE)
    wrong = corrected.unreliable[0].cpu().numpy()
    drawn[wrong] = _rgb(DISAGREE)
    show(axis, drawn, f"{wrong.mean():.1%} of the vectors disagree")


def draw_flow(axis: Axes, flow: Tensor, fastest: float, title: str) -> None:
    """Draw a flow (2, H, W); vectors as long as `fastest` or longer have full colours."""
    show(axis, viz.flow_colors(flow.cpu().numpy(), fastest), f"{title}, full at {fastest:.1f} px")


def draw_flow_error(axis: Axes, flow: Tensor, truth: Tensor, where: Tensor, title: str) -> None:
    """Draw the end-point errors of a flow (2, H, W) up to `WORST`.

    Args:
        axis: to draw on.
        flow: (2, H, W) pixels.
        truth: (2, H, W) pixels.
        where: (H, W) bool, pixels of which the mean is said beside that of all.
        title: says what flow it is.
    """
    errors = (flow - truth).norm(dim=0)
    axis.imshow(errors.cpu().numpy(), vmin=0, vmax=WORST, cmap=PROBABILITY)
    everywhere, there = float(errors.mean()), float(errors[where].mean())
    axis.set_title(f"end-point error {title}: {everywhere:.2f} px\nwhere they disagreed: {there:.2f} px", fontsize=10)


def draw_foreground(axis: Axes, logits: Tensor, title: str) -> None:
    """Draw the probability of the foreground by logits (2, H, W)."""
    axis.imshow(logits.float().softmax(0)[1].cpu().numpy(), vmin=0, vmax=1, cmap=PROBABILITY)
    axis.set_title(title, fontsize=10)


def draw_joints(axis: Axes, image: Picture, poses: Tensor, title: str, visible: Tensor | None = None) -> None:
    """Draw poses over the frame, in the persons' colours, or joints in those of their visibilities.

    Args:
        axis: to draw on.
        image: (H, W, 3).
        poses: (N, 17, 3); joints that score 0 are left out.
        title: above.
        visible: (N, 17) in [0, 1].
    """
    _limbs(axis, image, poses, title)
    known = poses[..., 2] > 0
    if visible is not None:
        _dots(axis, poses[known], visible[known])
        return
    for pose, color in zip(poses, _person_colors(len(poses)), strict=True):
        _dots(axis, pose[pose[:, 2] > 0], color)


def draw_refined_joints(axis: Axes, image: Picture, pose: Pose) -> None:
    """Draw refined poses: joints that stay by their visibility, those that were replaced or inserted, and open ones."""
    assert pose.visible is not None
    marked = _marked(pose)
    _limbs(axis, image, pose.poses, _said(pose))
    kept = (pose.poses[..., 2] > 0) & ~(marked[REPLACED] | marked[INSERTED])
    _dots(axis, pose.poses[kept], pose.visible[kept])
    for marker, which in marked.items():
        _mark(axis, pose.poses[which][:, :2], marker)


def draw_visibilities(axis: Axes, pose: Pose, title: str) -> None:
    """Draw the visibilities of joints as they were, a row a person, with the markers of what became of them."""
    assert pose.visible is not None
    own = torch.cat([pose.own[1], pose.poses[len(pose.own[1]) :] * 0])  # who is inserted had no joints
    values = np.ma.masked_where((own[..., 2] <= 0).cpu().numpy(), pose.visible.cpu().numpy())
    axis.set_facecolor("0.9")
    axis.imshow(values, cmap=VISIBILITY, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for marker, which in _marked(pose).items():
        _mark(axis, which.nonzero().flip(1), marker)
    axis.set_xticks(range(len(JOINTS)), JOINTS, rotation=40, ha="right", fontsize=8)
    axis.set_yticks(range(len(values)), [f"person {n}" for n in range(1, len(values) + 1)], fontsize=8)
    for label, color in zip(axis.get_yticklabels(), _person_colors(len(values)), strict=True):
        label.set_bbox({"facecolor": color, "edgecolor": "none", "pad": 2})
    axis.set_title(title, fontsize=10)
    axis.set_axis_on()


def _marked(pose: Pose) -> dict[tuple[str, str], Tensor]:
    """Which joints (N, 17) have a marker, by the marker."""
    assert pose.replaced is not None
    inserted = _inserted(pose)[:, None]
    left_open = (pose.poses[..., 2] > 0) & ~pose.replaced & ~pose.supervises
    return {REPLACED: pose.replaced & ~inserted, INSERTED: pose.replaced & inserted, OPEN: left_open}


def _inserted(pose: Pose) -> Tensor:
    """Which persons (N,) were inserted."""
    return torch.arange(len(pose.poses), device=pose.poses.device) >= len(pose.own[1])


def _said(pose: Pose) -> str:
    repaired, inserted = int(_marked(pose)[REPLACED].sum()), int(_inserted(pose).sum())
    return f"GBSR: repaired joints {repaired}, inserted persons {inserted}"


def _mark(axis: Axes, places: Tensor, marker: tuple[str, str]) -> None:
    """Draw a marker at places (n, 2) x, y."""
    x, y = places.T.cpu().numpy()
    shape, color = marker
    axis.scatter(x, y, s=26, marker=shape, color=color, edgecolors="black", linewidths=0.6, zorder=3)


def draw_masks(axis: Axes, image: Picture, logits: Tensor, title: str) -> None:
    """Draw persons' masks by logits (N, 2, H, W) over the frame (H, W, 3), in the colours of their poses."""
    masks = logits.argmax(1).cpu() == 1
    persons = InstanceMasks(masks=masks, classes=torch.ones(len(masks), dtype=torch.int64))
    show(axis, viz.overlay(image, Parsing(parts=masks.any(0).long(), persons=persons), FOREGROUND), title)


def show(axis: Axes, picture: Picture, title: str) -> None:
    """Show a picture (H, W, 3) below its title."""
    axis.imshow(picture)
    axis.set_title(title, fontsize=10)


def picture_of(image: Tensor) -> Picture:
    """Make an image (3, H, W) in [0, 1] a picture (H, W, 3)."""
    picture: Picture = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return picture


def _rgb(color: str) -> FloatArray:
    return np.multiply(to_rgb(color), 255)


def _pale(image: AnyArray) -> Picture:
    """Halve the contrast of a picture (H, W, 3), half as dark, so that colours over it are seen."""
    picture: Picture = (image / 2 + 127.5).astype(np.uint8)
    return picture


def _person_colors(count: int) -> FloatArray:
    """(N, 3) in [0, 1]."""
    return viz.person_colors(np.arange(1, count + 1)) / 255


def _limbs(axis: Axes, image: Picture, poses: Tensor, title: str) -> None:
    """Draw the limbs of poses (N, 17, 3) between known joints, over the frame made pale."""
    show(axis, _pale(image), title)
    for pose, color in zip(poses.cpu().numpy(), _person_colors(len(poses)), strict=True):
        ends = pose[np.array(LIMBS)]
        axis.add_collection(LineCollection(ends[(ends[..., 2] > 0).all(1), :, :2], colors=[color], linewidths=1.5))


def _dots(axis: Axes, joints: Tensor, color: Any) -> None:
    """Draw joints (n, 3) in one colour, or in those of values (n,) in [0, 1]."""
    x, y = joints[:, :2].T.cpu().numpy()
    values: dict[str, Any] = {"color": [color]}
    if isinstance(color, Tensor):
        values = {"c": color.cpu().numpy(), "cmap": VISIBILITY, "vmin": 0, "vmax": 1}
    axis.scatter(x, y, s=18, edgecolors="black", linewidths=0.6, zorder=2, **values)


def draw_swatches(axis: Axes, colors: Mapping[str, str]) -> None:
    """Draw what colours mean, by their names."""
    handles = [Patch(color=color, label=label) for label, color in colors.items()]
    axis.legend(handles=handles, loc="upper center", fontsize=8, frameon=False)


def draw_wheel(axis: Axes) -> None:
    """Draw the colours of all vectors up to full colour as a disc, which they reach from its middle."""
    x, y = np.meshgrid(np.linspace(-1, 1, 101), np.linspace(-1, 1, 101))
    colors = viz.flow_colors(np.stack([x, y]), 1)
    colors[np.hypot(x, y) > 1] = 255
    disc = axis.inset_axes((0.2, 0.0, 0.3, 1.0))
    disc.imshow(colors)
    disc.set_axis_off()
    axis.text(0.52, 0.5, "hue: direction\nstrength: length", fontsize=8, va="center")


def draw_scale(axis: Axes, colors: str, label: str) -> None:
    """Draw a scale of colours from 0 to 1."""
    bar = axis.inset_axes((0.1, 0.75, 0.8, 0.2))
    axis.figure.colorbar(ScalarMappable(cmap=colors), cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=8)
    bar.set_xlabel(label, fontsize=8)


def draw_joint_key(axis: Axes) -> None:
    """Draw the scale of visibilities and the markers of joints."""
    draw_scale(axis, VISIBILITY, "visibility")
    labels = {"repaired": REPLACED, "inserted": INSERTED, "not supervising": OPEN}
    handles = [
        Line2D([], [], linestyle="", marker=marker, markersize=5, color=color, markeredgecolor="black", label=label)
        for label, (marker, color) in labels.items()
    ]
    near = {"handletextpad": 0, "columnspacing": 0.6}
    key = axis.legend(handles=handles, loc="lower center", ncols=3, fontsize=7.5, frameon=False, **near)
    key.set_in_layout(False)  # it may be wider than the panels
