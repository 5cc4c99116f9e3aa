"""The study of refinement on rendered clips: true inputs score high, spoilt ones low, and what is spoilt is seeded."""

import csv
import sys

import numpy as np
import pytest
import torch
from commands import ROOT, script

from partwise.models.self_supervised.gbsr import box_sides


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        return script("scripts/refinement_effect.py")


@pytest.fixture(scope="module")
def clips(study):
    """A clip with spoilt and one with true inputs."""
    return [study.make_clip((0, 0), 0.2, spoil=spoil) for spoil in (True, False)]


def standing(count=200):
    """Persons 200 pixels high, all joints in sight but the last, which is hidden."""
    x = [100, 106, 94, 112, 88, 130, 70, 145, 55, 150, 50, 120, 80, 125, 75, 128, 72]
    y = [40, 34, 34, 38, 38, 70, 70, 105, 105, 140, 140, 135, 135, 180, 180, 225, 225]
    seen = torch.full((17,), 2.0)
    seen[16] = 1
    return torch.stack([torch.tensor(x).float(), torch.tensor(y).float(), seen], 1).expand(count, 17, 3)


def test_sticks_are_where_the_limbs_are(study):
    logits = study.stick_logits(standing(1), (240, 200))[0]
    difference = logits[1] - logits[0]
    assert difference[160, 123] == study.INSIDE  # between hip and knee
    assert difference[20, 190] == study.OUTSIDE
    width = 2 * study.RADII["leg"] * 45.3  # the median of the long limbs
    inside = (difference[160, 100:150] == study.INSIDE).sum()
    assert float(inside) == pytest.approx(width, abs=2)
    assert study.stick_logits(standing(0), (240, 200)).shape == (0, 2, 240, 200)


def test_a_limb_with_a_missing_end_is_not_drawn(study):
    pose = standing(1).clone()
    pose[0, 15] = 0
    logits = study.stick_logits(pose, (240, 200))[0]
    assert logits[1, 210, 127] < logits[0, 210, 127]
    assert logits[1, 210, 73] > logits[0, 210, 73]


def test_joints_are_spoilt_as_often_as_stated(study):
    truth = standing(2000)
    poses = study.spoilt_poses(truth, np.random.default_rng(0))
    assert len(poses) / 2000 == pytest.approx(1 - study.ABSENT, abs=0.03)
    assert (poses[..., 2] == 0).float().mean() == pytest.approx(study.LOST, abs=0.01)
    errors = (poses - truth[0])[..., :2].norm(dim=-1) / box_sides(truth[:1][None])
    errors = errors[..., 1:][poses[..., 1:, 2] > 0]  # the nose has no mirror image
    faults = 1 - (1 - study.WRONG) * (1 - study.SWAPPED)
    assert (errors > 4 * study.JITTER).float().mean() == pytest.approx(faults, abs=0.025)
    seen, hidden = (poses[:, j, 2][poses[:, j, 2] > 0].mean() for j in (0, 16))
    assert hidden / seen == pytest.approx(study.HIDDEN, abs=0.05)  # some of either side were swapped


def test_a_person_with_few_joints_in_sight_is_not_found(study):
    joints = standing(2).clone()
    joints[1, 3:, 2] = 1
    assert len(study.found_poses(joints)) == 1


def test_the_same_seed_spoils_the_same(study, clips):
    again, other = (study.make_clip(seed, 0.2, spoil=True) for seed in ((0, 0), (1, 0)))
    assert torch.equal(clips[0].logits, again.logits)
    assert all(map(torch.equal, clips[0].poses, again.poses))
    assert not torch.equal(clips[0].logits, other.logits)
    assert torch.equal(clips[0].truth["parts"], clips[1].truth["parts"])


def test_true_flow_has_no_error_and_a_shift_has_its_length(study, clips):
    flow = clips[1].flows["true"][2, 3]
    border, changed = study.flow_errors(clips[1], 3, flow, flow + torch.tensor([3.0, 4.0])[:, None, None])
    assert border[0] == changed[0] == 0
    assert border[1] / border[2] == pytest.approx(5, abs=1e-4)
    assert changed[2] == clips[1].seen[3].sum()
    assert 0 < border[2] < changed[2]


def test_refinement_raises_the_iou_of_spoilt_masks_and_leaves_true_ones(study, clips):
    truth = clips[0].truth["parts"].bool()

    def iou(a):
        mask = a.argmax(0).bool()
        return float((mask & truth).sum() / (mask | truth).sum())

    spoilt, fine = (study.refine_masks(clip, clip.flows["true"], "none", False) for clip in clips)
    assert iou(spoilt[3][0]) > iou(clips[0].logits[2]) + 0.05
    assert iou(clips[1].logits[2]) == 1
    assert iou(fine[3][0]) > 0.95


def test_a_round_without_neighbours_is_none(study, clips):
    assert torch.equal(study.refine_poses(clips[0], clips[0].flows["true"], 0), clips[0].poses[2])


def test_rows_are_written(study, tmp_path, monkeypatch):
    file, pictures = tmp_path / "rows.csv", tmp_path / "pictures"
    arguments = ["--clips", 1, "--severity", 0, "--seed", 0, "--csv", file, "--pictures", pictures]
    monkeypatch.setattr(study, "WAYS", study.CONTROLS[:1])
    monkeypatch.setattr(study, "CONTROLS", study.CONTROLS[:1])
    monkeypatch.setattr(sys, "argv", ["refinement_effect.py", *map(str, arguments)])
    study.main()
    rows = file.read_text().splitlines()
    assert rows[0].startswith("seed,severity,inputs,flow,window,search,literal,rounds,clips,foreground_IoU,mask_AP,")
    assert len(rows) == 1 + 2 * 2 * (3 + 1 + 3 + 1)  # inputs, flows; without TPR and windows of 2, 3, 5
    assert len(list(pictures.iterdir())) == 2


def test_labels_of_the_packages_modules_are_scored_in_all_ways(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    labels = script("scripts/labelling_effect.py")
    file = tmp_path / "rows.csv"
    monkeypatch.setattr(sys, "argv", ["labelling_effect.py", "--clips", "2", "--seed", "0", "--csv", str(file)])
    labels.main()
    assert "Synthetic" in capsys.readouterr().out
    rows = {row["labels"]: row for row in csv.DictReader(file.open())}
    assert list(rows) == list(labels.WAYS)
    assert rows["neither"]["foreground IoU"] == rows["GBSR"]["foreground IoU"]  # which concerns poses alone
    assert float(rows["TPR, mean"]["foreground IoU"]) > float(rows["neither"]["foreground IoU"]) > 20
    assert float(rows["TPR, sum"]["mask AP"]) < float(rows["TPR, mean"]["mask AP"])
