"""Parsers from Python: the example of docs/python.md, and results equal to those of task=predict."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from predictions import Toy, picture, write_video
from pycocotools import mask as rle

import partwise
from partwise.errors import InputError
from partwise.io.images import read_ids, read_image, read_labels, write_image
from partwise.predict.parser import PeopleParser
from partwise.predict.predict import predict

DOCS = Path(__file__).parents[3] / "docs/python.md"
BROUGHT = "standin/parsing_rcnn_vip"


def frames(count=6):
    return [picture(red=5 + 3 * n, green=50 - 2 * n) for n in range(count)]


@pytest.mark.process
def test_the_example_of_the_docs_runs_in_a_fresh_interpreter(tmp_path):
    write_image(tmp_path / "street.jpg", picture(size=(96, 128)))
    write_video(tmp_path / "clip.mp4", [picture(size=(64, 96))] * 4)
    example = DOCS.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "(96, 128)" in done.stdout
    assert done.stdout.count(" s: ") == 4
    assert read_labels(tmp_path / "parsed/parts/street.png").shape == (96, 128)


def test_pictures_give_what_predict_writes(tmp_path):
    write_image(tmp_path / "in/a.png", picture())
    predict(Toy(), tmp_path / "in", tmp_path / "out")
    parser = PeopleParser(Toy())
    result = parser(tmp_path / "in/a.png")
    result.save(tmp_path / "own", "a")
    for name in ("overlays/a.jpg", "parts/a.png", "persons/a.png"):
        assert (tmp_path / "own" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    rows = json.loads((tmp_path / "out/persons.json").read_text())
    assert [{**row, "file_name": "a.png", "frame": 0} for row in result.to_coco()] == rows
    assert (result.parts == read_labels(tmp_path / "out/parts/a.png")).all()
    assert (result.persons == read_ids(tmp_path / "out/persons/a.png")).all()
    assert (rle.decode(rows[0]["segmentation"]) == result.masks[0]).all()
    assert (parser(read_image(tmp_path / "in/a.png")).parts == result.parts).all()


@pytest.mark.parametrize("ahead", [1, 4])
def test_videos_give_what_predict_writes(tmp_path, ahead):
    write_video(tmp_path / "a.mp4", frames())
    predict(Toy(ahead=ahead), tmp_path / "a.mp4", tmp_path / "out")
    results = list(PeopleParser(Toy(ahead=ahead)).video(tmp_path / "a.mp4"))
    assert len(results) == 6
    for n, result in enumerate(results):
        assert (result.persons == read_ids(tmp_path / f"out/persons/{n:06d}.png")).all()
    times = json.loads((tmp_path / "out/frames.json").read_text())
    assert [result.time for result in results] == [row["time"] for row in times]


def test_frames_are_a_video_too_and_persons_keep_their_ids():
    shown = [*frames(3), *[picture(red=None, green=44 - 2 * n) for n in range(3)]]
    results = list(PeopleParser(Toy()).video(iter(shown)))
    assert [list(result.ids) for result in results] == [[1, 2]] * 3 + [[2]] * 3
    assert {result.time for result in results} == {None}


def test_a_dense_parser_has_no_persons():
    result = PeopleParser(Toy(people=False))(picture())
    assert not result.finds_persons
    assert not result.persons.any()
    assert result.masks.shape == (0, 48, 80)
    assert (list(result.ids), result.scores, result.to_coco()) == ([], [], [])


def test_what_the_package_brings_is_loaded_by_name():
    parser = partwise.load(BROUGHT, device="cpu")
    slow, fast = parser(picture()), partwise.load(BROUGHT, device="cpu", precision="bfloat16")(picture())
    assert slow.names[0] == "background"
    assert (slow.parts == fast.parts).mean() > 0.9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "gpu9"}, "device=gpu9 is not here"),
        ({"precision": "fp8"}, "precision=fp8 must be"),
        ({"checkpoint": "standin/none"}, "standin/none does not exist; the package brings standin/"),
    ],
)
def test_what_cannot_be_is_one_line(given, message):
    options = {"checkpoint": BROUGHT, "device": "cpu"} | given
    with pytest.raises(InputError, match=message) as raised:
        partwise.load(**options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), [[1, 2]]])
def test_what_is_no_picture_is_one_line(image):
    with pytest.raises(InputError, match="a picture is \\(H, W, 3\\) uint8 RGB"):
        PeopleParser(Toy())(image)
