"""Join a semantic part map with detected persons, whoever made them, into parts per person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from partwise.arrays import Picture
from partwise.batches import InstanceMap, Parsing
from partwise.labels import IGNORE
from partwise.models.instance_crf.potentials import inside, log_potentials
from partwise.ops.instances import join_parts
from partwise.ops.mean_field import mean_field

#: Probability of the class that a label map gives to a pixel, where the Instance CRF may correct it.
CONFIDENCE = 0.9


class Person(NamedTuple):
    """A detected person.

    Attributes:
        box: left, top, right, bottom in pixels; a pixel is inside if its centre is.
        score: in [0, 1].
        mask: (H, W) bool; None if only the box is known.
    """

    box: tuple[float, float, float, float]
    score: float
    mask: Tensor | None = None


def merge(parts: Tensor, people: Sequence[Person], num_classes: int) -> Parsing:
    """Give each labelled pixel to a person.

    A mask's pixels are its person's; where masks overlap, those of the higher score, of equals those of the earlier
    one. A labelled pixel in no mask goes to a person who is known by the box alone: the one whose box holds it, of
    several the one whose centre is nearest in units of the box's width and height. Labelled pixels of nobody stay in
    the parts and are in no instance.

    Args:
        parts: (H, W) int64 class ids, 255 = ignored.
        people: the detections, in any order.
        num_classes: classes, background included.

    Returns:
        `parts`, the persons that have pixels, in the order of `people`, and the part instances, ordered by class, then
        by person. A part instance has the score of its person.
    """
    persons = assign(parts, people)
    _, part_instances = join_parts(soften(parts, num_classes, confidence=1.0), persons)
    return Parsing(parts=parts, persons=persons, part_instances=part_instances)


def assign(parts: Tensor, people: Sequence[Person]) -> InstanceMap:
    """Make disjoint persons of detections by the rule of `merge`.

    Args:
        parts: (H, W) int64 class ids, 255 = ignored.
        people: the detections, in any order.

    Returns:
        The persons that have pixels, in the order of `people`.
    """
    owner = torch.zeros_like(parts)
    front_first = sorted(range(len(people)), key=lambda n: -people[n].score)  # stable
    for n in front_first:
        if (mask := people[n].mask) is not None:
            owner[mask & (owner == 0)] = n + 1
    free = (parts > 0) & (parts != IGNORE) & (owner == 0)
    nearest = torch.full(parts.shape, torch.inf, device=parts.device)
    for n in front_first:
        if people[n].mask is None:
            distance = centre_distance(people[n].box, parts)
            closer = free & (distance < nearest)
            owner[closer], nearest[closer] = n + 1, distance[closer]
    return _numbered(owner, people)


def merge_by_crf(
    parts: Tensor, people: Sequence[Person], image: Picture, num_classes: int, confidence: float = CONFIDENCE
) -> Parsing:
    """Label each pixel with a part of a person by the Instance CRF (Li, Arnab and Torr, BMVC 2017, section 3.3).

    Its unary is that of equations 2 and 3, where a mask takes the place of the box of a person who has one. Both terms
    weigh 1. Without persons there is nothing to choose from, and the parts stay.

    Args:
        parts: (H, W) int64 class ids, 255 = ignored.
        people: the detections, in any order.
        image: (H, W, 3) RGB in 0..255.
        num_classes: classes, background included.
        confidence: probability of a pixel's given class, above 1 / num_classes and below 1.

    Returns:
        The parts that the CRF chose, the persons that have pixels, in the order of `people`, and the part instances,
        ordered by class, then by person. A part instance has its mean marginal times the score of its person.
    """
    if not people:
        return merge(parts, people, num_classes)
    potentials = unary(soften(parts, num_classes, confidence), people)
    pixels = torch.from_numpy(image).permute(2, 0, 1).to(potentials)
    marginal, label = mean_field(potentials, pixels).softmax(0).max(0)
    person, part = (label - 1) // (num_classes - 1) + 1, (label - 1) % (num_classes - 1) + 1
    refined, owner = (torch.where(label > 0, ids, 0) for ids in (part, person))
    probs = marginal.new_zeros(num_classes, *refined.shape).scatter_(0, refined[None], marginal[None])
    persons = _numbered(owner, people)
    _, part_instances = join_parts(probs, persons)
    return Parsing(parts=refined, persons=persons, part_instances=part_instances)


def unary(probs: Tensor, people: Sequence[Person]) -> Tensor:
    """Compute the CRF's unary of persons with masks or boxes.

    Args:
        probs: (P + 1, H, W) probabilities of the classes, background first.
        people: D persons.

    Returns:
        (P D + 1, H, W) logits: background, then the parts of the first person, of the second, ...
    """
    boxes = torch.tensor([person.box for person in people], device=probs.device) - 0.5  # to pixels' centres
    held = inside(boxes, *probs.shape[1:])
    members = [box if person.mask is None else person.mask for box, person in zip(held, people, strict=True)]
    scores = torch.tensor([person.score for person in people], device=probs.device)
    return log_potentials(probs, torch.stack(members), scores, 1.0, 1.0)


def _numbered(owner: Tensor, people: Sequence[Person]) -> InstanceMap:
    """Persons of a map of rows from 1, numbered anew without those that have no pixels."""
    seen = owner.unique()
    seen = seen[seen > 0]
    number = torch.zeros(len(people) + 1, dtype=torch.int64, device=owner.device)
    number[seen] = torch.arange(1, len(seen) + 1, device=owner.device)
    scores = torch.tensor([person.score for person in people], device=owner.device)
    return InstanceMap(map=number[owner], classes=torch.ones_like(seen), scores=scores[seen - 1])


def centre_distance(box: Sequence[float], like: Tensor) -> Tensor:
    """Measure how far the pixels of a box are from its centre.

    Args:
        box: left, top, right, bottom in pixels.
        like: (H, W) map whose size and device the result has.

    Returns:
        (H, W) float32 distances in units of the box's width and height, at most about 0.71; infinite outside the box.
    """
    x, y = (torch.arange(side, device=like.device) + 0.5 for side in reversed(like.shape))
    left, top, right, bottom = box
    across = (x - (left + right) / 2).abs() / max(right - left, 1e-6)
    down = (y - (top + bottom) / 2).abs() / max(bottom - top, 1e-6)
    inside = (across <= 0.5) & (down <= 0.5)[:, None]
    return torch.where(inside, torch.hypot(across[None], down[:, None]), torch.inf)


def soften(parts: Tensor, num_classes: int, confidence: float = CONFIDENCE) -> Tensor:
    """Make probabilities of a label map.

    Args:
        parts: (H, W) int64 class ids; 255 = ignored, about which nothing is known (with full confidence: background).
        num_classes: C, background included.
        confidence: probability of the given class, above 1 / C and at most 1; the other classes share the rest.

    Returns:
        (C, H, W) float32 that sums to 1 at each pixel.
    """
    known = torch.where(parts == IGNORE, 0, parts)
    probs = torch.full((num_classes, *parts.shape), (1 - confidence) / (num_classes - 1), device=parts.device)
    probs.scatter_(0, known[None], confidence)
    return probs if confidence == 1 else torch.where(parts == IGNORE, 1 / num_classes, probs)
