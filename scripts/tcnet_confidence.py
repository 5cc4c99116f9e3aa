"""What confidence adds when a frame parser's scores are carried along the true flow, on tracklets rendered for it.

    python scripts/tcnet_confidence.py CKPT [--severity 0 0.2 0.4] [--step 1 2] [--tracklets 60] [--csv FILE]

CKPT is a frame parser of FACTS tracklets (experiment=deeplab_v2_facts). Nothing is trained: the scores of the three
frames are added up, the earlier ones weighted by each form of Eq. 4 or by 1. All data are synthetic.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from data_modules.base import collate
from data_modules.facts import IndoorDataModule
from partwise.checkpoints.loading import KEY, build_network, load
from partwise.io.atomic import write_csv
from partwise.metrics.parsing import confusion_matrix
from partwise.models.tcnet.model import Confidence, confidence
from partwise.ops.flow import warp
from partwise.run import cli
from partwise.scores.facts import facts_scores

ALONE, PLAIN = "the frame alone", "no confidence"
SEED = 99  # of tracklets that no experiment trains or tests on


def main() -> None:
    """Print, and perhaps keep, a row for each severity and step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpt", type=Path)
    parser.add_argument("--severity", type=float, nargs="+", default=[0.0, 0.2, 0.4])
    parser.add_argument("--step", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tracklets", type=int, default=60)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    with cli.one_line_errors():
        checkpoint = load(options.ckpt)
        network = build_network(checkpoint, options.ckpt).eval()
        size = checkpoint[KEY]["image_size"]
        rows = [
            study(network, size, severity, step, options.tracklets)
            for severity in options.severity
            for step in options.step
        ]
    table = Table(*rows[0], title="average F-1 of added scores along the true flow, synthetic data")
    for row in rows:
        table.add_row(*(f"{value:.1f}" for value in row.values()))
    Console().print(table)
    if options.csv:
        write_csv(options.csv, [{key: round(value, 2) for key, value in row.items()} for row in rows])


@torch.inference_mode()
def study(network: Any, size: list[int], severity: float, step: int, tracklets: int) -> dict[str, float]:
    """Average F-1 of each way to add up, over the labelled frames that have both earlier ones."""
    confusions: dict[str, Tensor] = {}
    motion = torch.zeros(2)
    clips = 0
    for frames, flow, parts in batches(size, severity, step, tracklets):
        *earlier, now = network.logits(frames.flatten(0, 1)).unflatten(0, (-1, 3)).unbind(1)
        carried = [warp(scores, flow[:, i]) for i, scores in enumerate(earlier)]
        images = [warp(frames[:, i], flow[:, i], "border") for i in range(2)]
        fused = {ALONE: now, PLAIN: now + sum(carried)}
        for form in get_args(Confidence):  # of Eq. 4, see TCNet
            weights = [confidence(frames[:, -1], image, form) for image in images]
            fused[form] = now + sum(w * scores for w, scores in zip(weights, carried, strict=True))
        for name, scores in fused.items():
            counts = confusion_matrix(scores.argmax(1), parts, scores.shape[1])
            confusions[name] = confusions.get(name, torch.zeros_like(counts)) + counts
        motion += flow.norm(dim=2).mean((2, 3)).sum(0)
        clips += len(frames)
    values = {name: float(facts_scores(counts.numpy())["avg_f1"]) for name, counts in confusions.items()}
    long, short = (motion / clips).tolist()
    return {"severity": severity, "step": step, "pixels over l": long, "over s": short, **values}


def batches(size: list[int], severity: float, step: int, tracklets: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Frames (B, 3, 3, H, W) in [0, 1], true flow (B, 2, 2, H, W) to the earlier ones, and parts (B, H, W)."""
    synthetic = {"tracklets": {"train": 1, "val": 1, "test": tracklets}, "frames_per_tracklet": 12, "size": size,
                 "step": step, "severity": severity, "seed": SEED}  # fmt: skip
    data = IndoorDataModule(image_size=size, true_flow=True, synthetic=synthetic)
    wanted = torch.tensor([-offset for offset in data.offsets])
    for batch in DataLoader(data.dataset("test"), batch_size=16, collate_fn=collate):
        whole = (batch["offsets"][:, :-1] == wanted).all(1)
        if whole.any():
            yield batch["frames"][whole].float() / 255, batch["flow"][whole], batch["parts"][whole].long()


if __name__ == "__main__":
    main()
