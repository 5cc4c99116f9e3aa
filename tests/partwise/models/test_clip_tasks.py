"""Tasks on clips, whole videos and flow: they train, are scored, and come back from their checkpoints."""

import pytest
import pytorch_lightning as pl
import small_networks
import torch
from small_networks import build

from data_modules.davis import DAVISDataModule
from data_modules.flying_chairs import FlyingChairsDataModule
from data_modules.loading.contexts import KeyFrames, Neighbours
from data_modules.synthetic.layouts.davis import DAVISWriter
from data_modules.synthetic.layouts.flying_chairs import FlyingChairsWriter
from data_modules.vip import VIPDataModule
from partwise.checkpoints.loading import start_from
from partwise.errors import InputError
from partwise.labels import FOREGROUND, VIP
from partwise.metrics.davis import DAVISMetrics
from partwise.metrics.parts_and_persons import VIPMetrics
from partwise.models.flow_task import FlowTask
from partwise.models.task import ParsingTask
from partwise.nn.flownet import FlowNetS
from partwise.predict.load import load_parser
from partwise.run.checkpointing import AtomicCheckpointIO, Provenance

DAVIS_SIZE = {"num_classes": 2, "image_size": (64, 96)}


def optimizer(groups):
    return torch.optim.SGD(groups, lr=0.01)


def trainer(folder, **options):
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
             "enable_checkpointing": False, "use_distributed_sampler": False, "default_root_dir": str(folder),
             "num_sanity_val_steps": 0, "plugins": [AtomicCheckpointIO()], "max_epochs": 1,
             "limit_train_batches": 2}  # fmt: skip
    return pl.Trainer(**(quiet | options))


@pytest.fixture(scope="module")
def davis(tmp_path_factory):
    root = tmp_path_factory.mktemp("davis")
    DAVISWriter(sequences={"train": 2, "val": 2}, frames_per_sequence=7, size=(64, 96), workers=1).write(root)
    return root


@pytest.mark.parametrize(
    ("network", "around"),
    [
        (small_networks.aten(key_interval=2, encoding_range=1), KeyFrames(2, 1)),
        (small_networks.fgfa(reach=1), Neighbours(reach=1, spread=2)),
    ],
    ids=["aten", "fgfa"],
)
def test_clips_of_vip_train_and_are_scored(network, around, vip_stand_in, tmp_path):
    data = VIPDataModule(root=vip_stand_in, image_size=64, around=around, batch_size=3, num_workers=0)
    run, task = trainer(tmp_path), ParsingTask(build(network), VIP, VIPMetrics, optimizer)
    before = [p.detach().clone() for p in task.parameters()]
    run.fit(task, data)
    assert any(not torch.equal(a, b) for a, b in zip(before, task.parameters(), strict=True))
    run.test(task, data, verbose=False)
    assert {"test/miou", "test/human_ap_50", "test/part_ap_vol"} <= set(run.callback_metrics)
    simplest = ParsingTask(task.simplest(data), VIP, VIPMetrics)
    run.test(simplest, data, verbose=False)
    assert run.callback_metrics["test/miou"] > 0


def test_whole_videos_of_davis_score_as_clips_of_their_frames(davis, tmp_path):
    torch.manual_seed(0)
    network = build(small_networks.aten(frame={**DAVIS_SIZE, "persons": False}))
    torch.nn.init.normal_(network.heads.parsing.branches[0].weight)  # some foreground
    task = ParsingTask(network, FOREGROUND, DAVISMetrics, optimizer)
    values = []
    for sequences in (False, True):
        data = DAVISDataModule(root=davis, image_size=(64, 96), crop=None, around=KeyFrames(3, 2), sequences=sequences,
                               batch_size=2, num_workers=0)  # fmt: skip
        run = trainer(tmp_path)
        run.test(task, data, verbose=False)
        values.append({k: float(v) for k, v in run.callback_metrics.items()})
    clips, stream = values
    assert set(clips) >= {"test/J_mean", "test/J_recall", "test/J_decay", "test/F_mean"}
    assert 0 < clips["test/J_mean"] < 1
    assert stream == pytest.approx(clips, abs=1e-3)


def test_the_frame_model_scores_whole_videos(davis, tmp_path):
    data = DAVISDataModule(root=davis, image_size=(64, 96), crop=None, sequences=True, batch_size=2, num_workers=0)
    network = build(small_networks.parsing_rcnn(**DAVIS_SIZE, persons=False))
    task = ParsingTask(network, FOREGROUND, DAVISMetrics, optimizer)
    run = trainer(tmp_path)
    run.fit(task, data)
    run.test(task, data, verbose=False)
    assert 0 <= run.callback_metrics["test/J_mean"] <= 1


def test_persons_cannot_be_learnt_where_there_are_none(davis, tmp_path):
    data = DAVISDataModule(root=davis, image_size=(64, 96), crop=None, around=KeyFrames(2, 1), num_workers=0)
    task = ParsingTask(build(small_networks.aten(frame=DAVIS_SIZE)), FOREGROUND, VIPMetrics, optimizer)
    with pytest.raises(InputError, match="persons are to be parsed but the data have none"):
        trainer(tmp_path, limit_val_batches=0).fit(task, data)


@pytest.fixture(scope="module")
def flow_checkpoint(tmp_path_factory):
    """A flow network trained for two steps, and its metrics."""
    root = tmp_path_factory.mktemp("chairs")
    FlyingChairsWriter(pairs={"train": 4, "val": 3}, size=(64, 96), workers=1).write(root)
    data = FlyingChairsDataModule(root=root, crop=(64, 64), batch_size=2, num_workers=0)
    about = Provenance(
        experiment="flownet_s_chairs", network={"_target_": "partwise.nn.flownet.FlowNetS", "width": 0.125},
        label_set=FOREGROUND, image_size=[64, 64], synthetic=True,
    )  # fmt: skip
    run = trainer(root, callbacks=[about])
    task = FlowTask(FlowNetS(0.125), FOREGROUND, lambda groups: torch.optim.Adam(groups, lr=1e-3))
    run.fit(task, data)
    run.save_checkpoint(root / "flow.ckpt")
    run.test(task, data, verbose=False)
    trained = run.callback_metrics["test/epe"].item()
    run.test(FlowTask(task.simplest(data), FOREGROUND), data, verbose=False)
    lengths = [data.dataset("test")[i]["flow"].norm(dim=0).mean().item() for i in range(3)]
    assert run.callback_metrics["test/epe"].item() == pytest.approx(sum(lengths) / 3, rel=1e-4)  # zero flow's error
    assert trained > 0
    return root / "flow.ckpt"


def test_aten_starts_from_a_frame_model_and_a_flow_network(flow_checkpoint, vip_stand_in, tmp_path):
    description = small_networks.parsing_rcnn()
    frame = build(description)
    about = Provenance(
        experiment="parsing_rcnn_vip", network=description, label_set=VIP, image_size=64, synthetic=True
    )  # fmt: skip
    data = VIPDataModule(root=vip_stand_in, image_size=64, batch_size=3, num_workers=0)
    run = trainer(tmp_path, limit_train_batches=1, limit_val_batches=0, callbacks=[about])
    run.fit(ParsingTask(frame, VIP, VIPMetrics, optimizer), data)
    run.save_checkpoint(tmp_path / "frame.ckpt")
    network = build(small_networks.aten())
    start_from(network, [tmp_path / "frame.ckpt", flow_checkpoint])
    flow = torch.load(flow_checkpoint, weights_only=True)["state_dict"]
    for part, source in (("feature", frame.feature), ("heads", frame.heads)):
        own = getattr(network, part).state_dict()
        assert all(torch.equal(v, own[k]) for k, v in source.state_dict().items())
    own = network.flow.net.state_dict()
    assert all(torch.equal(v, own[k.removeprefix("network.")]) for k, v in flow.items())
    with pytest.raises(InputError, match="no part of which fits FlowNetS"):
        start_from(FlowNetS(0.125), [tmp_path / "frame.ckpt"])
    with pytest.raises(InputError, match="do not fit"):
        start_from(build(small_networks.aten(frame={"width": 16})), [tmp_path / "frame.ckpt"])


def test_a_checkpoint_of_aten_parses_videos_as_a_stream(vip_stand_in, tmp_path):
    description = small_networks.aten(key_interval=2)
    about = Provenance(experiment="aten_vip", network=description, label_set=VIP, image_size=64, synthetic=True)
    data = VIPDataModule(root=vip_stand_in, image_size=64, around=KeyFrames(2, 1), batch_size=3, num_workers=0)
    run = trainer(tmp_path, limit_train_batches=1, limit_val_batches=0, callbacks=[about])
    run.fit(ParsingTask(build(description), VIP, VIPMetrics, optimizer), data)
    run.save_checkpoint(tmp_path / "aten.ckpt")
    parser = load_parser(tmp_path / "aten.ckpt", torch.device("cpu"), "aten_vip")
    frames = [data.dataset("test").picture(0)] * 5  # type: ignore[attr-defined]
    parsings = list(parser.stream(frames))
    assert [p["parts"].shape for p in parsings] == [f.shape[:2] for f in frames]
    assert list(parser.stream([])) == []
    rounded = load_parser(tmp_path / "aten.ckpt", torch.device("cpu"), bfloat16=True, channels_last=True)
    for a, b in zip(parsings, rounded.stream(frames), strict=True):
        assert (a["parts"] == b["parts"]).float().mean() > 0.9
        assert not torch.is_autocast_enabled("cpu")  # the caller's own convolutions stay as they are
