"""Draw a contact sheet of the stand-in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.arrays import UInt8Array
from partwise.labels import VIP

#: Colours of a sheet's palette; more make the file larger.
_COLORS = 128
_GAP = 2


def write_contact_sheet(
    file: Path,
    *,
    seeds: Sequence[int],
    severity: float = 0.5,
    frames: Sequence[int] = (2, 6, 10, 14, 18),
    size: tuple[int, int] = (112, 112),
) -> None:
    """Write a PNG with a row for each clip: every frame before and after corruption, and VIP's labels.

    Args:
        file: PNG to write.
        seeds: of the clips, one row each.
        severity: of the corruption, 0..1.
        frames: frames of a row.
        size: (height, width) of a frame in pixels.
    """
    scenes = [draw_scene(seed, size=size, frames=max(frames) + 3, severity=severity) for seed in seeds]
    rows = [_row(Renderer(scene), frames) for scene in scenes]
    sheet = Image.fromarray(np.concatenate(rows))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(_COLORS, dither=Image.Dither.NONE).save(file, optimize=True)


def _row(renderer: Renderer, frames: Sequence[int]) -> UInt8Array:
    """Frames of one clip side by side, (H + gap, w, 3)."""
    tiles = []
    for t in frames:
        frame = renderer.frame(t)
        trio = np.concatenate([renderer.clean(t), frame.image, VIP.colors[frame.parts(VIP)]], axis=1)
        tiles.append(np.pad(trio, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255))
    return np.concatenate(tiles, axis=1)
