"""Draw a parsing: parts blended over the image, people outlined, legends and grids. All arrays are RGB."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from partwise.arrays import BoolArray, FloatArray, IntArray, Picture
from partwise.batches import Annotation, Instances, Parsing, back_to_front, map_of, masks_of
from partwise.labels import IGNORE, LIMBS, LabelSet
from partwise.scores.coco import KEYPOINTS

INK, PAPER = (32, 32, 32), (255, 255, 255)
PERSON_COLORS = 24  # then they repeat


@lru_cache(maxsize=1)
def palette() -> Picture:
    """Return the display colours (256, 3) of parts: 0 black, 255 pale, all others well apart.

    PASCAL VOC's own colours are dark, and neighbours such as 8 and 1 look alike once blended over a photograph; these
    keep 40 CIELAB units between any two of the first twenty.
    """
    ends = np.array([[0, 0, 0], [224, 224, 192]], dtype=np.uint8)
    colors = np.concatenate([ends[:1], _spread(254, (230, 60, 60), lightness=35), ends[1:]])
    colors.flags.writeable = False  # shared by all callers
    return colors


def person_colors(ids: Sequence[int] | IntArray) -> Picture:
    """Return the colours (N, 3) of person ids 1, 2, ...: bright, always the same for an id; id 0 is black."""
    numbers = np.asarray(ids, dtype=np.int64)
    return _bright()[np.where(numbers > 0, (numbers - 1) % PERSON_COLORS + 1, 0)]


def person_palette() -> Picture:
    """Return the palette (256, 3) of a map of person ids; `person_colors` of each."""
    return person_colors(np.arange(256))


@lru_cache(maxsize=1)
def _bright() -> Picture:
    return np.concatenate([np.zeros((1, 3), np.uint8), _spread(PERSON_COLORS, (255, 150, 0), lightness=62)])


def _spread(count: int, first: tuple[int, int, int], lightness: float) -> Picture:
    """(count, 3) saturated colours of at least that lightness, each as far from the earlier ones as can be."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    lab = cv2.cvtColor(candidates[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    kept = (lab[:, 0] > lightness) & (lab[:, 0] < 93) & (np.hypot(lab[:, 1], lab[:, 2]) > 35)
    candidates, lab = candidates[kept], lab[kept]
    chosen = [int(np.abs(candidates.astype(int) - first).sum(1).argmin())]
    nearest = np.linalg.norm(lab - lab[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
    colors: Picture = candidates[chosen].astype(np.uint8)
    return colors


def overlay(
    image: Picture,
    parsing: Parsing | Annotation,
    label_set: LabelSet,
    *,
    person_ids: Sequence[int] | None = None,
    alpha: float = 0.5,
    captions: bool = False,
) -> Picture:
    """Blend the parts over an image, edge them, and outline each person in that person's colour.

    Where persons may overlap (`InstanceMasks`), those in front are drawn last, see `back_to_front`; every outline is
    whole. If there is one class of parts alone, which then says nothing, the front person's colour fills each pixel.
    Keypoints are drawn where their third number is above 0, and joined if they are COCO's 17.

    Args:
        image: (H, W, 3).
        parsing: of that size; persons are outlined if it has any.
        label_set: of its parts.
        person_ids: id of each person, from which follows the colour; by default 1, 2, ... in the parsing's order.
        alpha: weight of the colours that fill, 0..1.
        captions: whether to draw each person's box, id and score.

    Returns:
        (H, W, 3) picture; the arguments are left as they are.
    """
    parts = parsing["parts"].numpy().astype(np.uint8)
    if parts.shape != image.shape[:2]:
        raise ValueError(f"parts {parts.shape} over an image of {image.shape[:2]}")
    persons = parsing.get("persons")
    count = 0 if persons is None else len(persons["classes"])
    ids = list(range(1, count + 1)) if person_ids is None else list(person_ids)
    labels: IntArray
    if persons is not None and "masks" in persons and label_set.num_classes == 2:
        labels = map_of(persons).numpy()
        known, colors = labels > 0, person_colors([0, *ids])[labels]
    else:
        labels, known = parts, (parts > 0) & (parts < label_set.num_classes)
        # Several times as fast as indexing.
        colors = cv2.LUT(cv2.merge([parts] * 3), palette()[None]).astype(np.uint8, copy=False)
    out = image.copy()
    cv2.copyTo(cv2.addWeighted(colors, alpha, image, 1 - alpha, 0), known.astype(np.uint8), out)
    edges = _edges(labels) & known
    out[edges] = colors[edges] // 4 * 3 + 64  # lighter than the fill on either side
    if persons is not None:
        _draw_persons(out, persons, ids, captions)
    return out


def legend(label_set: LabelSet, present: Collection[int], width: int = 640, size: int = 16) -> Picture:
    """Draw swatches and names of the classes that occur, in rows that fill the width.

    Args:
        label_set: the classes.
        present: ids to show; background and ids beyond the set are left out.
        width: of the picture, pixels.
        size: of the letters, pixels.

    Returns:
        (h, width, 3) dark on white; h is 0 when no class is left.
    """
    ids = sorted(i for i in present if 0 < i < label_set.num_classes and i != IGNORE)
    font, pad = ImageFont.load_default(size), size // 2
    spots, x, y, row = [], pad, pad, size + pad
    for i in ids:
        wide = 2 * size + int(font.getlength(label_set.names[i])) + pad
        if x > pad and x + wide > width:
            x, y = pad, y + row
        spots.append((i, x, y))
        x += wide
    picture = Image.new("RGB", (width, y + row if ids else 0), PAPER)
    pen = ImageDraw.Draw(picture)
    for i, x, y in spots:
        pen.rectangle((x, y, x + size - 1, y + size - 1), fill=tuple(palette()[i].tolist()), outline=INK)
        pen.text((x + size + pad, y + size // 2), label_set.names[i], fill=INK, font=font, anchor="lm")
    return np.asarray(picture)


def captioned(picture: Picture, text: str) -> Picture:
    """Return a copy of a picture (H, W, 3) with a text in its upper left corner, dark on white."""
    out = picture.copy()
    _caption(out, text, 0, 0, list(PAPER), max(11, round(min(out.shape[:2]) / 24)))
    return out


def flow_colors(flow: FloatArray, longest: float) -> Picture:
    """Colour a flow: the direction is the hue, the length the saturation.

    Args:
        flow: (2, H, W) pixels.
        longest: length that is drawn fully saturated; longer ones are too.

    Returns:
        (H, W, 3).
    """
    angle = np.degrees(np.arctan2(flow[1], flow[0])) % 360
    length = np.linalg.norm(flow, axis=0) / max(longest, 1e-6)
    hsv = np.stack([angle, np.minimum(length, 1), np.ones_like(length)], -1).astype(np.float32)
    colors: Picture = (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).round().astype(np.uint8)
    return colors


def side_by_side(*images: Picture, gap: int = 6) -> Picture:
    """Put pictures in one row.

    Args:
        images: (h, w, 3) each; all are resized to the height of the first.
        gap: white pixels between them.

    Returns:
        (H, W, 3), H the height of the first.
    """
    height = images[0].shape[0]
    scaled = [images[0], *(_resize(i, height, max(1, round(i.shape[1] * height / i.shape[0]))) for i in images[1:])]
    blank = np.full((height, gap, 3), PAPER, np.uint8)
    return np.concatenate([piece for image in scaled for piece in (blank, image)][1:], 1)


def grid(images: Sequence[Picture], columns: int = 4, gap: int = 6) -> Picture:
    """Put pictures in rows of equal cells, as large as the largest; smaller ones are enlarged into theirs.

    Args:
        images: at least one (h, w, 3) picture.
        columns: cells a row; fewer if there are fewer pictures.
        gap: white pixels between cells.

    Returns:
        (H, W, 3), white where no picture is.
    """
    if not images:
        raise ValueError("a grid needs a picture")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width = (max(i.shape[axis] for i in images) for axis in (0, 1))
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), PAPER, np.uint8)
    for n, image in enumerate(images):
        top, left = n // columns * (height + gap), n % columns * (width + gap)
        fitted = fit(image, height, width)
        top, left = top + (height - fitted.shape[0]) // 2, left + (width - fitted.shape[1]) // 2
        sheet[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return sheet


def fit(image: Picture, height: int, width: int) -> Picture:
    """Resize to the largest size within a box that keeps the aspect.

    Args:
        image: (h, w, 3).
        height: of the box, pixels.
        width: of the box, pixels.

    Returns:
        (h', w', 3), at least one pixel high and wide.
    """
    scale = min(height / image.shape[0], width / image.shape[1])
    return _resize(image, max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))


def _resize(image: Picture, height: int, width: int) -> Picture:
    if image.shape[:2] == (height, width):
        return image
    shrinking = height < image.shape[0]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)


def _edges(labels: IntArray) -> BoolArray:
    """(H, W): pixels whose right or lower neighbour has another label."""
    edges = np.zeros(labels.shape, dtype=bool)
    edges[:, :-1] = labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def _draw_persons(out: Picture, persons: Instances, ids: Sequence[int], captions: bool) -> None:
    thick = max(1, round(min(out.shape[:2]) / 240))
    colors, masks = person_colors(ids).tolist(), masks_of(persons).numpy().view(np.uint8)
    order = range(len(masks)) if "map" in persons else back_to_front(persons)
    seen = [n for n in order if masks[n].any()]
    for n in seen:
        outlines, _ = cv2.findContours(masks[n], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, outlines, -1, INK, thick + 2, cv2.LINE_AA)
        cv2.drawContours(out, outlines, -1, colors[n], thick, cv2.LINE_AA)
    if "keypoints" in persons:
        for n in order:
            _draw_keypoints(out, persons["keypoints"][n].numpy(), colors[n], thick)
    if captions:
        scores = persons["scores"].tolist() if "scores" in persons else None
        for n in seen:
            x, y, w, h = cv2.boundingRect(masks[n])
            cv2.rectangle(out, (x, y), (x + w - 1, y + h - 1), colors[n], thick)
            text = f"{ids[n]}  {scores[n]:.2f}" if scores else f"{ids[n]}"
            _caption(out, text, x, y, colors[n], max(11, round(min(out.shape[:2]) / 36)))


def _draw_keypoints(out: Picture, keypoints: FloatArray, color: Sequence[int], thick: int) -> None:
    """Joints (K, 3) as discs in the person's colour, edged; COCO's limbs between them."""
    points, known = keypoints[:, :2].round().astype(int).tolist(), keypoints[:, 2] > 0
    limbs = [limb for limb in LIMBS if known[list(limb)].all()] if len(known) == KEYPOINTS else []
    for width, ink in ((thick + 2, INK), (thick, color)):
        for start, end in limbs:
            cv2.line(out, points[start], points[end], ink, width, cv2.LINE_AA)
    for n in np.flatnonzero(known):
        cv2.circle(out, points[n], thick + 2, INK, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(out, points[n], thick + 1, color, cv2.FILLED, cv2.LINE_AA)


def _caption(out: Picture, text: str, x: int, y: int, color: list[int], size: int) -> None:
    """Text on a plate of the given colour, above (x, y) if there is room."""
    font = ImageFont.load_default(size)
    dark = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 140
    plate = Image.new("RGB", (int(font.getlength(text)) + size, size + size // 2), tuple(color))
    ImageDraw.Draw(plate).text(
        (size // 2, plate.height // 2), text, fill=PAPER if dark else INK, font=font, anchor="lm"
    )
    top, left = max(0, y - plate.height), max(0, min(x, out.shape[1] - plate.width))
    region = out[top : top + plate.height, left : left + plate.width]
    region[:] = np.asarray(plate)[: region.shape[0], : region.shape[1]]
