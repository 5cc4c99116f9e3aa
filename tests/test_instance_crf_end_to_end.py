"""The Instance CRF through run.py: its stages, its training, its pictures, and a video."""

import json

import numpy as np
import pytest
from commands import only_run, run_py

from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter
from partwise.io.video import VideoWriter

pytestmark = pytest.mark.process

TINY = [
    "image_size=33", "trainer.max_epochs=1", "trainer.accelerator=cpu", "data.num_workers=0", "data.batch_size=2",
    "trainer.check_val_every_n_epoch=1", "trainer.limit_train_batches=2", "pretrained=none", "init=[]",
    "model.network.semantic.width=8", "model.network.semantic.backbone_multiplier=0.125",
    "model.network.detector.size=64", "model.network.detector.network.feature.width=8",
    "model.network.detector.network.heads.box_width=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ppp")
    PascalPersonPartWriter(images={"train": 4, "val": 3}, size=(48, 64), workers=1).write(folder)
    return folder


@pytest.mark.parametrize("terms", ["full", "box"])
def test_it_trains_scores_draws_and_parses_a_video(root, tmp_path, terms):
    run_py("experiment=instance_crf_ppp", *TINY, f"data.root={root}", f"outputs={tmp_path}",
           f"ablation=instance_crf/{terms}", "model.network.detector.least=0.0")  # fmt: skip
    folder = only_run(tmp_path)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"test/part_ap_vol", "test/human_ap_50", "test/miou"} <= metrics.keys()
    assert (folder / "pictures/overlay.jpg").exists()
    clip = tmp_path / "clip.mp4"
    with VideoWriter(clip, fps=5, size=(48, 64)) as video:
        for t in range(3):
            video.write(np.full((48, 64, 3), 60 * t, np.uint8))
    run_py("task=predict", f"ckpt={folder / 'checkpoints/last.ckpt'}", f"input={clip}", f"output={tmp_path / 'parsed'}")
    assert len(list((tmp_path / "parsed/parts").glob("*.png"))) == 3


def test_true_boxes_take_the_detectors_place(root, tmp_path):
    tiny = [override for override in TINY if "detector" not in override]
    run_py("experiment=instance_crf_ppp", *tiny, f"data.root={root}", f"outputs={tmp_path}", "profile=paper",
           "model/detector@model.network.detector=true_boxes", "model.network.semantic.backbone=resnet18",
           "trainer.max_steps=2", "data.augment=[]", "model.network.semantic.norm=true")  # fmt: skip
    metrics = json.loads((only_run(tmp_path) / "metrics.json").read_text())
    assert metrics["test/part_ap_vol"] is not None
