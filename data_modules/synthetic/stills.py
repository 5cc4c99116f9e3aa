"""What the stand-ins of still pictures share: who draws which picture, and the lists of their splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_modules.synthetic.render import Frame, Renderer
from data_modules.synthetic.scene import draw_scene
from partwise.media import write_image, write_text

SPLITS = ("train", "val")

#: JPEG quality of what is written; the compression that is part of the corruption comes before.
_QUALITY = 95


@dataclass(frozen=True)
class Still:
    """One picture to be written.

    Attributes:
        root: folder of the layout.
        split: train or val.
        name: its id.
        seed: of its scene.
        size: (height, width) in pixels.
        severity: of the corruption.
        domain: of the scene.
    """

    root: Path
    split: str
    name: str
    seed: int
    size: tuple[int, int]
    severity: float
    domain: str

    def render(self, image: Path) -> Frame:
        """The picture with its truth; the picture itself is written to `image`."""
        scene = draw_scene(self.seed, size=self.size, frames=1, severity=self.severity, domain=self.domain)
        frame = Renderer(scene).frame(0)
        write_image(image, frame.image, quality=_QUALITY)
        return frame


def plan_stills(
    root: Path,
    images: Mapping[str, int],
    name: Callable[[int], str],
    *,
    stream: int,
    size: Sequence[int],
    severity: float,
    seed: int,
    domain: str,
) -> list[Still]:
    """The pictures of the splits train and val, in order.

    A picture's seed does not depend on how many the other split has.

    Args:
        root: folder of the layout.
        images: number of pictures of each split.
        name: id of picture n, counted from 1 over both splits.
        stream: number of the dataset, so that stand-ins of different datasets show different people.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1.
        seed: equal seeds give equal pictures.
        domain: key of `scene.DOMAINS`.
    """
    if unknown := set(images) - set(SPLITS):
        raise ValueError(f"there is no split {', '.join(sorted(unknown))}; the splits are {', '.join(SPLITS)}")
    height, width = (int(side) for side in size)
    stills: list[Still] = []
    for s, split in enumerate(SPLITS):
        for n in range(images.get(split, 0)):
            own = int(np.random.SeedSequence([seed, s, n, stream]).generate_state(1)[0])
            stills.append(Still(root, split, name(len(stills) + 1), own, (height, width), float(severity), domain))
    return stills


def write_list(file: Path, stills: Sequence[Still], split: str) -> None:
    """Write the ids of a split, one a line."""
    write_text(file, "".join(f"{still.name}\n" for still in stills if still.split == split))
