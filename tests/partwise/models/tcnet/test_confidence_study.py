"""The study of confidence along the true flow, on a parser that tells classes from colours."""

import math
from pathlib import Path

import pytest
import torch
from commands import script

ROOT = Path(__file__).parents[4]


class Colours(torch.nn.Module):
    """Scores of every class from a pixel's colour."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 13, 1)

    def logits(self, images):
        return self.layer(images)


@pytest.fixture(scope="module")
def study():
    return script("scripts/tcnet_confidence.py").study


@pytest.fixture(scope="module")
def rows(study, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARTWISE_CACHE", str(tmp_path_factory.mktemp("cache")))
        torch.manual_seed(0)
        network = Colours()
        return [study(network, [57, 33], severity=0.2, step=step, tracklets=2) for step in (1, 2)]


def test_frames_farther_apart_move_farther(rows):
    for row in rows:
        assert row["pixels over l"] > row["over s"] > 0
    assert rows[1]["over s"] > rows[0]["over s"]


def test_every_way_to_add_up_is_scored(rows):
    ways = ["the frame alone", "no confidence", "unit", "bytes", "squared"]
    for row in rows:
        assert list(row)[4:] == ways
        assert all(math.isfinite(row[way]) and 0 < row[way] < 100 for way in ways)


def test_confidence_of_bytes_hardly_weighs(rows):
    for row in rows:
        assert row["bytes"] == pytest.approx(row["no confidence"], abs=0.5)
        assert abs(row["squared"] - row["no confidence"]) > abs(row["bytes"] - row["no confidence"])
