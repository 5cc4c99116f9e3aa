"""The study of refinement: spoilt masks of a moving square become better, and only where labels may change."""

import sys

import cv2
import numpy as np
import pytest
from commands import script

from partwise.errors import InputError


@pytest.fixture(scope="module")
def study():
    return script("scripts/tpr_davis.py")


@pytest.fixture(scope="module")
def davis(tmp_path_factory):
    """A DAVIS folder of one sequence in which a textured square moves by 4 pixels a frame."""
    root = tmp_path_factory.mktemp("davis")
    rng = np.random.default_rng(0)
    ground, body = (
        cv2.GaussianBlur(rng.integers(0, 256, (*side, 3), dtype=np.uint8), (0, 0), 2) for side in ((120, 180), (60, 60))
    )
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / "480p/square").mkdir(parents=True)
    for t in range(5):
        image, mask = ground.copy(), np.zeros((120, 180), np.uint8)
        place = slice(30, 90), slice(40 + 4 * t, 100 + 4 * t)
        image[place], mask[place] = 255 - body, 255
        cv2.imwrite(str(root / f"JPEGImages/480p/square/{t:05d}.jpg"), image)
        cv2.imwrite(str(root / f"Annotations/480p/square/{t:05d}.png"), mask)
    return root


def test_frames_are_halved_and_masks_binary(study, davis):
    video = study.read(davis, "square", 4)
    assert len(video.frames) == len(video.truth) == 4
    assert video.frames[0].shape == (60, 90, 3)
    assert [int(mask.sum()) for mask in video.truth] == [900] * 4


def test_masks_are_spoilt_the_same_by_the_same_seed(study, davis):
    mask = study.read(davis, "square", 3).truth[0]
    a, b, c = (study.spoilt(mask, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert a.equal(b)
    assert not a.equal(c)
    assert 0.3 < study.scores([a] * 3, [mask] * 3)["J_mean"] / 100 < 0.95


def test_refinement_raises_j_but_not_among_the_same_labels(study, davis):
    rows = list(study.study(study.read(davis, "square", 5), 0, [3], ["none", "all", "same_label"]))
    j = {(row["search"], row["round"]): row["J_mean"] for row in rows}
    assert j["none", 1] > j["none", 0] + 5
    assert j["all", 1] > j["none", 0] + 5
    assert j["same_label", 3] == pytest.approx(j["none", 0], abs=1)


def test_rows_are_written(study, davis, tmp_path, monkeypatch):
    file = tmp_path / "rows.csv"
    arguments = [
        "--root",
        davis,
        "--sequences",
        "square",
        "--frames",
        3,
        "--window",
        2,
        "--search",
        "none",
        "--csv",
        file,
    ]
    monkeypatch.setattr(sys, "argv", ["tpr_davis.py", *map(str, arguments)])
    study.main()
    rows = file.read_text().splitlines()
    assert rows[0] == "sequence,frames,seed,window,search,round,J_mean,F_mean"
    assert len(rows) == 1 + 3 * (1 + study.ROUNDS)


def test_a_sequence_without_a_middle_is_refused(study, davis):
    with pytest.raises(InputError, match="square has 2 frames"):
        study.read(davis, "square", 2)
