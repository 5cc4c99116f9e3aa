"""Pictures of the Instance CRF: its terms and marginals, and parts in the colours of their persons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from partwise import viz
from partwise.arrays import Picture
from partwise.models.instance_crf.detectors import Detections
from partwise.models.instance_crf.potentials import box_term, inside, log_potentials
from partwise.ops.mean_field import mean_field

MOST = 3  # persons whose terms are drawn


def family_overlay(image: Picture, labels: Tensor, num_parts: int, alpha: float = 0.65) -> Picture:
    """Blend parts over an image: a person's are shades of the person's colour.

    Args:
        image: (H, W, 3).
        labels: (H, W) int64, 0 background, 1 + (i - 1) P + (j - 1) part j of person i.
        num_parts: P.
        alpha: weight of the colours.

    Returns:
        (H, W, 3).
    """
    found = labels.numpy()
    person, part = np.where(found > 0, (found - 1) // num_parts + 1, 0), np.where(found > 0, (found - 1) % num_parts, 0)
    hsv = cv2.cvtColor(viz.person_colors(np.arange(person.max() + 1))[None], cv2.COLOR_RGB2HSV)[0].astype(int)[person]
    shade = np.linspace(0, 1, num_parts)[part]
    hsv[..., 1] = np.clip(hsv[..., 1] * (0.45 + 0.55 * shade), 0, 255)
    hsv[..., 2] = np.clip(hsv[..., 2] * (1 - 0.45 * shade), 0, 255)
    colors = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    drawn = np.where(found[..., None] > 0, (1 - alpha) * image + alpha * colors, image).astype(np.uint8)
    edges = cv2.Laplacian(found.astype(np.float32), cv2.CV_32F) != 0
    drawn[edges & (found > 0)] = 255
    return drawn


def plot_terms(
    image: Picture,
    Q: Tensor,
    found: Detections,
    w: Sequence[float] = (1.0, 1.0),
    pairwise: Sequence[float] = (8.0, 2.0),
    theta: Sequence[float] = (2.0, 8.0, 2.0),
) -> Figure:
    """Draw what the terms say of an image and its first persons, and the labels before and after the pairwise term.

    Args:
        image: (H, W, 3).
        Q: (P + 1, H, W) probabilities of the parts, background first.
        found: detections.
        w: weights of the box and of the global term.
        pairwise: weights of the bilateral and of the spatial kernel.
        theta: standard deviations of the kernels.

    Returns:
        One row for the image, and one for each of at most three persons.
    """
    num_parts, people = len(Q) - 1, min(len(found.scores), MOST)
    members = inside(found.boxes, *Q.shape[1:])
    before = log_potentials(Q, members, found.scores, *w)
    alone = log_potentials(Q, members, found.scores, *w, everywhere=False)
    after = mean_field(before, torch.from_numpy(image).permute(2, 0, 1).float(), pairwise, theta)
    figure = Figure(figsize=(13, 3 * (people + 1)), layout="constrained")
    axes = figure.subplots(people + 1, 4, squeeze=False)
    labelled = {"box term alone": alone, "with the global term": before, "with the pairwise term": after}
    _show(axes[0, 0], image, "image and detections")
    for number, (x0, y0, x1, y1) in enumerate(found.boxes.tolist(), 1):
        color = viz.person_colors([number])[0] / 255
        axes[0, 0].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=2))
    for axis, (title, u) in zip(axes[0, 1:], labelled.items(), strict=True):
        _show(axis, family_overlay(image, u.argmax(0), num_parts), title)
    terms = box_term(Q, members, found.scores).sum(1)
    for person in range(people):
        own = slice(1 + person * num_parts, 1 + (person + 1) * num_parts)
        maps = {
            f"person {person + 1}: box term": terms[person],
            "global term": Q[1:].sum(0),
            "marginal before": before.softmax(0)[own].sum(0),
            "marginal after": after.softmax(0)[own].sum(0),
        }
        for axis, (title, values) in zip(axes[person + 1], maps.items(), strict=True):
            _show(axis, values.numpy(), title)
    return figure


def _show(axis: Any, picture: Any, title: str) -> None:
    axis.imshow(picture, vmin=0, vmax=1 if np.ndim(picture) == 2 else 255, cmap="magma")
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()
