"""A run's folder: its name, what it records, how it is found again, and the banner that introduces it."""

from __future__ import annotations

import csv
import ctypes
import datetime
import json
import logging
import os
import platform
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from rich.console import Console
from rich.panel import Panel
from rich.text import Text
from torch import nn

from partwise.averaging import ExponentialAverage
from partwise.checkpoints import AtomicCheckpointIO, Provenance, RandomState, load, start_from
from partwise.configs import differences, plain
from partwise.devices import runs_on_cpu, trainer_options
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.media import write_json, write_text

RUN_ID = "PARTWISE_RUN_ID"  # shared with the processes that a DDP run starts
PACKAGES = ("partwise", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "timm", "kornia",
            "albumentations", "numpy", "hydra-core")  # fmt: skip

console = Console(width=None if sys.stdout.isatty() else 120)


def is_first() -> bool:
    """Whether this is the process that writes files and prints."""
    return getattr(rank_zero_only, "rank", 0) == 0


@dataclass(frozen=True)
class Run:
    """A run's folder `outputs/EXPERIMENT/ID/`."""

    folder: Path
    resumed: bool

    @property
    def id(self) -> str:
        """Name of the folder, unique among the experiment's runs."""
        return self.folder.name

    @property
    def last(self) -> Path:
        """The checkpoint that a resumed run continues from, and in the end the trained network."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def checkpoint(self) -> Path | None:
        """`last` if it should be continued from."""
        return self.last if self.resumed and self.last.is_file() else None

    @rank_zero_only
    def record(self, **facts: Any) -> None:
        """Add facts to run.json."""
        file = self.folder / "run.json"
        known = json.loads(file.read_text()) if file.is_file() else {}
        write_json(file, {**known, **facts})

    @rank_zero_only
    def say(self, text: Any) -> None:
        """Print, and keep in log.txt. Text is taken as it is: paths may hold brackets."""
        console.print(text, markup=False, highlight=False, soft_wrap=isinstance(text, str))
        with (self.folder / "log.txt").open("a") as log:
            Console(file=log, width=120).print(text, markup=False, highlight=False, soft_wrap=isinstance(text, str))


def open_run(outputs: Path, experiment: str, resume: str | None, traits: str) -> Run:
    """Make a run's folder, or find the one to continue.

    Args:
        outputs: where run folders lie.
        experiment: name of the experiment.
        resume: None for a new run, "auto" for the newest unfinished one (a new one if there is none), or an id.
        traits: goes into a new run's name, for example "demo-synthetic".
    """
    base = outputs / experiment
    shared = os.environ.get(RUN_ID)
    if shared and os.environ.get("LOCAL_RANK", "0") != "0":  # started by the run's first process, which made it
        return Run(base / shared, resume is not None)
    folder = _unfinished(base, resume) if resume else None
    resumed = folder is not None
    if folder is None:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = base / f"{stamp}-{traits}"
        while folder.exists():  # two runs within a second
            folder = folder.with_name(folder.name + "-2")
        (folder / "checkpoints").mkdir(parents=True)
    os.environ[RUN_ID] = folder.name
    return Run(folder, resumed)


def _unfinished(base: Path, resume: str) -> Path | None:
    if resume != "auto":
        if not (base / resume).is_dir():
            found = ", ".join(sorted(p.name for p in base.glob("*/"))[-5:]) or "none"
            raise InputError(f"resume={resume}: no such run in {base}; the latest are {found}")
        return base / resume
    for folder in sorted(base.glob("*/"), reverse=True):
        record = folder / "run.json"
        known = json.loads(record.read_text()) if record.is_file() else {}
        if (known.get("status"), known.get("task")) == ("running", "train"):
            return folder
    console.print(f"resume=auto: no unfinished run in {base}; starting a new one")
    return None


def start(cfg: DictConfig, synthetic: bool, identity: str | None = None) -> Run:
    """Open the run's folder, write its config and facts, and introduce it.

    Args:
        cfg: of the run.
        synthetic: whether its data are.
        identity: of a training, by which others that start from it find it; see `partwise.stages`.
    """
    origin = "synthetic" if synthetic else "real"
    training = cfg.task == "train"
    traits = f"{cfg.profile}-{origin}" if training else f"{origin}-{cfg.task}"
    run = open_run(Path(cfg.outputs), cfg.name, cfg.resume, traits)
    keep_freed_memory()
    quiet()
    if is_first():
        if run.resumed:
            _refuse_other_config(run, cfg)
        else:
            write_text(run.folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
            run.record(experiment=cfg.name, task=cfg.task, profile=cfg.profile, seed=cfg.seed, data=origin,
                       identity=identity, overrides=overrides(), **facts())  # fmt: skip
        run.record(status="running", pid=os.getpid())
        run.say(banner(run, cfg.name, cfg.profile if training else None, origin, _changes(), _emulated(cfg)))
    return run


def overrides() -> list[str]:
    """What the command line sets."""
    return list(HydraConfig.get().overrides.task)


def _changes() -> list[str]:
    """What the profile changes of the paper's recipe."""
    given = [o for o in overrides() if not o.startswith("profile=")]
    cfg, paper = compose("config", overrides=overrides()), compose("config", overrides=[*given, "profile=paper"])
    # Unresolved, so that a value that others refer to is listed once.
    changes = differences(plain(paper, resolve=False), plain(cfg, resolve=False))
    return [d.removeprefix("model.") for d in changes if not d.startswith(("data.synthetic", "profile"))]


def _refuse_other_config(run: Run, cfg: DictConfig) -> None:
    """A run goes on with the model and data that it began with; epochs, devices and loggers may change."""
    # It was written resolved; resolving what it holds now would read the environment of whoever goes on.
    saved = plain(OmegaConf.load(run.folder / "config.yaml"), resolve=False)  # type: ignore[arg-type]
    fixed = ("model", "image_size", "seed", "profile", "data.")
    free = ("data.root", "data.num_workers", "model.schedule.epochs")  # a moved folder, another machine, more epochs
    changed = [d for d in differences(saved, plain(cfg)) if d.startswith(fixed) and not d.startswith(free)]
    if changed:
        raise InputError(f"run {run.id} cannot go on with {'; '.join(changed)}: repeat its own overrides")


def quiet() -> None:
    """Silence what says nothing about this run: hints, and warnings that the run's own design answers."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        "Experiment logs directory",  # the run folder is made before its logger; earlier rows are kept
        "Checkpoint directory .* exists",
        ".*your dataloader is not resumable",  # the samplers are, see data_modules.sampling
        ".*isinstance\\(treespec",
        ".*does not have many workers",
        ".*sync_dist=True",  # the metrics have been computed on all ranks together
        ".*smaller than the logging interval",
    ):
        warnings.filterwarnings("ignore", message)


def keep_freed_memory() -> None:
    """Let glibc reuse large freed blocks rather than hand them back to the system.

    By default each tensor over 32 MB is mapped anew and touched page by page, tenths of a CPU training step.
    Other C libraries have no `mallopt` and are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    most_maps, trim_threshold = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    mallopt(most_maps, 0)
    mallopt(trim_threshold, 2**31 - 1)


def make_task(cfg: DictConfig, label_set: LabelSet, network: nn.Module | None = None) -> Any:
    """The task with the weights that the seed gives; the generators are then at the seed's start again.

    Args:
        cfg: of the run.
        label_set: of the data.
        network: to score, in place of the config's.
    """
    if cfg.num_classes != label_set.num_classes:
        raise InputError(f"num_classes={cfg.num_classes}, but the data have {label_set.num_classes}; set the latter")
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    # As a partial, because OmegaConf would take the label set apart.
    if network is not None:
        about = {name: value for name, value in plain(cfg)["model"].items() if name != "network"}
        return instantiate(about, _partial_=True)(network=network, label_set=label_set)
    task = instantiate(cfg.model, _partial_=True)(label_set=label_set)
    start_from(task.network, cfg.init)
    if cfg.channels_last:
        task.network.to(memory_format=torch.channels_last)
    if cfg.compile:
        for block in task.network.children():  # the losses around them are short; heads compile their own parts
            block.compile()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    return task


def make_trainer(cfg: DictConfig, run: Run, data: Any) -> pl.Trainer:
    """The Trainer of a run, with its checkpoints, loggers and progress bar."""
    config = plain(cfg)
    tags = [
        f"experiment={cfg.name}",
        f"profile={cfg.profile}",
        f"data={'synthetic' if data.synthetic else 'real'}",
    ]
    callbacks = [
        *([ExponentialAverage(cfg.ema)] if cfg.ema else []),
        Provenance(
            experiment=cfg.name, network=config["model"]["network"], label_set=data.label_set,
            image_size=config["image_size"], synthetic=data.synthetic, stretch=config["model"].get("stretch", False),
        ),
        RandomState(),
        RichProgressBar(),
        ModelCheckpoint(  # the best validation score; whole, for callbacks do not see what is saved of weights alone
            run.last.parent, "best", monitor=cfg.monitor, mode=cfg.monitor_mode,
            auto_insert_metric_name=False, enable_version_counter=False,
        ),
        ModelCheckpoint(  # where a killed run goes on
            run.last.parent, "last", every_n_train_steps=cfg.checkpoint_every, enable_version_counter=False
        ),
    ]  # fmt: skip
    trainer: pl.Trainer = instantiate(
        cfg.trainer,
        **trainer_options(cfg.trainer),
        default_root_dir=str(run.folder),
        callbacks=callbacks,
        logger=make_loggers(run, cfg.logger, config, tags),
        plugins=[AtomicCheckpointIO()],
        enable_model_summary=False,
    )
    return trainer


def make_scorer(cfg: DictConfig, run: Run) -> pl.Trainer:
    """A Trainer that only scores: no logger, no checkpoints."""
    scorer: pl.Trainer = instantiate(
        cfg.trainer, **trainer_options(cfg.trainer), default_root_dir=str(run.folder), callbacks=[RichProgressBar()],
        logger=False, enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    return scorer


def parsing_options(cfg: DictConfig) -> dict[str, Any]:
    """Where and how task=predict parses; see `load_parser`."""
    on_gpu = cfg.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return {
        "device": torch.device("cuda" if on_gpu else "cpu"),
        "bfloat16": _bfloat16(cfg),
        "channels_last": cfg.channels_last,
        "size": cfg.testing.size,
        "detector": cfg.detector,
        "scale_search": cfg.scale_search,
        "smoothing": cfg.testing.smoothing,
        **cfg.testing.views,
    }


def _bfloat16(cfg: DictConfig) -> bool:
    return "bf16" in str(cfg.trainer.precision)


def _emulated(cfg: DictConfig) -> bool:
    """Whether bfloat16 is asked of a CPU that can only emulate it."""
    return _bfloat16(cfg) and runs_on_cpu(cfg.trainer.accelerator) and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def facts() -> dict[str, Any]:
    """What a reader needs to make a run again: code, versions, host."""
    try:
        sha = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        dirty = bool(subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True).stdout)
    except (OSError, subprocess.CalledProcessError):
        sha, dirty = None, None
    return {
        "git": {"sha": sha, "uncommitted_changes": dirty},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "host": {"name": platform.node(), "system": platform.platform(), "cpus": os.cpu_count(),
                 "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None},
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }  # fmt: skip


def make_loggers(run: Run, choice: DictConfig, config: dict[str, Any], tags: list[str]) -> list[Logger]:
    """metrics.csv always; Weights & Biases on request, offline unless there is an account."""
    file = run.folder / "metrics.csv"
    kept = _rows_before(file, run.checkpoint) if file.is_file() else []
    csv_logger = CSVLogger(run.folder, name="", version="", flush_logs_every_n_steps=1)
    if is_first():
        logging.getLogger("pytorch_lightning").addHandler(logging.FileHandler(run.folder / "log.txt"))
        csv_logger.experiment.metrics.extend(kept)  # the logger begins with an empty file
    if not choice.wandb:
        return [csv_logger]
    import wandb as client

    offline = os.environ.get("WANDB_MODE", "offline") == "offline" and not client.login(prompt=False)
    logger = WandbLogger(
        project=choice.project,
        id=run.id,
        name=run.id,
        save_dir=run.folder,
        tags=tags,
        config=config,
        resume=None if offline else "allow",  # an offline run cannot know what the server has
        mode="offline" if offline else os.environ.get("WANDB_MODE"),
    )
    return [csv_logger, logger]


def _rows_before(file: Path, checkpoint: Path | None) -> list[dict[str, Any]]:
    """Rows of metrics.csv up to the checkpoint's step; later ones will be logged again."""
    if checkpoint is None:
        return []
    step = load(checkpoint)["global_step"]
    with file.open(newline="") as rows:
        return [{k: v for k, v in row.items() if v != ""} for row in csv.DictReader(rows) if int(row["step"]) < step]


def banner(run: Run, name: str, profile: str | None, data: str, changes: list[str], emulated: bool = False) -> Panel:
    """What this run is, before it starts; scoring has no profile."""
    about = f"profile={profile}   data={data}" if profile else f"data={data}"
    text = Text.assemble((name, "bold"), f"   {about}\nfolder {run.folder}")
    if profile == "demo":
        text.append(
            "\ndemo: smaller sizes, fewer epochs and a schedule to match; all layers train from scratch, so batch"
        )
        text.append(" norm trains too. Otherwise the paper's method. It changes " + ", ".join(changes))
    if data == "synthetic":
        text.append("\nsynthetic data", "yellow")
        text.append(": rendered figures, no photographs; set data.root for the real dataset")
    if emulated:
        text.append("\nslow", "yellow")
        text.append(": this CPU only emulates bfloat16, at a tenth of the speed or less; set trainer.precision=32-true")
    return Panel(text, title="partwise", title_align="left")
