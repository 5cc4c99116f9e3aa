"""Labels of people of whom only poses are known: cut out, labelled, put back, written, and read again."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from posed_people import SIZE, STANDING, drawn, skeleton, turned

from data_modules.datasets.folder import LabelledFolder
from data_modules.loading.transforms import ClipTransform
from partwise.labels import PASCAL_PERSON_PART
from partwise.metrics.parts_and_persons import VIPMetrics
from partwise.models.pose_transfer.labelling import Labeller, cut_out, ignore_unknown, own_parts
from partwise.models.pose_transfer.library import crop_person, joint_box, make_library
from partwise.models.pose_transfer.refine import PriorMaker, RefinementNetwork
from partwise.models.pose_transfer.task import PoseRefinementTask
from partwise.models.pose_transfer.writing import write_dataset

PERSON = skeleton()
POSES = [STANDING, turned(40), turned(-30, 0.9)]


def truth(pose):
    return PERSON.merge_table()[drawn(PERSON, pose).parts.long()]


def library(poses=POSES):
    people = [crop_person(*drawn(PERSON, pose)[:2])._replace(name=f"p{n}#1") for n, pose in enumerate(poses)]
    return make_library(people, PERSON)


def labeller(k=1, network=None):
    return Labeller(PriorMaker(library(), k=k, n=3), network)


def test_a_person_is_cut_out_and_stretched():
    image = torch.rand(3, *SIZE)
    x0, y0, x1, y1 = joint_box(STANDING, SIZE)
    crops = cut_out(image, torch.stack([turned(10), STANDING]), [2], (y1 - y0, x1 - x0))
    assert (crops.numbers, crops.boxes) == ([2], [(x0, y0, x1, y1)])
    torch.testing.assert_close(crops.images[0], image[:, y0:y1, x0:x1], atol=1e-5, rtol=0)
    torch.testing.assert_close(crops.poses[0, :, :2] + torch.tensor([x0, y0]), STANDING[:, :2])
    assert crops.sizes.tolist() == [[y1 - y0, x1 - x0]]


def test_the_truth_of_a_person_has_no_others():
    parts = truth(STANDING)
    persons = (parts > 0).int()
    persons[100:] *= 2
    parts[0, 0] = 255
    crops = cut_out(torch.rand(3, *SIZE), torch.stack([STANDING, STANDING]), [1], SIZE)
    (x0, y0, x1, y1) = crops.boxes[0]
    mine = own_parts(parts, persons, crops, (y1 - y0, x1 - x0))[0]
    assert torch.equal(mine, torch.where((persons == 2), 0, parts)[y0:y1, x0:x1])


def test_a_pose_of_the_library_gets_its_own_parts():
    parts, sources = labeller().label(torch.rand(3, *SIZE), torch.stack([turned(40)]))
    assert [source.name for source in sources[1]] == ["p1#1"]
    assert sources[1][0].distance == pytest.approx(0, abs=1e-2)
    want = truth(turned(40))
    x0, y0, x1, y1 = joint_box(turned(40), SIZE)
    outside = want.clone()
    outside[y0:y1, x0:x1] = 0
    assert ((parts == want) | (outside > 0)).float().mean() > 0.98
    assert (parts[want > 0] > 0).float().mean() > 0.9


def test_a_picture_of_the_library_does_not_give_parts_to_itself():
    _, sources = labeller(k=2).label(torch.rand(3, *SIZE), torch.stack([turned(40)]), name="p1")
    assert {source.name for source in sources[1]} == {"p0#1", "p2#1"}


def test_people_without_enough_joints_get_nothing():
    few = STANDING.clone()
    few[8] = 0
    parts, sources = labeller().label(torch.rand(3, *SIZE), torch.stack([few, STANDING]))
    assert list(sources) == [2]
    assert parts.any()
    parts, sources = labeller().label(torch.rand(3, *SIZE), few[None])
    assert not parts.any()
    assert sources == {}


def test_people_without_labels_are_ignored_where_nobody_else_is():
    few, absent = STANDING.clone(), torch.zeros_like(STANDING)
    few[:, 0] += 15
    few[8] = 0
    poses = torch.stack([few, STANDING, absent])
    parts, sources = labeller().label(torch.rand(3, *SIZE), poses)
    labels = ignore_unknown(parts, poses, sources)
    x0, y0, x1, y1 = joint_box(few, SIZE)
    inside = torch.zeros(SIZE, dtype=torch.bool)
    inside[y0:y1, x0:x1] = True
    assert torch.equal(labels == 255, inside & (parts == 0))
    assert torch.equal(labels[parts > 0], parts[parts > 0])


def test_where_people_overlap_the_larger_class_counts():
    alone = [labeller().label(torch.rand(3, *SIZE), pose[None])[0] for pose in POSES[:2]]
    both, _ = labeller().label(torch.rand(3, *SIZE), torch.stack(POSES[:2]))
    assert torch.equal(both, torch.maximum(*alone))


class Pool:
    """Pictures of one posed person each."""

    def __init__(self, count=4):
        self.ids = [f"clips/{n}.jpg" for n in range(count)]
        self.read = 0

    def picture(self, index):
        self.read += 1
        return np.full((*SIZE, 3), 40 * index, np.uint8)

    def labels(self, name, size):
        number = int(name[6:-4])
        few = STANDING.clone()
        few[8] = 0
        return {"keypoints": torch.stack([few if number == 1 else turned(5.0 * number)]).numpy()}


def test_a_written_dataset_is_read_by_the_ordinary_reader(tmp_path):
    torch.manual_seed(0)
    network = RefinementNetwork(depth=3, width=4).eval()
    done = write_dataset(labeller(k=2, network=network), Pool(), tmp_path, threads=2)
    assert (done.pictures, done.persons, done.skipped) == (3, 3, 1)
    data = LabelledFolder(tmp_path, "all", ClipTransform(64, PASCAL_PERSON_PART), label_set=PASCAL_PERSON_PART)
    assert data.ids == ["clips/0", "clips/2", "clips/3"]
    want, _ = labeller(k=2, network=network).label(torch.zeros(3, *SIZE), turned(0.0)[None])
    assert np.array_equal(data.labels("clips/0", SIZE)["parts"], want.numpy())
    about = json.loads((tmp_path / "provenance/clips/2.json").read_text())
    assert about["picture"] == "clips/2.jpg"
    assert len(about["persons"]["1"]) == 2
    assert json.loads((tmp_path / "provenance/clips/1.json").read_text())["persons"] == {}


def test_what_is_written_is_not_made_again(tmp_path):
    write_dataset(labeller(), Pool(), tmp_path)
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    gone = tmp_path / "provenance/clips/2.json"
    gone.unlink()
    done = write_dataset(labeller(), Pool(), tmp_path)
    assert (done.pictures, done.persons, done.skipped) == (3, 3, 1)
    assert gone.exists()
    again = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.png")}
    assert [file.stem for file in times if again[file] != times[file]] == ["2"]


def test_a_number_of_people_is_not_exceeded(tmp_path):
    assert write_dataset(labeller(), Pool(), tmp_path, persons=2).persons == 2
    assert len(list(tmp_path.rglob("*.png"))) == 2


def test_an_interruption_leaves_the_rest_undone(tmp_path):
    class Interrupted(Pool):
        def picture(self, index):
            if index == 3:
                raise KeyboardInterrupt
            return super().picture(index)

    pool = Interrupted(40)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(labeller(), pool, tmp_path)
    assert pool.read < 40
    assert write_dataset(labeller(), Pool(4), tmp_path).pictures == 3


def test_a_task_labels_without_dropout(tmp_path):
    torch.manual_seed(0)
    network = RefinementNetwork(depth=3, width=4)
    source = SimpleNamespace(synthetic=True)
    task = PoseRefinementTask(network, PASCAL_PERSON_PART, VIPMetrics, PERSON, source)
    task.labeller = labeller(k=2, network=network)
    assert network.training
    task.write_dataset(SimpleNamespace(synthetic=True, num_workers=0, dataset=lambda stage: Pool()), tmp_path)
    assert not network.training
    assert len(list((tmp_path / "labels").rglob("*.png"))) == 3
