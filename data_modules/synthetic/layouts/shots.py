"""Plan the pictures and videos of rendered scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_modules.synthetic.layouts.writer import Writer
from data_modules.synthetic.render.renderer import Frame, Renderer
from data_modules.synthetic.render.scene import Scene, draw_scene
from data_modules.synthetic.render.truth import save_truth
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

    def scene(self) -> Scene:
        """Draw the scene of the shot."""
        return draw_scene(self.seed, size=self.size, frames=self.frames, severity=self.severity, domain=self.domain)

    def picture(self, file: Path) -> Frame:
        """Write the first frame to `file` and return it with its labels."""
        frame = Renderer(self.scene()).frame(0)
        write_image(file, frame.image, quality=QUALITY)
        return frame

    def video(self) -> Renderer:
        """Write the scene to truth/ and return the renderer of its frames."""
        scene = self.scene()
        save_truth(self.root, self.name, scene)
        return Renderer(scene)


@dataclass(frozen=True, kw_only=True)
class SceneWriter(Writer):
    """Writes pictures or videos of rendered scenes.

    Args:
        size: (height, width) in pixels.
        severity: of the corruption of the pixels, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        workers: processes at most; None takes the cores available, up to eight.
    """

    severity: float = 0.2

    def shot(self, root: Path, domain: str, frames: int = 1) -> Shot:
        """Return what all pictures or videos of this stand-in have in common.

        Args:
            root: folder of the layout.
            domain: of the scenes, key of `scene.DOMAINS`.
            frames: frames that are rendered of each; a picture is one.

        Returns:
            A shot without split, name and seed.
        """
        return Shot(root, self.canvas, float(self.severity), domain, frames)

    def plan(self, like: Shot, counts: Mapping[str, int], name: str, *, stream: int | None) -> list[Shot]:
        """List the pictures or videos of all splits; a seed does not depend on how many the other splits have.

        Args:
            like: what they have in common.
            counts: number of each split.
            name: format of a name: {split}, {n} from 0 in each split, {number} from 1 over all.
            stream: number of the dataset, so that stand-ins of different datasets show different people.

        Returns:
            Shots in the order of the splits.
        """
        self.check_splits(counts)
        shots: list[Shot] = []
        for s, split in enumerate(self.splits):
            for n in range(counts.get(split, 0)):
                entropy = [self.seed, s, n, *(() if stream is None else (stream,))]
                own = int(np.random.SeedSequence(entropy).generate_state(1)[0])
                called = name.format(split=split, n=n, number=len(shots) + 1)
                shots.append(replace(like, split=split, name=called, seed=own))
        return shots

    def line_up(self, like: Shot, splits: Sequence[str], name: str, *, stream: int) -> list[Shot]:
        """List pictures or videos whose numbers and seeds run on from split to split.

        Args:
            like: what they have in common.
            splits: the split of each one.
            name: format of a name: {number} from 1.
            stream: number of the dataset, so that stand-ins of different datasets show different people.

        Returns:
            A shot for each of `splits`, in order.
        """
        seeds = np.random.SeedSequence([self.seed, stream]).generate_state(len(splits)).tolist()
        return [
            replace(like, split=split, name=name.format(number=n), seed=own)
            for n, (split, own) in enumerate(zip(splits, seeds, strict=True), 1)
        ]
