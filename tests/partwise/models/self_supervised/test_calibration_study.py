"""The script that calibrates kappa: what it compares, and its command."""

import pytest
import small_networks
import torch
from commands import script
from posed_checkpoint import saved

from partwise.models.self_supervised.gbsr import Map


@pytest.fixture(scope="module")
def study():
    return script("scripts/calibrate_gbsr.py")


def test_a_joint_is_like_itself_in_the_next_frame_and_unlike_what_is_beside_it(study):
    draw = torch.Generator().manual_seed(0)
    picture = torch.rand(3, 64, 64, generator=draw)
    moved = picture.roll((2, 5), (1, 2))
    joints = torch.cat([torch.randint(20, 40, (2, 17, 2), generator=draw).float(), torch.full((2, 17, 1), 2.0)], 2)
    after = joints + torch.tensor([5.0, 2.0, 0.0])
    after[0, 3, 2] = 0  # is hidden
    same, other = study.distances((Map(torch.stack([picture, moved])),), torch.stack([joints, after]), draw)
    assert len(same) == len(other) == 2 * 17 - 1
    assert same.max() < 1e-4
    assert other.min() > 0.2


def test_the_command_prints_a_kappa_for_each_way(study, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["calibrate", "--clips", "2"])
    study.main()
    said = capsys.readouterr().out
    assert "Synthetic" in said
    rows = [line for line in said.splitlines() if "pictures" in line or "features" in line]
    assert len(rows) == 3
    found = study.study(study.build_network(study.load("standin/pose_module_coco"), ""), 2, 0, 0.8)
    assert all(0 < each.kappa < 0.1 for each in found.values())  # it scales with 1 - alpha


def test_another_network_is_refused_in_one_line(study, tmp_path, monkeypatch, capsys):
    saved(small_networks.poses_to_masks(), tmp_path / "last.ckpt")
    monkeypatch.setattr("sys.argv", ["calibrate", "--ckpt", str(tmp_path / "last.ckpt")])
    with pytest.raises(SystemExit):
        study.main()
    assert "give a checkpoint of pose_module_coco" in capsys.readouterr().err
