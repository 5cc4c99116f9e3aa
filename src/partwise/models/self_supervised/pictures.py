"""Pictures of a labelling: what TPR, GBSR and Eq. 10 make of windows of video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from partwise import viz
from partwise.arrays import AnyArray, FloatArray, Picture
from partwise.batches import InstanceMasks, Parsing
from partwise.labels import FOREGROUND, LIMBS
from partwise.models.self_supervised.found import Foreground, Found, Pose
from partwise.models.self_supervised.tpr import Corrected

PANEL, TITLE, KEY = 3.2, 0.3, 0.9  # width of a panel, heights of a title and of what explains the colours, inches
PROBABILITY, VISIBILITY = "magma", "viridis"  # colours from 0 to 1
DISAGREE, LEAVE = "#ff3c3c", "#50a0ff"  # vectors that disagree with the masks, and that leave the picture
REPLACED, INSERTED, OPEN = ("s", "red"), ("D", "blue"), ("X", "white")  # joints' markers, no person's colours
FASTEST = 0.95  # share of the vectors that are shorter than the one in full colour

Draw = Callable[[Axes], None]


class Shown(NamedTuple):
    """A window, on the pixels of the picture."""

    name: str
    frames: Tensor  # (T, 3, H, W) in [0, 1]
    found: Found  # in the middle one
    alone: Tensor | None = None  # (N, 2, H, W) logits of Eq. 10, of masks and poses that are not refined

    @property
    def image(self) -> Picture:
        """Return the middle frame (H, W, 3)."""
        return picture_of(self.frames[len(self.frames) // 2])


def plot_labels(windows: Sequence[Shown]) -> Figure:
    """Draw windows of one labelling: flow, foreground, joints and masks, above as they are found, below refined.

    Args:
        windows: at least one.

    Returns:
        A row a window, or two where something is refined, and one that explains the colours.
    """
    columns = [_columns(window) for window in windows]
    height, width = windows[0].frames.shape[-2:]
    rows = max(map(len, columns[0].values()))
    tall = rows * (PANEL * height / width + TITLE) + TITLE
    size = (PANEL * len(columns[0]), len(windows) * tall + KEY)
    figure = Figure(figsize=size, layout="constrained")
    heights = [tall] * len(windows) + [KEY]
    *blocks, last = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for block, window, column in zip(blocks, windows, columns, strict=True):
        block.suptitle(window.name, x=0.005, ha="left", fontsize=11, fontweight="bold")
        for axes, draws in zip(_axes(block, rows, len(column)).T, column.values(), strict=True):
            for axis, draw in zip(axes, draws, strict=False):
                draw(axis)
    for axis, about in zip(_axes(last, 1, len(columns[0])).flat, columns[0], strict=True):
        if about in _KEYS:
            _KEYS[about](axis)
    return figure


def _columns(window: Shown) -> dict[str, Sequence[Draw]]:
    """What is drawn of a window: by what it is about, from left to right, and from above."""
    foreground, pose, persons = window.found
    columns: dict[str, Sequence[Draw]] = {}
    if foreground is not None:
        columns |= _foreground_columns(window, foreground)
    elif pose is not None:
        columns["neighbours"] = _neighbour_column(window, pose)
    if pose is not None:
        columns["poses" if pose.visible is None else "joints"] = _pose_column(window.image, pose)
    if persons is not None:
        columns["masks"] = _mask_column(window, persons)
    return columns


def _foreground_columns(window: Shown, found: Foreground) -> dict[str, Sequence[Draw]]:
    frame = partial(show, picture=window.image, title="frame")
    own = partial(draw_foreground, logits=found.own, title="Seg Module: foreground")
    if found.flow is None or found.corrected is None:
        return {"image": [frame], "foreground": [own]}
    fastest = fastest_of(found.flow)
    return {
        "frame": [frame, partial(draw_unreliable, image=window.image, corrected=found.corrected)],
        "flow": [
            partial(draw_flow, flow=found.flow, fastest=fastest, title="flow to the next frame"),
            partial(draw_flow, flow=found.corrected.flow, fastest=fastest, title="flow corrected by masks"),
        ],
        "foreground": [own, partial(draw_foreground, logits=found.logits, title="foreground by TPR")],
    }


def _neighbour_column(window: Shown, pose: Pose) -> Sequence[Draw]:
    t = len(window.frames) // 2
    return [
        partial(draw_joints, image=picture_of(window.frames[t + step]), poses=pose.own[1 + step], title=title)
        for step, title in ((-1, "frame before"), (1, "frame after"))
    ]


def _pose_column(image: Picture, pose: Pose) -> Sequence[Draw]:
    own = pose.own[1]
    if pose.visible is None:
        return [partial(draw_joints, image=image, poses=own, title="joints of the Pose Module")]
    visible = pose.visible[: len(own)]
    return [
        partial(draw_joints, image=image, poses=own, visible=visible, title="Pose Module, visibility by GBSR"),
        partial(draw_refined_joints, image=image, pose=pose),
    ]


def _mask_column(window: Shown, persons: Tensor) -> Sequence[Draw]:
    shown = {"Eq. 10": persons}
    if window.alone is not None:
        shown = {"Eq. 10, nothing refined": window.alone, "Eq. 10, refined": persons}
    return [partial(draw_masks, image=window.image, logits=x, title=title) for title, x in shown.items()]


def _axes(figure: Any, rows: int, columns: int) -> Any:
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    return axes


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
    assert pose.replaced is not None
    inserted = torch.arange(len(pose.poses), device=pose.poses.device)[:, None] >= len(pose.own[1])
    repaired = pose.replaced & ~inserted
    _limbs(axis, image, pose.poses, f"GBSR: {int(repaired.sum())} repaired, {int(inserted.sum())} persons inserted")
    kept = (pose.poses[..., 2] > 0) & ~pose.replaced
    _dots(axis, pose.poses[kept], pose.visible[kept])
    marked = {REPLACED: repaired, INSERTED: pose.replaced & inserted, OPEN: kept & ~pose.supervises}
    for (marker, color), which in marked.items():
        x, y = pose.poses[which][:, :2].T.cpu().numpy()
        axis.scatter(x, y, s=26, marker=marker, color=color, edgecolors="black", linewidths=0.6, zorder=3)


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


def _swatches(axis: Axes, colors: Mapping[str, str]) -> None:
    handles = [Patch(color=color, label=label) for label, color in colors.items()]
    axis.legend(handles=handles, loc="upper center", fontsize=8, frameon=False)


def _wheel(axis: Axes) -> None:
    """Draw the colours of all vectors up to full colour as a disc, which they reach from its middle."""
    x, y = np.meshgrid(np.linspace(-1, 1, 101), np.linspace(-1, 1, 101))
    colors = viz.flow_colors(np.stack([x, y]), 1)
    colors[np.hypot(x, y) > 1] = 255
    disc = axis.inset_axes((0.2, 0.0, 0.3, 1.0))
    disc.imshow(colors)
    disc.set_axis_off()
    axis.text(0.52, 0.5, "hue: direction\nstrength: length", fontsize=8, va="center")


def _scale(axis: Axes, colors: str, label: str) -> None:
    """Draw a scale from 0 to 1."""
    bar = axis.inset_axes((0.1, 0.75, 0.8, 0.2))
    axis.figure.colorbar(ScalarMappable(cmap=colors), cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=8)
    bar.set_xlabel(label, fontsize=8)


def _joint_key(axis: Axes) -> None:
    _scale(axis, VISIBILITY, "visibility")
    labels = {"repaired": REPLACED, "of an inserted person": INSERTED, "not supervising": OPEN}
    handles = [
        Line2D([], [], linestyle="", marker=marker, markersize=5, color=color, markeredgecolor="black", label=label)
        for label, (marker, color) in labels.items()
    ]
    near = {"handletextpad": 0, "columnspacing": 0.6}
    key = axis.legend(handles=handles, loc="lower center", ncols=3, fontsize=7.5, frameon=False, **near)
    key.set_in_layout(False)  # it may be wider than the panels


_KEYS: dict[str, Draw] = {
    "frame": partial(_swatches, colors={"disagrees with the masks": DISAGREE, "leaves the picture": LEAVE}),
    "flow": _wheel,
    "foreground": partial(_scale, colors=PROBABILITY, label="probability"),
    "joints": _joint_key,
}
