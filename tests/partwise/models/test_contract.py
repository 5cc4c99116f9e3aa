"""What every parsing task must do: learn, round-trip through a checkpoint, and mind what goes wrong."""

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import small_networks
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from data_modules.vip import VIPDataModule
from partwise.checkpoints.loading import build_network, check_fit, load
from partwise.errors import InputError
from partwise.labels import FACTS, VIP
from partwise.metrics.parts_and_persons import VIPMetrics
from partwise.models import finite
from partwise.models.baselines.majority import MajorityClass
from partwise.models.task import ParsingTask
from partwise.predict.frames import FrameParser
from partwise.predict.load import load_parser
from partwise.run.checkpointing import AtomicCheckpointIO, Provenance

NETWORK = small_networks.parsing_rcnn(width=16, box_width=32, backbone_multiplier=1.0)


def make_network():
    return small_networks.build(NETWORK)


def make_task(lr=0.02):
    return ParsingTask(make_network(), VIP, VIPMetrics, lambda groups: torch.optim.SGD(groups, lr=lr, momentum=0.9))


def trainer(folder, **options):
    defaults = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
                "enable_checkpointing": False, "use_distributed_sampler": False, "default_root_dir": str(folder),
                "num_sanity_val_steps": 0, "plugins": [AtomicCheckpointIO()]}  # fmt: skip
    return pl.Trainer(**(defaults | options))


@pytest.fixture
def data(vip_stand_in):
    return VIPDataModule(root=vip_stand_in, image_size=64, batch_size=3, num_workers=0)


def test_one_epoch_and_a_test_run_through(data, tmp_path):
    run = trainer(tmp_path, max_epochs=1)
    task = make_task()
    run.fit(task, data)
    assert run.global_step == len(data.train_dataloader())
    run.test(task, data, verbose=False)
    values = run.callback_metrics
    assert {"test/miou", "test/human_ap_50", "test/part_ap_vol", "test/part_authors_ap_vol"} <= set(values)
    assert 0 <= values["test/miou"] <= 100


@pytest.mark.process
def test_it_overfits_one_batch(data):
    task = make_task()
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    optimizer = torch.optim.SGD(task.parameters(), lr=0.02, momentum=0.9)
    history = []
    for _ in range(40):
        losses = task.losses(batch)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(task.parameters(), 5.0)
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    assert sum(history[-1].values()) < 0.6 * sum(history[0].values())
    assert history[-1]["parsing"] < 0.5 * history[0]["parsing"]


@pytest.fixture(scope="module")
def trained(vip_stand_in, tmp_path_factory):
    """A task after one step, and its checkpoint, which no test may change."""
    folder, task = tmp_path_factory.mktemp("trained"), make_task()
    about = Provenance(experiment="parsing_rcnn_vip", network=NETWORK, label_set=VIP, image_size=64, synthetic=True)
    run = trainer(folder, max_epochs=1, limit_train_batches=1, limit_val_batches=0, callbacks=[about])
    run.fit(task, VIPDataModule(root=vip_stand_in, image_size=64, batch_size=3, num_workers=0))
    run.save_checkpoint(folder / "some.ckpt")
    return task, folder / "some.ckpt"


def test_a_checkpoint_alone_rebuilds_the_parser(data, trained):
    task, file = trained
    assert not list(file.parent.glob("*.tmp"))
    parser = load_parser(file, torch.device("cpu"))
    assert parser.label_set == VIP
    frame = data.dataset("test").picture(0)
    (parsing,) = parser.stream([frame])
    assert parsing["parts"].shape == frame.shape[:2]
    rebuilt = build_network(load(file), file).state_dict()
    assert all(torch.equal(value, rebuilt[name]) for name, value in task.network.state_dict().items())


def test_streaming_in_batches_equals_frame_by_frame(data, tmp_path):
    network = make_network().eval()
    frames = [data.dataset("test").picture(i) for i in range(3)]
    parser = FrameParser(network, VIP, 64, torch.device("cpu"))
    batched, single = list(parser.stream(frames)), [parsing for frame in frames for parsing in parser.stream([frame])]
    for a, b in zip(batched, single, strict=True):
        assert (a["parts"] == b["parts"]).float().mean() > 0.999


def test_a_video_has_one_size():
    frames = [np.zeros((size, 64, 3), np.uint8) for size in (48, 50)]
    with pytest.raises(InputError, match="a video has one size"):
        list(FrameParser(make_network(), VIP, 64, torch.device("cpu")).stream(frames))


def test_the_majority_guess_cannot_be_trained(data):
    task = ParsingTask(MajorityClass(0), VIP, VIPMetrics, lambda groups: torch.optim.SGD(groups, lr=0.1))
    with pytest.raises(InputError, match="MajorityClass has no losses"):
        task.losses(data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0))


def test_a_checkpoint_of_another_experiment_or_label_set_is_refused(trained):
    _, file = trained
    with pytest.raises(InputError, match=r"experiment=parsing_rcnn_vip, not tcnet_indoor"):
        load_parser(file, torch.device("cpu"), "tcnet_indoor")
    with pytest.raises(InputError, match=r"parses vip's classes, the data have facts"):
        check_fit(load(file), "parsing_rcnn_vip", FACTS, file)


def test_a_checkpoint_may_not_name_foreign_code(trained, tmp_path):
    file, content = tmp_path / "some.ckpt", torch.load(trained[1], weights_only=True)
    content["partwise"]["network"]["_target_"] = "os.system"
    torch.save(content, file)
    with pytest.raises(InputError, match=r"os\.system"):
        load_parser(file, torch.device("cpu"))


@pytest.mark.parametrize("how", ["missing", "text", "cut short", "another program's", "another model's"])
def test_unfit_checkpoints_get_one_line(how, trained, tmp_path):
    file = Path(shutil.copy(trained[1], tmp_path))
    if how == "missing":
        file.unlink()
    elif how == "text":
        file.write_text("no checkpoint")
    elif how == "cut short":
        file.write_bytes(file.read_bytes()[:1000])
    elif how == "another program's":
        torch.save({"weights": torch.zeros(3)}, file)
    else:
        content = torch.load(file, weights_only=True)
        content["partwise"]["network"]["feature"]["width"] = 24
        torch.save(content, file)
    with pytest.raises(InputError) as caught:
        load_parser(file, torch.device("cpu"))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_not_finite_stops_and_names_its_samples(data, tmp_path):
    task = make_task()
    with torch.no_grad():
        next(task.network.heads.parsing.parameters()).fill_(float("nan"))
    run = trainer(tmp_path, max_epochs=1)
    with pytest.raises(InputError, match="parsing is not finite at step 0"):
        run.fit(task, data)
    record = json.loads((tmp_path / "not_finite.json").read_text())
    assert len(record["sample_ids"]) == 3
    assert set(record["sample_ids"]) <= set(data.dataset("train").ids)


def test_no_checkpoint_is_written_behind_a_loss_that_was_not_finite(data, tmp_path, monkeypatch):
    class UnderWay:  # as a GPU's losses are
        def query(self):
            return False

        def synchronize(self):
            pass

    monkeypatch.setattr(finite, "_to_host", lambda values: (values, UnderWay()))
    task = make_task()
    with torch.no_grad():
        next(task.network.heads.parsing.parameters()).fill_(float("nan"))
    keep = ModelCheckpoint(tmp_path, "last", every_n_train_steps=1)
    run = trainer(tmp_path, max_epochs=1, enable_checkpointing=True, callbacks=[keep])
    with pytest.raises(InputError, match="parsing is not finite at step 0"):
        run.fit(task, data)
    assert not list(tmp_path.glob("*.ckpt"))
    assert len(json.loads((tmp_path / "not_finite.json").read_text())["sample_ids"]) == 3


def test_the_majority_guess_scores_its_closed_form(data, tmp_path):
    run = trainer(tmp_path)
    run.test(ParsingTask(MajorityClass(0), VIP, VIPMetrics), data, verbose=False)
    truths = [data.dataset("test")[i]["annotations"]["parts"] for i in range(len(data.dataset("test")))]
    labelled = torch.cat([t[t != 255] for t in truths])
    background = (labelled == 0).double().mean().item()
    classes = len(labelled.unique())
    assert run.callback_metrics["test/miou"].item() == pytest.approx(100 * background / classes, abs=1e-4)
    assert run.callback_metrics["test/human_ap_50"] == 0


def test_weight_decay_spares_norms_and_biases():
    task = ParsingTask(
        make_network(), VIP, VIPMetrics, lambda groups: torch.optim.SGD(groups, lr=0.1, weight_decay=1e-2)
    )
    optimizer = task.configure_optimizers()
    free = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]}
    for module in task.network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            assert (id(parameter) in free) == (isinstance(module, nn.BatchNorm2d) or name == "bias")


def test_rates_scale_the_learning_rate_of_parts_by_name():
    network = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Sequential(torch.nn.Linear(2, 2))})
    task = ParsingTask(network, VIP, VIPMetrics, partial(torch.optim.SGD, lr=0.1, weight_decay=0.01), rates={"b.0": 10})
    task.trainer = SimpleNamespace(estimated_stepping_batches=4)  # type: ignore[assignment]
    (optimizer,), _ = task.configure_optimizers()
    found = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    expected = {"a": (0.1, 0.01), "b": (1.0, 0.01)}
    for name, (rate, decay) in expected.items():
        layer = network[name] if name == "a" else network[name][0]
        assert found[id(layer.weight)] == pytest.approx((rate, decay))
        assert found[id(layer.bias)] == pytest.approx((rate, 0.0))
    with pytest.raises(InputError, match="has no part c"):
        ParsingTask(network, VIP, VIPMetrics, torch.optim.SGD, rates={"c": 2}).configure_optimizers()
