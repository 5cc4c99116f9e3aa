"""A picture of the transfer: who is similar, what their parts become, and what is made of them."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from partwise import viz
from partwise.models.pose_transfer.labelling import Labeller, cut_out
from partwise.models.pose_transfer.library import name_of
from partwise.models.pose_transfer.prior import morph
from partwise.models.pose_transfer.refine import decode


def plot_transfer(
    labeller: Labeller,
    image: Tensor,
    poses: Tensor,
    number: int,
    name: str = "",
    truth: Tensor | None = None,
    parse: Tensor | None = None,
) -> Figure:
    """Draw how one person gets parts: picture and pose, neighbours, their morphs, prior, refinement, perhaps more.

    Args:
        labeller: with library and network.
        image: (3, H, W) in [0, 1].
        poses: (N, K, 3) in pixels of the picture.
        number: of the person, from 1.
        name: of the picture, whose own persons in the library are passed over.
        truth: (H, W) classes of the picture, to draw beside it.
        parse: (H, W) classes that a parser finds, likewise.

    Returns:
        Two rows: the neighbours as they are, and below what becomes of them.
    """
    priors, size = labeller.priors, labeller.size
    crops = cut_out(image, poses, [number], size)
    (neighbours,), _ = priors.find(crops.poses, priors.library.rows([name_of(name, number)]))
    neighbours = neighbours[neighbours >= 0]
    k = len(neighbours)
    morphs = morph(priors.library, neighbours, crops.poses.expand(k, -1, -1), crops.sizes.expand(k, -1), size)
    prior = priors.make(neighbours[None], crops.poses, crops.sizes, size)
    (x0, y0, x1, y1) = crops.boxes[0]
    merged = priors.library.skeleton.merge_table()
    last = {"prior": _colours(decode(prior)[0])}
    if labeller.network is not None:
        last["refined"] = _colours(decode(labeller.refine(crops.images, prior))[0])
    given = {"parse": parse, "truth": truth}
    last |= {title: _colours(whole[y0:y1, x0:x1]) for title, whole in given.items() if whole is not None}
    figure = Figure(figsize=(2.2 * max(k + 1, len(last) + k), 6), layout="constrained")
    axes = figure.subplots(2, max(k + 1, len(last) + k), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    _person(axes[0, 0], image[:, y0:y1, x0:x1].permute(1, 2, 0).numpy(), crops.poses[0], "person and pose")
    for column, index in enumerate(neighbours.tolist(), 1):
        parts = merged[priors.library.parts[index].long()]
        _person(axes[0, column], _colours(parts), priors.library.poses[index], f"neighbour {column}")
    for column, mask in enumerate(morphs):
        _show(axes[1, column], _colours(decode(mask[None].float())[0]), f"morph {column + 1}")
    for column, (title, picture) in enumerate(last.items(), k):
        _show(axes[1, column], picture, title)
    return figure


def _colours(classes: Tensor) -> Any:
    return viz.palette()[classes.numpy()]


def _person(axis: Any, picture: Any, pose: Tensor, title: str) -> None:
    _show(axis, picture, title)
    seen = pose[pose[:, 2] > 0]
    axis.plot(seen[:, 0], seen[:, 1], "o", color="white", markeredgecolor="black", markersize=4)


def _show(axis: Any, picture: Any, title: str) -> None:
    axis.imshow(picture, aspect="auto" if title.startswith(("morph", "prior", "refined")) else "equal")
    axis.set_title(title, fontsize=10)
