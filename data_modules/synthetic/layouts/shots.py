"""What the writers of rendered people share: which picture or video shows what, and the lists of the splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_modules.synthetic.render.renderer import Frame, Renderer
from data_modules.synthetic.render.scene import Scene, draw_scene
from data_modules.synthetic.render.truth import save_truth
from partwise.io.atomic import write_text
from partwise.io.images import write_image

#: JPEG quality of what is written; the compression that is part of the corruption comes before.
QUALITY = 95


@dataclass(frozen=True)
class Shot:
    """One picture or video to be written.

    Attributes:
        root: folder of the layout.
        size: (height, width) in pixels.
        severity: of the corruption, 0..1.
        domain: of the scene, key of `scene.DOMAINS`.
        frames: how many are rendered; a picture is one.
        split: that it belongs to; empty where the layout has none.
        name: its id.
        seed: of its scene.
    """

    root: Path
    size: tuple[int, int]
    severity: float
    domain: str
    frames: int = 1
    split: str = ""
    name: str = ""
    seed: int = 0

    @classmethod
    def like(cls, root: Path, size: Sequence[int], severity: float, domain: str, frames: int = 1) -> Shot:
        """What the shots of a layout share."""
        height, width = (int(side) for side in size)
        return cls(root, (height, width), float(severity), domain, frames)

    def scene(self) -> Scene:
        """What it shows."""
        return draw_scene(self.seed, size=self.size, frames=self.frames, severity=self.severity, domain=self.domain)

    def picture(self, file: Path) -> Frame:
        """Its first frame with the truth about it, once the picture is written to `file`."""
        frame = Renderer(self.scene()).frame(0)
        write_image(file, frame.image, quality=QUALITY)
        return frame

    def video(self) -> Renderer:
        """What renders its frames, once the scene is written to truth/."""
        scene = self.scene()
        save_truth(self.root, self.name, scene)
        return Renderer(scene)


def plan(
    like: Shot, counts: Mapping[str, int], splits: Sequence[str], name: str, *, seed: int, stream: int | None
) -> list[Shot]:
    """The pictures or videos of all splits, in order; one's seed does not depend on how many the other splits have.

    Args:
        like: what they share.
        counts: how many each split has.
        splits: of the layout, in order.
        name: format of a name: {split}, {n} from 0 in each split, {number} from 1 over all.
        seed: equal seeds give equal shots.
        stream: number of the dataset, so that stand-ins of different datasets show different people.
    """
    check_splits(counts, splits)
    shots: list[Shot] = []
    for s, split in enumerate(splits):
        for n in range(counts.get(split, 0)):
            entropy = [seed, s, n, *(() if stream is None else (stream,))]
            own = int(np.random.SeedSequence(entropy).generate_state(1)[0])
            called = name.format(split=split, n=n, number=len(shots) + 1)
            shots.append(replace(like, split=split, name=called, seed=own))
    return shots


def line_up(like: Shot, splits: Sequence[str], name: str, *, seed: int, stream: int) -> list[Shot]:
    """Pictures or videos, one for each of `splits`, whose numbers and seeds run on from split to split.

    Args:
        like: what they share.
        splits: of each one.
        name: format of a name: {number} from 1.
        seed: equal seeds give equal shots.
        stream: number of the dataset, so that stand-ins of different datasets show different people.
    """
    seeds = np.random.SeedSequence([seed, stream]).generate_state(len(splits)).tolist()
    return [
        replace(like, split=split, name=name.format(number=n), seed=own)
        for n, (split, own) in enumerate(zip(splits, seeds, strict=True), 1)
    ]


def splits_of_all(counts: Mapping[str, int], splits: Sequence[str]) -> list[str]:
    """The split of every one, in order, if each of `splits` has as many as `counts` says."""
    check_splits(counts, splits)
    return [split for split in splits for _ in range(counts.get(split, 0))]


def check_splits(given: Iterable[str], splits: Sequence[str]) -> None:
    """Raise ValueError for a split that is none of `splits`."""
    if unknown := set(given) - set(splits):
        raise ValueError(f"there is no split {', '.join(sorted(unknown))}; the splits are {', '.join(splits)}")


def write_list(file: Path, shots: Iterable[Shot], split: str) -> None:
    """Write the ids of a split, one a line."""
    write_text(file, "".join(f"{shot.name}\n" for shot in shots if shot.split == split))
