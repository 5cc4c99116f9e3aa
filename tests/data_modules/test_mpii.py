import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from data_modules.datasets.mpii import JOINTS, MAT, MPII
from data_modules.loading.transforms import ClipTransform
from data_modules.mpii import MPIIDataModule
from data_modules.synthetic.layouts.mpii import MPIIWriter
from partwise.errors import InputError
from partwise.labels import FOREGROUND
from partwise.ops.flip import MPII_KEYPOINT_PAIRS, hflip

SIZE = (96, 96)


def write(root, **options):
    MPIIWriter(photos=11, size=SIZE, domain="labelled", workers=1, **options).write(root)
    return root


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return write(tmp_path_factory.mktemp("mpii"))


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write(tmp_path_factory.mktemp("mpii_json"), form="json")


@pytest.fixture
def list_copy(lists, tmp_path):
    return Path(shutil.copytree(lists, tmp_path / "mpii_json"))


def dataset(root, split="all", size=SIZE, **options):
    return MPII(root, split, ClipTransform(size, FOREGROUND, keypoint_pairs=MPII_KEYPOINT_PAIRS), **options)


@pytest.mark.parametrize("form", ["stand_in", "lists"])
def test_batches_have_the_documented_shapes(form, request):
    data = MPIIDataModule(root=request.getfixturevalue(form), image_size=64, batch_size=1, num_workers=0)
    for stage, count in (("train", 10), ("val", 1), ("test", 1)):
        assert len(data.dataset(stage)) == count
        batch = next(iter(getattr(data, f"{stage}_dataloader")()))
        assert batch["images"].shape == (1, 3, 64, 64)
        assert batch["keypoints"][0].shape[1:] == (16, 3)
        assert "parts" not in batch
        assert "annotations" not in batch


def test_both_forms_count_from_0_and_hold_the_same_people(stand_in, lists):
    released, listed = dataset(stand_in), dataset(lists)
    assert sorted(released.ids) == sorted(listed.ids)
    several = 0
    for name in released.ids:
        a, b = released.labels(name, SIZE)["keypoints"], listed.labels(name, SIZE)["keypoints"]
        assert a.shape == b.shape
        several += len(a) > 1
        assert a[..., :2] == pytest.approx(b[..., :2], abs=1e-3)
        assert ((a[..., 2] > 0) == (b[..., 2] > 0)).all()
    assert several > 1


def test_a_point_of_the_release_is_moved_by_one_pixel(stand_in):
    people = dataset(stand_in)
    release = scipy.io.loadmat(stand_in / MAT)["RELEASE"][0, 0]
    picture = release["annolist"][0, 0]
    point = picture["annorect"][0, 0]["annopoints"][0, 0]["point"][0, 0]
    name = str(picture["image"][0, 0]["name"][0])
    joint = people.labels(name, SIZE)["keypoints"][0, int(point["id"].item())]
    assert joint[:2].tolist() == pytest.approx([point["x"].item() - 1, point["y"].item() - 1], abs=1e-4)


def test_joints_are_on_the_person_and_in_order(stand_in):
    at = {name: i for i, name in enumerate(JOINTS)}
    upright = total = 0
    for sample in dataset(stand_in):
        for joints in sample["keypoints"].numpy():
            if (joints[:, 2] > 0).all():
                total += 1
                heights = [joints[at[n], 1] for n in ("head_top", "upper_neck", "thorax", "pelvis")]
                upright += heights == sorted(heights) and joints[at["left_knee"], 1] < joints[at["left_ankle"], 1]
                middle = (joints[at["left_hip"], :2] + joints[at["right_hip"], :2]) / 2
                assert joints[at["pelvis"], :2] == pytest.approx(middle, abs=1.0)
    assert upright >= 0.8 * total > 3


def test_pictures_of_full_bodies_only(list_copy):
    everybody = dataset(list_copy)
    several = next(name for name in everybody.ids if len(everybody.labels(name, SIZE)["keypoints"]) > 1)
    for file in (list_copy / "annot").glob("*.json"):
        rows = json.loads(file.read_bytes())
        next((row for row in rows if row["image"] == several), {"joints_vis": [1]})["joints_vis"][0] = 0
        file.write_text(json.dumps(rows))
    whole = dataset(list_copy, full_body=True)
    assert whole.ids == [name for name in everybody.ids if name != several]
    for name in whole.ids:
        assert len(whole.labels(name, SIZE)["keypoints"]) == len(everybody.labels(name, SIZE)["keypoints"])


def test_pictures_of_one_person_only(copy):
    counts = {name: len(people) for name, people in dataset(copy)._people.items()}
    assert dataset(copy, single=True).ids == [name for name, count in counts.items() if count == 1]
    assert set(counts.values()) == {1, 2}
    # Others who lack joints are there nonetheless.
    alone = {name for name, people in dataset(copy, full_body=True)._people.items() if len(people) == 1}
    both = dataset(copy, single=True, full_body=True).ids
    assert set(both) == alone & set(dataset(copy, single=True).ids)


def test_test_pictures_and_people_without_points_are_left_out(tmp_path):
    shutil.copytree(write(tmp_path / "a"), tmp_path / "b")
    release = scipy.io.loadmat(tmp_path / "b" / MAT)["RELEASE"]
    release["img_train"][0, 0][0, 3] = 0
    rects = release["annolist"][0, 0][0, 5]["annorect"]
    for n in range(rects.shape[1]):
        rects[0, n]["annopoints"] = np.zeros((0, 0))
    release["annolist"][0, 0][0, 6]["annorect"] = np.zeros((0, 0))
    scipy.io.savemat(tmp_path / "b" / MAT, {"RELEASE": release})
    gone = {"000000004.jpg", "000000006.jpg", "000000007.jpg"}
    assert set(dataset(tmp_path / "a").ids) - set(dataset(tmp_path / "b").ids) == gone


def test_the_release_may_lie_in_its_own_folder_and_splits_may_list_pictures(copy):
    (copy / "mpii_human_pose_v1_u12_2").mkdir()
    (copy / MAT).rename(copy / "mpii_human_pose_v1_u12_2" / MAT)
    assert len(dataset(copy, "train")) == 10
    assert dataset(copy, "val").ids == ["000000010.jpg"]
    assert dataset(copy, ["000000003.jpg", "000000002.jpg"]).ids == ["000000003.jpg", "000000002.jpg"]


def test_flipping_twice_is_the_identity_and_once_swaps(stand_in):
    plain = dataset(stand_in)[0]
    sample = {k: plain[k] for k in ("images", "keypoints")}
    once = hflip(sample, FOREGROUND, MPII_KEYPOINT_PAIRS)
    left, right = JOINTS.index("left_wrist"), JOINTS.index("right_wrist")
    assert once["keypoints"][0, right, 1] == sample["keypoints"][0, left, 1]
    assert once["keypoints"][0, JOINTS.index("head_top"), 1] == sample["keypoints"][0, JOINTS.index("head_top"), 1]
    twice = hflip(once, FOREGROUND, MPII_KEYPOINT_PAIRS)
    assert all(torch.allclose(twice[k], sample[k]) for k in sample)
    data = MPIIDataModule(root=stand_in, image_size=SIZE, flip=1.0, num_workers=0)
    flipped = data.dataset("train")[0]
    assert all(torch.equal(flipped[k], once[k]) for k in once)


def _rewrite(rows):
    return lambda root: (root / "annot/valid.json").write_text(json.dumps(rows))


def _person(**fields):
    return {"image": "000000001.jpg", "joints": [[1, 1]] * 16, "joints_vis": [1] * 16} | fields


LIST_FAULTS = {
    "cut": (lambda root: (root / "annot/valid.json").write_text("[{"), r"valid\.json is damaged"),
    "empty": (_rewrite([]), r"valid\.json lists nobody"),
    "no joints": (_rewrite([{"image": "000000001.jpg"}]), r"valid\.json, entry 0"),
    "15 joints": (
        _rewrite([{"image": "000000001.jpg", "joints": [[1, 1]] * 15, "joints_vis": [1] * 16}]),
        r"valid\.json, entry 0",
    ),
    "no picture": (lambda root: (root / "images/000000010.jpg").unlink(), r"images/000000010\.jpg is missing"),
    **{
        f"a joint at {x}": (_rewrite([_person(joints=[[1, 1]] * 15 + [[x, 1]])]), rf"valid\.json: a joint in .*{says}")
        for x, says in ((float("nan"), "not finite"), (1e300, "not finite"), (1e9, "beyond 327670 pixels"))
    },
    "a name that is none": (_rewrite([_person(image=None)]), r"valid\.json, entry 0.*image is None"),
}

FAULTS = {
    "cut": (lambda root: (root / MAT).write_bytes((root / MAT).read_bytes()[:300]), f"{MAT} is damaged"),
    "other": (lambda root: scipy.io.savemat(root / MAT, {"RELEASE": 3}), f"{MAT} is not laid out"),
    "other variable": (lambda root: scipy.io.savemat(root / MAT, {"A": 3}), "no variable 'RELEASE'"),
    "nothing": (lambda root: (root / MAT).unlink(), r"does not hold MPII: neither annot/train\.json"),
    "no picture": (lambda root: (root / "images/000000010.jpg").unlink(), r"images/000000010\.jpg is missing"),
}


def test_a_joint_of_the_release_that_is_no_place_is_named(copy):
    release = scipy.io.loadmat(copy / MAT)["RELEASE"]
    points = release["annolist"][0, 0][0, 5]["annorect"][0, 0]["annopoints"]
    points[0, 0]["point"][0, 0]["x"] = np.nan
    scipy.io.savemat(copy / MAT, {"RELEASE": release})
    with pytest.raises(InputError, match=f"{MAT}: a joint in .* is not finite"):
        dataset(copy)


@pytest.mark.parametrize("fault", LIST_FAULTS.values(), ids=LIST_FAULTS)
def test_faults_of_lists_are_named(fault, list_copy, assert_refused):
    assert_refused(fault, list_copy, lambda: dataset(list_copy, "val"))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_of_the_release_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy))


def test_the_test_set_is_secret(stand_in):
    with pytest.raises(InputError, match="whose test set has no public joints"):
        dataset(stand_in, "test")


def test_real_people_count_from_0(real):
    rows = json.loads((real / "mpii/annot/valid.json").read_text())
    data = dataset(real / "mpii", "val", (1280, 1280))
    assert len(data) == 5
    for row in rows:
        joints = data.labels(row["image"], SIZE)["keypoints"]
        assert joints.shape == (1, 16, 3)
        known = np.array(row["joints_vis"]) > 0
        assert joints[0, known, :2] == pytest.approx(np.array(row["joints"])[known] - 1, abs=1e-3)
    assert data[0]["images"].shape == (3, 1280, 1280)


def test_heads_can_be_those_of_pascal_person_part(stand_in):
    official, changed = dataset(stand_in), dataset(stand_in, heads="pascal_person_part")
    for name in official.ids:
        before, after = (d.labels(name, SIZE)["keypoints"] for d in (official, changed))
        known = (before[:, [12, 13], 2] > 0).all(1)
        np.testing.assert_allclose(after[known, 8, :2], before[known][:, [12, 13], :2].mean(1), rtol=1e-5)
        np.testing.assert_array_equal(after[:, :8], before[:, :8])
    with pytest.raises(InputError, match=r"data\.heads=top is unknown; name one of official, pascal_person_part"):
        dataset(stand_in, heads="top")
