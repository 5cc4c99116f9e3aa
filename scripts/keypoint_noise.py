"""How masks of given poses suffer from noisy keypoints and from missing ones, without any training.

    python scripts/keypoint_noise.py --ckpt FILE [--root DIR] [--images 100] [--noise 0 0.01 0.02 0.05 0.1]
                                     [--missing 0 0.1 0.25 0.5] [--seed 0 1 2] [--out CSV]

FILE is a checkpoint that takes poses: of self_supervised_* or pose2seg_module_coco. DIR holds OCHuman; without it its
stand-in is rendered (synthetic). The poses are the true ones. Noise moves every joint by a normal deviate on both axes,
whose standard deviation is a share of the person's height, from the highest to the lowest joint; missing joints are
left out at random. Each is varied while the other is 0. A person who is left without a joint is not found.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from data_modules.base import collate
from data_modules.ochuman import OCHumanDataModule
from partwise.checkpoints.loading import KEY, build_network, load
from partwise.errors import InputError
from partwise.io.atomic import write_csv
from partwise.io.progress import counter
from partwise.metrics.coco import COCOMetrics
from partwise.models.contract import FromPoses
from partwise.models.self_supervised.model import heights
from partwise.ops.resize import Letterbox
from partwise.predict.frames import to_cpu
from partwise.run import cli
from partwise.run.devices import device
from partwise.run.folder import origin

KEYS = ("AP", "AP50", "AP75", "AR")
SEED = 99  # of pictures that no experiment trains or tests on
BATCH = 4  # pictures


def main() -> None:
    """Print a row for each strength of noise and share of missing joints, and perhaps keep one for each seed too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path, required=True, help="checkpoint of a network that takes poses")
    parser.add_argument("--root", type=Path, help="folder of OCHuman; rendered pictures if none is given")
    parser.add_argument("--split", default="test", help="of that folder: val, test or a subset")
    parser.add_argument("--images", type=int, default=100, help="pictures at most")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.01, 0.02, 0.05, 0.1], help="of the height")
    parser.add_argument("--missing", type=float, nargs="+", default=[0.0, 0.1, 0.25, 0.5], help="of the joints")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2], help="of noise and of what is missing")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu or gpu")
    parser.add_argument("--out", type=Path, help="CSV of all rows")
    options = parser.parse_args()
    with cli.one_line_errors():
        network, data = opened(options)
        rows: list[dict[str, Any]] = []
        with counter() as bar:
            for noise, missing, seed in bar.track(settings(options), description="settings"):
                about = {"data": origin(options.root is None), "noise": noise, "missing": missing, "seed": seed}
                rows.append({**about, **score(network, batches(data, options.images), noise, missing, seed)})
        Console().print(table_of(rows))
        if options.out:
            write_csv(options.out, rows)


def settings(options: argparse.Namespace) -> list[tuple[float, float, int]]:
    """Noise, share of missing joints and seed of every row; without either there is nothing to draw."""
    pairs = dict.fromkeys([*((noise, 0.0) for noise in options.noise), *((0.0, share) for share in options.missing)])
    return [(*pair, seed) for pair in pairs for seed in (options.seed if any(pair) else options.seed[:1])]


def opened(options: argparse.Namespace) -> tuple[Any, OCHumanDataModule]:
    """Open the network and the data.

    Raises:
        InputError: the network takes no poses, or a share is out of range.
    """
    if min(options.noise + options.missing) < 0 or max(options.missing) > 1:
        raise InputError("--noise is 0 or more and --missing 0 to 1, shares of the height and of the joints")
    checkpoint = load(options.ckpt)
    network = build_network(checkpoint, options.ckpt).to(device(options.accelerator)).eval()
    if not isinstance(network, FromPoses):
        raise InputError(f"{options.ckpt} holds a {type(network).__name__}, which takes no poses; give one that does")
    synthetic = {"photos": {"val": 1, "test": options.images}, "size": [192, 256], "severity": 0.2, "seed": SEED}
    size = checkpoint[KEY]["image_size"]
    data = OCHumanDataModule(root=options.root, splits={"test": options.split}, image_size=size, synthetic=synthetic)
    return network, data


def batches(data: OCHumanDataModule, count: int) -> Iterator[Any]:
    """Yield evaluation batches of at most `count` pictures."""
    dataset: Any = data.dataset("test")
    for batch in DataLoader(Subset(dataset, range(min(count, len(dataset)))), BATCH, collate_fn=collate):
        yield data.on_after_batch_transfer(batch, 0)


@torch.inference_mode()
def score(network: Any, samples: Iterable[Any], noise: float, missing: float, seed: int) -> dict[str, Any]:
    """Score the masks of spoilt poses.

    Args:
        network: a `FromPoses`.
        samples: evaluation batches with keypoints.
        noise: standard deviation of the joints, a share of the person's height.
        missing: share of the joints.
        seed: of both.

    Returns:
        numbers of pictures and poses, and COCO's metrics of the masks in per cent.
    """
    metric, draw = COCOMetrics(), torch.Generator().manual_seed(seed)
    pictures = poses = 0
    place = next(network.parameters()).device
    for batch in samples:
        given = [spoilt(keypoints, noise, missing, draw) for keypoints in batch["keypoints"]]
        images = batch["images"].to(place)
        canvas = (images.shape[-2], images.shape[-1])
        letterboxes = [Letterbox.fit(tuple(truth["parts"].shape), canvas) for truth in batch["annotations"]]
        found = [(p.to(place), torch.ones(len(p), device=place)) for p in given]
        parsings = [to_cpu(parsing) for parsing in network.from_poses(images, found, letterboxes)]
        metric.update(batch["index"], parsings, batch["annotations"])
        pictures, poses = pictures + len(images), poses + sum(map(len, given))
    values = metric.compute()
    return {"pictures": pictures, "poses": poses} | {key: round(100 * float(values[key]), 2) for key in KEYS}


def spoilt(poses: Tensor, noise: float, missing: float, draw: torch.Generator) -> Tensor:
    """Move joints and leave some out.

    Args:
        poses: (N, 17, 3) x, y in pixels and visibility.
        noise: standard deviation of x and y, a share of the person's height.
        missing: share of the joints.
        draw: random numbers; they do not depend on the strengths, so that curves are smooth.

    Returns:
        (M, 17, 3) of those persons who have a joint.
    """
    moved = poses.clone()
    moved[..., :2] += noise * heights(poses)[:, None, None] * torch.randn(poses[..., :2].shape, generator=draw)
    moved *= (torch.rand(poses.shape[:2], generator=draw) >= missing)[..., None]
    return moved[(moved[..., 2] > 0).any(1)]


def table_of(rows: list[dict[str, Any]]) -> Table:
    """A table of the means over seeds."""
    table = Table("noise", "missing", "seeds", *KEYS, title=f"masks of given poses, {rows[0]['data']} data, in percent")
    for noise, missing, some in grouped(rows):
        means = (f"{sum(row[key] for row in some) / len(some):.1f}" for key in KEYS)
        table.add_row(f"{noise:g}", f"{missing:g}", str(len(some)), *means)
    return table


def grouped(rows: list[dict[str, Any]]) -> Iterator[tuple[float, float, list[dict[str, Any]]]]:
    """Rows of equal noise and share of missing joints."""
    for noise, missing in dict.fromkeys((row["noise"], row["missing"]) for row in rows):
        yield noise, missing, [row for row in rows if (row["noise"], row["missing"]) == (noise, missing)]


if __name__ == "__main__":
    main()
