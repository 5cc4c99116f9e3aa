"""What each term of the Instance CRF adds, without any training: true parts, blurred and noisy, and spoilt boxes.

    python scripts/instance_crf_terms.py [--root DIR] [--images 100] [--jitter 0.05 0.1 0.2] [--noise 1] [--csv FILE]

DIR holds Pascal-Person-Part; without it pictures are rendered (synthetic). Both unary weights are 1, and the pairwise
weights those that the paper starts from. Of the boxes 30 % lack 20 to 40 % at one end; an image has half a false one.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import Any

import cv2
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from lightning_utilities.core.apply_func import apply_to_collection
from rich.console import Console
from rich.table import Table
from torch import Tensor

from data_modules.pascal_person_part import PascalPersonPartDataModule
from partwise import viz
from partwise.arrays import Picture
from partwise.batches import Parsing, map_of
from partwise.io.atomic import write_csv
from partwise.io.images import write_image
from partwise.io.progress import counter
from partwise.labels import IGNORE, PASCAL_PERSON_PART
from partwise.metrics.parts_and_persons import VIPMetrics
from partwise.models.instance_crf.detectors import Detections, TrueBoxes
from partwise.models.instance_crf.potentials import inside, log_potentials
from partwise.models.instance_crf.readout import read_out
from partwise.ops.instances import boxes_of
from partwise.ops.mean_field import mean_field
from partwise.run import cli
from partwise.run.folder import origin

TRUNCATED, SPURIOUS = 0.3, 0.5  # of the boxes
BLUR = 0.012  # standard deviation of the parts' blur and of the noise's grain, a share of the image's longer side
KEYS = ("part_ap_vol", "part_ap_50", "human_ap", "human_ap_50", "miou")
SEED = 99  # of pictures that no experiment trains or tests on


def main() -> None:
    """Print, and perhaps keep, a row for each strength of jitter and set of terms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of Pascal-Person-Part; rendered pictures if none is given")
    parser.add_argument("--split", default="all", help="of that folder, the name of a list or all")
    parser.add_argument("--images", type=int, default=100, help="pictures at most")
    parser.add_argument("--jitter", type=float, nargs="+", default=[0.05, 0.1, 0.2], help="of the boxes' sides")
    parser.add_argument("--noise", type=float, default=1.0, help="standard deviation of the noise, in logits")
    parser.add_argument("--seed", type=int, default=0, help="of what is spoilt")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for pictures of each step")
    options = parser.parse_args()
    with cli.one_line_errors():
        dataset = open_dataset(options)
        rows = [row for jitter in options.jitter for row in study(dataset, jitter, options)]
        table = Table(*list(rows[0])[1:], title=f"{origin(options.root is None)} data, in percent")
        for row in rows:
            table.add_row(*(f"{value:.1f}" if key in KEYS else str(value) for key, value in list(row.items())[1:]))
        Console().print(table)
        if options.csv:
            write_csv(options.csv, rows)


def open_dataset(options: argparse.Namespace) -> Any:
    """Open the pictures that were asked for, or render them."""
    if options.root is not None:
        data = PascalPersonPartDataModule(root=options.root, image_size=512, splits={"val": options.split})
    else:
        synthetic = {"images": {"train": 1, "val": options.images}, "size": [192, 256], "severity": 0.3, "seed": SEED}
        data = PascalPersonPartDataModule(image_size=256, synthetic=synthetic)
    return data.dataset("val")


@torch.inference_mode()
def study(dataset: Any, jitter: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Score the three sets of terms with boxes of one strength of jitter."""
    metrics: dict[str, VIPMetrics] = {}
    detector = TrueBoxes(jitter, TRUNCATED, spurious=SPURIOUS, seed=options.seed)
    count = min(options.images, len(dataset))
    with counter() as bar:
        for index in bar.track(range(count), description=f"jitter {jitter}"):
            name, truth, image = dataset.ids[index], dataset[index]["annotations"], dataset.picture(index)
            Q = spoilt(truth["parts"].long(), options.noise, f"{options.seed} {name}")
            _, boxes = boxes_of(map_of(truth["persons"]).long()[None])[0]
            found = detector.spoil(boxes - boxes.new_tensor([0, 0, 1, 1]), Q.shape[1:], name)
            parsings = parsed(Q, torch.from_numpy(image).permute(2, 0, 1).float(), found)
            target = apply_to_collection(truth, Tensor, lambda x: x if x.is_floating_point() else x.long())
            for terms, parsing in parsings.items():
                metric = metrics.setdefault(terms, VIPMetrics(PASCAL_PERSON_PART))
                metric.update([index], [parsing], [target])
            if options.pictures:
                sheet = [viz.overlay(image, p, PASCAL_PERSON_PART) for p in (target, *parsings.values())]
                shown = _with_boxes(image, found)
                write_image(options.pictures / f"{name}_{jitter:g}.png", viz.side_by_side(shown, *sheet))
    kind = origin(options.root is None)
    return [
        {"data": kind, "images": count, "noise": options.noise, "jitter": jitter, "terms": terms}
        | {key: round(float(metric.compute()[key]), 2) for key in KEYS}
        for terms, metric in metrics.items()
    ]


def spoilt(parts: Tensor, strength: float, seed: str) -> Tensor:
    """Make probabilities (P + 1, H, W) of true parts (H, W): blurred, with noise of the same grain."""
    draw = torch.Generator().manual_seed(zlib.crc32(seed.encode()))
    sigma = BLUR * max(parts.shape)
    size = 2 * int(3 * sigma) + 1

    def blurred(x: Tensor) -> Tensor:
        return gaussian_blur2d(x[None], (size, size), (sigma, sigma))[0]

    known = torch.where(parts == IGNORE, 0, parts)
    true = F.one_hot(known, PASCAL_PERSON_PART.num_classes).movedim(-1, 0).float()
    noise = blurred(torch.randn(true.shape, generator=draw))
    return ((blurred(true) + 0.01).log() + strength * noise / noise.std()).softmax(0)


def parsed(Q: Tensor, image: Tensor, found: Detections) -> dict[str, Parsing]:
    """Parse by the box term alone, with the global term, and with the pairwise term; image (3, H, W) in 0..255."""
    members = inside(found.boxes, *Q.shape[1:])
    box, both = (log_potentials(Q, members, found.scores, 1, 1, everywhere=everywhere) for everywhere in (False, True))
    potentials = {"box": box, "box + global": both, "box + global + pairwise": mean_field(both, image)}
    return {terms: read_out(u.argmax(0), Q, found.boxes) for terms, u in potentials.items()}


def _with_boxes(image: Picture, found: Detections) -> Picture:
    """Draw the boxes over a copy of the image, each in its person's colour."""
    drawn = image.copy()
    for number, (x0, y0, x1, y1) in enumerate(found.boxes.round().int().tolist(), 1):
        cv2.rectangle(drawn, (x0, y0), (x1, y1), viz.person_colors([number])[0].tolist(), 2)
    return drawn


if __name__ == "__main__":
    main()
