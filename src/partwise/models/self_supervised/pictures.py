"""Pictures of a labelling: what TPR, GBSR and Eq. 10 make of windows of video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from partwise.arrays import Picture
from partwise.models.self_supervised.found import Foreground, Found, Pose
from partwise.models.self_supervised.panels import (
    DISAGREE,
    LEAVE,
    PROBABILITY,
    draw_flow,
    draw_flow_error,
    draw_foreground,
    draw_joint_key,
    draw_joints,
    draw_masks,
    draw_refined_joints,
    draw_scale,
    draw_swatches,
    draw_unreliable,
    draw_visibilities,
    draw_wheel,
    fastest_of,
    picture_of,
    show,
)

PANEL, TITLE, KEY = 3.2, 0.3, 0.9  # width of a panel, heights of a title and of what explains the colours, inches

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


def plot_correction(window: Shown, truth: Tensor) -> Figure:
    """Draw the flow to the next frame before and after its correction, the true one, and the errors of both.

    Args:
        window: with a refined foreground.
        truth: (2, H, W) true flow, pixels.

    Returns:
        Flows above, the vectors that disagree and the errors below.
    """
    found = window.found.foreground
    assert found is not None
    assert found.flow is not None
    assert found.corrected is not None
    before, after, wrong = found.flow, found.corrected.flow, found.corrected.unreliable[0]
    fastest = max(fastest_of(before), fastest_of(truth))
    figure, axes = _panels(truth, 2, 3)
    for axis, flow, title in zip(axes[0], (before, after, truth), ("estimated", "corrected", "true flow"), strict=True):
        draw_flow(axis, flow, fastest, title)
    draw_unreliable(axes[1, 0], window.image, found.corrected)
    draw_flow_error(axes[1, 1], before, truth, wrong, "before")
    draw_flow_error(axes[1, 2], after, truth, wrong, "after")
    return figure


def plot_matches(window: Shown) -> Figure:
    """Draw the poses of three frames, GBSR's visibilities of the middle one's joints, and what became of them.

    Args:
        window: with refined poses.
    """
    pose = window.found.pose
    assert pose is not None
    height, width = window.frames.shape[-2:]
    figure = Figure(figsize=(4 * PANEL, PANEL * height / width + 3.2), layout="constrained")
    heights = [PANEL * height / width + TITLE, 2.9]
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    before, after = _neighbour_column(window, pose)
    for axis, draw in zip(_axes(above, 1, 4).flat, (before, *_pose_column(window.image, pose), after), strict=True):
        draw(axis)
    matrix, key = _axes(below, 1, 2, width_ratios=[3, 1])[0]
    draw_visibilities(matrix, pose, "visibilities: how well joints match those of a neighbouring frame")
    inner = key.inset_axes((0, 0.3, 1, 0.65))
    inner.set_axis_off()
    draw_joint_key(inner)
    return figure


def plot_rounds(image: Tensor, foregrounds: Sequence[Tensor], persons: Sequence[Tensor], truth: Tensor) -> Figure:
    """Draw what rounds make of a frame: the foreground above, and Eq. 10's masks below.

    Args:
        image: (3, H, W) in [0, 1].
        foregrounds: (2, H, W) logits each, before the first round and after each.
        persons: (N, 2, H, W) logits of Eq. 10 with these.
        truth: (N, H, W) bool, the true persons, who are drawn last.
    """
    picture, everybody = picture_of(image), truth.any(0)
    figure, axes = _panels(image, 2, len(foregrounds) + 1)
    for n, (logits, people) in enumerate(zip(foregrounds, persons, strict=True)):
        mask = logits.argmax(0) == 1
        iou = float((mask & everybody).sum() / (mask | everybody).sum())
        draw_foreground(axes[0, n], logits, f"{f'round {n}' if n else 'before'}: foreground, IoU {iou:.1%}")
        draw_masks(axes[1, n], picture, people, "Eq. 10")
    draw_foreground(axes[0, -1], 100.0 * torch.stack([~everybody, everybody]), "truth")
    draw_masks(axes[1, -1], picture, torch.stack([~truth, truth], 1).byte(), "truth")
    return figure


def _panels(image: Tensor, rows: int, columns: int) -> tuple[Figure, Any]:
    """A figure, and its axes for panels of an image (..., H, W)."""
    tall = PANEL * image.shape[-2] / image.shape[-1] + TITLE
    figure = Figure(figsize=(PANEL * columns, tall * rows), layout="constrained")
    return figure, _axes(figure, rows, columns)


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


def _axes(figure: Any, rows: int, columns: int, **options: Any) -> Any:
    """Axes (rows, columns) that draw no frames."""
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.set_axis_off()
    return axes


_KEYS: dict[str, Draw] = {
    "frame": partial(draw_swatches, colors={"disagrees with the masks": DISAGREE, "leaves the picture": LEAVE}),
    "flow": draw_wheel,
    "foreground": partial(draw_scale, colors=PROBABILITY, label="probability"),
    "joints": draw_joint_key,
}
