"""How well the package's modules label rendered video with each refinement of the self-supervised loop, untrained.

    python scripts/labelling_effect.py [--clips 24] [--seed 0 1 2] [--severity 0.5] [--csv FILE]

All data are synthetic: clips of three frames of two or three people close together, whom the modules (trained on people
apart) have not seen; the middle frame's labels are scored against the truth. "Sum" adds the logits of a window up as
Eqs. 5 and 10 print it, "mean" takes their mean. Metrics are in per cent.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from refinement_effect import SIZE, annotation
from rich.console import Console
from rich.table import Table
from torch import Tensor

from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.batches import Annotation
from partwise.checkpoints.loading import build_network, load
from partwise.io.atomic import write_csv
from partwise.io.progress import counter
from partwise.labels import FOREGROUND
from partwise.metrics.coco import COCOMetrics
from partwise.metrics.parsing import confusion_matrix, iou
from partwise.models.baselines.netwarp import DIS
from partwise.models.self_supervised.labelling import VideoLabeller
from partwise.models.self_supervised.model import SelfSupervised, read_out
from partwise.ops.resize import Letterbox
from partwise.run import cli

#: Options of the labeller by the name of a row.
WAYS: dict[str, dict[str, Any]] = {
    "neither": {"tpr": False, "gbsr": False},
    "GBSR": {"tpr": False},
    "TPR, sum": {"gbsr": False, "literal": True},
    "TPR, mean": {"gbsr": False},
    "TPR, mean, flow as it is": {"gbsr": False, "search": "none"},
    "TPR, mean, and GBSR": {},
}


def main() -> None:
    """Print means over the seeds, and perhaps keep a row for each seed and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24, help="for each seed")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--severity", type=float, default=0.5, help="of the frames' corruption, 0..1")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    with cli.one_line_errors():
        network = modules()
        rows = [row for seed in options.seed for row in study(network, seed, options.clips, options.severity)]
        if options.csv:
            write_csv(options.csv, rows)
    metrics = list(rows[0])[3:]
    table = Table("labels", *metrics, title="Synthetic data, per cent, mean ± standard deviation over seeds")
    for way in WAYS:
        values = np.array([[row[key] for key in metrics] for row in rows if row["labels"] == way])
        table.add_row(way, *(f"{m:.1f} ± {s:.1f}" for m, s in zip(values.mean(0), values.std(0), strict=True)))
    Console().print(table)


def modules() -> SelfSupervised:
    """Load the modules that the package brings; the Pose2Seg Module's file has the Seg Module too."""
    names = [f"standin/{name}_module_coco" for name in ("pose", "pose2seg")]
    pose, both = (build_network(load(name), name) for name in names)
    return SelfSupervised(both.seg, pose, both.pose2seg)  # type: ignore[arg-type]


@torch.inference_mode()
def study(network: SelfSupervised, seed: int, clips: int, severity: float) -> list[dict[str, Any]]:
    """Score labels made in all ways on some clips: a row each."""
    labellers = {way: VideoLabeller(network, FOREGROUND, DIS(), **given).eval() for way, given in WAYS.items()}
    persons = {way: COCOMetrics() for way in WAYS}
    pixels = {way: torch.zeros(2, 2, dtype=torch.int64) for way in WAYS}
    with counter() as bar:
        for n in bar.track(range(clips), description=f"seed {seed}"):
            frames, truth = make_clip((seed, n), severity)
            for way, labeller in labellers.items():
                found = labeller.find(frames)
                assert found.foreground is not None
                assert found.pose is not None
                assert found.persons is not None
                a, pose = found.foreground.logits, found.pose
                parsing = read_out(found.persons, pose.poses, pose.scores, Letterbox.fit(SIZE, SIZE), a)
                persons[way].update([n], [parsing], [truth])
                pixels[way] += confusion_matrix(a.argmax(0)[None], truth["parts"][None], 2)
    rows = []
    for way, metric in persons.items():
        found_by = metric.compute()
        keys = {"mask AP": "AP", "mask AP.50": "AP50", "joint AP": "keypoints_AP", "joint AP.50": "keypoints_AP50"}
        scores = {"foreground IoU": float(iou(pixels[way])[1])} | {k: 100 * found_by[v] for k, v in keys.items()}
        rows.append({"seed": seed, "labels": way, "clips": clips} | {k: round(v, 2) for k, v in scores.items()})
    return rows


def make_clip(seed: tuple[int, int], severity: float) -> tuple[Tensor, Annotation]:
    """Render three frames (3, 3, H, W) in [0, 1], and the truth of the middle one."""
    number = int(np.random.SeedSequence([*seed, 31]).generate_state(1)[0])
    renderer = Renderer(draw_scene(number, size=SIZE, frames=3, severity=severity, domain="touching"))
    frames = [renderer.frame(t) for t in range(3)]
    images = torch.from_numpy(np.stack([frame.image for frame in frames])).permute(0, 3, 1, 2).float() / 255
    return images, annotation(frames[1])


if __name__ == "__main__":
    main()
