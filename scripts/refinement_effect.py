"""What each refinement of the self-supervised loop adds, without any training: rendered video, spoilt on purpose.

    python scripts/refinement_effect.py [--clips 4] [--severity 0.2] [--seed 0 1 2]
                                        [--csv FILE] [--pictures DIR]

All data are synthetic: clips of five rendered frames of 192 x 256 pixels, the middle one of which is scored. Each frame
is spoilt for itself, which is what refinement over time hopes for; a network's faults come back in the next frame.

- Seg Module: true masks, spoilt as in `tpr_davis.py` with outlines wrong by up to 2 pixels, after each person lost a
  whole arm or leg with a chance of 30 %.
- Pose Module: of persons with 4 joints in sight, 15 % are not found. Joints tremble by 5 % of the box around a joint
  (twice as much where hidden), 10 % are wrong by 0.5 to 1.5 boxes, 10 % are missing, 5 % of the mirrored pairs change
  sides. Scores are 0.5 to 1, of hidden joints 0.6 times that, whether they are right or not.
- Pose2Seg Module: logits of the distance to the skeleton's limbs, thick sticks; see `stick_logits`.

Flow is DIS's or the true one. TPR's second and further rounds need training; GBSR's second round has as neighbours
poses that were refined by theirs. GBSR sees colours alone. Metrics are in per cent, end-point errors in pixels, at
pixels that the neighbour shows: at borders, up to 3 pixels from a true outline, and wherever flow was corrected.
`mean_AP` is that of masks where a_TPR is the mean, not the sum, over the window, which outweighs a_Pose2Seg less.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tpr_davis import WINDOWS, spoilt

from data_modules.synthetic.body.anatomy import ARMS, LEGS, Side
from data_modules.synthetic.render.renderer import Frame, Occlusion, Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise import viz
from partwise.arrays import Picture, UInt8Array
from partwise.batches import Annotation, InstanceMasks, Parsing
from partwise.io.atomic import write_csv
from partwise.io.images import write_image
from partwise.io.progress import counter
from partwise.labels import FOREGROUND, LIMBS
from partwise.metrics.coco import COCOMetrics
from partwise.metrics.parsing import confusion_matrix, iou
from partwise.models.baselines.netwarp import DIS
from partwise.models.self_supervised.gbsr import Map, Window, box_sides, refine
from partwise.models.self_supervised.model import read_out
from partwise.models.self_supervised.tpr import Neighbour, Search, fuse, propagate
from partwise.ops.flip import COCO_KEYPOINT_PAIRS
from partwise.ops.resize import Letterbox
from partwise.run import cli
from partwise.scores.coco import KEYPOINTS

SIZE = (192, 256)
FRAMES, T = 5, 2  # of a clip, and the one that is scored
OFFSETS = WINDOWS[5]
WAYS: tuple[tuple[Search, bool], ...] = (("none", False), ("none", True), ("all", False), ("same_label", False))
CONTROLS = WAYS[0], WAYS[2]  # with true inputs
MAIN = 3  # the window with which poses are refined too
GROWN, LIMBLESS, MARGIN = 2, 0.3, 2.0  # pixels, chance of a person, difference of logits
JITTER, WRONG, FAR_OFF, LOST, SWAPPED, ABSENT, IN_SIGHT = 0.05, 0.1, (0.5, 1.5), 0.1, 0.05, 0.15, 4
SCORES, HIDDEN = (0.5, 1.0), 0.6  # of joints, and times as much where hidden
INSIDE, OUTSIDE, STEP = 1.0, -12.0, 0.04  # differences of logits; share of a long limb within which they fall by 1
RADII = {"leg": 0.18, "trunk": 0.25, "arm": 0.13, "head": 0.3}  # of sticks, shares of a long limb
_LIMB_RADII = [RADII[k] for k in ("leg",) * 4 + ("trunk",) * 4 + ("arm",) * 4 + ("head",) * 5 + ("trunk",) * 2]
_LONG = (0, 1, 2, 3, 5, 6)  # limbs: shins, thighs and sides of the trunk, about equally long
BORDER = 3  # pixels on both sides of an outline

SHOWN = ("foreground_IoU", "mask_AP", "joint_AP", "border_EPE", "border_EPE_after")  # a terminal has no room for all

Flows = dict[tuple[int, int], Tensor]  # (2, H, W) from frame t to s, by (t, s)


class Clip(NamedTuple):
    """Five frames, the truth, and what networks could have made of them."""

    images: Tensor  # (5, 3, H, W) in [0, 1]
    truth: Annotation  # of the middle frame
    logits: Tensor  # (5, 2, H, W)
    poses: list[Tensor]  # (n, 17, 3) of each frame
    flows: dict[str, Flows]  # "DIS" and "true"
    seen: dict[int, Tensor]  # (H, W) bool: pixels of the middle frame that frame s shows


class Setting(NamedTuple):
    """What a row is about. A window of 1 is without TPR, 0 rounds are without GBSR."""

    severity: float
    inputs: str
    flow: str
    window: int
    search: Search
    literal: bool
    rounds: int


class People(NamedTuple):
    """Poses, and what stands for the Pose2Seg Module's logits of them."""

    poses: Tensor  # (N, 17, 3)
    sticks: Tensor  # (N, 2, H, W)


class Tally:
    """What is summed up over clips for a setting."""

    def __init__(self) -> None:
        self.persons, self.mean = COCOMetrics(), COCOMetrics()
        self.confusion = torch.zeros(2, 2, dtype=torch.int64)
        self.errors = torch.zeros(2, 3, dtype=torch.float64)  # see `refine_masks`

    def row(self) -> dict[str, float]:
        """Compute the metrics: per cent, and pixels."""
        persons, mean, lengths = self.persons.compute(), self.mean.compute(), self.errors[:, :2] / self.errors[:, 2:]
        names = {"mask_AP": "AP", "mask_AP50": "AP50", "joint_AP": "keypoints_AP", "joint_AP50": "keypoints_AP50"}
        shares = {"foreground_IoU": float(iou(self.confusion)[1])}
        shares |= {name: 100 * persons[key] for name, key in names.items()} | {"mean_AP": 100 * mean["AP"]}
        columns = ("border_EPE", "border_EPE_after", "searched_EPE", "searched_EPE_after")
        errors = {name: round(length, 3) for name, length in zip(columns, lengths.flatten().tolist(), strict=True)}
        return {name: round(share, 2) for name, share in shares.items()} | errors


def main() -> None:
    """Print means over the seeds, and perhaps keep a row for each seed and setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4, help="for each seed and severity")
    parser.add_argument("--severity", type=float, nargs="+", default=[0.2], help="of the frames' corruption, 0..1")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each clip of the first seed")
    options = parser.parse_args()
    with cli.one_line_errors():
        rows = []
        for severity, seed in product(options.severity, options.seed):
            folder = options.pictures if seed == options.seed[0] else None
            rows += [{"seed": seed, **row} for row in study(seed, severity, options.clips, folder)]
            if options.csv:
                write_csv(options.csv, rows)  # each time anew, since all take long
    Console().print(summary(rows))


def summary(rows: list[dict[str, Any]]) -> Table:
    """Make a table of means and standard deviations over seeds."""
    groups: dict[Setting, list[list[float]]] = defaultdict(list)
    for row in rows:
        groups[Setting(*(row[key] for key in Setting._fields))].append([row[key] for key in SHOWN])
    about = ", ".join(Setting._fields)
    table = Table(about, *SHOWN, title="Synthetic data: metrics in per cent, end-point errors in pixels")
    for setting, values in groups.items():
        spread = zip(np.mean(values, 0), np.std(values, 0), strict=True)
        table.add_row(" ".join(map(str, setting)), *(f"{m:.1f} ± {s:.1f}" for m, s in spread))
    return table


@torch.inference_mode()
def study(seed: int, severity: float, clips: int, pictures: Path | None = None) -> Iterator[dict[str, object]]:
    """Score all settings on some clips, with spoilt and with true inputs."""
    tallies: dict[Setting, Tally] = defaultdict(Tally)
    with counter() as bar:
        for n in bar.track(range(clips), description=f"severity {severity}, seed {seed}"):
            for inputs in ("spoilt", "true"):
                clip = make_clip((seed, n), severity, spoil=inputs == "spoilt")
                score(tallies, n, clip, severity, inputs)
                if pictures:
                    write_image(pictures / f"{severity}_{n:03d}_{inputs}.png", picture(clip))
    for setting, tally in tallies.items():
        yield {**setting._asdict(), "clips": clips, **tally.row()}


def score(tallies: dict[Setting, Tally], index: int, clip: Clip, severity: float, inputs: str) -> None:
    """Add the middle frame of a clip to the tallies of all settings."""
    for kind, flows in clip.flows.items():
        people = [with_sticks(refine_poses(clip, flows, rounds)) for rounds in (0, 1, 2)]
        for rounds, found in enumerate(people):
            setting = Setting(severity, inputs, kind, 1, "none", False, rounds)
            _add(tallies[setting], index, clip, clip.logits[T], found, 1)
        for search, literal in WAYS if inputs == "spoilt" else CONTROLS:
            for window, (a, errors) in refine_masks(clip, flows, search, literal).items():
                for rounds in (0, 1, 2) if window == MAIN and (search, literal) in CONTROLS else (0,):
                    tally = tallies[Setting(severity, inputs, kind, window, search, literal, rounds)]
                    tally.errors += errors
                    _add(tally, index, clip, a, people[rounds], window)


def _add(tally: Tally, index: int, clip: Clip, a: Tensor, people: People, window: int) -> None:
    """Add the masks and joints that logits (2, H, W), a sum over a window, and poses give."""
    tally.confusion += confusion_matrix(a.argmax(0)[None], clip.truth["parts"][None], 2)
    tally.persons.update([index], [segment(a, people)], [clip.truth])
    tally.mean.update([index], [segment(a / window, people)], [clip.truth])


def with_sticks(poses: Tensor) -> People:
    """Add a_Pose2Seg to poses (N, 17, 3)."""
    return People(poses, stick_logits(poses, SIZE))


def segment(a: Tensor, people: People) -> Parsing:
    """Join logits (2, H, W) of the Seg Module to those of persons (Eq. 10)."""
    return read_out(a + people.sticks, people.poses, people.poses[..., 2].mean(1), Letterbox.fit(SIZE, SIZE), a)


def stick_logits(poses: Tensor, size: tuple[int, int]) -> Tensor:
    """Make a_Pose2Seg of poses: thick sticks about the limbs, outside which logits fall with the distance.

    The difference of both logits is 1 within a stick and falls by 1 each 4 % of a long limb to -12. A long limb is the
    median of those shins, thighs and sides of the trunk that are known; a stick's radius is a share of it.

    Args:
        poses: (N, 17, 3) x, y in pixels and score, 0 = missing.
        size: (H, W).

    Returns:
        (N, 2, H, W).
    """
    start, end = (poses[:, [limb[e] for limb in LIMBS]] for e in (0, 1))
    known, along = (start[..., 2] > 0) & (end[..., 2] > 0), (end - start)[..., :2]
    lengths = along.norm(dim=-1).where(known, torch.nan)[:, _LONG].nanmedian(1).values
    unit = lengths.where(lengths > 0, box_sides(poses[None]))[:, None, None, None]
    y, x = torch.meshgrid(*(torch.arange(side).float() for side in size), indexing="ij")
    offset = torch.stack([x, y], -1) - start[..., None, None, :2]  # (N, L, H, W, 2)
    squared = along.square().sum(-1).clamp(min=1e-6)[..., None, None]
    share = ((offset * along[..., None, None, :]).sum(-1) / squared).clamp(0, 1)
    distance = (offset - share[..., None] * along[..., None, None, :]).norm(dim=-1)
    beyond = distance / unit - torch.tensor(_LIMB_RADII)[:, None, None]
    nearest = beyond.masked_fill(~known[..., None, None], torch.inf).amin(1)
    difference = (INSIDE - nearest / STEP).clamp(OUTSIDE, INSIDE)
    return torch.stack([-difference / 2, difference / 2], 1)


def refine_masks(clip: Clip, flows: Flows, search: Search, literal: bool) -> dict[int, tuple[Tensor, Tensor]]:
    """Refine the middle frame's logits by TPR.

    Returns:
        For each window, logits (2, H, W) and the sums of errors: (2, 3) at borders and where flow was corrected, of the
        lengths before and after and the number of pixels.
    """
    near = OFFSETS if search == "none" else WINDOWS[MAIN]  # a search takes most of the time
    others = [T + offset for offset in near]
    neighbours = [
        Neighbour(clip.logits[[s]], clip.images[[s]], flows[T, s][None], flows[s, T][None] if s < T else None)
        for s in others
    ]
    found = propagate(clip.logits[[T]], clip.images[[T]], neighbours, search, literal=literal)
    errors = []
    for s, other, corrected in zip(others, neighbours, found.flows, strict=True):
        before = -other.back if literal and other.back is not None else other.flow
        errors.append(flow_errors(clip, s, before[0], corrected[0]))
    result = {}
    for window, offsets in WINDOWS.items():
        if not set(offsets) <= set(near):
            continue
        rows = [near.index(offset) for offset in offsets]
        fields = ([each[row] for row in rows] for each in ([n.logits for n in neighbours], found.flows, found.valid))
        result[window] = fuse(clip.logits[[T]], *fields)[0], sum((errors[row] for row in rows), torch.zeros(2, 3))
    return result


def flow_errors(clip: Clip, s: int, before: Tensor, after: Tensor) -> Tensor:
    """Sum up end-point errors (2, 3) of flows (2, H, W) to frame s; see `refine_masks`."""
    truth, mask = clip.flows["true"][T, s], clip.truth["parts"][None].float()
    near = [F.max_pool2d(side, 2 * BORDER + 1, 1, BORDER)[0] > 0 for side in (mask, 1 - mask)]
    lengths = torch.stack([(flow - truth).norm(dim=0) for flow in (before, after)])
    where = torch.stack([near[0] & near[1], (before != after).any(0)]) & clip.seen[s]
    sums = (lengths[None] * where[:, None]).sum((2, 3))
    return torch.cat([sums, where.sum((1, 2))[:, None]], 1).double()


def refine_poses(clip: Clip, flows: Flows, rounds: int) -> Tensor:
    """Refine the middle frame's poses by GBSR; each round needs those next to it refined as often as itself."""
    poses = list(clip.poses)
    for n in range(1, rounds + 1):
        inner = range(T - rounds + n, T + rounds - n + 1)
        found = {t: _refine_frame(clip.images, poses, flows, t) for t in inner}
        poses = [found.get(t, pose) for t, pose in enumerate(poses)]
    return poses[T]


def _refine_frame(images: Tensor, poses: list[Tensor], flows: Flows, t: int) -> Tensor:
    near = slice(t - 1, t + 2)
    return refine(Window(poses[near], [Map(images[near])], (flows[t - 1, t], flows[t + 1, t]))).poses


def make_clip(seed: tuple[int, int], severity: float, spoil: bool) -> Clip:
    """Render a clip and make the outputs of networks, from the truth or spoilt."""
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    renderer = Renderer(draw_scene(number, size=SIZE, frames=FRAMES, severity=severity, domain="video"))
    frames, rng = [renderer.frame(t) for t in range(FRAMES)], np.random.default_rng(seed)
    images = torch.from_numpy(np.stack([f.image for f in frames])).permute(0, 3, 1, 2).float() / 255
    joints = [torch.from_numpy(f.keypoints) for f in frames]
    if spoil:
        logits = torch.cat([spoilt(without_limbs(f, rng), rng, GROWN) for f in frames])
        poses = [spoilt_poses(each, rng) for each in joints]
    else:
        masks = torch.from_numpy(np.stack([f.persons > 0 for f in frames])).float()
        logits, poses = MARGIN * torch.stack([0.5 - masks, masks - 0.5], 1), [found_poses(each) for each in joints]
    flows, seen = all_flows(renderer, images)
    return Clip(images, annotation(frames[T]), logits, poses, flows, seen)


def annotation(frame: Frame) -> Annotation:
    """The truth of a frame: foreground, persons and keypoints."""
    ids, joints = torch.from_numpy(frame.persons).long(), torch.from_numpy(frame.keypoints)
    masks = ids == torch.arange(1, len(joints) + 1)[:, None, None]
    classes = torch.ones(len(joints), dtype=torch.int64)
    return Annotation(parts=(ids > 0).long(), persons=InstanceMasks(masks=masks, classes=classes, keypoints=joints))


def all_flows(renderer: Renderer, images: Tensor) -> tuple[dict[str, Flows], dict[int, Tensor]]:
    """Estimate and compute all flows that refinement needs; and what the other frames show of the middle one."""
    pairs = {(T, T + k) for k in OFFSETS} | {(T + k, T) for k in OFFSETS}
    pairs |= {(t + k, t) for t in range(1, FRAMES - 1) for k in (-1, 1)}
    order = sorted(pairs)
    t, s = torch.tensor(order).T
    exact = {pair: renderer.flow(*pair) for pair in order}
    true = {pair: torch.from_numpy(flow) for pair, (flow, _) in exact.items()}
    seen = {T + k: torch.from_numpy(exact[T, T + k][1] == Occlusion.VISIBLE) for k in OFFSETS}
    return {"DIS": dict(zip(order, DIS()(images[t], images[s]), strict=True)), "true": true}, seen


def without_limbs(frame: Frame, rng: np.random.Generator) -> UInt8Array:
    """The mask (H, W) of all persons, some of whom lack an arm or a leg."""
    mask = (frame.persons > 0).astype(np.uint8)
    for person in range(1, len(frame.keypoints) + 1):
        if rng.random() < LIMBLESS:
            limb, side = (ARMS, LEGS)[rng.integers(2)], (Side.LEFT, Side.RIGHT)[rng.integers(2)]
            gone = np.isin(frame.anatomy, list(limb)) & (frame.side == side)
            mask[gone & (frame.persons == person)] = 0
    return mask


def found_poses(joints: Tensor) -> Tensor:
    """Keep the persons (n, 17, 3) of whom enough is in sight, with scores instead of visibilities 0, 1, 2."""
    kept = joints[(joints[..., 2] == 2).sum(1) >= IN_SIGHT]
    scores = torch.tensor([0.0, HIDDEN, 1.0])[kept[..., 2].long()]
    return torch.cat([kept[..., :2], scores[..., None]], -1) * (scores > 0)[..., None]


def spoilt_poses(joints: Tensor, rng: np.random.Generator) -> Tensor:
    """Make poses (n, 17, 3) as an estimator finds them of true joints (N, 17, 3); see the file's head."""
    poses = found_poses(joints)
    chance = torch.from_numpy(rng.random((5, len(poses), KEYPOINTS))).float()
    angle, shake = 2 * torch.pi * chance[0], torch.from_numpy(rng.normal(size=(*poses.shape[:2], 2))).float()
    box, hidden = box_sides(poses[None])[:, None, None], poses[..., 2:] == HIDDEN
    wrong = (
        torch.stack([angle.cos(), angle.sin()], -1) * (FAR_OFF[0] + chance[1] * (FAR_OFF[1] - FAR_OFF[0]))[..., None]
    )
    places = poses[..., :2] + box * JITTER * (1 + hidden) * shake + box * wrong * (chance[2] < WRONG)[..., None]
    scores = poses[..., 2] * (SCORES[0] + chance[3] * (SCORES[1] - SCORES[0]))
    found = torch.cat([places, scores[..., None]], -1)
    order = torch.arange(KEYPOINTS)
    left, right = torch.tensor(COCO_KEYPOINT_PAIRS).T
    mirrored = order.index_put((torch.cat([left, right]),), torch.cat([right, left]))
    swapped = chance[4][:, torch.minimum(order, mirrored)] < SWAPPED
    found = found[:, mirrored].where(swapped[..., None], found)
    lost = torch.from_numpy(rng.random(scores.shape) < LOST)
    found = found * ((found[..., 2] > 0) & ~lost)[..., None]
    return found[torch.from_numpy(rng.random(len(found)) >= ABSENT)]


def picture(clip: Clip) -> Picture:
    """Draw the truth, persons before refinement, by TPR and by both; masks; flow to the next frame and its errors."""
    image: Picture = (clip.images[T] * 255).round().byte().permute(1, 2, 0).numpy()
    flows, a, truth = clip.flows["DIS"], clip.logits[T], clip.flows["true"][T, T + 1]
    refined = refine_masks(clip, flows, "all", False)[3][0]
    people = [with_sticks(refine_poses(clip, flows, rounds)) for rounds in (0, 1)]
    parsings = [segment(a, people[0]), segment(refined, people[0]), segment(refined, people[1])]
    other = Neighbour(clip.logits[[T + 1]], clip.images[[T + 1]], flows[T, T + 1][None])
    corrected = propagate(a[None], clip.images[[T]], [other]).flows[0][0]
    longest = float(truth.norm(dim=0).quantile(0.99))
    drawn = [viz.flow_colors(flow.numpy(), longest) for flow in (truth, flows[T, T + 1], corrected)]
    wrong = [(flow - truth).norm(dim=0) / 8 for flow in (flows[T, T + 1], corrected)]
    masks, errors = ([_grey(each) for each in some] for some in ([a.argmax(0), refined.argmax(0)], wrong))
    return viz.grid([*(viz.overlay(image, p, FOREGROUND) for p in (clip.truth, *parsings)), *masks, *drawn, *errors])


def _grey(values: Tensor) -> Picture:
    """A picture (H, W, 3) of values (H, W), 0 black and 1 white."""
    return (values.clamp(0, 1) * 255).byte()[..., None].expand(-1, -1, 3).numpy()


if __name__ == "__main__":
    main()
