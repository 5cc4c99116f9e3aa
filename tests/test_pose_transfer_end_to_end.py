"""The chain of pose-guided knowledge transfer through run.py: killed in each stage it goes on, on real data."""

import json

import pytest
from commands import kill_when, run_py, start_py

from data_modules.synthetic.layouts.mpii import MPIIWriter
from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter

pytestmark = pytest.mark.process

TINY = """
pretrained: none
image_size: 33
trainer: {max_epochs: 1, check_val_every_n_epoch: 1, accelerator: cpu, limit_train_batches: 4}
checkpoint_every: 1
"""
PRIORS = """
model:
  jitter: 4
  network: {depth: 3, width: 4, crop_size: 16}
  library: {synthetic: {images: {train: 4, val: 2}, size: [64, 64]}}
"""
PARSER = "model: {network: {backbone: resnet18, backbone_multiplier: 0.125}}\n"
DATA = "data: {batch_size: 2, num_workers: 0, augment: [], synthetic: {images: {train: 4, val: 2}, size: [64, 64]}}\n"
POOL = "data: {num_workers: 1, full_body: false, synthetic: {photos: 12, size: [64, 64]}}\n"
CONFIGS = {
    "tiny_refinement": ("pose_refinement_ppp", PRIORS + DATA),
    "tiny_labels": ("pose_labels_ppp", "stages: {refinement: {experiment: tiny_refinement}}\n" + PRIORS + POOL),
    "tiny_union": ("pose_transfer_union_ppp", "stages: {labels: {experiment: tiny_labels}}\n" + PARSER + DATA),
    "tiny_transfer": ("pose_transfer_ppp", "stages: {union: {experiment: tiny_union}}\n" + PARSER + DATA),
}


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    (folder / "experiment").mkdir()
    for name, (base, text) in CONFIGS.items():
        said = f"# @package _global_\ndefaults: [{base}, _self_]\nname: {name}\n{TINY}{text}"
        (folder / "experiment" / f"{name}.yaml").write_text(said)
    return folder


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    masks, poses = tmp_path_factory.mktemp("ppp"), tmp_path_factory.mktemp("mpii")
    PascalPersonPartWriter(images={"train": 4, "val": 2}, size=(64, 64), workers=1).write(masks)
    MPIIWriter(photos=12, size=(64, 64), workers=1).write(poses)
    return masks, poses


def start(configs, outputs, *more):
    return start_py(f"--config-dir={configs}", "experiment=tiny_transfer", f"outputs={outputs}", *more)


def runs(outputs):
    return {file.parts[-3]: json.loads(file.read_text()) for file in outputs.glob("*/*/run.json")}


def test_a_chain_that_is_killed_in_each_stage_goes_on(configs, roots, tmp_path):
    places = [f"data.root={roots[0]}", f"roots.mpii={roots[1]}"]
    for pattern in ("tiny_refinement/*/checkpoints/last.ckpt", "tiny_labels/*/dataset/provenance/*.json",
                    "tiny_union/*/checkpoints/last.ckpt"):  # fmt: skip
        kill_when(start(configs, tmp_path, *places), tmp_path, pattern)
    process = start(configs, tmp_path, *places)
    said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said[-3000:]
    assert "Traceback" not in said
    assert {name: run["status"] for name, run in runs(tmp_path).items()} == dict.fromkeys(CONFIGS, "finished")
    assert len(list(tmp_path.glob("*/*/run.json"))) == 4  # each once, the killed ones went on
    assert {run["data"] for run in runs(tmp_path).values()} == {"real"}
    (dataset,) = tmp_path.glob("tiny_labels/*/dataset")
    # What was killed leaves hidden files.
    names = {folder: {file.stem for file in (dataset / folder).glob("[!.]*")}
             for folder in ("frames", "labels", "provenance")}  # fmt: skip
    assert names["frames"] == names["labels"] <= names["provenance"]
    assert len(names["labels"]) > 4
    sources = [json.loads(file.read_text())["persons"] for file in (dataset / "provenance").glob("[!.]*")]
    assert {len(those) for persons in sources for those in persons.values()} == {3}
    run_py(f"--config-dir={configs}", "experiment=tiny_labels", *places[1:], f"roots.pascal_person_part={roots[0]}",
           f"stages_in={tmp_path}", f"outputs={tmp_path / 'again'}")  # fmt: skip
    (again,) = (tmp_path / "again").glob("tiny_labels/*/dataset")
    for file in (dataset / "labels").glob("[!.]*"):  # the same again
        assert file.read_bytes() == (again / "labels" / file.name).read_bytes()


def test_real_poses_do_not_take_parts_of_rendered_people(configs, roots, tmp_path):
    said = run_py(f"--config-dir={configs}", "experiment=tiny_labels", f"data.root={roots[1]}", f"outputs={tmp_path}",
                  status=1).stderr  # fmt: skip
    assert "roots.pascal_person_part=DIR" in said
    assert "Traceback" not in said
