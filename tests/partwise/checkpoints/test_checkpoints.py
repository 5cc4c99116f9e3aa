"""What is read of a checkpoint beside its network: the file, the names and sizes in it, where a run goes on."""

import os
import zipfile

import pytest
import pytorch_lightning as pl
import small_networks
import torch
from commands import run_py
from composing import EXPERIMENTS
from torch import nn
from torch.utils.data import DataLoader

from partwise.checkpoints.loading import KEY, load, start_from
from partwise.errors import InputError
from partwise.labels import FACTS
from partwise.nn.deeplab_v2 import DeepLabV2
from partwise.predict.load import load_parser
from partwise.run import cli
from partwise.run.checkpointing import AtomicCheckpointIO, Provenance

NETWORK = {"_target_": "partwise.nn.deeplab_v2.DeepLabV2", "num_classes": 13, "image_size": 41, "pretrained": False,
           "width": 4, "backbone_multiplier": 0.0625, "norm": True}  # fmt: skip
ABOUT = {"experiment": "deeplab_v2_facts", "network": NETWORK, "label_set": FACTS.state(), "image_size": [41, 41],
         "synthetic": True, "stretch": True}  # fmt: skip


def save(file, **about):
    torch.save({"state_dict": {"network.a": torch.arange(5000.0)}, KEY: {**ABOUT, **about}}, file)
    return file


def labels(**changes):
    return {**FACTS.state(), **changes}


@pytest.mark.parametrize(
    "change",
    [
        *({"experiment": name} for name in ("", 5, None, ["x"], "a\nb", "x" * 200, "${oc.env:HOME}")),
        *({"image_size": size} for size in (
            0, -1, True, "41", 2.5, 10**9, 5000, [41], [41, 0], [1, 2, 3], None, [[1], [2]])),
        *({"label_set": labels(**c)} for c in (
            {"names": []}, {"names": ["x"] * 300}, {"names": [1] * 13}, {"names": "thirteenclass"}, {"name": 3},
            {"names": ["a\nb"] * 13}, {"names": ["${oc.env:HOME}"] * 13}, {"names": ["x" * 10**6] * 13},
            {"names": ["a"] * 5}, {"pairs": [[1, 2, 3]]}, {"pairs": [[1, 40]]}, {"pairs": [[1, "2"]]},
            {"pairs": [[1, 2], [2, 3]]}, {"pairs": [[0, 1]]}, {"pairs": None}, {"pairs": [5]}, {"pairs": [[1, 2]] * 99},
        )),
        *({"label_set": value} for value in (None, [], "facts", {})),
        {"stretch": "yes"}, {"synthetic": 3}, {"network": None}, {"network": [NETWORK]},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(change, tmp_path):
    file = save(tmp_path / "some.ckpt", **change)
    with pytest.raises(InputError) as caught:
        load(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "change",
    [
        *({"epoch": value} for value in ("3", 2.5, -1, None, True, [1])), {"global_step": "9"}, {"loops": []},
        {"callbacks": 3}, {"optimizer_states": {}}, {"lr_schedulers": "x"}, {"pytorch-lightning_version": "newest"},
        {"pytorch-lightning_version": 2}, {KEY: None}, {KEY: [1]}, {KEY: torch.ones(2)}, {KEY: {}},
        {"state_dict": None}, {"state_dict": [torch.ones(1)]}, {"state_dict": torch.ones(2)}, {"state_dict": {"a": 1}},
        {"state_dict": {"a": torch.tensor([1, float("nan")])}}, {"state_dict": {"a": torch.tensor(float("-inf"))}},
        {"state_dict": {"a\nb\x1b[2J" * 99: torch.tensor(float("inf")).half()}},
        {"current_model_state": {"a": torch.tensor(float("nan"))}}, {5: 1, KEY: {**ABOUT, 3: 4, "image_size": 0}},
        {KEY: {k: v for k, v in ABOUT.items() if k != "experiment"}},
    ],
    ids=lambda change: "-".join(f"{k}-{v}"[:30] for k, v in change.items()),
)  # fmt: skip
def test_entries_that_cannot_be_are_refused_in_one_line(change, tmp_path):
    file = tmp_path / "some.ckpt"
    torch.save({"state_dict": {"network.a": torch.ones(3)}, KEY: ABOUT, **change}, file)
    with pytest.raises(InputError) as caught:
        load(file)
    assert str(caught.value).isprintable()
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 450


@pytest.mark.parametrize("size", [41, [57, 33], (57, 33)])
def test_sizes_are_a_side_or_a_list(size, tmp_path):
    assert load(save(tmp_path / "some.ckpt", image_size=size))[KEY]["image_size"] in (41, [57, 33])


def test_what_an_older_version_did_not_write_is_not_missed(tmp_path):
    torch.save({"state_dict": {}, KEY: {k: v for k, v in ABOUT.items() if k != "stretch"}}, tmp_path / "some.ckpt")
    assert load(tmp_path / "some.ckpt")[KEY]["experiment"] == "deeplab_v2_facts"


def rewritten(file, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def damaged(file, place):
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 0x40
    file.write_bytes(content)


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


SPOIL = {
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("no checkpoint"),
    "safetensors": lambda file: file.write_bytes(b"\x02\0\0\0\0\0\0\0{}" + bytes(64)),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-500]),
    "deflated": lambda file: rewritten(file, zipfile.ZIP_DEFLATED),
    "legacy": lambda file: torch.save(load(file), file, _use_new_zipfile_serialization=False),
    "pickle": lambda file: torch.save(Bomb(file.with_name("marker")), file),
    "pickle beside the weights": lambda file: torch.save({**load(file), "x": Bomb(file.with_name("marker"))}, file),
    "names that are no text": lambda file: torch.save({KEY: ABOUT, "state_dict": {1: torch.ones(1)}}, file),
    "no dictionary": lambda file: torch.save([KEY, "state_dict"], file),
    **{f"damaged at {place}": lambda file, place=place: damaged(file, place) for place in (0.3, 0.5, 0.7)},
}


@pytest.mark.parametrize("how", SPOIL)
def test_files_that_are_none_of_ours_are_refused_in_one_line(how, tmp_path):
    file = save(tmp_path / "some.ckpt")
    assert load(file)
    SPOIL[how](file)
    with pytest.raises(InputError) as caught:
        load(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert not (tmp_path / "marker").exists()


def test_a_flow_network_is_no_parser(tmp_path):
    from partwise.nn.flownet import FlowNetS

    weights = {f"network.{k}": v for k, v in FlowNetS(0.0625).state_dict().items()}
    network = {"_target_": "partwise.nn.flownet.FlowNetS", "width": 0.0625}
    torch.save({"state_dict": weights, KEY: {**ABOUT, "network": network}}, tmp_path / "flow.ckpt")
    with pytest.raises(InputError, match="FlowNetS, which parses nothing"):
        load_parser(tmp_path / "flow.ckpt", torch.device("cpu"))


EVIL_NAMES = ["../../../x/evil", "/tmp/evil", "evil", "a,b", "deeplab_v2_facts,fcn8s_facts", "deeplab_v2_facts seed=3",
              "x=1", "@y", "+z", "[deeplab_v2_facts]", "from_checkpoint", "deeplab_v2_facts@model", "..",
              "'deeplab_v2_facts'"]  # fmt: skip


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_checkpoint_names_an_experiment_or_nothing(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PARTWISE_PREPARED", "")
    file = save(tmp_path / "some.ckpt", experiment=name)
    with pytest.raises(InputError, match="does not exist here") as caught:
        cli.prepare(["task=test", f"ckpt={file}"], EXPERIMENTS)
    assert "\n" not in str(caught.value)


def test_an_experiment_of_the_users_own_folder_counts(tmp_path, monkeypatch):
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text("# @package _global_\n# Mine.\n")
    file = save(tmp_path / "some.ckpt", experiment="mine")
    for more in (["--config-dir", str(tmp_path / "own")], [f"--config-dir={tmp_path / 'own'}"]):
        monkeypatch.setenv("PARTWISE_PREPARED", "")
        assert cli.prepare(["task=test", f"ckpt={file}", *more], EXPERIMENTS)[-1] == "experiment=mine"


@pytest.mark.process
def test_the_command_composes_no_foreign_yaml(tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / "evil.yaml").write_text(
        f"# @package _global_\nname: evil\nmonitor: x\ndata: {{_target_: os.system, command: touch {marker}}}\n"
    )
    place = os.path.relpath(tmp_path / "evil", EXPERIMENTS / "experiment")
    file = save(tmp_path / "some.ckpt", experiment=place)
    done = run_py("task=test", f"ckpt={file}", f"outputs={tmp_path / 'outputs'}", status=1)
    (line,) = [row for row in done.stderr.splitlines() if row]
    assert "evil, which does not exist here" in line
    assert not marker.exists()


class Toy(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = nn.Linear(1, 1)

    def training_step(self, batch, _):
        return self.network(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(folder, epochs, resume=None, **about):
    provenance = Provenance(**{**ABOUT, "label_set": FACTS, **about})
    last = pl.callbacks.ModelCheckpoint(folder, "last", every_n_train_steps=1, enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, callbacks=[provenance, last], plugins=[AtomicCheckpointIO()],
    )  # fmt: skip
    trainer.fit(Toy(), DataLoader(torch.ones(4, 1)), ckpt_path=resume, weights_only=True)
    return trainer


def test_a_run_goes_on_from_its_own_checkpoint_alone(tmp_path):
    fit(tmp_path, 1)
    last = tmp_path / "last.ckpt"
    assert fit(tmp_path, 2, last).global_step == 8
    for change in ({"network": {**NETWORK, "width": 5}}, {"experiment": "fcn8s_facts"}, {"image_size": 41}):
        with pytest.raises(InputError, match=rf"is not of this run, its {next(iter(change))} is another"):
            fit(tmp_path, 3, last, **change)
    content = torch.load(last, weights_only=True)
    for name, value in (
        ("weight", torch.zeros(2, 2)),
        ("weight", torch.ones(1, 1) * float("nan")),
        ("more", torch.ones(1)),
    ):
        torch.save({**content, "state_dict": {**content["state_dict"], f"network.{name}": value}}, last)
        with pytest.raises(InputError, match=rf"network\.{name}.*delete it to start the run over") as caught:
            fit(tmp_path, 3, last)
        assert "\n" not in str(caught.value)
    del content["optimizer_states"]
    torch.save(content, last)
    with pytest.raises(InputError, match=r"has no optimizer_states.*init="):
        fit(tmp_path, 3, last)


@pytest.mark.parametrize("how", ["empty", "text", "cut short", "damaged at 0.5"])
def test_a_run_whose_checkpoint_is_broken_says_how_it_goes_on(how, tmp_path):
    fit(tmp_path, 1)
    last, best = tmp_path / "last.ckpt", tmp_path / "best.ckpt"
    best.write_bytes(last.read_bytes())
    SPOIL[how](last)
    with pytest.raises(InputError, match=r"last\.ckpt.*copy best\.ckpt over it.*or delete it") as caught:
        fit(tmp_path, 2, last)
    assert "\n" not in str(caught.value)
    last.write_bytes(best.read_bytes())
    assert fit(tmp_path, 2, last).global_step == 8
    SPOIL[how](last)
    best.unlink()
    with pytest.raises(InputError, match=r"last\.ckpt.*the command, delete it"):
        fit(tmp_path, 2, last)


@pytest.mark.parametrize("where", ["checkpoints/../precious", "checkpoints/link/precious", "memory://precious"])
def test_going_on_removes_nothing_that_the_run_did_not_write(where, tmp_path):
    folder, precious = tmp_path / "checkpoints", tmp_path / "precious"
    fit(folder, 1)
    precious.mkdir()
    (precious / "kept.txt").write_text("kept")
    (folder / "link").symlink_to(tmp_path)
    content = torch.load(folder / "last.ckpt", weights_only=True)
    for state in content["callbacks"].values():
        if "best_model_path" in state:
            state["best_model_path"] = state["last_model_path"] = where if "://" in where else str(tmp_path / where)
    torch.save(content, folder / "last.ckpt")
    fit(folder, 2, folder / "last.ckpt")
    assert (precious / "kept.txt").read_text() == "kept"


def test_a_network_of_other_classes_gives_all_but_its_last_layers(tmp_path, capsys):
    trained, own = (build({**NETWORK, "num_classes": count}) for count in (13, 7))
    state = {f"network.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"state_dict": state, KEY: ABOUT}, tmp_path / "a.ckpt")
    before = {key: value.clone() for key, value in own.state_dict().items()}
    start_from(own, [tmp_path / "a.ckpt"], num_classes=7)
    anew = {key for key, value in trained.state_dict().items() if value.shape[:1] == (13,)}
    assert len(anew) > 1
    for key, value in own.state_dict().items():
        assert torch.equal(value, before[key] if key in anew else trained.state_dict()[key])
    assert "13 classes, this run 7" in capsys.readouterr().err
    with pytest.raises(InputError, match="do not fit"):  # a part that no number of classes makes another
        start_from(build({**NETWORK, "num_classes": 7, "width": 8}), [tmp_path / "a.ckpt"], num_classes=7)
    with pytest.raises(InputError, match="do not fit"):
        start_from(own, [tmp_path / "a.ckpt"])


def test_a_child_that_the_trained_network_does_without_stays(tmp_path):
    """Pose2Seg is trained on true poses, and on OCHuman another network finds them."""
    stages = {"_target_": "partwise.nn.backbone.Stages", "name": "resnet18", "pretrained": "none", "multiplier": 0.25}
    pyramid = {"_target_": "partwise.nn.feature_pyramid.FeaturePyramid", "stages": stages, "width": 16, "levels": 1}
    alone = {"_target_": "partwise.models.baselines.pose2seg.Pose2Seg", "pyramid": pyramid, "width": 8, "depth": 1,
             "crop_size": 32, "pose": None}  # fmt: skip
    trained, own = small_networks.build(alone), small_networks.build({**alone, "pose": small_networks.pose_module()})
    for parameter in own.parameters():
        nn.init.zeros_(parameter)
    state = {f"network.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"state_dict": state, KEY: {**ABOUT, "network": alone}}, tmp_path / "a.ckpt")
    start_from(own, [tmp_path / "a.ckpt"])
    for key, value in own.state_dict().items():
        assert torch.equal(value, state[f"network.{key}"]) if not key.startswith("pose.") else not value.any()


def build(about):
    torch.manual_seed(0)
    return DeepLabV2(**{key: value for key, value in about.items() if key != "_target_"})
