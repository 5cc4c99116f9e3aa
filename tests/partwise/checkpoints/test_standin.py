"""Weights that the package brings."""

import hashlib
import re
import sys
from pathlib import Path

import pytest
import torch
from composing import composed

from data_modules.synthetic.layouts.ccp import CCPWriter
from data_modules.synthetic.layouts.davis import DAVISWriter
from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter
from data_modules.synthetic.layouts.vip import VIPWriter
from partwise.checkpoints import standin
from partwise.checkpoints.loading import build_network
from partwise.errors import InputError
from partwise.nn.backbone import Backbone
from partwise.run.configs import plain

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))
from make_standin_weights import SEED, TRAININGS

FILES = sorted(standin.FOLDER.glob("*.safetensors"))


def seeds_of(writer, counts):
    """Seeds of the scenes that a writer draws."""
    like = writer.shot(Path("none"), writer.domain)
    stream = {"vip": None, "davis": 11}[writer.name] if writer.name in ("vip", "davis") else writer.stream
    return {shot.seed for shot in writer.plan(like, counts, "{split}{n}", stream=stream)}


def test_no_photo_of_a_demo_is_one_that_the_weights_were_trained_on():
    options = plain(composed("experiment=deeplab_ccp", "profile=demo").data.synthetic)
    writer = CCPWriter(**options)
    photos = {shot.seed for shot in writer.line_up(writer.shot(Path("none"), "single"), [""] * writer.photos,
                                                   "{number:04d}", stream=7)}  # fmt: skip
    assert len(photos) == writer.photos
    trained = seeds_of(VIPWriter(videos={}, seed=SEED), {"train": 2000, "val": 12, "test": 12})
    assert not trained & photos


@pytest.mark.parametrize("experiment", ["aten_vip", "parsing_rcnn_vip", "aten_davis"])
def test_no_video_of_a_demo_is_one_that_the_weights_were_trained_on(experiment):
    cfg = composed(f"experiment={experiment}", "profile=demo")
    options = plain(cfg.data.synthetic)
    writer = (VIPWriter if cfg.data.synthetic.get("videos") else DAVISWriter)(**options)
    counts = options.get("videos") or options["sequences"]
    trained = seeds_of(VIPWriter(videos={}, seed=SEED), {"train": 2000, "val": 12, "test": 12})
    assert writer.seed != SEED
    assert len(seeds_of(writer, counts)) == sum(counts.values())
    assert not trained & seeds_of(writer, counts)


def test_no_picture_of_a_demo_is_one_that_the_category_level_module_was_trained_on():
    options = plain(composed("experiment=instance_crf_ppp", "profile=demo").data.synthetic)
    assert options["seed"] != SEED
    writer, trained = PascalPersonPartWriter(**options), PascalPersonPartWriter(images={}, seed=SEED)
    demo = seeds_of(writer, options["images"])
    assert len(demo) == sum(options["images"].values())
    assert not demo & seeds_of(trained, {"train": 4000, "val": 80})
    assert not demo & seeds_of(VIPWriter(videos={}, seed=SEED), {"train": 2000, "val": 12, "test": 12})


def test_trainings_say_their_seed():
    for training in TRAININGS.values():
        for overrides in training.passes:
            assert f"data.synthetic.seed={SEED}" in overrides


def test_they_are_small_and_have_cards():
    assert {file.stem for file in FILES} == TRAININGS.keys()
    assert sum(file.stat().st_size for file in FILES) <= 19e6
    for file in FILES:
        card = file.with_suffix(".md").read_text(encoding="utf-8")
        assert re.findall("SHA-256: `(.*)`", card) == [hashlib.sha256(file.read_bytes()).hexdigest()]
        assert "synthetic" in card
        assert all(value.dtype != torch.float32 for value in standin._stored(file.stem).values())


@pytest.mark.parametrize("name", standin.names())
def test_they_are_whole_networks(name):
    network = build_network(standin.read(name), name)
    assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_a_trunk_starts_from_them():
    trunk = Backbone("resnet18", "standin", 0.5)
    whole = standin.read("standin/parsing_rcnn_vip")["state_dict"]
    assert torch.equal(trunk.body.conv1.weight, whole["network.feature.backbone.body.conv1.weight"])


def test_what_is_not_there_is_one_line():
    with pytest.raises(InputError, match="standin/x does not exist; the package brings standin/"):
        standin.read("standin/x")
    with pytest.raises(InputError, match="no weights of resnet50 x 1, only of"):
        Backbone("resnet50", "standin")
