"""Compose an experiment, instantiate it, then train, test or predict. `python run.py` lists the experiments.

What is heavy is imported where it is used, so that the list, --help and a mistyped name are answered at once.
"""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from partwise import cli
from partwise.errors import InputError

ROOT = Path(__file__).resolve().parent / "experiments"


def train(cfg: DictConfig) -> None:
    """Fit, then score the trained network beside the untrained one and a majority guess, and show pictures."""
    from partwise import report, runs, stages
    from partwise.nn.multi_scale import with_views

    data = instantiate(cfg.data)
    data.check()
    identity = stages.identity(cfg, data.synthetic, runs.overrides())
    cfg.init = stages.finish(cfg, data.synthetic, runs.overrides())
    run = runs.start(cfg, data.synthetic, identity)
    task = runs.make_task(cfg, data.label_set)
    trainer = runs.make_trainer(cfg, run, data)
    trainer.fit(task, data, ckpt_path=run.checkpoint, weights_only=True)
    trainer.save_checkpoint(run.last)
    task.network = with_views(task.network, data.label_set, **cfg.testing.views)
    untrained = runs.make_task(cfg, data.label_set)
    simplest = runs.make_task(cfg, data.label_set, task.simplest(data))
    tasks = {"trained": task, "untrained": untrained, simplest.network.name: simplest}
    report.finish(run, runs.make_scorer(cfg, run), data, tasks)


def test(cfg: DictConfig) -> None:
    """Score a checkpoint on the test split."""
    from partwise import checkpoints, report, runs
    from partwise.nn.multi_scale import with_views

    if cfg.ckpt is None:
        raise InputError("task=test needs a checkpoint: ckpt=PATH")
    checkpoint = checkpoints.load(cfg.ckpt)
    cfg.image_size = checkpoint[checkpoints.KEY]["image_size"]
    data = instantiate(cfg.data)
    checkpoints.check_fit(checkpoint, cfg.name, data.label_set, cfg.ckpt)
    data.check("test")
    network = with_views(checkpoints.build_network(checkpoint, cfg.ckpt), data.label_set, **cfg.testing.views)
    run = runs.start(cfg, data.synthetic)
    task = runs.make_task(cfg, data.label_set, network)
    report.finish(run, runs.make_scorer(cfg, run), data, {"trained": task})


def predict(cfg: DictConfig) -> None:
    """Parse an image, a folder, a glob or a video with a checkpoint alone."""
    from partwise import checkpoints, report, runs
    from partwise.predict import predict as parse

    if cfg.ckpt is None or cfg.input is None:
        raise InputError("task=predict needs ckpt=PATH and input=PATH (image, folder, glob or video)")
    asked = None if cfg.name == cli.FROM_CHECKPOINT else cfg.name
    parser = checkpoints.load_parser(cfg.ckpt, experiment=asked, **runs.parsing_options(cfg))
    output = Path(cfg.output or Path(cfg.outputs) / "predict" / Path(cfg.input).stem)
    report.show_summary(parse(parser, cfg.input, output))


@hydra.main(version_base="1.3", config_path=str(ROOT), config_name="config")
def main(cfg: DictConfig) -> None:
    """Run the task that the config asks for."""
    with cli.one_line_errors():
        {"train": train, "test": test, "predict": predict}[cli.task(cfg.task)](cfg)


if __name__ == "__main__":
    cli.run(main, ROOT)
