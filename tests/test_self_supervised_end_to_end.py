"""The self-supervised loop through run.py: one round on tiny videos, killed in the middle of it, and its labels."""

import json

import pytest
from commands import kill_when, start_py

from data_modules.coco_persons import COCOPersonsDataModule

pytestmark = [pytest.mark.process, pytest.mark.slow]  # a dozen runs one after the other

TINY = """
pretrained: none
image_size: 64
sizes:
  seg: {backbone: resnet18, backbone_multiplier: 0.125, width: 8}
  pose: {stacks: 1, depth: 2, width: 16, increase: 8, stem: [8, 8]}
trainer: {check_val_every_n_epoch: 1, accelerator: cpu, limit_train_batches: 3}
checkpoint_every: 1
"""
ONCE = "trainer: {max_epochs: 1}\n"
PEOPLE = """
data: {batch_size: 2, num_workers: 0, augment: [], synthetic: {photos: {train: 6, val: 2}, size: [64, 64]}}
"""
STAGES = "stages: {seg: {experiment: tiny_seg}, pose: {experiment: tiny_pose}, pose2seg: {experiment: tiny_pose2seg}}\n"
VIDEO = """
model: {flow: {_target_: partwise.models.baselines.netwarp.DIS}}
data:
  num_workers: 0
  synthetic: {videos: {train: 3, val: 1, test: 1}, frames_per_video: 9, size: [64, 64]}
"""
LOOP = """
data: {num_workers: 0, synthetic: {photos: {val: 4, test: 4}, size: [64, 64]}}
rounds:
  tpr: 1
  gbsr: 1
  most: 1
  labels: {experiment: tiny_labels, overrides: []}
  seg: {experiment: tiny_seg, overrides: []}
  pose: {experiment: tiny_pose, overrides: [model.network.open_joints=true]}
  pose2seg: {experiment: tiny_pose2seg, overrides: []}
"""
CONFIGS = {
    "tiny_seg": ("seg_module_coco", PEOPLE),
    "tiny_pose": ("pose_module_coco", PEOPLE),
    "tiny_pose2seg": ("pose2seg_module_coco", PEOPLE),
    "tiny_labels": ("self_supervised_labels", STAGES + VIDEO),
    "tiny_loop": ("self_supervised_ochuman", STAGES + LOOP),
}


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    (folder / "experiment").mkdir()
    for name, (base, text) in CONFIGS.items():
        sizes = TINY if name == "tiny_loop" else TINY.replace("trainer: {", "trainer: {max_epochs: 1, ")
        said = f"# @package _global_\ndefaults: [{base}, _self_]\nname: {name}\n{sizes}{text}"
        (folder / "experiment" / f"{name}.yaml").write_text(said)
    return folder


def start(configs, outputs):
    return start_py(f"--config-dir={configs}", "experiment=tiny_loop", f"outputs={outputs}")


def labels(outputs):
    """Labels by the name of their run and of their window."""
    return {
        (file.parts[-5], *file.parts[-2:]): file.read_text()
        for file in outputs.glob("tiny_labels/*/dataset/rows/*/*.json")
    }


def test_a_loop_that_is_killed_while_it_labels_ends_with_the_same_labels(configs, tmp_path):
    process = start(configs, tmp_path / "killed")
    kill_when(process, tmp_path / "killed", "tiny_labels/*/dataset/rows/*/*.json")
    before = labels(tmp_path / "killed")
    process = start(configs, tmp_path / "killed")
    said = process.communicate(timeout=900)[0]
    assert process.returncode == 0, said[-3000:]
    assert "Traceback" not in said
    after = labels(tmp_path / "killed")
    assert before.items() <= after.items()
    (loop,) = (tmp_path / "killed" / "tiny_loop").iterdir()
    steps = json.loads((loop / "rounds.json").read_text())
    assert [step["step"] for step in steps] == ["round 1, TPR 1", "round 1, GBSR 1", "round 1, fusion"]
    assert 0 <= steps[-1]["similar"] <= 1
    metrics = json.loads((loop / "metrics.json").read_text())
    assert {"test/AP", "test/AP_M", "test/AP_H"} <= metrics.keys()
    for step in steps:  # a dataset that its reader reads, where somebody was found
        folder = step["labels"]
        about = json.loads((tmp_path / folder / "summary.json").read_text())
        assert about["pictures"] == 9
        if about["persons"]:
            assert len(COCOPersonsDataModule(root=folder, splits={"val": "train"}).dataset("val")) == 9
