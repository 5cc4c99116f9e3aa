"""Compose an experiment, instantiate it, then train, test or predict. `python run.py` lists the experiments.

What is heavy is imported where it is used, so that the list, --help and a mistyped name are answered at once.
"""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from partwise.errors import InputError
from partwise.run import cli
from partwise.run.signals import interruption

ROOT = Path(__file__).resolve().parent / "experiments"


def train(cfg: DictConfig) -> None:
    """Fit, then score the trained network beside the untrained one and a majority guess, and show pictures."""
    from partwise.predict.views import with_views
    from partwise.run import report, rounds, stages
    from partwise.run.build import make_baselines, make_scorer, make_task, make_trainer
    from partwise.run.configs import overrides
    from partwise.run.start import start
    from partwise.run.stopping import run_stops

    data = instantiate(stages.own_data(cfg))
    data.check()
    identity = stages.identity(cfg, data.synthetic, overrides())
    stages.finish(cfg, data.synthetic, overrides())
    as_started = cfg.copy()  # rounds put in `init` what they end with
    history = rounds.finish(cfg, data.synthetic, overrides())
    data = instantiate(cfg.data)
    run = start(cfg, data.synthetic, identity)
    with run_stops(run, training=True):
        rounds.record(history, run.folder)
        task = make_task(cfg, data.label_set)
        trainer = make_trainer(cfg, run, data)
        trainer.fit(task, data, ckpt_path=run.checkpoint, weights_only=True)
        trainer.save_checkpoint(run.last)
        interruption.stop_if_asked()
        task.network = with_views(task.network, data.label_set, **cfg.testing.views)
        tasks = {"trained": task, **make_baselines(as_started, data, task)}
        report.finish(run, make_scorer(cfg, run), data, tasks)


def label(cfg: DictConfig) -> None:
    """Write a dataset: labels of pictures or videos that have none."""
    from partwise.predict.merge_inputs import read_label_set
    from partwise.run import stages
    from partwise.run.build import make_scorer, make_task
    from partwise.run.configs import overrides
    from partwise.run.devices import device
    from partwise.run.start import start
    from partwise.run.stopping import run_stops

    data = instantiate(cfg.data)
    data.check("train")
    identity = stages.identity(cfg, data.synthetic, overrides())
    stages.finish(cfg, data.synthetic, overrides())
    run = start(cfg, data.synthetic, identity)
    with run_stops(run, False, "what is labelled is kept; the same command with resume=auto goes on"):
        task = make_task(cfg, read_label_set(cfg.label_set)).to(device(cfg.trainer.accelerator))
        folder, pictures = run.folder / stages.DATASET, run.folder / "pictures"
        done = task.write_dataset(
            data=data, folder=folder, persons=cfg.persons, trainer=make_scorer(cfg, run), pictures=pictures
        )
        run.say(f"{done}: {folder}")
        for picture in sorted(pictures.glob("*.png")):
            run.say(f"{picture.stem} picture: {picture}")
        run.end("finished")


def test(cfg: DictConfig) -> None:
    """Score a checkpoint on the test split."""
    from partwise.checkpoints.loading import KEY, build_network, check_fit, load
    from partwise.predict.views import with_views
    from partwise.run import report
    from partwise.run.build import make_scorer, make_task
    from partwise.run.start import start
    from partwise.run.stopping import run_stops

    if cfg.ckpt is None:
        raise InputError("task=test needs a checkpoint: ckpt=PATH")
    checkpoint = load(cfg.ckpt)
    cfg.image_size = checkpoint[KEY]["image_size"]
    data = instantiate(cfg.data)
    check_fit(checkpoint, cfg.name, data.label_set, cfg.ckpt)
    data.check("test")
    network = with_views(build_network(checkpoint, cfg.ckpt), data.label_set, **cfg.testing.views)
    run = start(cfg, data.synthetic)
    with run_stops(run, training=False):
        task = make_task(cfg, data.label_set, network)
        report.finish(run, make_scorer(cfg, run), data, {"trained": task})


def predict(cfg: DictConfig) -> None:
    """Parse an image, a folder, a glob or a video with a checkpoint alone."""
    from partwise.predict.load import load_parser
    from partwise.predict.predict import predict as parse
    from partwise.predict.predict import usual_folder
    from partwise.run import report
    from partwise.run.build import parsing_options
    from partwise.run.stopping import prediction_stops

    if cfg.ckpt is None or cfg.input is None:
        raise InputError("task=predict needs ckpt=PATH and input=PATH (image, folder, glob or video)")
    asked = None if cfg.name == cli.FROM_CHECKPOINT else cfg.name
    parser = load_parser(cfg.ckpt, experiment=asked, **parsing_options(cfg))
    output = Path(cfg.output) if cfg.output else usual_folder(Path(cfg.outputs), cfg.input)
    with prediction_stops(output):
        report.show_summary(parse(parser, cfg.input, output))


TASKS = {"train": train, "label": label, "test": test, "predict": predict}


@hydra.main(version_base="1.3", config_path=str(ROOT), config_name="config")
def main(cfg: DictConfig) -> None:
    """Run the task that the config asks for."""
    from partwise.run.configs import plain
    from partwise.run.ranges import check_ranges

    def log() -> Path | None:
        return Path(cfg.run.folder, "log.txt") if cfg.run.folder else None

    with cli.one_line_errors(log), interruption.taken():
        if cfg.task not in TASKS:
            raise InputError(f"task={cfg.task} does not exist; it is one of {', '.join(TASKS)}")
        check_ranges(plain(cfg))
        TASKS[cfg.task](cfg)


if __name__ == "__main__":
    cli.run(main, ROOT)
