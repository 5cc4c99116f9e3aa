"""Skeletons of the YAML files: complete, and their limbs where they should be."""

import pytest
import torch
from posed_people import SKELETONS, skeleton

from data_modules.datasets import horse_cow, mpii
from partwise.errors import InputError
from partwise.labels import (
    HORSE_COW,
    HORSE_COW_LEGS,
    LEGS_TO_HORSE_COW,
    LR_TO_PASCAL_PERSON_PART,
    PASCAL_PERSON_PART,
    PASCAL_PERSON_PART_LR,
)
from partwise.models.pose_transfer.skeleton import make_skeleton
from partwise.ops.pose import MPII


@pytest.mark.parametrize(
    ("name", "joints", "parts"),
    [("person", mpii.JOINTS, PASCAL_PERSON_PART_LR), ("horse_cow", horse_cow.KEYPOINTS, HORSE_COW_LEGS)],
)
def test_every_skeleton_has_the_datasets_joints_and_parts(name, joints, parts):
    kind = skeleton(name)
    assert kind.joints == tuple(joints)
    assert kind.parts == parts.names[1:]
    assert len(kind.limbs) == len(kind.merged) == len(kind.parts)
    for left, right in parts.pairs:
        assert kind.merged[left - 1] == kind.merged[right - 1]
    assert {file.stem for file in SKELETONS.iterdir()} == {"person", "horse_cow"}


def test_people_are_compared_as_mpii_and_become_six_classes():
    person = skeleton("person")
    assert person.reference == MPII
    assert person.classes == PASCAL_PERSON_PART.names[1:]
    assert torch.equal(person.merge_table(), torch.from_numpy(LR_TO_PASCAL_PERSON_PART).long())


def test_animals_become_the_classes_of_the_papers_table():
    kind = skeleton("horse_cow")
    assert kind.classes == HORSE_COW.names[1:] == ("head", "body", "leg", "tail")
    assert torch.equal(kind.merge_table(), torch.from_numpy(LEGS_TO_HORSE_COW).long())


def test_an_end_is_a_joint_or_the_midpoint_of_several():
    person = skeleton("person")
    poses = torch.rand(3, 16, 3) * 100 + 1
    ends, known = person.ends(poses)
    assert known.all()
    torch.testing.assert_close(ends[:, 1, 0], poses[:, 2:4, :2].mean(1))
    torch.testing.assert_close(ends[:, 2], poses[:, 13:15, :2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_of_one_two_and_three_joints_know_nothing_of_other_joints(dtype):
    parts = {
        "a": {"start": ["u"], "end": ["u", "v", "w"], "class": "a"},
        "b": {"start": ["v", "w"], "end": ["x"], "class": "b"},
    }
    kind = make_skeleton(["u", "v", "w", "x"], parts, {"origin": ["u"], "end": ["v"]})
    poses = torch.rand(5, 4, 3, dtype=dtype) * 100 + 1
    ends, _ = kind.ends(poses)
    assert ends.dtype == dtype
    for part, limb in enumerate(([[0], [0, 1, 2]], [[1, 2], [3]])):
        for end, rows in enumerate(limb):
            torch.testing.assert_close(ends[:, part, end], poses[:, rows, :2].mean(1))
    poses[:, 3] = torch.tensor([torch.nan, torch.inf, 0.0])
    again, known = kind.ends(poses)
    assert torch.equal(again[:, 0], ends[:, 0])
    assert known.all(0).tolist() == [True, False]


def test_limbs_without_a_joint_or_length_are_unknown():
    person = skeleton("person")
    poses = torch.rand(2, 16, 3) * 100 + 1
    poses[0, 3, 2] = 0  # left hip
    poses[1, 15, :2] = poses[1, 14, :2]  # left wrist in the elbow
    known = person.ends(poses)[1]
    assert [person.parts[p] for p in (~known[0]).nonzero()[:, 0]] == ["torso", "left-upper-leg"]
    assert [person.parts[p] for p in (~known[1]).nonzero()[:, 0]] == ["left-lower-arm"]


@pytest.mark.parametrize(
    ("part", "reference", "message"),
    [
        ({"start": ["a"], "end": ["c"], "class": "x"}, {"origin": ["a"], "end": ["b"]}, "part arm: c is no joint"),
        ({"start": ["a"], "end": ["b"]}, {"origin": ["a"], "end": ["b"]}, "part arm: class is missing"),
        ({"start": ["a"], "end": ["b"], "class": "x"}, {"origin": ["a"]}, "reference: end is missing"),
    ],
)
def test_a_mistake_in_a_skeleton_is_named(part, reference, message):
    with pytest.raises(InputError, match=message):
        make_skeleton(["a", "b"], {"arm": part}, reference)
