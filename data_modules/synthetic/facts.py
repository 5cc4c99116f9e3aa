"""The stand-in in the layout of the FACTS tracklets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_modules.synthetic import pool
from data_modules.synthetic.render import Renderer
from data_modules.synthetic.scene import draw_scene
from data_modules.synthetic.truth import save_truth
from partwise.labels import FACTS
from partwise.media import write_image, write_labels, write_text

SPLITS = ("train", "val", "test")
#: Labelled frames of a tracklet, as in the datasets.
_LABELLED = {"train": 1, "val": 5, "test": 5}


@dataclass(frozen=True)
class _Tracklet:
    """One tracklet to be written.

    Attributes:
        root: folder of the layout.
        name: of its folders.
        seed: of its scene.
        size: (height, width) in pixels.
        frames: how many.
        labelled: how many of them get labels.
        step: frames of the scene from one of them to the next.
        severity: of the corruption.
        domain: of the scene.
    """

    root: Path
    name: str
    seed: int
    size: tuple[int, int]
    frames: int
    labelled: int
    step: int
    severity: float
    domain: str


def write_facts(
    root: Path,
    *,
    tracklets: Mapping[str, int],
    frames_per_tracklet: int = 10,
    size: Sequence[int] = (241, 121),
    step: int = 1,
    severity: float = 0.5,
    seed: int = 0,
    domain: str = "tracked",
    workers: int | None = None,
) -> None:
    """Write crops of rendered people that are followed through a video.

    images/TRACKLET/%06d.jpg are all frames, counted from 0; labels/TRACKLET/%06d.png those of one random frame of
    every training tracklet and of five of the others; lists/SPLIT.txt the tracklets; truth/ the scenes, in which frame
    n of a tracklet is frame n * step.

    Args:
        root: folder to write into.
        tracklets: number of them in the splits train, val and test.
        frames_per_tracklet: frames of each.
        size: (height, width) of the crops in pixels.
        step: frames of the rendered video from one of the tracklet to the next; 2 halves the frame rate.
        severity: of the corruption, 0..1; the scenes do not depend on it.
        seed: equal seeds give equal files.
        domain: key of `scene.DOMAINS`.
        workers: processes at most; the result does not depend on it.
    """
    if unknown := set(tracklets) - set(SPLITS):
        raise ValueError(f"FACTS has no split {', '.join(sorted(unknown))}; its splits are {', '.join(SPLITS)}")
    height, width = (int(side) for side in size)
    jobs = []
    for s, split in enumerate(SPLITS):
        names = [f"{split}{n:04d}" for n in range(tracklets.get(split, 0))]
        if names:
            write_text(root / "lists" / f"{split}.txt", "".join(f"{name}\n" for name in names))
        for n, name in enumerate(names):
            own = int(np.random.SeedSequence([seed, s, n, 9]).generate_state(1)[0])
            few = min(_LABELLED[split], frames_per_tracklet)
            jobs.append(_Tracklet(root, name, own, (height, width), frames_per_tracklet, few, step, severity, domain))
    pool.run(_write_tracklet, jobs, "rendering the stand-in of FACTS", workers)


def _write_tracklet(tracklet: _Tracklet) -> None:
    scene = draw_scene(
        tracklet.seed,
        size=tracklet.size,
        frames=(tracklet.frames - 1) * tracklet.step + 1,
        severity=tracklet.severity,
        domain=tracklet.domain,
    )
    save_truth(tracklet.root, tracklet.name, scene)
    rng = np.random.default_rng(np.random.SeedSequence([tracklet.seed, 10]))
    labelled = set(rng.choice(tracklet.frames, tracklet.labelled, replace=False).tolist())
    renderer = Renderer(scene)
    for n in range(tracklet.frames):
        image = tracklet.root / "images" / tracklet.name / f"{n:06d}.jpg"
        if n not in labelled:
            write_image(image, renderer.image(n * tracklet.step), quality=95)
            continue
        frame = renderer.frame(n * tracklet.step)
        write_image(image, frame.image, quality=95)
        write_labels(tracklet.root / "labels" / tracklet.name / f"{n:06d}.png", frame.parts(FACTS), FACTS.colors)
