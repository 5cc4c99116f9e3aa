"""Labels of a small video: written for each kind, with a picture; and how the windows of the picture are chosen."""

import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from small_videos import SIZE, write_videos

from data_modules.coco_persons import COCOPersonsDataModule
from data_modules.unlabelled_video import UnlabelledVideoDataModule
from partwise.io.images import read_image
from partwise.labels import FOREGROUND
from partwise.models.baselines.netwarp import DIS
from partwise.models.self_supervised.found import Foreground, Found, Pose
from partwise.models.self_supervised.labelling import VideoLabeller, describe, fullest, merge
from partwise.models.self_supervised.model import Pose2SegModule, SelfSupervised
from partwise.models.self_supervised.pose_module import PoseModule
from partwise.nn.deeplab_v3_plus import DeepLabV3Plus
from partwise.ops.resize import Letterbox

SIZES = {"backbone": "resnet18", "pretrained": "none", "width": 8, "image_size": 64, "backbone_multiplier": 0.125}


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module")
def network():
    """Modules that were not trained; the Pose Module finds joints all the same."""
    torch.manual_seed(0)
    pose = PoseModule(stacks=1, depth=2, channels=8, increase=4, stem=(4, 8))
    return SelfSupervised(DeepLabV3Plus(2, **SIZES), pose, Pose2SegModule(**SIZES))


def labelled(network, stand_in, folder, **options):
    """Label the stand-in on a canvas that is higher than its frames; returns the labeller and the DataModule."""
    data = UnlabelledVideoDataModule(root=stand_in, image_size=64, window=3, stride=3, batch_size=2, num_workers=0)
    labeller = VideoLabeller(network, FOREGROUND, DIS(), least=0.0, **options)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    said = labeller.write_dataset(data=data, folder=folder / "dataset", trainer=trainer, pictures=folder / "pictures")
    assert "persons in 4 frames" in said
    return labeller, data


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("masks", ["frame", "flow", "Seg Module"]),
        ("poses", ["frame before", "Pose Module"]),
        ("instances", ["frame", "flow", "Seg Module", "Pose Module", "Eq. 10, nothing"]),
    ],
)
def test_labels_have_a_picture_of_what_they_are_made_of(network, stand_in, tmp_path, kind, columns):
    labeller, data = labelled(network, stand_in, tmp_path, kind=kind)
    picture = read_image(tmp_path / "pictures" / "labels.png", upright=False)
    assert picture.std() > 10
    (figure,) = labeller.plot(data).values()
    *blocks, _ = figure.subfigs
    assert [block.get_suptitle().split("/")[0] for block in blocks] == ["train", "train"]  # a window of each video
    for block in blocks:
        upper = block.axes[: len(columns)]
        assert [axis.get_title().startswith(title) for axis, title in zip(upper, columns, strict=True)] == [True] * len(
            columns
        )
        pixels = [axis.images[0].get_array().shape[:2] for axis in block.axes]
        assert pixels == [SIZE] * 2 * len(columns)  # without the canvas' margin


def test_without_refinement_a_window_is_a_row(network, stand_in, tmp_path):
    labeller, data = labelled(network, stand_in, tmp_path, tpr=False, gbsr=False)
    (figure,) = labeller.plot(data).values()
    assert len(figure.subfigs[0].axes) == 4


def test_what_is_shown_is_what_is_labelled(network, stand_in, tmp_path):
    labeller, data = labelled(network, stand_in, tmp_path, kind="masks")
    (index, *_) = fullest(tmp_path / "dataset", 1)
    batch = next(b for b in data.predict_dataloader() if index in b["index"])
    n = batch["index"].index(index)
    frames, name = batch["frames"][n].float() / 255, batch["sample_ids"][n]
    with torch.inference_mode():
        shown = labeller.show(frames, Letterbox.fit(SIZE, 64), name)
    row = json.loads((tmp_path / "dataset" / "rows" / f"{name}.json").read_text())
    assert sum(person["area"] for person in row["annotations"]) == int((shown.found.foreground.logits.argmax(0)).sum())


def test_windows_with_most_joints_are_drawn_and_one_of_each_video(tmp_path):
    windows = {"b/0": [5, 5], "b/1": [17], "b/2": [3, 3, 3], "a/0": [12], "c/0": [], "d/0": [4]}
    for index, (name, joints) in enumerate(windows.items()):
        file = tmp_path / "rows" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        people = [{"area": 20, "num_keypoints": n} for n in joints]
        file.write_text(json.dumps({"annotations": people, "index": index}))
    assert fullest(tmp_path, 3) == [3, 1, 5]  # by name
    assert fullest(tmp_path, 9) == [3, 1, 4, 5]
    assert fullest(tmp_path / "empty", 3) == []


def test_without_joints_the_larger_foreground_is_drawn(tmp_path):
    (tmp_path / "rows" / "v").mkdir(parents=True)
    for index, area in enumerate((10, 30, 20)):
        row = {"annotations": [{"area": area}], "index": index}
        (tmp_path / "rows" / "v" / f"{index}.json").write_text(json.dumps(row))
    assert fullest(tmp_path, 3) == [1]


def logits_of(mask):
    """Logits (..., 2, H, W) that decide for a mask (..., H, W)."""
    return torch.stack([~mask, mask], -3).float()


def found(own, refined, persons):
    """What gives masks (H, W) of the Seg Module, as they were and refined, and (N, H, W) of persons."""
    poses = torch.rand(len(persons), 17, 3) + 1
    pose = Pose(poses, poses[..., 2].mean(1), torch.ones(len(persons), 17, dtype=torch.bool), [poses] * 3)
    return Found(Foreground(logits_of(refined), logits_of(own)), pose, logits_of(persons))


def test_what_no_pose_claims_is_ignored_by_those_who_learn(tmp_path):
    own, refined, persons = (torch.zeros(*shape, *SIZE, dtype=torch.bool) for shape in ((), (), (1,)))
    own[:10, :10] = refined[:10, :20] = persons[0, :10, :5] = True
    people, similar = describe(found(own, refined, persons), SIZE)
    assert [(row["iscrowd"], row["area"]) for row in people] == [(0, 50), (1, 150)]
    assert similar == pytest.approx(0.5)
    (tmp_path / "rows" / "v").mkdir(parents=True)
    (tmp_path / "train2017" / "v").mkdir(parents=True)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "train2017" / "v" / "0.jpg")
    row = {"file_name": "v/0.jpg", "height": SIZE[0], "width": SIZE[1], "annotations": people, "similar": similar}
    (tmp_path / "rows" / "v" / "0.json").write_text(json.dumps(row))
    merge(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == {"pictures": 1, "persons": 1, "similar": similar}
    data = COCOPersonsDataModule(root=tmp_path, splits={"val": "train"}, image_size=list(SIZE))
    parts = data.dataset("val")[0]["parts"]
    assert [(parts == value).sum().item() for value in (1, 255)] == [50, 150]


def test_poses_are_labelled_with_what_gbsr_trusts_and_masks_with_the_joints_that_made_them():
    joints = torch.rand(1, 17, 3, generator=torch.Generator().manual_seed(0)) * 8 + 1
    joints[0, 3] = 0  # missing
    trusted = (torch.arange(17) % 2 == 0)[None] & (joints[..., 2] > 0)
    masks = torch.ones(1, *SIZE, dtype=torch.bool)
    both = found(masks[0], masks[0], masks)._replace(pose=Pose(joints, torch.ones(1), trusted, []))
    known = {}
    for kind, labels in {"poses": both._replace(foreground=None, persons=None), "instances": both}.items():
        ((person, *_), _) = describe(labels, SIZE)
        known[kind] = np.array(person["keypoints"]).reshape(17, 3)[:, 2] > 0
    assert known["poses"].tolist() == trusted[0].tolist()
    assert known["instances"].tolist() == (joints[0, :, 2] > 0).tolist()


def test_frames_without_anybody_say_nothing_of_similarity(tmp_path):
    nobody = torch.zeros(*SIZE, dtype=torch.bool)
    assert describe(found(nobody, nobody, torch.zeros(0, *SIZE, dtype=torch.bool)), SIZE) == ([], None)
