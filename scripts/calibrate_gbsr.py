"""Find kappa, the cost of an unmatched joint in GBSR, for the features of a Pose Module.

    python scripts/calibrate_gbsr.py [--ckpt FILE] [--clips 40] [--seed 0] [--alpha 0.5]

FILE is a checkpoint of pose_module_coco; the package's own without it. Data are synthetic: two frames of rendered
people close together, whose true joints are known. A joint pairs with itself in the next frame (true), and with a place
0.3 to 1 sides of its box beside that (false). The result is for `model.kappa` of self_supervised_labels; GBSR compares
a joint with both neighbours, which are two chances to match, so that a little less than one pair asks for is right.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.checkpoints.loading import build_network, load
from partwise.errors import InputError
from partwise.io.progress import counter
from partwise.models.self_supervised.gbsr import Map, appearance, box_sides, crops
from partwise.models.self_supervised.graphs import ALPHA, Calibration, calibrate
from partwise.models.self_supervised.pose_module import PoseModule
from partwise.nn.hourglass import STRIDE
from partwise.run import cli

SIZE = (192, 256)
BESIDE = (0.3, 1.0)  # sides of the box
WAYS = ("pictures", "features", "pictures and features")


def main() -> None:
    """Print kappa for each way to compare joints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", default="standin/pose_module_coco", help="of pose_module_coco")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alpha", type=float, default=ALPHA, help="weight of the structure, 0..1")
    options = parser.parse_args()
    with cli.one_line_errors():
        pose = build_network(load(options.ckpt), options.ckpt)
        if not isinstance(pose, PoseModule):
            raise InputError(f"{options.ckpt} holds a {type(pose).__name__}; give a checkpoint of pose_module_coco")
        found = study(pose, options.clips, options.seed, options.alpha)
    table = Table("joints are compared by", "kappa", "true pairs kept", "false pairs dropped",
                  title="Synthetic data, shares in per cent")  # fmt: skip
    for way, (kappa, kept, dropped) in found.items():
        table.add_row(way, f"{kappa:.3f}", f"{100 * kept:.0f}", f"{100 * dropped:.0f}")
    Console().print(table)


@torch.inference_mode()
def study(pose: PoseModule, clips: int, seed: int, alpha: float) -> dict[str, Calibration]:
    """Calibrate on rendered clips, for each of `WAYS`."""
    true: dict[str, list[Tensor]] = {way: [] for way in WAYS}
    false: dict[str, list[Tensor]] = {way: [] for way in WAYS}
    with counter() as bar:
        for n in bar.track(range(clips), description="clips"):
            images, joints = make_pair((seed, n))
            maps = (Map(images), Map(pose.maps(images).features, STRIDE))
            for way, compared in zip(WAYS, (maps[:1], maps[1:], maps), strict=True):
                same, other = distances(compared, joints, torch.Generator().manual_seed(n))
                true[way].append(same)
                false[way].append(other)
    return {way: calibrate(torch.cat(true[way]), torch.cat(false[way]), alpha) for way in WAYS}


def distances(maps: tuple[Map, ...], joints: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Compare the joints of both frames that are seen in both, and those of the first with places beside the second's.

    Args:
        maps: what joints look like.
        joints: (2, P, 17, 3) of the same persons in both frames.
        draw: of the places.

    Returns:
        (Q,) distances of joints with themselves, and (Q,) with places beside them.
    """
    sides, seen = box_sides(joints), (joints[..., 2] > 0).all(0)
    angle = 2 * torch.pi * torch.rand(seen.shape, generator=draw)
    length = sides[:, None] * (BESIDE[0] + (BESIDE[1] - BESIDE[0]) * torch.rand(seen.shape, generator=draw))
    beside = joints[1].clone()
    beside[..., 0] += length * angle.cos()
    beside[..., 1] += length * angle.sin()
    frames = torch.tensor([0, 1, 1]).repeat_interleave(len(sides))
    poses = torch.stack([joints[0], joints[1], beside]).flatten(0, 1)
    looks = crops(maps, poses, frames, sides.repeat(3)[:, None].expand(-1, poses.shape[1])).unflatten(0, (3, -1))
    return tuple(appearance(looks[0], other).diagonal(dim1=1, dim2=2)[seen] for other in looks[1:])  # type: ignore[return-value]


def make_pair(seed: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Render two frames (2, 3, H, W) in [0, 1], and their persons' joints (2, P, 17, 3)."""
    number = int(np.random.SeedSequence([*seed, 37]).generate_state(1)[0])
    renderer = Renderer(draw_scene(number, size=SIZE, frames=2, severity=0.2, domain="touching"))
    frames = [renderer.frame(t) for t in range(2)]
    images = torch.from_numpy(np.stack([frame.image for frame in frames])).permute(0, 3, 1, 2).float() / 255
    return images, torch.from_numpy(np.stack([frame.keypoints for frame in frames])).float()


if __name__ == "__main__":
    main()
