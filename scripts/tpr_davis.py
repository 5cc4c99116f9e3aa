"""What temporal parsing refinement does to spoilt masks of real video, without any training.

    python scripts/tpr_davis.py --root DIR [--sequences NAME ...] [--frames 20] [--seed 0 1 2] [--csv FILE]

DIR is DAVIS (480p), read at half resolution; flow is DIS's. The true masks, spoilt, stand for what the Seg Module sees.
Each frame's is spoilt for itself: eroded or dilated by up to 3 pixels, then 3 holes at random pixels of the foreground
and 3 blobs anywhere, ellipses with half axes of 8 to 20 % of the square root of the mask's area; logits of +-2 for the
difference of both classes, plus noise of deviation 1 and a grain of 2 pixels. A window of 2 is a frame and the one
before it, of 3 and 5 those on both sides. In place of the training between rounds, every frame's logits become its
window's sum over the window's size, and corrected flow stays corrected. J is over all frames but the first and last.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from partwise.arrays import UInt8Array
from partwise.errors import InputError
from partwise.io.atomic import write_csv
from partwise.io.images import IMAGE_SUFFIXES, check_size, read_image, read_labels
from partwise.io.listing import list_files
from partwise.io.progress import counter
from partwise.models.self_supervised.tpr import Neighbour, Search, propagate, pseudo_labels
from partwise.ops.dis import dense_inverse_search
from partwise.run import cli
from partwise.scores.davis import frame_scores, sequence_scores

WINDOWS = {2: (-1,), 3: (-1, 1), 5: (-2, -1, 1, 2)}  # offsets of the neighbours
ROUNDS = 3
FEWEST = 3  # frames of which one is scored
GROWN, SPOTS, AXES = 3, 3, (0.08, 0.2)  # pixels; ellipses of either kind; of the square root of the mask's area
MARGIN, NOISE, GRAIN = 2.0, 1.0, 2.0  # logits, logits, pixels


class Video(NamedTuple):
    """A sequence at half resolution."""

    frames: list[UInt8Array]  # (H, W, 3) RGB
    truth: list[UInt8Array]  # (H, W) 0 or 1


def main() -> None:
    """Print, and perhaps keep, a row for each sequence, seed, window, search and round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of DAVIS")
    parser.add_argument("--sequences", nargs="+", default=["breakdance", "dance-twirl"])
    parser.add_argument("--frames", type=int, default=20, help="of each sequence, from the first on")
    parser.add_argument("--window", type=int, nargs="+", choices=WINDOWS, default=list(WINDOWS))
    parser.add_argument("--search", nargs="+", choices=get_args(Search), default=get_args(Search))
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    with cli.one_line_errors():
        rows: list[dict[str, object]] = []
        with counter() as bar:
            for name in options.sequences:
                video = read(options.root, name, options.frames)
                for seed in bar.track(options.seed, description=name):
                    found = study(video, seed, options.window, options.search)
                    rows += [{"sequence": name, "frames": len(video.frames), "seed": seed, **row} for row in found]
        table = Table(*rows[0], title="J and F in per cent, masks spoilt on purpose")
        for row in rows:
            table.add_row(*map(str, row.values()))
        Console().print(table)
        if options.csv:
            write_csv(options.csv, rows)


def read(root: Path, name: str, count: int) -> Video:
    """Read the first frames of a sequence and their masks."""
    files = list_files(root / "JPEGImages/480p" / name, IMAGE_SUFFIXES)[:count]
    if len(files) < FEWEST:
        raise InputError(
            f"{name} has {len(files)} frames to read, but needs {FEWEST}, of which the middle one is scored"
        )
    frames, truth = [], []
    for file in files:
        image, mask_file = read_image(file, upright=False), root / "Annotations/480p" / name / f"{file.stem}.png"
        mask = read_labels(mask_file)
        check_size(mask, image.shape[:2], mask_file)
        half = image.shape[1] // 2, image.shape[0] // 2
        frames.append(np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8))
        truth.append(np.asarray(cv2.resize((mask > 0).view(np.uint8), half, interpolation=cv2.INTER_NEAREST), np.uint8))
    return Video(frames, truth)


def study(video: Video, seed: int, windows: list[int], searches: list[Search]) -> Iterator[dict[str, object]]:
    """Score the spoilt masks, round 0, and those of every way of refinement and round."""
    rng = np.random.default_rng(seed)
    start = [spoilt(mask, rng) for mask in video.truth]
    yield {"window": 1, "search": "none", "round": 0, **scores(start, video.truth)}
    flows = all_flows(video.frames, {offset for window in windows for offset in WINDOWS[window]})
    images = [torch.from_numpy(frame).permute(2, 0, 1)[None] for frame in video.frames]
    for window in windows:
        for search in searches:
            logits, corrected = start, dict(flows)
            for n in range(1, ROUNDS + 1):
                logits = one_round(logits, images, corrected, WINDOWS[window], search)
                yield {"window": window, "search": search, "round": n, **scores(logits, video.truth)}


def one_round(
    logits: list[Tensor],
    images: list[Tensor],
    flows: dict[tuple[int, int], Tensor],
    offsets: tuple[int, ...],
    search: Search,
) -> list[Tensor]:
    """Refine all frames of a sequence by their neighbours there.

    Args:
        logits: (1, 2, H, W) of each frame.
        images: (1, 3, H, W) each.
        flows: (1, 2, H, W) by frames t and s; what is corrected replaces them.
        offsets: of the neighbours.
        search: among which pixels vectors are corrected.

    Returns:
        (1, 2, H, W) of each frame, sums over the window's size.
    """
    refined = []
    for t in range(len(logits)):
        near = [t + offset for offset in offsets if 0 <= t + offset < len(logits)]
        neighbours = [Neighbour(logits[s], images[s], flows[t, s]) for s in near]
        found = propagate(logits[t], images[t], neighbours, search)
        flows.update(((t, s), flow) for s, flow in zip(near, found.flows, strict=True))
        refined.append(found.logits / (1 + len(offsets)))
    return refined


def all_flows(frames: list[UInt8Array], offsets: set[int]) -> dict[tuple[int, int], Tensor]:
    """Estimate the flow (1, 2, H, W) from every frame t to its neighbours s, by (t, s)."""
    grey = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]
    pairs = [(t, t + offset) for t in range(len(grey)) for offset in sorted(offsets) if 0 <= t + offset < len(grey)]
    return {(t, s): dense_inverse_search(grey[t], grey[s])[None] for t, s in pairs}


def spoilt(mask: UInt8Array, rng: np.random.Generator, most: int = GROWN) -> Tensor:
    """Make logits (1, 2, H, W) of a mask (H, W) with an outline wrong by `most` pixels, holes, blobs and noise."""
    grown = int(rng.integers(-most, most + 1))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(grown) + 1, 2 * abs(grown) + 1))
    drawn = np.asarray((cv2.erode if grown < 0 else cv2.dilate)(mask, disk), np.uint8)
    size, inside = np.sqrt(drawn.sum()), np.argwhere(drawn)
    holes = [(spot[::-1], 0) for spot in inside[rng.integers(len(inside), size=SPOTS)]] if len(inside) else []
    blobs = [(spot[::-1], 1) for spot in rng.integers(mask.shape, size=(SPOTS, 2))]
    for (x, y), value in [*holes, *blobs]:
        axes = tuple(int(axis) for axis in size * rng.uniform(*AXES, 2))
        cv2.ellipse(drawn, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, value, -1)
    noise = cv2.GaussianBlur(rng.normal(size=mask.shape), (0, 0), GRAIN)
    difference = torch.from_numpy(MARGIN * (2.0 * drawn - 1) + NOISE * noise / noise.std()).float()
    return torch.stack([-difference / 2, difference / 2])[None]


def scores(logits: list[Tensor], truth: list[UInt8Array]) -> dict[str, float]:
    """Compute J and F in per cent over all frames but the first and last."""
    masks = [pseudo_labels(each)[0].byte().numpy() for each in logits]
    frames = np.array([frame_scores(*pair) for pair in zip(masks, truth, strict=True)][1:-1])
    found = sequence_scores(frames)
    return {f"{letter}_mean": round(100 * found[f"{letter}_mean"], 2) for letter in "JF"}


if __name__ == "__main__":
    main()
