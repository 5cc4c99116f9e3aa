"""Callbacks and loggers that a config names."""

import pytest
import pytorch_lightning as pl
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from partwise.errors import InputError
from partwise.run.extensions import make_all


def test_entries_are_made_in_order_with_plain_arguments_and_null_leaves_one_out():
    entries = OmegaConf.create(
        {
            "one": {"_target_": "pytorch_lightning.callbacks.Timer", "duration": {"hours": 1}},
            "off": None,
            "two": {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "val/miou"},
        }
    )
    one, two = make_all(entries, "callbacks", pl.Callback)
    assert (type(one).__name__, type(two).__name__) == ("Timer", "EarlyStopping")


@pytest.mark.parametrize("entry", [{"_target_": "builtins.dict"}, {"no_target": 1}, 3])
def test_what_is_no_callback_is_named(entry):
    with pytest.raises(InputError, match=r"callbacks\.mine is of type .*, not pytorch_lightning's Callback"):
        make_all(OmegaConf.create({"mine": entry}), "callbacks", pl.Callback)


@pytest.mark.parametrize("override", ["+callbacks=early_stopping", "+callbacks=[early_stopping]"])
def test_a_group_is_added_to_the_default_callbacks(override, request):
    with initialize_config_dir(str(request.config.rootpath / "experiments"), version_base="1.3"):
        cfg = compose("config", overrides=["experiment=flownet_s_chairs", override, "callbacks.best=null"])
    (stopping,) = make_all(cfg.callbacks, "callbacks", pl.Callback)
    assert (stopping.monitor, stopping.mode) == ("val/epe", "min")


def test_an_experiment_adds_callbacks_by_its_defaults_list(tmp_path, request):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text(
        "# @package _global_\ndefaults: [flownet_s_chairs, /callbacks: early_stopping, _self_]\nname: own\n"
        "callbacks: {early_stopping: {patience: 7}}\n"
    )
    with initialize_config_dir(str(request.config.rootpath / "experiments"), version_base="1.3"):
        cfg = compose("config", overrides=["experiment=own", f"hydra.searchpath=[file://{tmp_path}]"])
    assert list(cfg.callbacks) == ["best", "early_stopping"]
    assert cfg.callbacks.early_stopping.patience == 7
