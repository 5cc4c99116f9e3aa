"""The self-supervised loop through run.py: one round on small videos, killed in the round, and on two processes."""

import json

import pytest
from commands import kill_when, only_run, run_py, start_py

from data_modules.coco_persons import COCOPersonsDataModule

pytestmark = [pytest.mark.process, pytest.mark.slow]  # a dozen runs one after the other

PEOPLE = ["data.synthetic.photos={train: 4, val: 2}", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1",
          "trainer.limit_train_batches=2", "data.batch_size=2"]  # fmt: skip
STEPS = {
    "labels": ["data.synthetic.videos={train: 2, val: 1, test: 1}"], "seg": PEOPLE,
    "pose": [*PEOPLE, "model.network.open_joints=true"], "pose2seg": PEOPLE,
}  # fmt: skip
FEW = [
    "experiment=self_supervised_ochuman", "data.num_workers=0", "data.synthetic.photos={val: 2, test: 4}",
    *(f"rounds.{step}.overrides=[{','.join(map(repr, given))}]" for step, given in STEPS.items()),
]  # fmt: skip
LABELS = "self_supervised_labels/*/dataset/rows/*/*/*.json"


def finished(outputs):
    """Run the loop to its end; what its steps made, and its labels by the name of their step and window."""
    process = start_py(*FEW, f"outputs={outputs}")
    said = process.communicate(timeout=1200)[0]
    assert process.returncode == 0, said[-3000:]
    assert "Traceback" not in said
    (loop,) = (outputs / "self_supervised_ochuman").iterdir()
    steps = json.loads((loop / "rounds.json").read_text())
    labels = {
        (step["step"], *file.parts[-2:]): json.loads(file.read_text())
        for step in steps
        for file in sorted((outputs.parent / step["labels"]).glob("rows/*/*/*.json"))
    }
    return loop, steps, labels


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("whole"))


def test_people_in_videos_are_labelled_and_trained_on(whole):
    loop, steps, labels = whole
    assert [step["step"] for step in steps] == ["round 1, TPR 1", "round 1, GBSR 1", "round 1, fusion"]
    assert [sorted(step["scores"]) for step in steps] == [["seg"], ["pose"], ["pose2seg", "seg"]]
    assert 0 < steps[-1]["similar"] <= 1
    assert len(labels) == 3 * 6
    assert all(any(found["annotations"] for key, found in labels.items() if key[0] == step["step"]) for step in steps)
    for step in steps:
        data = COCOPersonsDataModule(root=step["labels"], splits={"val": "train"})
        assert len(data.dataset("val")) == 6
    metrics = json.loads((loop / "metrics.json").read_text())
    assert {"test/AP", "test/AP_M", "test/AP_H", "test/keypoints_AP"} <= metrics.keys()
    assert metrics["test/AP"] != metrics["test_untrained/AP"]  # the modules as the rounds found them


@pytest.mark.parametrize("sign", [LABELS, "pose_module_coco/*/run.json"], ids=["a labelling", "a training"])
def test_a_loop_that_is_killed_in_a_round_ends_with_the_same_labels(sign, whole, tmp_path):
    kill_when(start_py(*FEW, f"outputs={tmp_path}"), tmp_path, sign)
    _, steps, labels = finished(tmp_path)
    assert labels == whole[2]
    assert steps[-1]["similar"] == whole[1][-1]["similar"]


def test_two_processes_label_as_one_does(tmp_path):
    videos = ["experiment=self_supervised_labels", "data.num_workers=0", "trainer.accelerator=cpu",
              "data.synthetic.videos={train: 2, val: 1, test: 1}"]  # fmt: skip
    for name, more in (("one", []), ("two", ["trainer=ddp", "trainer.devices=2"])):
        run_py(*videos, *more, f"outputs={tmp_path / name}")
    one, two = (
        {f.relative_to(d): f.read_bytes() for f in d.rglob("*") if f.is_file()}
        for d in (only_run(tmp_path / name) / "dataset" for name in ("one", "two"))
    )
    assert one == two
    assert len(list((only_run(tmp_path / "two") / "dataset" / "rows").rglob("*.json"))) == 6
