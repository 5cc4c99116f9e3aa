"""Training in stages: what an experiment starts from is trained by other experiments, which are run where missing.

An experiment names its stages and starts from them by name:

    stages:
      frame: {experiment: parsing_rcnn_vip}
      flow:  {experiment: flownet_s_chairs, overrides: [trainer.max_epochs=100]}
    init: [frame, flow]

A stage may have stages of its own, so together they are a graph without cycles. A stage whose task is "label" writes a
dataset instead of weights, and `data.extra` names it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from partwise.checkpoints import standin
from partwise.errors import InputError
from partwise.io import lock, run_json
from partwise.io.atomic import writing
from partwise.run.cli import PREPARED, own_roots, quoted
from partwise.run.configs import plain
from partwise.run.folder import RUN_ID, saved_config
from partwise.run.signals import Stopped, interruption
from partwise.tables.trained import PLACES, WATCHING

#: Overrides that a stage shares with the run it is for; it has other data and another model.
SHARED = ("profile=", "pretrained=", "seed=", "sizes.", "logger", "trainer=", "trainer.accelerator=",
          "trainer.devices=", "trainer.precision=", "data.num_workers=")  # fmt: skip
#: What decides the weights that a run ends with; folders, machines and loggers do not.
DECISIVE = ("name", "image_size", "num_classes", "seed", "ema", "model", "data", "persons")
DECISIVE_TRAINER = ("max_epochs", "max_steps", "limit_train_batches", "precision", "gradient_clip_val",
                    "accumulate_grad_batches")  # fmt: skip
OF_THIS_RUN = (PREPARED, RUN_ID)  # variables that a run of its own must not inherit
DATASET = "dataset"  # folder of what task=label writes, in the run's folder
DEEPEST = 8  # stages of stages; the papers have two


@dataclass(frozen=True)
class Stage:
    """A training that another one starts from.

    Attributes:
        name: by which `init` refers to it.
        arguments: for `run.py`, without folders.
        roots: for `run.py`, the folders of its data.
        config: composed of both.
        synthetic: whether it trains on a stand-in.
        depth: 1 for a stage of the run itself, 2 for a stage of that, and so on.
    """

    name: str
    arguments: tuple[str, ...]
    roots: tuple[str, ...]
    config: DictConfig
    synthetic: bool
    depth: int

    @property
    def experiment(self) -> str:
        """Return the name of its experiment."""
        return str(self.config.name)

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Return its own stages, by name."""
        return stages_of(self.config, self.synthetic, self.arguments, self.depth)

    @cached_property
    def identity(self) -> str:
        """Return the digest of what decides its weights."""
        return _digest(self.config, self.synthetic, self.stages)

    def find(self, outputs: Path, status: str | Sequence[str] = "finished") -> Path | None:
        """Find its newest run of a status, or of several."""
        return find(outputs, self.experiment, self.identity, status, self.config.task)


def identity(cfg: DictConfig, synthetic: bool, overrides: Sequence[str]) -> str:
    """Digest what decides the weights that a training ends with, the stages that it starts from included.

    Args:
        cfg: composed config of the run.
        synthetic: whether it trains on a stand-in, whose parameters count only then.
        overrides: of the run, which its stages share in part.

    Returns:
        16 hexadecimal digits.
    """
    return _digest(cfg, synthetic, stages_of(cfg, synthetic, overrides))


def _digest(cfg: DictConfig, synthetic: bool, stages: Mapping[str, Stage]) -> str:
    content = plain(cfg)
    kept = {key: content[key] for key in DECISIVE}
    kept["trainer"] = {key: content["trainer"][key] for key in DECISIVE_TRAINER}
    left_out = PLACES if synthetic else (*PLACES, "synthetic")
    kept["data"] = {key: value for key, value in content["data"].items() if key not in left_out}
    if library := content["model"].get("library"):  # another DataModule
        kept["model"] = {**content["model"], "library": {k: v for k, v in library.items() if k not in left_out}}
    if extra := content["data"].get("extra"):
        kept["extra"] = stages[extra].identity if extra in stages else _path(extra)
    kept["callbacks"] = {name: entry for name, entry in content["callbacks"].items() if name not in WATCHING and entry}
    if rounds := content.get("rounds"):
        kept["rounds"] = rounds
    kept["synthetic"] = synthetic
    kept["init"] = [stages[entry].identity if entry in stages else _path(entry) for entry in content["init"]]
    text = json.dumps(_without_modules(kept), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_modules(tree: Any) -> Any:
    """Name classes without their modules: one that moves is the same."""
    if isinstance(tree, list):
        return [_without_modules(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        key: value.rsplit(".", 1)[-1] if key == "_target_" else _without_modules(value) for key, value in tree.items()
    }


def stages_of(cfg: DictConfig, synthetic: bool, overrides: Sequence[str], depth: int = 0) -> dict[str, Stage]:
    """Compose the stages that `init` names.

    Args:
        cfg: composed config of the run.
        synthetic: whether it trains on a stand-in.
        overrides: of the run, which its stages share in part.
        depth: of the run among the stages; 0 for the one that was asked for.

    Returns:
        The stages by name.

    Raises:
        InputError: a stage gives something else than its experiment and overrides, or starts from itself.
    """
    shared, listed = _shared(overrides), plain(cfg.stages)
    used = {*cfg.init, cfg.data.get("extra")}
    return {
        name: _stage(name, about, cfg, synthetic, shared, depth + 1) for name, about in listed.items() if name in used
    }


def step(name: str, about: Mapping[str, Any], cfg: DictConfig, synthetic: bool, overrides: Sequence[str]) -> Stage:
    """Compose a stage that the config does not list, such as a step of a round.

    Args:
        name: for messages.
        about: its experiment and overrides.
        cfg: composed config of the run.
        synthetic: whether the run trains on a stand-in.
        overrides: of the run, which the stage shares in part.
    """
    return _stage(name, about, cfg, synthetic, _shared(overrides), 1)


def _shared(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if override.startswith(SHARED)]


def _stage(name: str, about: Any, cfg: DictConfig, synthetic: bool, shared: Sequence[str], depth: int) -> Stage:
    if depth > DEEPEST:
        raise InputError(f"stages.{name}: {cfg.name} has stages of stages, {DEEPEST} deep: one starts from itself")
    if not isinstance(about, dict) or not {"experiment"} <= about.keys() <= {"experiment", "overrides"}:
        raise InputError(f"stages.{name}={about}: give {{experiment: NAME, overrides: [KEY=VALUE, ...]}}")
    arguments = (f"experiment={about['experiment']}", *about.get("overrides", []), *shared)
    roots = {f"roots.{dataset}": folder for dataset, folder in cfg.roots.items() if folder is not None}
    config = _composed(arguments, roots)
    if same := _same_data(cfg, config):
        config = _composed(arguments, roots := roots | same)
    given = tuple(f"{key}={folder}" for key, folder in roots.items())
    return Stage(name, arguments, given, config, synthetic and config.data.root is None, depth)


def _same_data(cfg: DictConfig, stage: DictConfig) -> dict[str, str]:
    """The roots of a stage's data and library that a run knows of the same dataset, by key."""
    nodes = {key: [OmegaConf.select(config, key) for config in (cfg, stage)] for key in ("data", "model.library")}
    known = {own._target_: own.root for own, _ in nodes.values() if own is not None and own.root is not None}
    return {
        f"{key}.root": known[node._target_]
        for key, (_, node) in nodes.items()
        if node is not None and node.root is None and node._target_ in known
    }


def _composed(arguments: Sequence[str], roots: Mapping[str, str]) -> DictConfig:
    return compose("config", overrides=[*arguments, *(f"{key}={quoted(folder)}" for key, folder in roots.items())])


def own_data(cfg: DictConfig) -> DictConfig:
    """Return the config of a run's data without what a stage still has to write."""
    return OmegaConf.merge(cfg.data, {"extra": None}) if cfg.data.get("extra") in cfg.stages else cfg.data  # type: ignore[return-value]


def finish(cfg: DictConfig, synthetic: bool, overrides: Sequence[str]) -> None:
    """Run missing stages in order, and put what they made in their places in `init` and `data.extra`.

    Runs that share `stages_in` take turns: what one of them trains, the next finds.

    Args:
        cfg: composed config of the run that the stages are for.
        synthetic: whether it trains on a stand-in; its stages then do too, unless they have a root.
        overrides: of that run.

    Raises:
        InputError: a stage is missing and has no data or cannot be run from here, or failed.
    """
    outputs = Path(cfg.stages_in)
    stages = stages_of(cfg, synthetic, overrides)
    for stage in stages.values():
        _check_data(stage, outputs)
    cfg.init = [str(result(stages[entry], outputs)) if entry in stages else str(entry) for entry in cfg.init]
    if (extra := cfg.data.get("extra")) in stages:
        cfg.data.extra = str(result(stages[extra], outputs))


def find(
    outputs: Path, experiment: str, identity: str, status: str | Sequence[str] = "finished", task: str = "train"
) -> Path | None:
    """Find the newest training of an experiment.

    Args:
        outputs: where run folders lie.
        experiment: name of the experiment.
        identity: digest of what decides its weights.
        status: of the training, or several: `run_json.UNFINISHED` for one that was stopped.
        task: "train", or "label" for the writing of a dataset.

    Returns:
        The folder of the run, or None.
    """
    return max(run_json.find(outputs / experiment, "*", task=task, identity=identity, status=status), default=None)


def _check_data(stage: Stage, outputs: Path) -> None:
    """Refuse a missing stage without data, its own stages included, before anything is trained."""
    if stage.find(outputs):
        return
    if not stage.synthetic and stage.config.data.root is None:
        root = plain(stage.config, resolve=False)["data"]["root"].strip("${}")
        raise InputError(
            f"stage {stage.name} (experiment={stage.experiment}) is not trained yet and has no data: give {root}=DIR, "
            f"or a checkpoint in place of {stage.name} in init=[...]"
        )
    for earlier in stage.stages.values():
        _check_data(earlier, outputs)


def result(stage: Stage, outputs: Path) -> Path:
    """Return the last checkpoint or the dataset of a stage, which is run unless a finished run is found.

    Args:
        stage: to run.
        outputs: where run folders lie.

    Raises:
        InputError: it failed.
    """
    base = outputs / stage.experiment
    with writing(base):
        base.mkdir(parents=True, exist_ok=True)

    def waits(by: str) -> None:
        print(f"stage {stage.name}: waiting for {by}, which trains it in {base}", flush=True)

    held = lock.hold(base, f".{stage.identity}.lock", waits)
    try:
        folder = stage.find(outputs)
        begun = None if folder else _begun(stage, outputs)
        if begun is not None:  # another process may train it for its own sake, not as a stage
            lock.hold(begun, waits=waits).release()
            folder = stage.find(outputs)
        if folder is None:
            _train(stage, outputs, begun)
            folder = stage.find(outputs)
    finally:
        held.release()
    if folder is None:
        raise InputError(f"stage {stage.name} ended without a finished run in {base}; see the newest log.txt there")
    print(f"stage {stage.name}: {folder}", flush=True)
    return folder / (DATASET if stage.config.task == "label" else "checkpoints/last.ckpt")


def _begun(stage: Stage, outputs: Path) -> Path | None:
    """The run of a stage that was interrupted, or goes on elsewhere."""
    begun = stage.find(outputs, run_json.UNFINISHED)
    if begun is not None:
        with run_json.passed_over(begun):
            saved_config(begun)
            return begun
    return None


def _train(stage: Stage, outputs: Path, begun: Path | None) -> None:
    """Train a stage in a process of its own, from where `begun` was interrupted."""
    command = [
        sys.argv[0],
        *(f"--config-dir={folder}" for folder in own_roots(sys.argv)),
        *stage.arguments,
        *stage.roots,
    ]
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise InputError(f"stage {stage.name} is not trained yet: run `python {shlex.join(command)}` first")
    print(f"stage {stage.name}: python {shlex.join(command)}", flush=True)
    places = [f"outputs={outputs}", f"resume={begun.name if begun else 'null'}"]
    environment = {key: value for key, value in os.environ.items() if key not in OF_THIS_RUN}
    try:
        failed = interruption.run([sys.executable, *command, *places], environment)
    except Stopped as stop:
        stop.text = f"stopped in stage {stage.name} by {stop.signal}; the same command goes on with it"
        raise
    if failed:
        raise InputError(f"stage {stage.name} failed: `python {shlex.join(command)}`; see {outputs / stage.experiment}")


def _path(entry: str) -> str:
    return entry if entry.startswith(standin.PREFIX) else str(Path(entry).absolute())
