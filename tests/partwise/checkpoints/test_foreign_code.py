"""What a checkpoint may name: networks of partwise and plain values, nothing else, whoever reads it."""

import pkgutil
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from commands import run_py, script
from composing import composed
from hydra.utils import instantiate
from tiny_checkpoint import DATA, GOOD, NAME, NETWORK, SMALL, assert_one_line, save

from partwise.io.images import write_image
from partwise.run import cli
from partwise.run.build import make_task, make_trainer
from partwise.run.folder import Run


class Doors:
    """The four commands that read a checkpoint, each up to where it reads it."""

    def __init__(self, folder):
        self.folder, self.run_py = folder, script("run.py")
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
        "through a module": {"_target_": "partwise.run.build.torch.utils.collect_env.run", "command": touch},
        "through a network's module": {"_target_": "partwise.nn.deeplab.torch.utils.collect_env.run", "command": touch},
        "function that writes": {"_target_": "partwise.io.atomic.write_text", "path": str(marker), "text": "x"},
        "function that writes, json": {"_target_": "partwise.io.atomic.write_json", "path": str(marker), "content": {}},
        "function that removes": {"_target_": "partwise.predict.output.clear", "folder": str(folder),
                                  "overwrite": True},
        "numpy through media": {"_target_": "partwise.io.video.np.load", "file": str(marker), "allow_pickle": True},
        "torch's class through a module": {"_target_": "partwise.nn.vgg.nn.Linear", "in_features": 1,
                                           "out_features": 1},
        "class imported elsewhere": {**NETWORK, "_target_": "partwise.models.tcnet.task.VGG"},
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


NOWHERE = {"missing", "no target", *(case for case in CASES if case.startswith("target "))}


@pytest.mark.parametrize("case", [case for case in CASES if case not in NOWHERE])
def test_what_foreign_code_names_exists(case):
    """Else it would be refused because it is missing."""
    for target in targets(foreign(Path("marker"), Path("/tmp"))[case]):
        pkgutil.resolve_name(target)


def targets(value):
    """Targets in nested dictionaries and lists."""
    if isinstance(value, dict) and "_target_" in value:
        yield value["_target_"]
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from targets(part)


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
    done = run_py(f"task={task}", f"ckpt={file}", *more, f"outputs={tmp_path / 'outputs'}", status=1)
    assert_one_line(done, "torch.utils.collect_env.run")
    assert not marker.exists()
