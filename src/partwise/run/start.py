"""The start of a run: its folder is opened, its config recorded, and a banner introduces it."""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from partwise.errors import InputError
from partwise.io.atomic import write_text
from partwise.run.banner import banner
from partwise.run.configs import differences, overrides, plain
from partwise.run.environment import snapshot
from partwise.run.folder import Run, is_first, open_run, origin, saved_config
from partwise.run.process import keep_freed_memory, log_to, quiet
from partwise.tables.trained import PLACES


def start(cfg: DictConfig, synthetic: bool, identity: str | None = None) -> Run:
    """Open the run's folder, write its config and facts, and print its banner.

    Args:
        cfg: composed config of the run, whose `run` is filled in.
        synthetic: whether its data are synthetic.
        identity: of a training, by which others that start from it find it; see `partwise.run.stages`.

    Returns:
        The opened run.

    Raises:
        InputError: a resumed run has another model or other data than it began with.
    """
    data = origin(synthetic)
    traits = f"{cfg.profile}-{data}" if cfg.task == "train" else f"{data}-{cfg.task}"
    run = open_run(Path(cfg.outputs), cfg.name, cfg.resume, traits)
    cfg.run = run.about(synthetic)
    keep_freed_memory()
    quiet()
    if is_first():
        log_to(run.folder / "log.txt")
        if run.resumed:
            _refuse_other_config(run, cfg)
        else:
            write_text(run.folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
            run.record(experiment=cfg.name, task=cfg.task, profile=cfg.profile, seed=cfg.seed, data=data,
                       identity=identity, overrides=overrides(), **snapshot())  # fmt: skip
        run.record(status="running", pid=os.getpid())
        if run.resumed and run.checkpoint is None and cfg.task == "train":
            run.say(f"{run.folder} has no {run.last.name}: starts anew")
        run.say(banner(cfg, overrides()))
    return run


def _refuse_other_config(run: Run, cfg: DictConfig) -> None:
    """A run goes on with the model and data that it began with; epochs, devices and loggers may change."""
    # It was written resolved; resolving what it holds now would read the environment of whoever goes on.
    saved = plain(saved_config(run.folder), resolve=False)
    fixed = ("model", "image_size", "seed", "profile", "data.")
    free = (*(f"data.{key}" for key in PLACES), "model.schedule.epochs")  # moved folders, another machine, more epochs
    changed = [d for d in differences(saved, plain(cfg)) if d.startswith(fixed) and not d.startswith(free)]
    if changed:
        raise InputError(f"run {run.id} cannot go on with {'; '.join(changed)}: repeat its own overrides")
