"""Crops of followed persons: cut, parsed and pasted back where they came from."""

import json

import cv2
import numpy as np
import pytest
import small_networks
import torch

from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.batches import map_of
from partwise.errors import InputError
from partwise.io.images import read_image
from partwise.labels import FACTS
from partwise.predict.detectors import boxes_of_file, boxes_of_parser
from partwise.predict.tracklets import TrackletParser, crop_window, cut, paste

SIZE = (57, 33)


class Bright:
    """Parses by brightness, so that a paste can be checked: class 3 where the crop is white."""

    def memory(self):
        return self

    def add(self, image):
        scores = torch.zeros(1, FACTS.num_classes, *image.shape[-2:])
        scores[:, 3] = 20 * (image.mean(1) > 0.5)
        return scores + 10 * torch.eye(FACTS.num_classes)[0].view(1, -1, 1, 1)

    def to(self, device):
        return self

    def eval(self):
        return self


class Everything(Bright):
    """Parses everything as class 3, so that nothing but the tracker can end a tracklet."""

    def add(self, image):
        return 20 * torch.eye(FACTS.num_classes)[3].view(1, -1, 1, 1).expand(-1, -1, *image.shape[-2:])


def square(box, size=(120, 160)):
    frame = np.zeros((*size, 3), np.uint8)
    frame[box[1] : box[3], box[0] : box[2]] = 255
    return frame


@pytest.mark.parametrize("size", [(57, 33), (241, 121)])
@pytest.mark.parametrize("box", [(50, 30, 80, 90), (-10, 50, 20, 110), (140, 10, 170, 40)])
def test_a_pasted_crop_lies_where_it_was_cut(box, size):
    frame = np.random.default_rng(0).integers(0, 256, (15, 20, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    window = crop_window(box, size)
    assert (window[3] - window[1]) / (window[2] - window[0]) == pytest.approx(size[0] / size[1])
    crop = cut(frame, window, size)
    left, top, back = paste(crop.transpose(2, 0, 1).astype(np.float32), window, frame.shape[:2])
    inside = np.s_[:, 4:-4, 4:-4]
    there = frame[top : top + back.shape[1], left : left + back.shape[2]].transpose(2, 0, 1)
    assert np.abs(back[inside] - there[inside]).mean() < 25  # but for the edges of the tiles
    shifted = np.roll(there, 4, 2)
    assert np.abs(back[inside] - there[inside]).mean() < 0.6 * np.abs(back[inside] - shifted[inside]).mean()


def test_a_window_outside_the_frame_pastes_nothing():
    assert paste(np.ones((2, 8, 8), np.float32), (200, 10, 210, 30), (120, 160))[2].size == 0


def test_persons_are_followed_and_parsed_in_the_frame():
    boxes = [[(40 + 2 * t, 40, 60 + 2 * t, 80), (120 - t, 60, 136 - t, 92)] for t in range(6)]
    frames = [np.maximum(*(square(box) for box in pair)) for pair in boxes]
    parser = TrackletParser(Bright(), FACTS, SIZE, torch.device("cpu"), lambda frame: boxes[0])
    parsings = list(parser.stream(iter(frames)))
    assert len(parsings) == 6
    for parsing, frame in zip(parsings, frames, strict=True):
        white = torch.from_numpy(frame[..., 0] > 0)
        found = parsing["parts"] == 3
        assert (found & white).sum() / (found | white).sum() > 0.75
        ids = map_of(parsing["persons"])
        assert set(ids.unique().tolist()) == {0, 1, 2}
        assert ids[60, :].max() in (1, 2)
        assert ((ids > 0) == (parsing["parts"] > 0)).all()


def test_nobody_is_background_until_somebody_is_found():
    found = iter([[], [(40, 40, 60, 80)]])
    parser = TrackletParser(Bright(), FACTS, SIZE, torch.device("cpu"), lambda frame: next(found))
    first, second, third = parser.stream([square((40, 40, 60, 80))] * 3)
    assert (first["parts"] == 0).all()
    assert first["boxes"].shape == (0, 4)
    assert (second["parts"] > 0).any()
    assert (third["parts"] > 0).any()


def test_a_tracklet_ends_when_the_person_leaves(leaving):
    frames = [leaving.frame(t) for t in range(45)]
    seen = [int((frame.persons == 1).sum()) for frame in frames]
    box = frames[0].boxes[0].tolist()
    parser = TrackletParser(Everything(), FACTS, SIZE, torch.device("cpu"), lambda frame: [box], scale_search=True)
    there = [len(parsing["boxes"]) for parsing in parser.stream(frame.image for frame in frames)]
    assert seen[0] > 1000
    assert seen[-5] == 0
    assert all(there[: next(t for t, area in enumerate(seen) if area < 0.2 * seen[0])])
    assert not any(there[-5:])


def test_a_tracklet_ends_where_nobody_is_parsed_and_nobody_is_looked_for_again():
    asked = []

    def detector(frame):
        asked.append(frame)
        return [(100, 40, 120, 80), (20, 40, 40, 80)]

    frames = [np.maximum(square((100 + 3 * t, 40, 120 + 3 * t, 80)), square((20, 40, 40, 80))) for t in range(40)]
    parsings = list(TrackletParser(Bright(), FACTS, SIZE, torch.device("cpu"), detector).stream(frames))
    assert [len(parsing["boxes"]) for parsing in parsings[:13]] == [2] * 13
    assert len(parsings[-1]["boxes"]) == 1
    assert parsings[-1]["boxes"][0, 0] < 30
    assert len(asked) == 1


def test_tracklets_of_rendered_people_do_not_end_early():
    for seed in range(3):
        renderer = Renderer(draw_scene(seed, frames=16, severity=0.5))
        frames = [renderer.frame(t) for t in range(16)]
        boxes = [box for box in frames[0].boxes.tolist() if box[2] > box[0] + 8]
        parser = TrackletParser(Everything(), FACTS, SIZE, torch.device("cpu"), lambda frame, b=boxes: b, True)
        assert {len(p["boxes"]) for p in parser.stream(f.image for f in frames)} == {len(boxes)}


@pytest.mark.real
@pytest.mark.parametrize("sequence", ["bmx-trees", "breakdance", "dance-twirl", "kite-surf", "soapbox"])
def test_tracklets_of_real_people_do_not_end_early(real, sequence):
    masks = sorted((real / "davis/Annotations/480p" / sequence).glob("*.png"))
    files = sorted((real / "davis/JPEGImages/480p" / sequence).glob("*.jpg"))
    x, y, width, height = cv2.boundingRect(cv2.imread(str(masks[0]), 0))
    box = (x, y, x + width, y + height)
    parser = TrackletParser(Everything(), FACTS, SIZE, torch.device("cpu"), lambda frame: [box], True)
    assert all(len(parsing["boxes"]) for parsing in parser.stream(map(read_image, files)))


def test_tcnet_parses_the_people_of_a_rendered_video():
    network = small_networks.build(small_networks.tcnet(frame={"num_classes": 13, "image_size": SIZE}))
    renderer = Renderer(draw_scene(1, frames=5, severity=0))
    boxes = [box for box in renderer.frame(0).boxes.tolist() if box[2] > box[0] + 4]
    parser = TrackletParser(network, FACTS, SIZE, torch.device("cpu"), lambda frame: boxes, scale_search=True)
    parsings = list(parser.stream(renderer.image(t) for t in range(5)))
    assert [p["parts"].shape for p in parsings] == [renderer.scene.size] * 5
    assert all(len(p["boxes"]) == len(boxes) for p in parsings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("[[1, 2, 3]]", r"box 1 is \[1, 2, 3\]; it should hold"),
        ("[[1, 2, 3, 4], [9, 2, 3, 4]]", r"box 2, \[9.0, 2.0, 3.0, 4.0\], ends before it begins"),
        ("[[1, 2, 1, 4]]", "box 1.* is empty"),
        ("[1, 2, 3, 4]", "box 1 is 1; it should hold"),
        ('[[1, 2, "3", 4]]', "box 1 is '3'"),
        ("[[1, 2, NaN, 4]]", "box 1 is NaN"),
        ("[[1, 2, Infinity, 4]]", "box 1 is Infinity"),
        ("[[1, 2, 1e400, 4]]", "box 1 is inf"),
        ("[[1, 2, 1e300, 4]]", "box 1.* reaches beyond 327670 pixels"),
        ("[null]", "box 1 is None"),
        ('{"a": 1}', "it is {'a': 1}"),
        ("[[1, 2, 3, 4]", "truncated"),
        ("[" * 100000, "box 1 is wrong"),
        ("\x1f\x8b", "boxes.json"),
    ],
)
def test_files_without_boxes_get_one_line(content, message, tmp_path):
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        boxes_of_file(tmp_path / "boxes.json")
    assert "boxes.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("box", [[40, 2, 60, 9], [1, -9, 30, 0], [-401, 1, 5, 5], [1, 1, 500, 5]])
def test_boxes_of_another_picture_are_refused(box, tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps([[1, 2, 30, 40.5], box]))
    with pytest.raises(InputError, match=r"boxes.json: box 2, .*but the frame is 40x30; take"):
        boxes_of_file(tmp_path / "boxes.json")(np.zeros((30, 40, 3), np.uint8))


@pytest.mark.parametrize("content", ["[]", "\ufeff[]"])
def test_a_file_may_say_that_nobody_is_there(content, tmp_path):
    (tmp_path / "boxes.json").write_text(content, encoding="utf-8")
    find = boxes_of_file(tmp_path / "boxes.json")
    parser = TrackletParser(Everything(), FACTS, SIZE, torch.device("cpu"), find)
    parsings = list(parser.stream([np.zeros((30, 40, 3), np.uint8)] * 2))
    assert [len(parsing["boxes"]) for parsing in parsings] == [0, 0]
    assert not any(parsing["parts"].any() for parsing in parsings)


def test_boxes_from_a_file(tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps([[1, 2, 30, 40.5]]))
    assert boxes_of_file(tmp_path / "boxes.json")(np.zeros((30, 40, 3), np.uint8)) == [(1, 2, 30, 40.5)]


def test_boxes_that_are_not_finite_are_no_detections():
    class Broken:
        def stream(self, frames):
            yield {"boxes": torch.tensor([[1.0, 2, 3, 4], [0, 0, torch.nan, 9]])}

    with pytest.raises(InputError, match="not finite"):
        boxes_of_parser(Broken())(np.zeros((4, 4, 3), np.uint8))


def test_a_detector_without_persons_is_refused():
    class Dense:
        def stream(self, frames):
            yield {"parts": torch.zeros(4, 4)}

    with pytest.raises(InputError, match="finds no persons"):
        boxes_of_parser(Dense())(np.zeros((4, 4, 3), np.uint8))
