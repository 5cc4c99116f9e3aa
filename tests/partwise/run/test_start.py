import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from partwise.errors import InputError
from partwise.run.banner import banner
from partwise.run.configs import differences, plain
from partwise.run.devices import emulates_bfloat16
from partwise.run.folder import RUN_ID, Run, open_run
from partwise.run.start import _refuse_other_config


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    """Each test is the first process of its run."""
    monkeypatch.setenv(RUN_ID, "")


def opened(outputs, monkeypatch, resume=None, **facts):
    monkeypatch.setenv(RUN_ID, "")
    run = open_run(outputs, "some_vip", resume, "demo-synthetic")
    if facts:
        run.record(**facts)
    return run


def test_a_new_run_has_its_own_folder_named_by_its_traits(tmp_path, monkeypatch):
    first, second = opened(tmp_path, monkeypatch), opened(tmp_path, monkeypatch)
    assert first.folder != second.folder
    assert first.folder.parent == tmp_path / "some_vip"
    assert "demo-synthetic" in first.id
    assert not first.resumed


def test_further_processes_of_a_run_share_its_folder(tmp_path, monkeypatch):
    first = opened(tmp_path, monkeypatch)
    assert open_run(tmp_path, "some_vip", None, "demo-synthetic").folder != first.folder  # a multirun's next job
    first = opened(tmp_path, monkeypatch)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert open_run(tmp_path, "some_vip", None, "demo-synthetic").folder == first.folder


def test_auto_takes_the_newest_unfinished_training(tmp_path, monkeypatch):
    opened(tmp_path, monkeypatch, status="running", task="train")
    newest = opened(tmp_path, monkeypatch, status="running", task="train")
    opened(tmp_path, monkeypatch, status="finished", task="train")
    opened(tmp_path, monkeypatch, status="running", task="test")
    assert opened(tmp_path, monkeypatch, resume="auto").folder == newest.folder


def test_auto_starts_anew_where_nothing_is_unfinished(tmp_path, monkeypatch, capsys):
    done = opened(tmp_path, monkeypatch, status="finished", task="train")
    run = opened(tmp_path, monkeypatch, resume="auto")
    assert run.folder != done.folder
    assert not run.resumed
    assert "no unfinished run" in capsys.readouterr().out


def test_an_unknown_run_is_an_error_that_lists_the_latest(tmp_path, monkeypatch):
    known = opened(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=known.id):
        opened(tmp_path, monkeypatch, resume="20200101-000000")


def test_run_json_gathers_facts(tmp_path, monkeypatch):
    run = opened(tmp_path, monkeypatch, seed=3)
    run.record(status="running")
    assert json.loads((run.folder / "run.json").read_text()) == {"seed": 3, "status": "running"}


def test_differences_are_dotted_and_ordered():
    before = {"a": 1, "b": {"c": 2, "d": [1]}, "gone": 0}
    after = {"a": 1, "b": {"c": 3, "d": [2]}, "new": 0}
    assert differences(before, after) == ["b.c 2 → 3", "b.d [1] → [2]"]


@pytest.mark.parametrize(
    ("override", "refused"),
    [("model.network.feature.width=24", True), ("seed=1", True), ("data.batch_size=3", True),
     ("trainer.max_epochs=99", False), ("data.num_workers=0", False), ("data.root=/moved", False),
     ("data.test_root=/moved", False)],
)  # fmt: skip
def test_a_resumed_run_keeps_its_model_and_data(override, refused, tmp_path, monkeypatch, request):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(request.config.rootpath / "experiments"), version_base="1.3"):
        own = compose("config", overrides=["experiment=deeplab_folder"])
        changed = compose("config", overrides=["experiment=deeplab_folder", override])
    run = opened(tmp_path, monkeypatch)
    (run.folder / "config.yaml").write_text(OmegaConf.to_yaml(own, resolve=True))
    _refuse_other_config(run, own)
    if refused:
        with pytest.raises(InputError, match=override.split("=")[0].replace(".", r"\.")):
            _refuse_other_config(run, changed)
    else:
        _refuse_other_config(run, changed)


@pytest.mark.parametrize(
    ("overrides", "slow"),
    [([], False), (["trainer.precision=bf16-mixed", "trainer.accelerator=cpu"], True), (["profile=paper"], False)],
)
def test_the_banner_says_what_the_profile_changes_and_that_bfloat16_is_emulated(overrides, slow, tmp_path, request):
    GlobalHydra.instance().clear()
    given = ["experiment=parsing_rcnn_vip", *overrides]
    with initialize_config_dir(str(request.config.rootpath / "experiments"), version_base="1.3"):
        cfg = compose("config", overrides=given)
        cfg.run = Run(tmp_path, resumed=False).about(synthetic=False)
        told = str(banner(cfg, given).renderable)
    assert emulates_bfloat16(cfg) == (slow and not torch.ops.mkldnn._is_mkldnn_bf16_supported())
    assert ("emulates bfloat16" in told) == emulates_bfloat16(cfg)
    assert ("image_size 512 → 128" in told) == (cfg.profile == "demo")
    assert str(tmp_path) in told
    assert "synthetic" not in told


def test_plain_configs_hold_plain_containers_only():
    cfg = OmegaConf.create({"a": [1, {"b": "${c}"}], "c": 2})
    assert plain(cfg) == {"a": [1, {"b": 2}], "c": 2}
    assert type(plain(cfg)["a"]) is list
