"""Compose an experiment, instantiate it, then train, test or predict. `python run.py` lists the experiments."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig
from partwise.predict import predict as parse_media

from partwise import checkpoints, cli, report, runs
from partwise.errors import InputError
from partwise.models.task import ParsingTask

ROOT = Path(__file__).resolve().parent / "experiments"


def train(cfg: DictConfig) -> None:
    """Fit, then score the trained network beside the untrained one and a majority guess, and show pictures."""
    data: pl.LightningDataModule = instantiate(cfg.data)
    data.check()
    run = runs.start(cfg, data.synthetic)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    task: ParsingTask = instantiate(cfg.model, label_set=data.label_set)
    trainer = runs.make_trainer(cfg, run, data)
    trainer.fit(task, data, ckpt_path=run.checkpoint)
    trainer.save_checkpoint(run.last)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    others = {
        "untrained": instantiate(cfg.model, label_set=data.label_set),
        "majority": ParsingTask(report.majority_class(data), data.label_set),
    }
    report.finish(run, runs.make_scorer(cfg, run), data, {"trained": task, **others})


def test(cfg: DictConfig) -> None:
    """Score a checkpoint on the test split."""
    if cfg.ckpt is None:
        raise InputError("task=test needs a checkpoint: ckpt=PATH")
    data: pl.LightningDataModule = instantiate(cfg.data)
    checkpoint = checkpoints.load(cfg.ckpt)
    checkpoints.check_fit(checkpoint, cfg.name, data.label_set, cfg.ckpt)
    run = runs.start(cfg, data.synthetic)
    network = checkpoints.build_network(checkpoint, cfg.ckpt)
    task: ParsingTask = instantiate(cfg.model, network=network, label_set=data.label_set)
    report.finish(run, runs.make_scorer(cfg, run), data, {"trained": task})


def predict(cfg: DictConfig) -> None:
    """Parse an image, a folder, a glob or a video with a checkpoint alone."""
    if cfg.ckpt is None or cfg.input is None:
        raise InputError("task=predict needs ckpt=PATH and input=PATH (image, folder, glob or video)")
    asked = None if cfg.name == cli.FROM_CHECKPOINT else cfg.name
    parser = checkpoints.load_parser(cfg.ckpt, runs.device(cfg.trainer.accelerator), asked)
    output = Path(cfg.output or Path(cfg.outputs) / "predict" / Path(cfg.input).stem)
    report.show_summary(parse_media(parser, cfg.input, output), output)


@hydra.main(version_base="1.3", config_path=str(ROOT), config_name="config")
def main(cfg: DictConfig) -> None:
    """Run the task that the config asks for."""
    {"train": train, "test": test, "predict": predict}[cli.choice(cfg.task)](cfg)


if __name__ == "__main__":
    sys.exit(cli.run(main, ROOT))
