"""How well priors of poses fit the parts that are there, on rendered pictures of Pascal-Person-Part's layout.

    python scripts/pose_priors.py [--k 1 3 5] [--seed 0 1 2] [--pictures 120] [--targets 40] [--csv FILE] [--real DIR]

Nothing is trained. Persons of the training split are the library, those of the validation split the targets. A prior is
decoded as the refinement network's maps are and scored against the truth in the person's crop. All data are synthetic
unless --real names a folder of Pascal-Person-Part, whose persons then are the targets: rendered people are the library,
and where there are enough of them, the other real ones. Where DIR has no PersonJoints/, joints are ends of the parts.
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
from partwise.models.pose_transfer.library import Person, crop_people, make_library, read_people
from partwise.models.pose_transfer.prior import part_prior, skeleton_map
from partwise.models.pose_transfer.refine import decode
from partwise.models.pose_transfer.skeleton import Skeleton
from partwise.run import cli

SKELETON = Path(__file__).parents[1] / "experiments" / "skeleton" / "person.yaml"
CANVAS = (256, 256)
BATCH = 32  # targets at a time
FEW = 30  # pixels of a part that has no joints


def main() -> None:
    """Print, and perhaps keep, a row for each seed and kind of prior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pictures", type=int, default=120, help="whose persons are the library")
    parser.add_argument("--targets", type=int, default=40, help="pictures whose persons are targets")
    parser.add_argument("--real", type=Path, help="folder of Pascal-Person-Part whose persons are the targets")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    with cli.one_line_errors():
        skeleton: Skeleton = instantiate(OmegaConf.load(SKELETON))
        rows: list[dict[str, object]] = []
        for seed in options.seed:
            sources, targets = people(skeleton, seed, options.pictures, options.targets)
            if options.real:
                targets = real_people(skeleton, options.real)
            rows += [{"seed": seed, **row} for row in study(skeleton, sources, targets, options.k)]
        if options.real and len(targets) > max(options.k):
            rows += [{"seed": "real library", **row} for row in study(skeleton, targets, targets, options.k, True)]
        if options.csv:
            write_csv(options.csv, rows)
    shown = ("seed", "prior", "library", "targets", "mIoU")  # a terminal is too narrow for the classes
    source = "real people" if options.real else "synthetic data"
    table = Table(*shown, title=f"IoU in per cent of priors with the truth, {source}")
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


def real_people(skeleton: Skeleton, root: Path) -> list[Person]:
    """The persons of a folder, with joints of their parts where it has none of its own."""
    data = PascalPersonPartDataModule(form="left_right", root=root, splits={"train": "all"})
    dataset = data.read(root, "train")
    if dataset.layout.joints is not None:
        return read_people(dataset, skeleton)
    found = []
    for index, name in enumerate(dataset.ids):
        labels = dataset.labels(name, dataset.picture(index).shape[:2])
        parts, persons = torch.from_numpy(labels["parts"]), torch.from_numpy(labels["persons"])
        poses = [joints_of_parts(skeleton, parts * (persons == n)) for n in range(1, int(persons.max()) + 1)]
        found += crop_people(skeleton, parts, persons, torch.stack(poses), name)
    return found


def joints_of_parts(skeleton: Skeleton, parts: Tensor) -> Tensor:
    """Place joints at the ends of one person's parts along their longest axis.

    The end of a part that is nearer to the torso's middle is its limb's start, the other one its end; the torso starts
    away from the head. Where two limbs share a joint, it is their mean. Hips without a leg are the torso's start.

    Args:
        skeleton: of people.
        parts: (H, W) ids of the person's parts.

    Returns:
        (16, 3) x, y and visibility.
    """
    spans = {p: span for p in range(len(skeleton.parts)) if (span := _span(parts == p + 1)) is not None}
    places: dict[int, list[Tensor]] = {}
    torso = skeleton.parts.index("torso")
    if torso not in spans:
        return torch.zeros(len(skeleton.joints), 3)
    middle = spans[torso].mean(0)
    head = spans[0].mean(0) if 0 in spans else middle - torch.tensor([0.0, 1e4])  # upwards
    for p, span in spans.items():
        inner = middle if p != torso else 2 * middle - head  # the torso starts away from the head
        start, end = sorted(span, key=lambda point: float((point - inner).norm()))
        for joint in skeleton.limbs[p][0] if p != torso else ():
            places.setdefault(joint, []).append(start)
        places.setdefault(skeleton.limbs[p][1][0], []).append(end)
    start = max(spans[torso], key=lambda point: float((point - head).norm()))
    for joint in skeleton.limbs[torso][0]:
        places.setdefault(joint, [start])
    pose = torch.zeros(len(skeleton.joints), 3)
    for joint, points in places.items():
        pose[joint, :2], pose[joint, 2] = torch.stack(points).mean(0), 1.0
    return pose


def _span(mask: Tensor) -> Tensor | None:
    """Both ends (2, 2) x, y of a mask along its longest axis; None for a few pixels."""
    y, x = mask.nonzero(as_tuple=True)
    if len(x) < FEW:
        return None
    points = torch.stack([x, y], 1).float()
    middle = points.mean(0)
    axis = torch.linalg.eigh((points - middle).T @ (points - middle)).eigenvectors[:, 1]
    along = (points - middle) @ axis
    ends: Tensor = middle + torch.stack([along.min(), along.max()])[:, None] * axis
    return ends


def study(
    skeleton: Skeleton, sources: list[Person], targets: list[Person], ks: list[int], others: bool = False
) -> list[dict[str, object]]:
    """Score the skeleton map and the priors of k neighbours each.

    Args:
        skeleton: of the people.
        sources: the library.
        targets: who are scored.
        ks: numbers of neighbours.
        others: whether a target's own parts are left out of the library.

    Returns:
        A row for each prior.
    """
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
        neighbours, _ = library.neighbours(poses, max(ks), library.rows(p.name for p in batch) if others else None)
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
