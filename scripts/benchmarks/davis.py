"""J and F of DAVIS: the command beside vos-benchmark and the official steps, whole processes on the same files.

vos-benchmark is left out where the running Python has none (`uv sync --extra bench`).
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from rich.table import Table

from partwise.arrays import BoolArray, UInt8Array

_EVALUATE = Path(__file__).parents[1] / "evaluate.py"
_SIZE = (480, 854)
_SEQUENCE = 70  # frames, DAVIS' mean
_PEER = (
    "import sys; from vos_benchmark.benchmark import benchmark;"
    "benchmark([sys.argv[1]], [sys.argv[2]], num_processes=int(sys.argv[3]))"
)

# In a small process of its own: Linux counts the memory of the process that starts another as the other's.
_METER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
wall, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
sys.exit(code)
"""


class Cost(NamedTuple):
    """Of a whole process and those it started."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    memory: float  # MB at most, of the largest process


def measure(command: Sequence[object]) -> Cost:
    """Run a command and see what it takes."""
    meter = subprocess.run([sys.executable, "-S", "-c", _METER, *map(str, command)], capture_output=True, text=True)
    if meter.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{meter.stderr}")
    wall, cpu, memory = json.loads(meter.stdout)
    return Cost(wall, cpu, memory / 1024)


def walker(t: float) -> UInt8Array:
    """A foreground of a body, limbs and a rough outline at time t, 0/255."""
    height, width = _SIZE
    mask = np.zeros(_SIZE, np.uint8)
    x, y = int(width * (0.5 + 0.25 * math.sin(t / 30))), int(height * 0.5)
    cv2.ellipse(mask, (x, y), (55, 120), 5 * math.sin(t / 5), 0, 360, 255, -1)
    for side in (-1, 1):
        swing = side * 0.6 * math.sin(t / 6)
        for joint, length in (((x, y + 90), 110), ((x, y - 80), 120)):
            tip = int(joint[0] + length * math.sin(swing)), int(joint[1] + length * math.cos(swing))
            cv2.line(mask, joint, tip, 255, 34)
    angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    reach = 40 + np.random.default_rng(int(t)).normal(0, 3, 60)
    outline = np.stack([x + reach * np.cos(angles), y - 150 + reach * np.sin(angles)], 1)
    return np.asarray(cv2.fillPoly(mask, [outline.astype(np.int32)], 255), np.uint8)


def write(root: Path, count: int) -> None:
    """A release of `count` frames and predictions: copies that are off by a few pixels."""
    names = set()
    for t, mask in enumerate(map(walker, range(count))):
        # The rest joins the last sequence, which would otherwise be too short to score.
        seq = f"seq{min(t // _SEQUENCE, max(count // _SEQUENCE - 1, 0)):03d}"
        names.add(seq)
        for folder, picture in ((f"Annotations/480p/{seq}", mask), (f"pred/{seq}", np.roll(mask, (3, 5), (0, 1)))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / folder / f"{t:05d}.png")
    (root / "ImageSets/2016").mkdir(parents=True)
    (root / "ImageSets/2016/val.txt").write_text("\n".join(sorted(names)) + "\n")


def official(gt: Path, pred: Path) -> tuple[float, float]:
    """Mean J and F as the released scripts come by them: a sequence at once, every frame at full size."""
    radius = math.ceil(0.008 * math.hypot(*_SIZE))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.uint8)
    metrics = []
    for folder in sorted((gt / "Annotations/480p").iterdir()):
        names = [file.name for file in sorted(folder.iterdir())][1:-1]
        truth, called = (_stack([root / name for name in names]) for root in (folder, pred / folder.name))
        union = (truth | called).sum((1, 2))
        j = np.where(union == 0, 1, (truth & called).sum((1, 2)) / np.maximum(union, 1))
        f = [_official_f(*pair, disk) for pair in zip(called, truth, strict=True)]
        metrics.append((np.mean(j), np.mean(f)))
    j_mean, f_mean = np.mean(metrics, 0)
    return float(j_mean), float(f_mean)


def _stack(files: Sequence[Path]) -> BoolArray:
    stack = np.zeros((len(files), *_SIZE))
    for row, file in zip(stack, files, strict=True):
        row[...] = np.array(Image.open(file))
    return stack > 0


def _official_f(pred: BoolArray, truth: BoolArray, disk: UInt8Array) -> float:
    edges = [_edge(mask) for mask in (pred, truth)]
    near = [cv2.dilate(edge.astype(np.uint8), disk) for edge in edges]
    counts = [np.sum(edge) for edge in edges]
    precision = np.sum(edges[0] * near[1]) / counts[0] if counts[0] else 1.0
    recall = np.sum(edges[1] * near[0]) / counts[1] if counts[1] else 1.0
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _edge(mask: BoolArray) -> BoolArray:
    east, south, diagonal = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    east[:, :-1], south[:-1], diagonal[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edge = (mask ^ east) | (mask ^ south) | (mask ^ diagonal)
    edge[-1], edge[:, -1] = mask[-1] ^ east[-1], mask[:, -1] ^ south[:, -1]
    edge[-1, -1] = False
    return edge


def compare(root: Path, rounds: int) -> dict[str, list[Cost]]:
    """Costs of every contestant, one after the other in every round, so that all meet the same machine."""
    pred, gt = root / "pred", root / "Annotations/480p"
    ours = [sys.executable, _EVALUATE, "davis2016", "--gt", root, "--pred", pred, "--json", root / "ours.json"]
    contestants: dict[str, list[object]] = {"partwise": ours, "partwise, one process": [*ours, "--workers", 1]}
    if find_spec("vos_benchmark") is not None:
        peer = [sys.executable, "-c", _PEER, gt, pred]
        contestants |= {"vos-benchmark, one process": [*peer, 1], "vos-benchmark, two processes": [*peer, 2]}
    contestants["official steps"] = [sys.executable, __file__, root]
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, command in contestants.items():
            costs[name].append(measure(command))
    return costs


def cost_table(costs: dict[str, list[Cost]], title: str) -> Table:
    """Medians, and ours as a share of each other's, round by round."""
    table = Table("", "wall s", "CPU s", "MB", "ours / theirs, wall", "CPU", title=title)
    for name, rounds in costs.items():
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        ratios = [
            statistics.median(mine[i] / theirs[i] for mine, theirs in zip(costs["partwise"], rounds, strict=True))
            for i in (0, 1)
        ]
        table.add_row(name, *(f"{m:.2f}" for m in medians[:2]), f"{medians[2]:.0f}", *(f"{r:.2f}" for r in ratios))
    return table


def run(frames: int = 409, rounds: int = 3) -> list[Table]:
    """Write, run, compare."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, frames)
        costs = compare(root, rounds)
        metrics: dict[str, float] = json.loads((root / "ours.json").read_text())
        j, f = official(root, root / "pred")
    with TemporaryDirectory() as folder:
        write(Path(folder), 4 * frames)
        command = [sys.executable, _EVALUATE, "davis2016", "--gt", folder, "--pred", Path(folder) / "pred"]
        longer = measure(command).memory
    about = f"{frames} frames; J {metrics['J_mean']:.9f}, F {metrics['F_mean']:.9f}; official steps {j:.9f}, {f:.9f}"
    return [cost_table(costs, f"{about}; {longer:.0f} MB at {4 * frames} frames")]


if __name__ == "__main__":
    print(official(Path(sys.argv[1]), Path(sys.argv[1]) / "pred"))
