"""Every data config builds its DataModule, which yields what the config says."""

import pytest
from composing import EXPERIMENTS, composed
from hydra.utils import instantiate

from partwise import labels
from partwise.ops.resize import canvas_size
from partwise.run.cli import FROM_CHECKPOINT

NAMES = sorted(file.stem for file in (EXPERIMENTS / "data").glob("*.yaml"))

#: Of a stand-in that is rendered in a second, whatever it consists of.
FEW = {"size": [64, 80], "frames_per_video": 4, "frames_per_sequence": 4, "frames_per_tracklet": 3}


def of_data(name, *overrides):
    return composed(f"experiment={FROM_CHECKPOINT}", f"data={name}", *overrides)


def shrink(synthetic):
    """The first parameter says how many there are, of each split or in all."""
    amount = next(iter(synthetic))
    synthetic[amount] = {split: 3 for split in synthetic[amount]} if hasattr(synthetic[amount], "items") else 10
    synthetic.update({key: value for key, value in FEW.items() if key in synthetic})


@pytest.mark.parametrize("name", NAMES)
def test_the_config_fits_its_data_module(name, monkeypatch, tmp_path):
    monkeypatch.setenv("PARTWISE_CACHE", str(tmp_path))
    chairs = name == "flying_chairs"  # whose crops would be larger than these frames
    cfg = of_data(name, "seed=5", *(["data.crop=null"] * chairs))
    shrink(cfg.data.synthetic)
    data = instantiate(cfg.data)
    assert data.synthetic
    assert data.seed == 5
    assert data.label_set == getattr(labels, cfg.label_set.upper())
    assert data.label_set.num_classes == cfg.num_classes
    whole = FEW["size"] if chairs else canvas_size(cfg.image_size)
    for stage in data.stages:
        sample = data.dataset(stage)[0]
        size = cfg.data.crop if stage == "train" and name == "davis" else whole
        assert list(sample["images" if "images" in sample else "frames"].shape[-2:]) == list(size)


@pytest.mark.parametrize("name", NAMES)
def test_each_split_can_be_named_alone(name):
    usual = instantiate(of_data(name).data).splits
    data = instantiate(of_data(name, "data.splits.train=other", "data.splits.val=[a/1,b/2]").data)
    assert data.splits == {"train": "other", "val": ["a/1", "b/2"], "test": usual["test"]}
    assert None not in usual.values()


@pytest.mark.parametrize("name", ["ccp", "folder"])
def test_all_of_another_folder_is_the_test_set(name, tmp_path):
    assert instantiate(of_data(name, f"data.test_root={tmp_path}").data).splits["test"] == "all"
    assert instantiate(of_data(name, f"data.test_root={tmp_path}", "data.splits.test=val").data).splits["test"] == "val"


def test_the_four_tracklet_configs_are_of_their_datasets():
    for name in ("indoor", "outdoor", "ilids", "daily"):
        data = instantiate(of_data(name).data)
        assert type(data).__name__.lower() == f"{name}datamodule"
        assert data.offsets == ((2, 1) if name == "outdoor" else (3, 1))
