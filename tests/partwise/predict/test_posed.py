"""`keypoints=COCO.json`: each pose that is given gets a mask."""

import json
import sys

import numpy as np
import pytest
import small_networks
import torch
from commands import ROOT, script
from posed_checkpoint import Boxes, pose, result, saved, write
from predictions import picture, rows, write_video
from pycocotools import mask as rle

import partwise
from partwise.errors import InputError
from partwise.io.images import read_labels, write_image
from partwise.labels import FOREGROUND
from partwise.models.contract import FromPoses
from partwise.ops.resize import Letterbox
from partwise.predict.load import load_parser
from partwise.predict.posed import PosedParser
from partwise.predict.predict import predict
from partwise.run import cli

SIZE = (48, 80)
LEFT, RIGHT = pose(5, 4, 25, 40), pose(35, 4, 30, 40)
KINDS = {"whole": small_networks.self_supervised(), "pose2seg": small_networks.poses_to_masks()}


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory):
    """A network, and its checkpoint."""
    file = tmp_path_factory.mktemp(request.param) / "last.ckpt"
    return saved(KINDS[request.param], file), file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    file = tmp_path_factory.mktemp("module") / "last.ckpt"
    saved(KINDS["pose2seg"], file)
    return file


def parser(checkpoint, content, tmp_path, **options):
    file = write(tmp_path / "poses.json", content)
    return load_parser(checkpoint, torch.device("cpu"), keypoints=str(file), **options)


def pictures(folder, *names):
    for n, name in enumerate(names):
        write_image(folder / name, picture(red=10 + n))
    return folder


def masks(of):
    return [rle.decode(row["segmentation"]).astype(bool) for row in of]


def expected(network, image, poses, score):
    """What the network itself makes of poses on the canvas of the checkpoint."""
    assert isinstance(network, FromPoses)
    box = Letterbox.fit(SIZE, (64, 64))
    given = torch.tensor(poses).reshape(-1, 17, 3)
    given = torch.cat([box.place_points(given[..., :2]), given[..., 2:]], -1)
    canvas = box.place(image).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        (parsing,) = network.from_poses(canvas, [(given, torch.full((len(given),), score))], [box])
    return parsing["persons"]


def main(monkeypatch, *arguments):
    """Run `run.py` in this process."""
    monkeypatch.setenv(cli.PREPARED, "")  # and is unset again after the test
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
    cli.run(script("run.py").main, ROOT / "experiments")


def test_masks_follow_the_poses_of_a_folder(made, tmp_path, monkeypatch):
    network, file = made
    pictures(tmp_path / "in", "000007.png", "b.png", "c.png")
    content = [result(7, LEFT), result("b", RIGHT, 0.5), result(7, RIGHT), result(99, LEFT)]
    write(tmp_path / "poses=[1].json", content)
    main(monkeypatch, "task=predict", f"ckpt={file}", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}",
         f"keypoints={tmp_path / 'poses=[1].json'}", "trainer.accelerator=cpu")  # fmt: skip
    found = rows(tmp_path / "out")
    assert [row["file_name"] for row in found] == ["b.png", "000007.png", "000007.png"]
    assert [row["keypoints"] for row in found] == [pytest.approx(p, abs=1e-5) for p in (RIGHT, LEFT, RIGHT)]
    one, both = expected(network, picture(11), [RIGHT], 0.5), expected(network, picture(10), [LEFT, RIGHT], 0.8)
    for row, mask in zip(masks(found), [*one["masks"], *both["masks"]], strict=True):
        np.testing.assert_array_equal(row, mask.numpy())
    assert [row["score"] for row in found] == pytest.approx([*one["scores"].tolist(), *both["scores"].tolist()])
    assert (both["masks"][0] ^ both["masks"][1]).any()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["frames"], summary["persons"]) == (3, 3)


def test_masks_may_overlap_and_equal_poses_are_two_persons(checkpoint, tmp_path):
    pictures(tmp_path / "in", "a.png")
    predict(parser(checkpoint, [result("a", LEFT), result("a", LEFT)], tmp_path), tmp_path / "in", tmp_path / "out")
    one, other = rows(tmp_path / "out")
    assert one["segmentation"] == other["segmentation"]
    assert (one["person_id"], other["person_id"]) == (1, 2)


def test_annotations_are_read_and_joints_that_are_missing_are_nowhere(checkpoint, tmp_path):
    pictures(tmp_path / "in", "a.png")
    known = np.reshape(LEFT, (17, 3))
    known[:, 2] = 2
    known[9:] = 0
    about = {"category_id": 1, "image_id": 5, "bbox": [5, 4, 25, 40], "area": 99, "iscrowd": 0, "num_keypoints": 9}
    annotations = [{"id": 1, **about, "keypoints": known.flatten().tolist()}, {"id": 2, **about, "keypoints": [0] * 51}]
    content = {"images": [{"id": 5, "file_name": "val2017/a.png"}], "annotations": annotations,
               "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
    predict(parser(checkpoint, content, tmp_path), tmp_path / "in", tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    assert row["keypoints"] == pytest.approx(known.flatten().tolist(), abs=1e-5)
    low = np.reshape(LEFT, (17, 3))
    low[9:, 2] = 0.1  # an estimator's score: places that do not count
    predict(parser(checkpoint, [result("a", low.flatten().tolist())], tmp_path), tmp_path / "in", tmp_path / "out")
    (again,) = rows(tmp_path / "out")
    assert again["segmentation"] == row["segmentation"]
    assert again["keypoints"] == pytest.approx(low.flatten().tolist(), abs=1e-5)


def test_a_picture_without_poses_has_nobody(made, tmp_path, capsys):
    pictures(tmp_path / "in", "a.png", "b.png")
    said = predict(parser(made[1], [result("a", LEFT)], tmp_path), tmp_path / "in", tmp_path / "out")
    assert (said.frames, said.persons) == (2, 1)
    assert not read_labels(tmp_path / "out" / "persons" / "b.png").any()
    assert "no poses of 1 of 2 pictures (such as b.png)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["{:06d}.jpg", "walk_{:06d}.png", "walk/{:06d}.jpg", "walk.mp4", "{}"])
def test_people_of_a_video_keep_their_ids(tmp_path, name):
    write_video(tmp_path / "walk.mp4", [picture(10)] * 4)
    content = []
    for frame, poses in enumerate([(LEFT, RIGHT), (RIGHT, LEFT), (), (LEFT,)]):
        for keypoints in poses:
            fields = {} if name == "{}" else {"file_name": name.format(frame)}
            content.append(result(frame if name in ("{}", "walk.mp4") else 10**6, keypoints, **fields))
    content.append(result(2, LEFT, file_name="other.mp4"))
    file = write(tmp_path / "poses.json", content)
    posed = PosedParser(Boxes(), FOREGROUND, 64, torch.device("cpu"), file)
    predict(posed, tmp_path / "walk.mp4", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [(row["frame"], row["person_id"]) for row in found] == [(0, 1), (0, 2), (1, 2), (1, 1), (3, 1)]
    for row in found:  # around the joints
        points = np.reshape(row["keypoints"], (17, 3))[:, :2]
        assert row["bbox"] == pytest.approx([*points.min(0), *np.ptp(points, 0)], abs=1.6)


def test_names_of_another_video_are_left_out(checkpoint, tmp_path):
    write_video(tmp_path / "walk.mp4", [picture(10)] * 3)
    content = [result(0, LEFT, file_name="walk/0.jpg"), result(0, LEFT, file_name="run/1.jpg")]
    predict(parser(checkpoint, content, tmp_path), tmp_path / "walk.mp4", tmp_path / "out")
    assert [row["frame"] for row in rows(tmp_path / "out")] == [0]
    content = [result(0, LEFT, file_name="hop/1.jpg"), result(0, LEFT, file_name="run/1.jpg")]
    with pytest.raises(InputError, match="would be the same picture"):
        predict(parser(checkpoint, content, tmp_path), tmp_path / "walk.mp4", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([result("b", LEFT)], "no poses of 1 of 1 pictures .such as a.png.; its first one is of 'b'"),
        ([], "no poses of 1 of 1 pictures"),
        ([result("a", LEFT[:48])], "pose 1 has 48 numbers"),
        ([result("a", pose(500, 4, 25, 40))], "pose 1 of 'a' is outside, but the picture is 80x48"),
        ([result("a", pose(1e9, 4, 25, 40))], "pose 1 reaches beyond"),
        ([{"image_id": "a", "category_id": 1, "keypoints": LEFT}], "result 1: score is missing"),
        ({"images": []}, "has no list 'annotations'"),
    ],
)
def test_a_json_that_does_not_fit_is_one_line(checkpoint, tmp_path, content, says):
    pictures(tmp_path / "in", "a.png")
    with pytest.raises(InputError, match=says) as caught:
        predict(parser(checkpoint, content, tmp_path), tmp_path / "in", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert "poses.json" in str(caught.value)


def test_a_video_whose_frames_have_no_poses_is_one_line(checkpoint, tmp_path):
    write_video(tmp_path / "walk.mp4", [picture(10)] * 3)
    for content in ([result(3, LEFT)], [result(-1, LEFT)], [result("walk", LEFT)]):
        with pytest.raises(InputError, match=r"no poses of walk\.mp4's 3 frames, which are numbered from 0"):
            predict(parser(checkpoint, content, tmp_path), tmp_path / "walk.mp4", tmp_path / "out")


def test_a_network_that_takes_no_poses_is_refused(tmp_path):
    saved(small_networks.pose_module(), tmp_path / "pose.ckpt", "pose_module_coco")
    with pytest.raises(InputError, match="PoseModule takes no poses from a json; leave it out"):
        parser(tmp_path / "pose.ckpt", [], tmp_path)


@pytest.mark.parametrize("options", [{"flip": True}, {"scales": (1.0, 1.5)}, {"size": 96}, {"smoothing": 0.5}])
def test_what_goes_with_dense_parsers_alone_is_refused(checkpoint, tmp_path, options):
    with pytest.raises(InputError, match="sees a picture once"):
        parser(checkpoint, [], tmp_path, **options)


def test_from_python_poses_are_found_by_the_path(checkpoint, tmp_path):
    pictures(tmp_path, "a.png")
    file = write(tmp_path / "poses.json", [result("a", LEFT), result("a", RIGHT)])
    parse = partwise.load(checkpoint, device="cpu", keypoints=str(file))
    assert len(parse(tmp_path / "a.png").masks) == 2
    with pytest.raises(InputError, match="give the path"):
        parse(picture())
