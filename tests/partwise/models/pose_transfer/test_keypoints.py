"""Poses of a json in COCO's form, MPII's joints of COCO's, and the command that labels pictures with them."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run_py, script
from PIL import Image
from posed_people import SIZE, STANDING

from data_modules.synthetic.layouts import mpii
from data_modules.synthetic.layouts.mpii import mpii_joints
from data_modules.synthetic.layouts.pascal_person_part import _pose as pascal_pose
from partwise.errors import InputError
from partwise.models.pose_transfer.keypoints import PosedPictures
from partwise.ops.mpii import CROWN, FOREHEAD, mpii_of_coco, pascal_heads


def coco_of(pose):
    """COCO's keypoints of MPII's `STANDING`, whose face is where its points' mean belongs."""
    points = torch.zeros(17, 3)
    for row, source in {0: 16, 1: 14, 2: 12, 3: 11, 4: 13, 5: 15, 10: 10, 11: 8, 12: 6, 13: 5, 14: 7, 15: 9}.items():
        points[source] = pose[row]
    neck = pose[[12, 13], :2].mean(0)
    points[:5] = torch.cat([neck + (pose[9, :2] - neck) / CROWN, torch.tensor([2.0])])
    return points


def test_mpiis_joints_of_cocos():
    (made,) = mpii_of_coco(coco_of(STANDING)[None])
    same = [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15]
    torch.testing.assert_close(made[same], STANDING[same])
    torch.testing.assert_close(made[6, :2], STANDING[[2, 3], :2].mean(0))
    torch.testing.assert_close(made[8, :2], STANDING[[12, 13], :2].mean(0))


def test_what_is_missing_is_missing():
    points = coco_of(STANDING)
    points[6, 2] = 0  # the right shoulder: no neck, no thorax, no top of the head
    points[11, 2] = 0.2
    (made,) = mpii_of_coco(points[None], least=0.3)
    assert [row for row in range(16) if made[row, 2] == 0] == [3, 6, 7, 8, 9, 12]
    assert (made[made[:, 2] == 0] == 0).all()
    faceless = coco_of(STANDING)
    faceless[:5, 2] = 0
    assert mpii_of_coco(faceless[None])[0, 9].tolist() == [0, 0, 0]


def test_heads_run_from_the_shoulders_to_the_forehead():
    (made,) = pascal_heads(STANDING[None])
    same = [row for row in range(16) if row not in (8, 9)]
    torch.testing.assert_close(made[same], STANDING[same])
    assert made[8].tolist() == [60, 50, 2]  # the middle of the shoulders
    assert made[9].tolist() == [60, pytest.approx(50 - FOREHEAD * 35), 2]
    shoulderless, topless = STANDING.clone(), STANDING.clone()
    shoulderless[12], topless[9] = 0, 0
    assert (pascal_heads(shoulderless[None])[0, 8:10] == 0).all()
    assert pascal_heads(topless[None])[0, 8:10, 2].tolist() == [2, 0]


def test_rendered_people_have_the_same_head_in_both_layouts(monkeypatch):
    heads = []

    def spy(posed, frame):
        joints = mpii_joints(posed, frame)
        for pose, keypoints in zip(joints, frame.keypoints, strict=True):
            if (keypoints[[0, 1, 2, 5, 6], 2] > 0).all():
                (ours,) = pascal_heads(torch.from_numpy(pose)[None])
                heads.append((pascal_pose(keypoints)[:2, :2], ours[[9, 8], :2].numpy(), pose[[9, 8], :2]))
        return joints

    monkeypatch.setattr(mpii, "mpii_joints", spy)
    with tempfile.TemporaryDirectory() as folder:
        mpii.MPIIWriter(photos=30, size=(96, 96), workers=1, seed=1).write(Path(folder))
    theirs, ours, official = (np.stack(x) for x in zip(*heads, strict=True))
    length = np.linalg.norm(theirs[:, 0] - theirs[:, 1], axis=-1)[:, None]
    assert len(length) > 10
    assert np.median(np.linalg.norm(ours - theirs, axis=-1) / length) < 0.05
    assert np.median(np.linalg.norm(official - theirs, axis=-1) / length) > 0.15


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("000000000007", "other"):
        Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(folder / f"{name}.jpg")
    return folder


def results(tmp_path, **fields):
    row = {"image_id": 7, "category_id": 1, "score": 0.9, "keypoints": coco_of(STANDING).flatten().tolist(), **fields}
    file = tmp_path / "poses.json"
    file.write_text(json.dumps([row]))
    return file


@pytest.mark.parametrize(
    ("fields", "name"),
    [({}, "000000000007.jpg"), ({"image_id": "other"}, "other.jpg"), ({"file_name": "x/other.jpg"}, "other.jpg")],
)
def test_poses_find_their_pictures(pictures, tmp_path, fields, name):
    found = PosedPictures(pictures, results(tmp_path, **fields))
    assert found.ids == [name]
    assert found.picture(0).shape == (*SIZE, 3)
    assert found.labels(name, SIZE)["keypoints"].shape == (1, 16, 3)


def test_annotations_and_mpiis_order_are_read(pictures, tmp_path):
    file = tmp_path / "poses.json"
    file.write_text(json.dumps({
        "images": [{"id": 3, "file_name": "other.jpg", "width": SIZE[1], "height": SIZE[0]}],
        "categories": [{"id": 1, "name": "person", "keypoints": [str(n) for n in range(16)]}],
        "annotations": [{"id": 1, "image_id": 3, "category_id": 1, "keypoints": STANDING.flatten().tolist(),
                         "num_keypoints": 16, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}],
    }))  # fmt: skip
    poses = PosedPictures(pictures, file).labels("other.jpg", SIZE)["keypoints"]
    assert np.array_equal(poses[0], pascal_heads(STANDING[None])[0].numpy())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"image_id": 8}, "no picture"),
        ({"keypoints": [1.0, 2, 3]}, "has 3 numbers"),
        ({"keypoints": None}, "no keypoints"),
    ],
)
def test_what_does_not_fit_is_one_line(pictures, tmp_path, fields, says):
    with pytest.raises(InputError, match=says):
        PosedPictures(pictures, results(tmp_path, **fields))


@pytest.mark.process
def test_the_command_writes_what_data_folder_trains_on(pictures, tmp_path, monkeypatch, capsys):
    command, out = script("scripts/label_from_keypoints.py"), tmp_path / "out"
    file = tmp_path / "poses.json"
    row = {"category_id": 1, "score": 0.9, "keypoints": coco_of(STANDING).flatten().tolist()}
    file.write_text(json.dumps([{**row, "image_id": 7}, {**row, "image_id": "other"}]))
    arguments = ["label", "--images", str(pictures), "--keypoints", str(file), "--out", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    command.main()
    assert "2 persons in 2 pictures from rendered people (synthetic), 0 without" in capsys.readouterr().out
    assert np.unique(np.array(Image.open(out / "labels/other.png"))).tolist() == [0, 1, 2, 3, 4, 5, 6]
    run_py("experiment=deeplab_folder", f"data.root={out}", f"outputs={tmp_path / 'runs'}", "trainer.max_epochs=1",
           "trainer.accelerator=cpu", "image_size=64", "data.num_workers=0", "data.batch_size=1",
           "trainer.check_val_every_n_epoch=1", "model.network.feature.width=8")  # fmt: skip
    monkeypatch.setattr("sys.argv", [*arguments, "--k", "0"])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert "--k is 0" in str(caught.value) + capsys.readouterr().err
