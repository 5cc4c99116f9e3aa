"""Every experiment composes and instantiates, in both profiles, and its parts fit together."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from partwise import cli, labels
from partwise.configs import differences, plain
from partwise.runs import make_task
from partwise.sweeps import override, read_sweep

ROOT = Path(__file__).parents[2] / "experiments"
NAMES = sorted(cli.experiments(ROOT))


def composed(name, *overrides):
    with initialize_config_dir(str(ROOT), version_base="1.3"):
        return compose("config", overrides=[f"experiment={name}", *overrides])


def ready_to_train(cfg, label_set):
    """The task of an experiment, whose optimiser and schedule could be made."""
    task = make_task(cfg, label_set)
    task.trainer = SimpleNamespace(estimated_stepping_batches=10 * cfg.trainer.max_epochs)
    optimizers, schedulers = task.configure_optimizers()
    assert 0.0 in {group["weight_decay"] for group in optimizers[0].param_groups}
    assert len(schedulers) == 1
    return task


@pytest.mark.parametrize("profile", ["demo", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_it_instantiates_and_fits_its_data(name, profile):
    cfg = composed(name, f"profile={profile}")
    assert set(cfg.init) <= set(cfg.stages)
    cfg.init = []  # they are not trained here
    if "pretrained" in cfg.model.network:
        cfg.model.network.pretrained = False
    assert cfg.name == name
    data = instantiate(cfg.data)
    assert data.synthetic
    assert cfg.num_classes == data.label_set.num_classes
    assert data.label_set == getattr(labels, cfg.label_set.upper())
    task = ready_to_train(cfg, data.label_set)
    instantiate(cfg.trainer, accelerator="cpu", logger=False, enable_checkpointing=False)
    assert cfg.monitor.removeprefix("val/") in task.val_metrics.compute()


@pytest.mark.parametrize("name", NAMES)
def test_the_demo_shrinks_and_says_so(name):
    paper, demo = plain(composed(name, "profile=paper")), plain(composed(name))
    assert not demo["model"]["network"].get("pretrained")
    changed = {row.split(" ")[0] for row in differences(paper, demo)}
    assert {"image_size", "trainer.max_epochs"} <= changed
    assert changed & {"model.network.width", "model.network.flow_width"}
    targets = ["model._target_", "model.network._target_", "model.optimizer._target_", "data._target_"]
    for key in targets:  # the method is never another one
        assert OmegaConf.select(OmegaConf.create(paper), key) == OmegaConf.select(OmegaConf.create(demo), key)


def test_the_papers_recipe_is_the_papers():
    cfg = plain(composed("parsing_rcnn_vip", "profile=paper"))
    assert cfg["image_size"] == 512
    assert cfg["trainer"]["gradient_clip_val"] == 5.0
    assert cfg["trainer"]["max_epochs"] == 150
    optimizer = cfg["model"]["optimizer"]
    assert (optimizer["_target_"], optimizer["lr"], optimizer["momentum"]) == ("torch.optim.SGD", 1e-3, 0.9)
    assert optimizer["weight_decay"] == 2e-4
    assert cfg["model"]["schedule"]["milestones"] == [70]
    assert cfg["data"]["flip"] == 0.5


def test_every_trainer_and_logger_composes():
    for group in ("trainer", "logger"):
        for file in (ROOT / group).glob("*.yaml"):
            assert composed(NAMES[0], f"{group}={file.stem}")[group]


@pytest.mark.parametrize("file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_cell_of_every_sweep_could_train(file):
    sweep = read_sweep(file)
    for cell in sweep.cells():
        values = {key: override(value) for key, value in {**sweep.fixed, **cell}.items()}
        name = values.pop("experiment")
        cfg = composed(name, *(f"{key}={value}" for key, value in values.items()))
        assert cfg.name == name
        assert set(cfg.init) <= set(cfg.stages)
        cfg.init = []
        ready_to_train(cfg, getattr(labels, cfg.label_set.upper()))
