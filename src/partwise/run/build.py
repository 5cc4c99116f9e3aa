"""The task and the Trainers of a composed config."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from partwise.checkpoints.loading import build_network, load, start_from
from partwise.errors import InputError
from partwise.labels import LabelSet
from partwise.models.contract import OnFrames
from partwise.run.averaging import ExponentialAverage
from partwise.run.checkpointing import AtomicCheckpointIO, LastCheckpoint, Provenance
from partwise.run.configs import plain
from partwise.run.devices import bfloat16, device, trainer_options
from partwise.run.extensions import make_all
from partwise.run.folder import Run
from partwise.run.loggers import make_loggers
from partwise.run.resuming import Position, RandomState


def make_task(cfg: DictConfig, label_set: LabelSet, network: nn.Module | None = None) -> Any:
    """Make the task with the weights that the seed gives, and set the generators to the seed's start again.

    Args:
        cfg: composed config of the run.
        label_set: of the data.
        network: to score, in place of the config's.

    Returns:
        The LightningModule.

    Raises:
        InputError: the config and the data have different numbers of classes.
    """
    if cfg.num_classes != label_set.num_classes:
        raise InputError(f"num_classes={cfg.num_classes}, but the data have {label_set.num_classes}; set the latter")
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    # As a partial, because OmegaConf would take the label set apart.
    if network is not None:
        about = {name: value for name, value in plain(cfg)["model"].items() if name != "network"}
        return instantiate(about, _partial_=True)(network=network, label_set=label_set)
    task = instantiate(cfg.model, _partial_=True)(label_set=label_set)
    start_from(task.network, cfg.init, cfg.num_classes)
    if cfg.channels_last:
        task.network.to(memory_format=torch.channels_last)
    if cfg.compile:
        for block in task.network.children():  # the losses around them are short; heads compile their own parts
            block.compile()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    return task


def make_baselines(cfg: DictConfig, data: Any, task: Any) -> dict[str, Any]:
    """Make the tasks that a trained one is compared with.

    Args:
        cfg: composed config of the run.
        data: DataModule.
        task: the trained task.

    Returns:
        By name: "frame", the frame model that a parser of videos started from, where it started from one; "untrained",
        the task as it started, unless nothing has been trained since; and the simplest baseline by its own name.
    """
    tasks = {"untrained": make_task(cfg, data.label_set)}
    if (frame := _frame_model(tasks["untrained"].network, cfg.init)) is not None:
        tasks = {"frame": make_task(cfg, data.label_set, frame), **tasks}
    if not cfg.trainer.max_epochs and not cfg.rounds:
        del tasks["untrained"]
    simplest = make_task(cfg, data.label_set, task.simplest(data))
    return {**tasks, simplest.network.name: simplest}


def _frame_model(started: nn.Module, init: Sequence[str]) -> nn.Module | None:
    """Copy the frame model that a parser of videos started from.

    Its own heads may be trained for features of several frames; those of a frame model's checkpoint are not.
    """
    if not init or not isinstance(started, OnFrames):
        return None
    frame = deepcopy(started.frame_model())
    alone = [path for path in init if type(build_network(load(path), path)) is type(frame)]
    start_from(frame, alone)
    return frame


def make_trainer(cfg: DictConfig, run: Run, data: Any) -> pl.Trainer:
    """Make the Trainer of a run, with its callbacks and loggers.

    Args:
        cfg: composed config of the run.
        run: whose folder holds checkpoints and metrics.csv.
        data: DataModule that it trains on.

    Raises:
        InputError: an entry of `callbacks` or `logger` is none.
    """
    cfg.run = run.about(data.synthetic)  # also where it was not started, but only measured or tested
    config = plain(cfg)
    # In code stands what a run cannot do without: the average, which must come before all that reads or saves weights;
    # what every checkpoint holds beside them; and the checkpoint that a killed run goes on from.
    callbacks = [
        *([ExponentialAverage(cfg.ema)] if cfg.ema else []),
        Provenance(
            experiment=cfg.name, network=config["model"]["network"], label_set=data.label_set,
            image_size=config["image_size"], synthetic=data.synthetic, stretch=config["model"].get("stretch", False),
        ),
        Position(),
        RandomState(),
        *make_all(cfg.callbacks, "callbacks", pl.Callback),
        LastCheckpoint(run.last, cfg.checkpoint_every),
    ]  # fmt: skip
    loggers = make_loggers(run, cfg.logger, config)
    return _trainer(cfg, run, callbacks=callbacks, logger=loggers, plugins=[AtomicCheckpointIO()])


def make_scorer(cfg: DictConfig, run: Run) -> pl.Trainer:
    """Make a Trainer that only scores, without loggers and checkpoints.

    Args:
        cfg: composed config of the run.
        run: whose folder is the Trainer's.
    """
    return _trainer(cfg, run, logger=False, enable_checkpointing=False)


def _trainer(cfg: DictConfig, run: Run, **options: Any) -> pl.Trainer:
    options |= trainer_options(cfg.trainer)
    trainer: pl.Trainer = instantiate(
        cfg.trainer, default_root_dir=str(run.folder), enable_model_summary=False, **options
    )
    # Signals are `partwise.run.signals`'s: Lightning stops between optimizer steps, and requeues Slurm's jobs.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def parsing_options(cfg: DictConfig) -> dict[str, Any]:
    """Return where and how task=predict parses, as arguments of `load_parser`."""
    return {
        "device": device(cfg.trainer.accelerator),
        "bfloat16": bfloat16(cfg),
        "channels_last": cfg.channels_last,
        "size": cfg.testing.size,
        "detector": cfg.detector,
        "scale_search": cfg.scale_search,
        "keypoints": cfg.keypoints,
        "smoothing": cfg.testing.smoothing,
        **cfg.testing.views,
    }
