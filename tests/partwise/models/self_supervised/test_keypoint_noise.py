"""The study of noisy keypoints: what it spoils, what that costs, and its command."""

import csv

import pytest
import small_networks
import torch
from commands import script
from posed_checkpoint import Boxes, saved

from data_modules.ochuman import OCHumanDataModule


@pytest.fixture(scope="module")
def study():
    return script("scripts/keypoint_noise.py")


def test_joints_move_by_shares_of_the_height_and_as_many_as_asked_are_missing(study):
    poses = torch.zeros(400, 17, 3)
    poses[:, 3, 1], poses[:, 3:, 2] = 50.0, 2
    poses[0, :, 2] = 0  # nobody
    draw = torch.Generator().manual_seed(0)
    moved = study.spoilt(poses, 0.1, 0.0, draw)
    assert len(moved) == 399
    assert (moved[..., 2] == poses[1:, :, 2]).all()
    assert (moved - poses[1:])[..., :2].std() == pytest.approx(5, rel=0.05)
    fewer = study.spoilt(poses, 0.0, 0.25, draw)
    assert (fewer[..., 2] > 0).float().mean() == pytest.approx(14 / 17 * 0.75, rel=0.05)
    assert torch.equal(study.spoilt(poses, 0.0, 0.0, draw), poses[1:])
    assert len(study.spoilt(poses, 0.0, 1.0, draw)) == 0


def test_masks_are_worse_the_more_is_spoilt(study):
    synthetic = {"photos": {"val": 1, "test": 6}, "size": [96, 128], "severity": 0.2, "seed": 99}
    data = OCHumanDataModule(splits={"test": "test"}, image_size=128, synthetic=synthetic)
    found = [
        study.score(Boxes(), study.batches(data, 6), noise, missing, 0)
        for noise, missing in ((0.0, 0.0), (0.2, 0.0), (0.0, 0.7))
    ]
    clean, noisy, missing = (row["AP50"] for row in found)
    assert clean > 5
    assert clean > noisy
    assert clean > missing
    assert found[0]["pictures"] == 6
    assert len(list(study.batches(data, 3))) == 1


def test_the_command_writes_a_row_for_each_setting_and_seed(study, tmp_path, monkeypatch, capsys):
    saved(small_networks.poses_to_masks(), tmp_path / "last.ckpt", "pose2seg_module_coco")
    out = tmp_path / "rows.csv"
    arguments = ["noise", "--ckpt", str(tmp_path / "last.ckpt"), "--images", "2", "--noise", "0", "0.1", "--missing",
                 "0", "0.5", "--seed", "0", "1", "--accelerator", "cpu", "--out", str(out)]  # fmt: skip
    monkeypatch.setattr("sys.argv", arguments)
    study.main()
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["noise"], row["missing"], row["seed"]) for row in rows] == [
        ("0.0", "0.0", "0"), ("0.1", "0.0", "0"), ("0.1", "0.0", "1"), ("0.0", "0.5", "0"), ("0.0", "0.5", "1"),
    ]  # fmt: skip
    assert {row["data"] for row in rows} == {"synthetic"}
    assert all(row["poses"] == rows[0]["poses"] for row in rows[:3])
    assert "synthetic data" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("description", "options", "says"),
    [("pose_module", [], "takes no poses"), ("poses_to_masks", ["--missing", "2"], "--missing 0 to 1")],
)
def test_what_cannot_be_measured_is_one_line(study, tmp_path, monkeypatch, capsys, description, options, says):
    saved(getattr(small_networks, description)(), tmp_path / "last.ckpt")
    monkeypatch.setattr("sys.argv", ["noise", "--ckpt", str(tmp_path / "last.ckpt"), "--accelerator", "cpu", *options])
    with pytest.raises(SystemExit):
        study.main()
    error = capsys.readouterr().err.strip()
    assert says in error
    assert "\n" not in error
