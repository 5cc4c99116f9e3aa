"""What training and parsing cost on a GPU, for every experiment at the paper's size, with random weights and data.

Backbones start at random, so that nothing is downloaded; their batch norm then trains, where pre-trained ones keep
their statistics. Experiments that compute the same share a row.
"""

from __future__ import annotations

import copy
import gc
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from benchmarks.aten import prepare
from benchmarks.random_batches import random_batch
from benchmarks.synchronisations import synchronisations
from benchmarks.timing import on_cpu, on_cuda
from partwise import labels
from partwise.io.atomic import write_csv
from partwise.models.flow_task import FlowTask
from partwise.nn.dense import AT_ONCE
from partwise.ops.resize import canvas_size
from partwise.predict.frames import FrameParser
from partwise.run import cli
from partwise.run.build import make_task, make_trainer
from partwise.run.configs import plain
from partwise.run.folder import Run
from partwise.run.process import keep_freed_memory, quiet

ROOT = Path(__file__).parents[2] / "experiments"
WARM_UP = 2  # steps
FRAMES = 10  # parsed for one time, about
console = Console(width=None if sys.stdout.isatty() else 200)


@dataclass
class Row:
    """What one experiment cost in one precision; None is unknown."""

    experiments: str
    precision: str
    batch: str = ""  # shape of the pictures or clips
    step_ms: float | None = None  # median
    memory_gib: float | None = None  # peak that the allocator handed out
    waits: int | None = None  # of the host, in a step
    frame_ms: float | None = None  # parsing one frame of a video; of a flow network, one pair
    note: str = ""
    places: Counter[str] = field(default_factory=Counter, repr=False)

    def cells(self) -> dict[str, str]:
        """Its columns as text."""
        values = {name: value for name, value in asdict(self).items() if name != "places"}
        return {n: f"{v:.4g}" if isinstance(v, float) else "" if v is None else str(v) for n, v in values.items()}


class Stopwatch(pl.Callback):
    """Time the steps behind the warm-up, and count the waits of the last one."""

    def __init__(self, steps: int) -> None:
        self.steps, self.starts = steps, list[Any]()
        self.places: Counter[str] = Counter()

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the time."""
        if batch_idx >= WARM_UP:
            self.starts.append(self._now(task.device))
        if batch_idx == WARM_UP + self.steps:
            self.counting = synchronisations(task.device)
            self.places = self.counting.__enter__()

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the count."""
        if batch_idx == WARM_UP + self.steps:
            self.counting.__exit__(None, None, None)

    def milliseconds(self) -> float:
        """Median of the steps."""
        if isinstance(self.starts[0], float):
            return float(1000 * statistics.median(b - a for a, b in itertools.pairwise(self.starts)))
        torch.cuda.synchronize()
        return float(statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(self.starts)))

    @staticmethod
    def _now(device: torch.device) -> Any:
        if device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def run(arguments: Sequence[str] = ()) -> None:
    """Measure what the arguments ask for; rows are told as they come."""
    options = parse(arguments)
    quiet()
    keep_freed_memory()
    begin, rows = time.monotonic(), list[Row]()
    for group in groups(options):
        start = time.monotonic()
        for row in measured(group, options):
            rows.append(row)
            console.print(" | ".join(cell for cell in row.cells().values()), markup=False, highlight=False)
            if options.out:
                write_csv(options.out, [{"device": about(), **row.cells()} for row in rows])
        spent, last = time.monotonic() - begin, time.monotonic() - start
        if options.budget and spent + last > options.budget:
            console.print(f"stopped after {spent:.0f} s of {options.budget:.0f}")
            break
    console.print(table(rows), places(rows))


def parse(arguments: Sequence[str]) -> Namespace:
    """Options of the command line."""
    parser = ArgumentParser("scripts/bench.py gpu", description=__doc__)
    parser.add_argument("--experiments", default="all", help="names, joined by commas")
    parser.add_argument("--precision", default="32-true,bf16-mixed", help="the Trainer's, joined by commas")
    parser.add_argument("--steps", type=int, default=5, help="timed steps")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try it out with --profile demo")
    parser.add_argument("--profile", default="paper", choices=["paper", "demo"])
    parser.add_argument("--budget", type=float, default=150.0, help="seconds that the rows should take; 0: no limit")
    parser.add_argument("--out", type=Path, help="CSV to write, such as docs/gpu.csv")
    parser.add_argument("overrides", nargs="*", help="Hydra's, such as trainer.deterministic=false")
    options = parser.parse_args(arguments)
    options.device = torch.device(options.device)
    options.precision = options.precision.split(",")
    if options.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device; --device cpu --profile demo tries the benchmark out")
    return options


def groups(options: Namespace) -> list[list[DictConfig]]:
    """Configs of experiments that compute the same; those with a network not seen before come first."""
    known = sorted(cli.experiments(ROOT))
    names = known if options.experiments == "all" else options.experiments.split(",")
    if unknown := set(names) - set(known):
        raise SystemExit(f"unknown experiments {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    found: dict[str, list[DictConfig]] = {}
    with initialize_config_dir(str(ROOT), version_base="1.3"):
        for name in names:
            found.setdefault(_work(cfg := _composed(name, options)), []).append(cfg)
    seen: Counter[str] = Counter()
    ranked = []
    for group in found.values():
        network = group[0].model.network
        heads = network.get("frame", network).get("heads", {})
        kind = f"{network._target_} {heads.get('_target_')}"
        ranked.append((seen[kind], group))
        seen[kind] += 1
    return [group for _, group in sorted(ranked, key=lambda pair: pair[0])]


def _composed(name: str, options: Namespace) -> DictConfig:
    cfg = compose(
        "config", overrides=[f"experiment={name}", f"profile={options.profile}", "init=[]", *options.overrides]
    )
    _without_weights(cfg.model.network)
    return cfg


def _without_weights(network: DictConfig) -> None:
    """Start a network and those within it from scratch."""
    if "pretrained" in network:
        network.pretrained = False
    for part in network.values():
        if isinstance(part, DictConfig):
            _without_weights(part)


def _work(cfg: DictConfig) -> str:
    """All that a step's cost depends on."""
    whole = plain(cfg)
    data = {name: whole["data"].get(name) for name in ("batch_size", "crop", "around", "offsets")}
    about = [whole[name] for name in ("image_size", "channels_last", "ema", "compile")]
    model = {name: value for name, value in whole["model"].items() if name not in ("schedule", "optimizer")}
    return json.dumps([model, data, about], sort_keys=True, default=str)


def measured(group: list[DictConfig], options: Namespace) -> Iterator[Row]:
    """A row a precision; what fails is told in its row."""
    cfg, names = group[0], ", ".join(cfg.name for cfg in group)
    task = None
    for precision in options.precision:
        row = Row(names, precision)
        try:
            if task is None:
                task = make_task(cfg, getattr(labels, cfg.label_set.upper()))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                train(task, cfg, row, options)
                row.frame_ms = frame_milliseconds(task, cfg, precision, options.device)
        except Exception as error:
            row.note = f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
        finally:
            gc.collect()
            if options.device.type == "cuda":
                torch.cuda.empty_cache()
        yield row


def train(task: Any, cfg: DictConfig, row: Row, options: Namespace) -> None:
    """Take a few steps as `run.py` does, on one batch."""
    device, watch = options.device, Stopwatch(options.steps)
    batch = random_batch(cfg, task, device)
    row.batch = "x".join(map(str, batch["frames" if "frames" in batch else "images"].shape))
    count = WARM_UP + options.steps + 1
    batches: DataLoader[Any] = DataLoader([batch] * count, batch_size=None, collate_fn=_as_it_is)  # type: ignore[arg-type]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    few = {"accelerator": "gpu" if device.type == "cuda" else "cpu", "precision": row.precision, "max_epochs": 1,
           "limit_train_batches": count, "limit_val_batches": 0}  # fmt: skip
    cfg = cfg.copy()
    for key, value in few.items():
        cfg.trainer[key] = value
    with tempfile.TemporaryDirectory() as folder:
        data = SimpleNamespace(synthetic=True, label_set=task.label_set)
        trainer = make_trainer(cfg, Run(Path(folder), resumed=False), data)
        trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        trainer.fit(task.train(), batches)  # parsing has left it in evaluation
    row.step_ms = watch.milliseconds()
    if device.type == "cuda":
        row.memory_gib = torch.cuda.max_memory_allocated() / 2**30
        row.waits, row.places = sum(watch.places.values()), watch.places


def _as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    return batch


def frame_milliseconds(task: Any, cfg: DictConfig, precision: str, device: torch.device) -> float:
    """Of one frame of a video without end, as `task=predict` parses it; of one pair for a flow network."""
    half, size = precision != "32-true", canvas_size(cfg.image_size)
    take = on_cuda if device.type == "cuda" else on_cpu
    task.to(device).eval()
    if isinstance(task, FlowTask):
        pair = torch.rand(1, 2, 3, *size, device=device)

        @torch.inference_mode()
        def estimate() -> None:
            with torch.autocast(device.type, torch.bfloat16, half):
                task.estimate(pair)

        return 1000 * min(take(estimate) for _ in range(3))
    with torch.no_grad():
        network = prepare(copy.deepcopy(task.network), {}, device) if finds_persons(task.network) else task.network
    parser = FrameParser(
        network, task.label_set, cfg.image_size, device, bfloat16=half, stretch=cfg.model.get("stretch", False)
    )
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(4)]
    stream = parser.stream(itertools.cycle(pictures))
    period = math.lcm(AT_ONCE, getattr(network, "key_interval", 1))  # whole segments, or whole batches of frames
    count = period * max(1, FRAMES // period)
    list(itertools.islice(stream, 2 * period))  # what is read ahead, and warm-up
    return 1000 * take(lambda: list(itertools.islice(stream, count))) / count


def finds_persons(network: Any) -> bool:
    """Whether it has a detector's heads."""
    return hasattr(getattr(network, "heads", None), "rpn")


def about() -> str:
    """The card, or the CPU, and PyTorch's version."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{card}, torch {torch.__version__}"


def table(rows: Sequence[Row]) -> Table:
    """All rows for people."""
    shown = Table("experiments", "precision", "batch", "ms a step", "GiB", "waits", "ms a frame", "", title=about())
    for row in rows:
        shown.add_row(*row.cells().values())
    return shown


def places(rows: Sequence[Row]) -> Table:
    """Where the host waits for the device, most often first."""
    shown = Table("waits a step", "where", "in", title="host synchronisations")
    for row in rows:
        if row.precision == rows[0].precision:
            for place, count in row.places.most_common(12):
                shown.add_row(str(count), place, row.experiments)
    return shown
