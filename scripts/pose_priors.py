"""How well priors of poses fit the parts that are there, on rendered pictures of Pascal-Person-Part's layout.

    python scripts/pose_priors.py [--k 1 3 5] [--seed 0 1 2] [--pictures 120] [--targets 40] [--csv FILE]

Nothing is trained. Persons of the training split are the library, those of the validation split the targets. A prior is
decoded as the refinement network's maps are and scored against the truth in the person's crop. All data are synthetic.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch import Tensor

from data_modules.pascal_person_part import PascalPersonPartDataModule
from partwise.io.atomic import write_csv
from partwise.metrics.parsing import confusion_matrix, iou
from partwise.models.pose_transfer.library import Person, make_library, read_people
from partwise.models.pose_transfer.prior import part_prior, skeleton_map
from partwise.models.pose_transfer.refine import decode
from partwise.models.pose_transfer.skeleton import Skeleton
from partwise.run import cli

SKELETON = Path(__file__).parents[1] / "experiments" / "skeleton" / "person.yaml"
CANVAS = (256, 256)
BATCH = 32  # targets at a time


def main() -> None:
    """Print, and perhaps keep, a row for each seed and kind of prior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pictures", type=int, default=120, help="whose persons are the library")
    parser.add_argument("--targets", type=int, default=40, help="pictures whose persons are targets")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    with cli.one_line_errors():
        skeleton: Skeleton = instantiate(OmegaConf.load(SKELETON))
        rows: list[dict[str, object]] = []
        for seed in options.seed:
            sources, targets = people(skeleton, seed, options.pictures, options.targets)
            rows += [{"seed": seed, **row} for row in study(skeleton, sources, targets, options.k)]
        if options.csv:
            write_csv(options.csv, rows)
    shown = ("seed", "prior", "library", "targets", "mIoU")  # a terminal is too narrow for the classes
    table = Table(*shown, title="IoU in per cent of priors with the truth, synthetic data")
    for row in rows:
        table.add_row(*(str(row[key]) for key in shown))
    Console().print(table)


def people(skeleton: Skeleton, seed: int, pictures: int, targets: int) -> tuple[list[Person], list[Person]]:
    """The persons of both splits of a stand-in."""
    synthetic = {"images": {"train": pictures, "val": targets}, "size": [256, 256], "severity": 0.0, "seed": seed}
    data = PascalPersonPartDataModule(form="left_right", synthetic=synthetic)
    found = []
    for stage in ("train", "val"):
        found.append(read_people(data.read(data.make_stand_in(), stage), skeleton))
    return found[0], found[1]


def study(skeleton: Skeleton, sources: list[Person], targets: list[Person], ks: list[int]) -> list[dict[str, object]]:
    """Score the skeleton map and the priors of k neighbours each."""
    library = make_library(sources, skeleton)
    confusions: dict[str, Tensor] = {}
    for start in range(0, len(targets), BATCH):
        batch = targets[start : start + BATCH]
        poses = torch.stack([person.pose for person in batch])
        sizes = torch.tensor([person.parts.shape for person in batch])
        table = skeleton.merge_table()
        maps = [F.interpolate(person.parts[None, None], CANVAS, mode="nearest-exact") for person in batch]
        truth = torch.cat(maps)
        priors = {"skeleton map": skeleton_map(skeleton, poses, sizes, CANVAS)}
        neighbours, _ = library.neighbours(poses, max(ks))
        for k in ks:
            priors[f"part-level prior, k={k}"] = part_prior(library, neighbours[:, :k], poses, sizes, CANVAS)
        for name, prior in priors.items():
            counts = confusion_matrix(decode(prior), table[truth[:, 0].long()], 1 + len(skeleton.classes))
            confusions[name] = confusions.get(name, torch.zeros_like(counts)) + counts
    return [_row(name, counts, skeleton, sources, targets) for name, counts in confusions.items()]


def _row(
    name: str, counts: Tensor, skeleton: Skeleton, sources: list[Person], targets: list[Person]
) -> dict[str, object]:
    values = iou(counts)
    each = dict(zip(("background", *skeleton.classes), values.tolist(), strict=True))
    scores = {"mIoU": float(values.nanmean()), **each}
    about: dict[str, object] = {"prior": name, "library": len(sources), "targets": len(targets)}
    return about | {key: round(value, 2) for key, value in scores.items()}


if __name__ == "__main__":
    main()
