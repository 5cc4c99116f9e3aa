"""What a checkpoint may name: networks of partwise and plain values, nothing else, whoever reads it."""

import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path

import pytest
import small_networks
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate

from partwise import labels
from partwise.checkpoints import networks
from partwise.checkpoints.loading import KEY, build_network, load
from partwise.errors import InputError
from partwise.io.images import write_image
from partwise.run import cli
from partwise.run.build import make_task, make_trainer
from partwise.run.checkpointing import Provenance
from partwise.run.configs import plain
from partwise.run.folder import Run

ROOT = Path(__file__).parents[3]
EXPERIMENTS = ROOT / "experiments"
NAME = "deeplab_v2_facts"
GOOD = "partwise.nn.deeplab_v2.DeepLabV2"
NETWORK = {
    "_target_": GOOD, "num_classes": 13, "image_size": [41, 41], "pretrained": False, "width": 4,
    "backbone_multiplier": 0.0625, "norm": False,
}  # fmt: skip
DATA = ["data.synthetic.tracklets={train:2,val:1,test:1}", "data.synthetic.frames_per_tracklet=4",
        "data.synthetic.size=[41,41]", "data.num_workers=0", "data.batch_size=2", "image_size=[41,41]"]  # fmt: skip
SMALL = [
    "trainer.accelerator=cpu",
    *[f"model.network.{key}={NETWORK[key]}" for key in ("width", "backbone_multiplier", "norm")],
]


def composed(*overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(EXPERIMENTS), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def load_run_py():
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A whole checkpoint of a tiny parser."""
    cfg = composed(f"experiment={NAME}", *DATA, *SMALL)
    task = make_task(cfg, labels.FACTS)
    checkpoint = {"state_dict": task.state_dict(), "global_step": 1}
    about = Provenance(
        experiment=NAME, network=plain(cfg)["model"]["network"], label_set=labels.FACTS, image_size=[41, 41],
        synthetic=True, stretch=True,
    )  # fmt: skip
    about.on_save_checkpoint(None, None, checkpoint)
    return checkpoint


class Doors:
    """The four commands that read a checkpoint, each up to where it reads it."""

    def __init__(self, folder):
        self.folder, self.run_py = folder, load_run_py()
        write_image(folder / "picture.png", torch.zeros(41, 41, 3, dtype=torch.uint8).numpy())
        self.cfg = composed(f"experiment={NAME}", *DATA, *SMALL, f"outputs={folder}/outputs")
        self.parsing = composed("experiment=from_checkpoint", "task=predict", "trainer.accelerator=cpu")
        self.data = instantiate(self.cfg.data)
        self.task = make_task(self.cfg, self.data.label_set)

    def predict(self, file):
        cfg = self.parsing.copy()
        cfg.update(ckpt=str(file), input=str(self.folder / "picture.png"), output=str(self.folder / "parsed"))
        self.run_py.predict(cfg)

    def test(self, file):
        cfg = self.cfg.copy()
        cfg.update(ckpt=str(file), task="test")
        self.run_py.test(cfg)

    def init(self, file):
        cfg = self.cfg.copy()
        cfg.init = [str(file)]
        with torch.device("meta"):  # drawing weights takes longest
            make_task(cfg, self.data.label_set)

    def resume(self, file):
        run = Run(self.folder / "resumed", True)
        run.last.parent.mkdir(parents=True, exist_ok=True)
        run.last.write_bytes(file.read_bytes())
        trainer = make_trainer(self.cfg, run, self.data)
        trainer.fit(self.task, self.data, ckpt_path=run.checkpoint, weights_only=True)


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    return Doors(tmp_path_factory.mktemp("doors"))


def foreign(marker, folder):
    """Descriptions of networks that would create the file `marker`, or reach what is no network of partwise."""
    touch = f"touch {marker}"
    (folder / "hubconf.py").write_text(f"def go(**_):\n    open({str(marker)!r}, 'w').close()\n")
    shell = {"_target_": "os.system", "command": touch}
    run = {"_target_": "torch.utils.collect_env.run", "command": touch}
    python = f"open({str(marker)!r}, 'w').close()"
    through = {
        "outer system": shell,
        "outer subprocess": {"_target_": "subprocess.run", "args": ["touch", str(marker)]},
        "outer exec": {"_target_": "builtins.exec", "_args_": [python]},
        "outer open": {"_target_": "builtins.open", "file": str(marker), "mode": "w"},
        "outer hub": {"_target_": "torch.hub.load", "repo_or_dir": str(folder), "model": "go", "source": "local"},
        "outer write_text": {"_target_": "pathlib.Path.write_text", "_args_": [
            {"_target_": "pathlib.Path", "_args_": [str(marker)]}, "x"]},
        "outer sympify": {"_target_": "sympy.sympify", "a": f"__import__('os').system({touch!r})"},
        "through a module": {"_target_": "partwise.run.start.torch.utils.collect_env.run", "command": touch},
        "through a network's module": {"_target_": "partwise.nn.deeplab.torch.utils.collect_env.run", "command": touch},
        "function that writes": {"_target_": "partwise.io.atomic.write_text", "path": str(marker), "text": "x"},
        "function that writes, json": {"_target_": "partwise.io.atomic.write_json", "path": str(marker), "content": {}},
        "function that removes": {"_target_": "partwise.predict.output.clear", "folder": str(folder),
                                  "overwrite": True},
        "numpy through media": {"_target_": "partwise.io.video.np.load", "file": str(marker), "allow_pickle": True},
        "torch's class through a module": {"_target_": "partwise.nn.vgg.nn.Linear", "in_features": 1,
                                           "out_features": 1},
        "class imported elsewhere": {**NETWORK, "_target_": "partwise.models.tcnet.model.VGG"},
        "function of a network's module": {"_target_": "partwise.nn.deeplab_v2.rates", "image_size": 41},
        "method": {"_target_": f"{GOOD}.parse", "images": None},
        "task": {"_target_": "partwise.models.task.ParsingTask", "network": NETWORK, "label_set": None},
        "no module": {"_target_": "partwise.labels.LabelSet", "name": "x", "names": []},
        "metric": {"_target_": "partwise.metrics.parts_and_persons.VIPMetrics", "label_set": None},
        "package": {"_target_": "partwise.nn"},
        "missing": {"_target_": "partwise.nn.nothing.Nothing"},
        "get_method": {"_target_": "hydra.utils.get_method", "path": "os.system"},
        "instantiate": {"_target_": "hydra.utils.instantiate", "config": shell},
        "no target": {k: v for k, v in NETWORK.items() if k != "_target_"},
        **{f"target {t!r}": {**NETWORK, "_target_": t} for t in
           (None, 3, [GOOD], {"_target_": "os.system"}, "", "partwise", f" {GOOD}", f"{GOOD}\n", f"os.path.{GOOD}",
            "partwise/nn/deeplab_v2.DeepLabV2", "partwise..nn.deeplab_v2.DeepLabV2", "${oc.env:HOME}")},
        "nested": {**NETWORK, "width": shell},
        "nested, collect_env": {**NETWORK, "norm": run},
        "in a list": {**NETWORK, "image_size": [41, shell]},
        "in a dictionary": {**NETWORK, "width": {"a": shell}},
        "in lists and dictionaries": {**NETWORK, "width": [{"a": [{"b": run}]}]},
        "in a network": {**NETWORK, "width": {**NETWORK, "width": shell}},
        "nested open": {**NETWORK, "more": {"_target_": "builtins.open", "file": str(marker), "mode": "w"}},
        "nested hub": {**NETWORK, "more": {"_target_": "torch.hub.load", "repo_or_dir": str(folder), "model": "go",
                                           "source": "local"}},
        "nested write_text": {**NETWORK, "more": {"_target_": "partwise.io.atomic.write_text", "path": str(marker),
                                                  "text": "x"}},
        "in positional arguments": {"_target_": GOOD, "_args_": [13, [41, 41], False, shell]},
        **{f"key {key}": {**NETWORK, key: value} for key, value in
           (("_args_", [1]), ("_partial_", True), ("_convert_", "all"), ("_recursive_", False), ("_call_", "os.system"),
            ("__class__", "os"), ("${oc.env:HOME}", 1), ("a.b", 1), (5, 1))},
        **{f"value {value!r}": {**NETWORK, "width": value} for value in
           ("${oc.env:HOME}", "${oc.decode:'{_target_:os.system}'}", "${hydra:runtime.cwd}", "a\nb", b"x", 10**6,
            float("nan"), float("inf"), -1, True, "4", torch.ones(1), {1, 2}, "x" * 300)},
        "unknown argument": {**NETWORK, "colour": 3},
        "long list": {**NETWORK, "image_size": [1] * 1000},
        "deep": {**NETWORK, "width": nest(200)},
        **{f"backbone {name!r}": {"_target_": "partwise.nn.deeplab.DeepLabFeature", "backbone": name,
                                  "pretrained": False} for name in
           ("hf-hub:someone/resnet50", "hf_hub:someone/resnet50", "local-dir:/tmp", "/tmp", "resnet51",
            "timm:resnet18", "https://example.org/resnet50", "HF-HUB:someone/resnet50", "resnet18.hf-hub:a/b",
            "resnet18.evil", "resnet18\n", "vit_base_patch16_224", "\\\\server\\share", "ｒesnet18", "")},
        **{f"target {t}": {**NETWORK, "_target_": t} for t in
           (f"{GOOD}.__init__", f"{GOOD}.__class__", f"{GOOD}.{GOOD}", f"{GOOD}.register_module_forward_hook",
            f"{GOOD}.load_state_dict", "partwise.nn.deeplab_v2.__builtins__.exec", "partwise.nn.deeplab_v2.__loader__",
            "partwise.nn.deeplab_v2.__dict__", "partwise.nn.__init__.DeepLabV2", "partwise.nn.deeplab_v2.InputError",
            "partwise.nn.deeplab_v2.ClassifierPyramid", "partwise.nn.dense.DenseParser", "partwise.models..task.Task",
            "partwise.models.flow_task.FlowTask", "partwise.nn.deeplab_v2.nn.Sequential", "torch.nn.Linear",
            "timm.create_model", "timm.models.load_model_config_from_hf", "data_modules.vip.VIPDataModule",
            "partwise.run.build.AtomicCheckpointIO", "partwise.nn...run.start.Run", "PARTWISE.nn.deeplab_v2.DeepLabV2",
            "partwise.nn.deeplab_v2.DeepLabＶ2", "partwıse.nn.deeplab_v2.DeepLabV2", f"{GOOD}\u200b", f"\u202e{GOOD}",
            "partwise.nn.deeplab_v2:DeepLabV2", f"{GOOD}()", f"{GOOD};os.system", f"{GOOD}\0")},
        **{f"nested key {key}": {**NETWORK, "frame": {**NETWORK, key: value}} for key, value in
           (("_partial_", True), ("_args_", [shell]), ("_recursive_", False), ("_convert_", "object"), ("ｗidth", 4),
            ("_target_ ", "os.system"), ("self", 1), ("return", None), ("__init__", shell), ("width.__class__", 1))},
        "target in a key": {**NETWORK, f"{GOOD}": 1},
        "ordered": OrderedDict(NETWORK),
        "interpolation in a list": {**NETWORK, "image_size": ["${oc.env:HOME}", 41]},
        "escaped interpolation": {**NETWORK, "width": "\\${oc.env:HOME}"},
        "module for a number": {**NETWORK, "num_classes": NETWORK},
        "module for a list": {**NETWORK, "image_size": [NETWORK, 41]},
        "target that is true": {**NETWORK, "_target_": True},
        "in a tuple": {**NETWORK, "image_size": (41, (shell,))},
    }  # fmt: skip
    return through


def nest(depth):
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


CASES = list(foreign(Path("marker"), Path("/tmp")))


def save(content, file, **about):
    torch.save({**content, KEY: {**content[KEY], **about}}, file)
    return file


@pytest.mark.parametrize("case", CASES)
def test_foreign_code_is_refused_in_one_line_and_leaves_no_trace(case, doors, content, tmp_path, capsys):
    marker = tmp_path / "marker"
    description = foreign(marker, tmp_path)[case]
    file = save(content, tmp_path / "evil.ckpt", network=description)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for door in (doors.predict, doors.test, doors.init, doors.resume):
        with pytest.raises(SystemExit) as caught, cli.one_line_errors():
            door(file)
        assert caught.value.code == 1
        said = capsys.readouterr().err
        (line,) = (line for line in said.splitlines() if line.startswith("error: "))  # beside libraries' warnings
        assert "Traceback" not in said
        assert len(line) < 500
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_doors_are_open_to_an_honest_checkpoint(doors, content, tmp_path):
    file = save(content, tmp_path / "good.ckpt")
    doors.predict(file)
    doors.init(file)
    assert (doors.folder / "parsed" / "parts" / "picture.png").is_file()


@pytest.mark.process
@pytest.mark.parametrize("task", ["predict", "test"])
def test_the_command_refuses_foreign_code(task, content, tmp_path):
    marker = tmp_path / "marker"
    file = save(content, tmp_path / "evil.ckpt", network=foreign(marker, tmp_path)["nested, collect_env"])
    write_image(tmp_path / "a.png", torch.zeros(41, 41, 3, dtype=torch.uint8).numpy())
    more = [f"input={tmp_path / 'a.png'}", f"output={tmp_path / 'out'}"] if task == "predict" else DATA
    done = run_py(f"task={task}", f"ckpt={file}", *more, f"outputs={tmp_path / 'outputs'}")
    assert_one_line(done, "torch.utils.collect_env.run")
    assert not marker.exists()


def run_py(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def assert_one_line(done, *words):
    assert done.returncode == 1, done.stderr
    (line,) = [row for row in done.stderr.splitlines() if row]
    assert line.startswith("error: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize("name", sorted(cli.experiments(EXPERIMENTS)))
def test_every_experiments_network_comes_back(name, tmp_path):
    cfg = composed(f"experiment={name}", "init=[]")
    for part in small_networks.parts(cfg.model.network):  # smaller, where nothing else depends on it
        match str(part._target_).rsplit(".", 1)[-1]:
            case "DeepLabFeature":
                part.backbone_multiplier = 0.0625
            case "ParsingHeads":
                part.box_width = 16
            case "ScaledFlow" | "FlowNetS" | "PlainFlow" | "CorrelationFlow":
                part.width = 0.0625
    label_set = getattr(labels, cfg.label_set.upper())
    task = make_task(cfg, label_set)
    config, checkpoint = plain(cfg), {"state_dict": task.state_dict()}
    about = Provenance(
        experiment=name, network=config["model"]["network"], label_set=label_set, image_size=config["image_size"],
        synthetic=True, stretch=config["model"].get("stretch", False),
    )  # fmt: skip
    about.on_save_checkpoint(None, None, checkpoint)
    torch.save(checkpoint, tmp_path / "some.ckpt")
    network = build_network(load(tmp_path / "some.ckpt"), tmp_path / "some.ckpt")
    assert type(network) is type(task.network)
    assert not network.training
    expected, found = task.network.state_dict(), network.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("name", sorted(cli.experiments(EXPERIMENTS)))
def test_every_papers_network_can_be_described(name):
    network = plain(composed(f"experiment={name}", "profile=paper"))["model"]["network"]
    networks.check(network)
    with pytest.raises(InputError, match="do not fit"):  # planned without memory, then found to lack its weights
        networks.build(network, {}, "some.ckpt")


def test_a_network_may_hold_networks_that_pass_themselves():
    inner = {"_target_": "partwise.nn.flownet.FlowNetS", "width": 0.125}
    with pytest.raises(InputError, match="has no argument frame"):  # none does so yet, but the description passes
        networks.build({**NETWORK, "frame": inner}, {}, "some.ckpt")
    with pytest.raises(InputError, match=r"os\.system"):
        networks.build({**NETWORK, "frame": {**inner, "width": {"_target_": "os.system"}}}, {}, "some.ckpt")


@pytest.mark.parametrize(
    "change",
    [{"width": 16_000}, {"num_classes": 13, "backbone_multiplier": 300.0}, {"width": 10**9}],
    ids=["width", "multiplier", "out of range"],
)
def test_a_network_larger_than_its_weights_is_never_built(change, content, tmp_path):
    file = save(content, tmp_path / "large.ckpt", network={**content[KEY]["network"], **change})
    memory, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(InputError, match=r"do not fit|out of any range|cannot be built"):
        build_network(load(file), file)
    assert time.monotonic() - begin < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # kB


@pytest.mark.parametrize(
    ("description", "change"),
    [
        (small_networks.tcnet(), {"fusion_layers": networks.LARGEST}),
        (small_networks.tcnet(), {"fusion_layers": 10**9}),
        (small_networks.fgfa(), {"embedding": [512] * 200}),
        (small_networks.tcnet(), {"offsets": [1] * 200}),
    ],
)
def test_a_description_cannot_keep_the_machine_busy(description, change):
    begin = time.monotonic()
    with pytest.raises(InputError):
        networks.build({**description, **change}, {}, "some.ckpt")
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("how", ["overlapping", "not finite", "sparse", "no tensor", "without memory"])
def test_weights_that_are_none_are_refused(how, content, tmp_path):
    weights = dict(content["state_dict"])
    name = next(key for key in weights if key.endswith("weight") and weights[key].numel() > 100)
    weights[name] = {
        "overlapping": torch.zeros(1).expand(weights[name].shape), "not finite": weights[name] * float("nan"),
        "sparse": weights[name].flatten(1).to_sparse(), "no tensor": 3, "without memory": weights[name].to("meta"),
    }[how]  # fmt: skip
    torch.save({**content, "state_dict": weights}, tmp_path / "odd.ckpt")
    if how == "overlapping":  # large enough that the whole file is less
        wide = {"_target_": GOOD, "num_classes": 13, "image_size": 41, "pretrained": False, "width": 4000}
        with torch.device("meta"):
            shapes = networks._construct(wide).state_dict()
        weights = {f"network.{k}": torch.zeros(1).expand(v.shape) for k, v in shapes.items()}
        torch.save({"state_dict": weights, KEY: {**content[KEY], "network": wide}}, tmp_path / "odd.ckpt")
    with pytest.raises(InputError) as caught:
        build_network(load(tmp_path / "odd.ckpt"), tmp_path / "odd.ckpt")
    assert "\n" not in str(caught.value)
    assert "odd.ckpt" in str(caught.value)


def test_pretrained_weights_are_never_fetched_for_a_checkpoint(content, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    described = content[KEY]["network"]
    for network in (described | {"pretrained": True}, {k: v for k, v in described.items() if k != "pretrained"}):
        file = save(content, tmp_path / "some.ckpt", network=network)
        assert build_network(load(file), file)
    assert not (tmp_path / "nothing").exists()


def test_weights_of_another_kind_of_number_are_refused_and_of_another_precision_read(content, tmp_path):
    weights = content["state_dict"]
    name = next(key for key in weights if key.endswith("weight"))
    for kind in (torch.int64, torch.bool, torch.uint8):
        torch.save({**content, "state_dict": {**weights, name: weights[name].to(kind)}}, tmp_path / "odd.ckpt")
        with pytest.raises(InputError, match=rf"{name.removeprefix('network.')}' is [0-9x]+ of {str(kind)[6:]}, not"):
            build_network(load(tmp_path / "odd.ckpt"), tmp_path / "odd.ckpt")
    torch.save({**content, "state_dict": {k: v.half() for k, v in weights.items()}}, tmp_path / "half.ckpt")
    assert (
        build_network(load(tmp_path / "half.ckpt"), tmp_path / "half.ckpt").state_dict()[name[8:]].dtype
        is torch.float32
    )


def test_the_first_weights_that_differ_are_named(content, tmp_path):
    weights = dict(content["state_dict"])
    first, second, *_ = weights
    weights["network.other\n"] = weights.pop(first)
    weights[second] = torch.zeros(2, 3)
    torch.save({**content, "state_dict": weights}, tmp_path / "odd.ckpt")
    with pytest.raises(InputError) as caught:
        build_network(load(tmp_path / "odd.ckpt"), tmp_path / "odd.ckpt")
    said = str(caught.value)
    assert "\n" not in said
    assert f"'{first.removeprefix('network.')}' is missing" in said
    assert f"'{second.removeprefix('network.')}' is 2x3, not" in said
    assert "3 in all" in said


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.process
def test_pretrained_files_of_libraries_run_no_code(tmp_path):
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(Bomb(tmp_path / "marker"), folder / "vgg16-397923af.pth")
    large = ["model.network.pretrained=true", "model.network.norm=false", "model.network.backbone_multiplier=1.0"]
    done = run_py(f"experiment={NAME}", *DATA, *large, f"outputs={tmp_path / 'outputs'}", TORCH_HOME=str(tmp_path))
    assert_one_line(done, "VGG-16", "UnpicklingError")
    assert not (tmp_path / "marker").exists()
