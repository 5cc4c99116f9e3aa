"""COCO's masks: damaged texts of RLE are found, and every form of a mask is encoded as pycocotools has it."""

from __future__ import annotations

import numpy as np
import pytest
from coco_scenes import compressed, uncompressed
from pycocotools import mask as rle

from partwise.io import coco_masks


def test_damaged_texts_are_told_from_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks of all kinds pass, and of texts changed at random exactly those that mean other runs do not."""
    rng = np.random.default_rng(0)
    texts, sizes = [], []
    for _ in range(400):
        size = rng.integers(1, 60, 2)
        mask = rng.random(size) < rng.choice([0, 0.02, 0.5, 1])
        texts.append(compressed(mask)["counts"].encode())
        sizes.append(mask.shape)
    texts.append(rle.encode(np.zeros((30000, 30000), np.uint8, order="F"))["counts"])
    sizes.append((30000, 30000))
    for characters in (1 << 21, 1000, 1):
        monkeypatch.setattr(coco_masks, "_TEXT", characters)
        assert coco_masks.damaged(texts, sizes) is None
    for n in range(2000):
        size = sizes[n % 400]
        text = bytearray(texts[n % 400])
        at = rng.integers(len(text))
        if n % 3 == 0:
            text = text[:at]
        elif n % 3 == 1:
            text[at] = rng.integers(40, 120)
        else:
            text.insert(at, rng.integers(48, 112))
        monkeypatch.setattr(coco_masks, "_TEXT", 1 << rng.integers(1, 12))
        found = coco_masks.damaged([*texts[:5], bytes(text), *texts[5:9]], [*sizes[:5], size, *sizes[5:9]])
        assert found == (None if whole(bytes(text), size) else 5)


def whole(text: bytes, size: tuple[int, int]) -> bool:
    """Whether the text describes all pixels of a mask, character by character."""
    runs, value, shift, more = [], 0, 0, True
    for character in text:
        bits = character - 48
        if not 0 <= bits < 64:
            return False
        value |= (bits & 31) << shift
        shift, more = shift + 5, bits >= 32
        if not more:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return bool(text) and not more and min(runs) >= 0 and sum(runs) == size[0] * size[1]


@pytest.mark.parametrize("size", [(20, 30), (1, 1), (7, 300)])
def test_every_form_of_a_mask_is_encoded_as_pycocotools_has_it(size: tuple[int, int]) -> None:
    mask = np.zeros(size, np.uint8)
    mask[: size[0] // 2 + 1, size[1] // 3 :] = 1
    right, bottom = size[1], size[0] // 2 + 1
    left = size[1] // 3
    polygon = [left, 0.0, right, 0.0, right, bottom, left, bottom]
    for given in (
        [[float(v) for v in polygon]],
        coco_masks.Rle(**uncompressed(mask)),
        coco_masks.Rle(**compressed(mask)),
    ):
        assert (rle.decode(coco_masks.encode(given, size)) == mask).all()
