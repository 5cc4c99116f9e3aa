"""The backbone, and its frozen statistics through all of a run; "pre-trained" weights are random ones on disk."""

from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from commands import only_run, run_py
from composing import composed
from hydra.utils import instantiate
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from safetensors.torch import load_file, save_file
from torch import nn

from data_modules.synthetic.layouts.davis import DAVISWriter
from partwise.checkpoints.loading import build_network, load, start_from
from partwise.errors import InputError
from partwise.nn.backbone import Backbone, FrozenStatistics, freeze_statistics
from partwise.run.build import make_task, make_trainer
from partwise.run.folder import Run

ROOT = Path(__file__).parents[3]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """HF_HOME with a file of ResNet-18's weights where timm looks for it."""
    home = tmp_path_factory.mktemp("huggingface")
    torch.manual_seed(0)
    state = timm.create_model("resnet18", pretrained=False).state_dict()
    for value in state.values():
        if value.ndim == 1:  # of batch norm; timm starts the last gamma of a block at zero, as no trained one is
            value.uniform_(0.5, 1.5)
    repository = home / "hub" / f"models--{timm.get_pretrained_cfg('resnet18').hf_hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "snapshots/0").mkdir(parents=True)
    (repository / "refs/main").write_text("0")
    save_file(state, repository / "snapshots/0/model.safetensors")
    return home


@pytest.fixture
def pretrained(weights, monkeypatch):
    """timm finds the weights."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(weights / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def roots(vip_stand_in, tmp_path_factory):
    """A small stand-in of each dataset."""
    davis = tmp_path_factory.mktemp("davis")
    DAVISWriter(sequences={"train": 2, "val": 2}, frames_per_sequence=3, size=(64, 96), workers=1).write(davis)
    return {"vip": vip_stand_in, "davis": davis}


def small(name, roots):
    """Overrides that leave the paper's recipe its method, and take its size."""
    dataset = name.rsplit("_", 1)[1]
    given = {
        "experiment": name, "profile": "paper", "init": "[]", "data.root": roots[dataset], "data.num_workers": 0,
        "image_size": {"vip": 64, "davis": "[64,96]"}[dataset], "trainer.accelerator": "cpu",
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 2, "trainer.check_val_every_n_epoch": 1, "trainer.limit_val_batches": 1,
        "model.schedule.milestones": "[1]", "trainer.precision": "32-true", "model.optimizer.lr": 0.1,
    }  # fmt: skip
    frame = "model.network" if name.startswith("parsing_rcnn") else "model.network.frame"
    given |= {f"{frame}.feature.backbone": "resnet18", f"{frame}.feature.width": 8}
    if dataset == "vip":
        given |= {f"{frame}.heads.box_width": 16, f"{frame}.heads.rois": 8}
    if name.startswith(("aten", "dff", "fgfa")):
        given |= {"model.network.flow.width": 0.125}
    if name.startswith("aten"):
        given |= {"model.network.key_interval": 2, "model.network.encoding_range": 1}
    if name.startswith("fgfa"):
        given |= {"model.network.embedding": "[8,8,8]", "model.network.reach": 1}
    if dataset == "davis":
        given |= {"data.crop": "null"}
    return [f"{key}={value}" for key, value in given.items()]


def fit(overrides, folder, checkpoint=None):
    """A run's task, trained and validated, and the folder of its checkpoints."""
    cfg = composed(*overrides)
    data = instantiate(cfg.data)
    task = make_task(cfg, data.label_set)
    before = {name: value.clone() for name, value in task.network.feature.backbone.state_dict().items()}
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    run = Run(folder, checkpoint is not None)
    trainer = make_trainer(cfg, run, data)
    trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    assert any(name.startswith("val/") for name in trainer.callback_metrics)
    trainer.save_checkpoint(run.last)
    return before, task


def is_statistic(name):
    return name.endswith(STATISTICS)


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "averaged"),
    [
        ("aten_vip", []), ("aten_davis", ["ema=0.9"]), ("dff_vip", []), ("fgfa_vip", []),
        ("parsing_rcnn_vip", ["ema=0.9"]), ("parsing_rcnn_davis", []),
    ],
)  # fmt: skip
def test_pretrained_statistics_stay_through_training_validation_and_resuming(
    name, averaged, roots, pretrained, weights, tmp_path
):
    overrides = [*small(name, roots), *averaged]
    before, task = fit(overrides, tmp_path / "one")
    (file,) = weights.rglob("model.safetensors")
    assert torch.equal(before["body.bn1.running_mean"], load_file(file)["bn1.running_mean"])
    again = [*overrides, "trainer.max_epochs=2"]
    continued = fit(again, tmp_path / "two", tmp_path / "one/checkpoints/last.ckpt")[1]
    for trained in (task, continued):
        after = trained.network.feature.backbone.state_dict()
        norms = {n for n, m in trained.network.feature.backbone.named_modules() if isinstance(m, FrozenStatistics)}
        assert len(norms) == 20
        assert all(torch.equal(value, after[n]) for n, value in before.items() if is_statistic(n))
        for norm in norms:
            assert not torch.equal(before[f"{norm}.weight"], after[f"{norm}.weight"])
            assert not torch.equal(before[f"{norm}.bias"], after[f"{norm}.bias"])


@pytest.mark.ddp
def test_two_processes_leave_pretrained_statistics_alone(roots, weights, tmp_path):
    run_py(*small("parsing_rcnn_davis", roots), f"outputs={tmp_path}", "trainer=ddp", "trainer.devices=2",
           HF_HOME=str(weights), HF_HUB_OFFLINE="1")  # fmt: skip
    trained = torch.load(only_run(tmp_path) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    (stored,) = weights.rglob("model.safetensors")
    for name, value in load_file(stored).items():
        if is_statistic(name):
            assert torch.equal(value, trained[f"network.feature.backbone.body.{name}"])


@pytest.mark.process
def test_a_checkpoint_starts_frozen_and_free_networks_alike(roots, pretrained, tmp_path):
    overrides = small("parsing_rcnn_davis", roots)
    _, task = fit(overrides, tmp_path)
    file = tmp_path / "checkpoints/last.ckpt"
    free = build_network(load(file), file)
    norms = [m for m in free.feature.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20  # what scores needs no freezing
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = task.network.eval().feature(images)
        assert torch.equal(free.feature(images), expected)
    cfg = composed(*overrides, f"init=['{file}']")
    network = make_task(cfg, task.label_set).network
    assert network.training
    with torch.no_grad():
        assert torch.equal(network.feature(images), expected)
    task.network.feature.backbone.load_state_dict(free.feature.backbone.state_dict())
    free.feature.backbone.load_state_dict(task.network.feature.backbone.state_dict())
    start_from(free, [file])


def test_frozen_statistics_equal_batch_norm_in_evaluation_with_its_gradients():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    for tensor in norm.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2.0)
    frozen = FrozenStatistics(nn.BatchNorm2d(4))
    frozen.load_state_dict(norm.state_dict())
    x = torch.randn(3, 4, 5, 6, requires_grad=True)
    results = []
    for module in (norm.eval(), frozen.train()):
        module(x).square().sum().backward()
        results.append([module(x).detach(), module.weight.grad, module.bias.grad, x.grad.clone()])
        x.grad = None
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


def test_synchronising_batch_norm_passes_frozen_statistics_by():
    body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    freeze_statistics(body)
    network = TorchSyncBatchNorm().apply(nn.Sequential(body, nn.BatchNorm2d(4)))
    assert type(network[0][1]) is FrozenStatistics
    assert isinstance(network[1], nn.SyncBatchNorm)


def test_norms_that_do_more_than_normalise_are_refused():
    class Activated(nn.BatchNorm2d):
        pass

    with pytest.raises(InputError, match="Activated in the pre-trained backbone cannot be frozen"):
        freeze_statistics(nn.Sequential(Activated(4)))


def test_statistics_train_from_scratch():
    backbone = Backbone("resnet18", pretrained=False)
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20
    before = norms[0].running_mean.clone()
    backbone(torch.rand(2, 3, 64, 64))
    assert not torch.equal(norms[0].running_mean, before)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_strides_are_the_papers_and_res5_is_dilated(name):
    backbone = Backbone(name, pretrained=False).eval()
    pool1, res5 = backbone(torch.rand(1, 3, 128, 96))
    assert pool1.shape == (1, 64, 32, 24)
    assert res5.shape == (1, backbone.channels, 8, 6)
    dilations = {
        m.dilation for m in backbone.body.layer4.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    }
    assert dilations == {(2, 2)}


def test_a_narrower_backbone_is_for_training_from_scratch():
    half = Backbone("resnet18", pretrained=False, multiplier=0.5)
    assert (half.low_channels, half.channels) == (64, 256)
    with pytest.raises(InputError, match="pre-trained"):
        Backbone("resnet18", pretrained=True, multiplier=0.5)


FAMILIES = {  # stride of the last feature, and the input's mean for red
    "tf_efficientnet_lite0": (16, 0.5), "mobilenetv3_small_050": (16, 0.485), "regnetx_002": (16, 0.485),
    "convnext_atto": (16, 0.485), "swin_tiny_patch4_window7_224": (32, 0.485), "pvt_v2_b0": (32, 0.485),
    "densenet121": (32, 0.485), "xception71": (16, 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_families_give_features_of_sizes_they_were_not_made_for(name):
    stride, mean = FAMILIES[name]
    backbone = Backbone(name, pretrained="none")
    low, last = backbone(torch.rand(2, 3, 64, 96))
    assert low.shape == (2, backbone.low_channels, 16, 24)
    assert last.shape == (2, backbone.channels, 64 // stride, 96 // stride)
    assert backbone.mean.flatten()[0] == pytest.approx(mean)
    (low.square().mean() + last.square().mean()).backward()
    assert all(p.grad is not None for p in backbone.parameters())


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto", "pvt_v2_b0"])
@pytest.mark.parametrize("head", [True, False])
def test_weights_come_from_a_file_and_statistics_are_frozen(name, head, tmp_path, caplog):
    torch.manual_seed(0)
    whole = timm.create_model(name, num_classes=10 if head else 0)
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    backbone = Backbone(name, weights=str(tmp_path / "weights.pth")).train()
    assert not [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert "Unexpected" not in caplog.text  # of the head, which is left out on purpose
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        own = whole.eval().forward_intermediates((images - backbone.mean) / backbone.std, intermediates_only=True)
        backbone.eval()
        low, _ = backbone(images)
    assert any(f.shape == low.shape and torch.allclose(f, low, atol=1e-5) for f in own)
    backbone.train()(images)
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


def test_a_file_without_some_weights_is_refused(tmp_path):
    state = timm.create_model("mobilenetv3_small_050").state_dict()
    del state["blocks.0.0.conv_dw.weight"]
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"weights\.pth holds no blocks\.0\.0\.conv_dw\.weight, one of 1 entries"):
        Backbone("mobilenetv3_small_050", weights=str(tmp_path / "weights.pth"))
    with pytest.raises(InputError, match=r"holds no .* of resnet18 that it lacks"):
        Backbone("resnet18", weights=str(tmp_path / "weights.pth"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match=r"text\.pth holds no weights that can be read"):
        Backbone("resnet18", weights=str(tmp_path / "text.pth"))


def test_what_gives_no_features_at_those_strides_is_refused():
    with pytest.raises(InputError, match="vit_tiny_patch16_224 gives no features at strides 4 and 16 or 32"):
        Backbone("vit_tiny_patch16_224", pretrained="none")
