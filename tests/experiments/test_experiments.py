"""Every experiment composes and instantiates, in both profiles, and its parts fit together."""

from types import SimpleNamespace

import numpy as np
import pytest
import small_networks
import torch
from composing import EXPERIMENTS, composed
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from partwise import labels
from partwise.checkpoints import standin
from partwise.checkpoints.loading import build_network
from partwise.nn.vgg import ClassifierPyramid
from partwise.run import cli
from partwise.run.build import make_task
from partwise.run.configs import differences, plain
from partwise.run.rounds import MODULES
from partwise.run.stages import own_data
from partwise.tables.grid import override, read_sweep

LABELLING = ["pose_labels_horse_cow", "pose_labels_ppp"]  # whose data have no labels
LOOPS = ["self_supervised_cocopersons", "self_supervised_ochuman"]  # which train by rounds of other experiments
VIDEOS = "self_supervised_labels"
NAMES = sorted(cli.experiments(EXPERIMENTS).keys() - {*LABELLING, *LOOPS, VIDEOS})
FIRST = f"experiment={NAMES[0]}"


#: Models that a test of this process has built.
BUILT: set[tuple[str, str, int]] = set()


def ready_to_train(cfg, label_set, device="meta"):
    """The task of an experiment, whose optimiser and schedule could be made."""
    with torch.device(device):  # drawing weights takes longest
        task = make_task(cfg, label_set)
    task.trainer = SimpleNamespace(estimated_stepping_batches=10 * cfg.trainer.max_epochs)
    made = task.configure_optimizers()
    (optimizer,), schedulers = made if isinstance(made, tuple) else ([made], [])
    assert 0.0 in {group["weight_decay"] for group in optimizer.param_groups}
    assert len(schedulers) == (cfg.model.schedule is not None or bool(cfg.model.get("rates")))
    return task


def build_once(cfg):
    """Build a model that no other cell, sweep or ablation has built, with other data."""
    built = str(plain(cfg)["model"]), cfg.label_set, cfg.trainer.max_epochs
    if built not in BUILT:
        small_networks.set_everywhere(cfg.model.network, pretrained=False)
        ready_to_train(cfg, getattr(labels, cfg.label_set.upper()))
        BUILT.add(built)


@pytest.mark.parametrize("profile", ["demo", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_it_instantiates_and_fits_its_data(name, profile):
    cfg = composed(f"experiment={name}", *(["profile=paper"] if profile == "paper" else []))
    assert set(cfg.init) <= {*cfg.stages, *standin.names()}
    cfg.init = []  # they are not trained here
    small_networks.set_everywhere(cfg.model.network, pretrained=False)
    assert cfg.name == name
    data = instantiate(own_data(cfg))
    assert data.synthetic
    assert cfg.num_classes == data.label_set.num_classes
    assert data.label_set == getattr(labels, cfg.label_set.upper())
    task = ready_to_train(cfg, data.label_set, "meta" if profile == "paper" else "cpu")
    instantiate(cfg.trainer, accelerator="cpu", logger=False, enable_checkpointing=False)
    assert cfg.monitor == composed(f"experiment={name}").monitor
    if profile == "demo":
        name = cfg.monitor.removeprefix("val/").removeprefix("keypoints_")  # those need images with keypoints
        assert name in task.val_metrics.compute()


@pytest.mark.parametrize("profile", ["demo", "paper"])
@pytest.mark.parametrize("name", LABELLING)
def test_labelling_has_the_classes_of_the_labelled(name, profile):
    cfg = composed(f"experiment={name}", f"profile={profile}")
    assert (cfg.name, cfg.task, list(cfg.init)) == (name, "label", ["refinement"])
    other = composed(f"experiment={cfg.stages.refinement.experiment}", f"profile={profile}")
    assert (cfg.label_set, cfg.num_classes) == (other.label_set, other.num_classes)
    for key in ("network", "skeleton", "prior", "k", "n"):
        assert cfg.model[key] == other.model[key]
    for key in ("_target_", "synthetic"):
        assert cfg.model.library[key] == other.model.library[key]
    assert instantiate(cfg.data).synthetic


def shapes(network):
    return {name: value.shape for name, value in network.state_dict().items()}


@pytest.mark.parametrize("profile", ["demo", "paper"])
@pytest.mark.parametrize("name", LOOPS)
def test_the_modules_of_a_loop_are_alike_in_all_of_its_experiments(name, profile):
    cfg = composed(f"experiment={name}", f"profile={profile}")
    videos = composed(f"experiment={cfg.rounds.labels.experiment}", f"profile={profile}")
    assert videos.task == "label"
    assert plain(videos)["model"]["network"] == plain(cfg)["model"]["network"]
    networks = plain(cfg)["model"]["network"]
    for start, module in zip(cfg.init, MODULES, strict=True):
        if profile == "paper":
            assert start == module
            assert cfg.rounds[module].experiment == cfg.stages[module].experiment
        else:  # the package brings it
            assert start == f"standin/{cfg.rounds[module].experiment}"
        own = composed(f"experiment={cfg.rounds[module].experiment}", f"profile={profile}")
        if profile == "demo":
            assert shapes(build_network(standin.read(start), start)) == shapes(instantiate(own.model.network))
        network = plain(own)["model"]["network"]
        if module == "pose2seg":  # is trained with the Seg Module
            assert {key: network[key] for key in ("seg", module)} == {key: networks[key] for key in ("seg", module)}
        else:
            assert network == networks[module]
    assert instantiate(own_data(cfg)).synthetic
    assert instantiate(videos.data).synthetic


def test_the_loop_is_the_papers():
    cfg = plain(composed("experiment=self_supervised_ochuman", "profile=paper"))
    assert {key: cfg["rounds"][key] for key in ("tpr", "gbsr", "similar")} == {"tpr": 5, "gbsr": 1, "similar": 0.95}
    assert all("trainer.max_epochs=10" in cfg["rounds"][module]["overrides"] for module in ("seg", "pose", "pose2seg"))
    labels_of = plain(composed("experiment=self_supervised_labels", "profile=paper"))
    assert (labels_of["data"]["window"], labels_of["data"]["stride"], labels_of["model"]["alpha"]) == (3, 3, 0.5)
    seg, pose = (plain(composed(f"experiment={n}_module_coco", "profile=paper")) for n in ("seg", "pose"))
    assert (seg["trainer"]["max_epochs"], seg["model"]["optimizer"]["lr"]) == (30, 1e-2)
    assert seg["model"]["schedule"]["_target_"].endswith("poly")
    assert (pose["trainer"]["max_epochs"], pose["model"]["optimizer"]["lr"]) == (40, 2e-4)
    assert pose["model"]["schedule"]["milestones"] == [33]


@pytest.mark.parametrize("name", NAMES)
def test_the_demo_shrinks_and_says_so(name):
    cfg = composed(f"experiment={name}")
    parts = small_networks.parts(cfg.model.network)
    assert all(part.get("pretrained", "none") in ("none", "standin") for part in parts)
    paper, demo = plain(composed(f"experiment={name}", "profile=paper")), plain(cfg)
    changed = {row.split(" ")[0] for row in differences(paper, demo)}
    assert "image_size" in changed
    assert "trainer.max_epochs" in changed or paper["trainer"]["max_epochs"] == 0
    assert {
        key for key in changed if key.startswith("model.network.") and key.endswith(("width", "multiplier", "channels"))
    }
    targets = ["model._target_", "model.network._target_", "model.optimizer._target_", "data._target_"]
    for key in targets:  # the method is never another one
        assert OmegaConf.select(OmegaConf.create(paper), key) == OmegaConf.select(OmegaConf.create(demo), key)


#: Experiments that a folder of ablations is for.
ABLATED = {
    "aten": ["aten_vip", "aten_davis", "aten_fast_vip"],
    "deeplab_ccp": ["deeplab_ccp"],
    "instance_crf": ["instance_crf_ppp", "instance_crf_vip", "instance_crf_cihp"],
    "pose_labels": ["pose_labels_ppp"],
    "pose_transfer": ["pose_transfer_union_ppp", "pose_transfer_vgg_ppp"],
    "self_supervised": ["self_supervised_ochuman", "self_supervised_cocopersons"],
    "tcnet": ["tcnet_daily", "tcnet_ilids", "tcnet_indoor", "tcnet_outdoor"],
}


@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder in ABLATED for name in ABLATED[folder]])
def test_every_ablation_is_of_every_experiment_of_its_method(folder, name):
    for file in sorted((EXPERIMENTS / "ablation" / folder).glob("*.yaml")):
        cfg = composed(f"experiment={name}", "profile=paper", f"ablation={folder}/{file.stem}", "init=[]")
        instantiate(own_data(cfg))
        build_once(cfg)


def test_every_folder_of_ablations_has_experiments():
    assert {file.name for file in (EXPERIMENTS / "ablation").iterdir()} == set(ABLATED)


def test_the_papers_recipe_is_the_papers():
    cfg = plain(composed("experiment=parsing_rcnn_vip", "profile=paper"))
    assert cfg["image_size"] == 512
    assert cfg["trainer"]["gradient_clip_val"] == 5.0
    assert cfg["trainer"]["max_epochs"] == 150
    optimizer = cfg["model"]["optimizer"]
    assert (optimizer["_target_"], optimizer["lr"], optimizer["momentum"]) == ("torch.optim.SGD", 1e-3, 0.9)
    assert optimizer["weight_decay"] == 2e-4
    assert cfg["model"]["schedule"]["milestones"] == [70]
    assert cfg["data"]["flip"] == 0.5


@pytest.mark.parametrize(("name", "batch"), [("aten", 1), ("dff", 1), ("fgfa", 1), ("parsing_rcnn", 3)])
def test_vip_is_learnt_from_354_videos_in_the_releases_batches(name, batch, vip_stand_in, capsys):
    cfg = composed(f"experiment={name}_vip", "profile=paper", f"data.root={vip_stand_in}")
    assert cfg.data.batch_size == composed(f"experiment={name}_davis", "profile=paper").data.batch_size == batch
    data = instantiate(cfg.data)
    data.check()
    said = capsys.readouterr().out
    assert "data.splits.train=trainval holds 3 of the 3 frames of val" in said
    assert "test" not in said
    train, val = ({i.split("/")[0] for i in data.dataset(stage).ids} for stage in ("train", "val"))
    assert (len(train), len(train & val)) == (4, 1)
    data.check("test")
    demo = instantiate(composed(f"experiment={name}_vip", f"data.root={vip_stand_in}").data)
    demo.check()
    assert not capsys.readouterr().out
    assert {i.split("/")[0] for i in demo.dataset("train").ids} == train - val


@pytest.mark.parametrize("data", ["vip", "davis"])
def test_other_key_frames_are_former_ones_where_these_exist(data):
    paper = f"experiment=aten_{data}", "profile=paper"
    around = instantiate(composed(*paper).data).around
    drawn = [around.draw(np.random.default_rng(n), 20, range(41)) for n in range(50)]
    assert {(k - j, j - i) for i, j, k in drawn} == {(3, 3)}
    assert {k - 20 for *_, k in drawn} == {-1, 0, 1}
    either = instantiate(composed(*paper, "data.around.former_only=false").data).around
    clips = [either.draw(np.random.default_rng(n), 20, range(41)) for n in range(50)]
    assert {np.sign(clip[-1] - clip[0]) for clip in clips} == {-1, 1}


@pytest.mark.parametrize("overrides", [["dff_vip"], ["dff_davis"], ["aten_vip", "ablation=aten/dff"]], ids=" ".join)
def test_dff_estimates_flow_from_half_size_images(overrides):
    name, *ablation = overrides
    cfg = composed(f"experiment={name}", *ablation, "init=[]", "profile=paper")
    small_networks.set_everywhere(cfg.model.network, backbone="resnet18", pretrained=False)
    sizes = []
    with torch.device("meta"):
        flow = make_task(cfg, getattr(labels, cfg.label_set.upper())).network.flow
        flow.net.register_forward_pre_hook(lambda module, inputs: sizes.extend(image.shape[-2:] for image in inputs))
        M, S = flow(*torch.rand(2, 1, 3, 128, 192))
    assert set(sizes) == {(64, 96)}
    assert M.shape[-2:] == S.shape[-2:] == (32, 48)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_davis")])
def test_dilations_on_davis_are_the_papers(name):
    cfg = composed(f"experiment={name}", "init=[]", "profile=paper")
    small_networks.set_everywhere(cfg.model.network, backbone="resnet18", pretrained=False)
    with torch.device("meta"):
        network = make_task(cfg, labels.FOREGROUND).network
    for part in (network.feature.encoder, network.heads.parsing):
        assert {c.dilation[0] for c in part.modules() if isinstance(c, torch.nn.Conv2d)} - {1} == {6, 12, 18}


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_facts") or name.startswith("tcnet")])
def test_dilations_of_tcnet_and_its_baselines_are_never_above_the_papers(name):
    cfg = composed(f"experiment={name}", "init=[]", "profile=paper", "image_size=[481,241]")
    small_networks.set_everywhere(cfg.model.network, pretrained=False)
    with torch.device("meta"):
        network = make_task(cfg, getattr(labels, cfg.label_set.upper())).network
    pyramids = [m for m in network.modules() if isinstance(m, ClassifierPyramid)]
    for pyramid in pyramids:
        assert [branch[0][0].dilation[0] for branch in pyramid.branches] == [6, 12, 18, 24]
    assert pyramids or name.startswith(("fcn8s", "tcnet_flow"))


def test_an_unknown_sigmoid_of_atens_is_named():
    with pytest.raises(InstantiationException) as caught:
        make_task(composed("experiment=aten_vip", "model.network.encoder.sigmoid=soft"), labels.VIP)
    assert cli.explain(caught.value) == "sigmoid=soft does not exist; it is one of logistic, hard"


def test_an_unknown_encoder_of_atens_is_named():
    with pytest.raises(HydraException) as caught:
        composed("experiment=aten_vip", "model/encoder@model.network.encoder=soft")
    message = str(cli.explain(caught.value))
    assert "Could not find 'model/encoder/soft'" in message
    assert "coarse_gru gru lstm mean" in message


def test_every_trainer_logger_and_callback_composes():
    for file in (EXPERIMENTS / "trainer").glob("*.yaml"):
        assert composed(FIRST, f"trainer={file.stem}").trainer._target_ == "pytorch_lightning.Trainer"
    assert composed(FIRST, "logger=csv").logger == {}
    for group in ("wandb", "[csv,wandb]"):
        assert list(composed(FIRST, f"logger={group}").logger) == ["wandb"]
    for file in (EXPERIMENTS / "callbacks").glob("*.yaml"):
        names = composed(FIRST, *([] if file.stem == "default" else [f"+callbacks={file.stem}"])).callbacks
        assert "best" in names
        assert file.stem in {"default", *names}


@pytest.mark.parametrize("file", sorted((EXPERIMENTS / "sweeps").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_cell_of_every_sweep_could_train(file):
    sweep = read_sweep(file)
    first = sweep.grid.get("seed", [None])[0]  # the others build the same
    for cell in (cell for cell in sweep.cells() if cell.get("seed") == first):
        values = {key: override(value) for key, value in {**sweep.fixed, **cell}.items()}
        name = values.pop("experiment")
        cfg = composed(f"experiment={name}", *(f"{key}={value}" for key, value in values.items()))
        assert cfg.name == name
        assert set(cfg.init) <= {*cfg.stages, *standin.names()}
        cfg.init = []
        build_once(cfg)
