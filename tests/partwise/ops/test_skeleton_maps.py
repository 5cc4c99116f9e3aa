"""Maps of joints and limbs against loops over pixels."""

import math

import pytest
import torch

from partwise.labels import LIMBS
from partwise.ops.flip import COCO_KEYPOINT_PAIRS
from partwise.ops.skeleton_maps import affinity_fields, joint_maps, skeleton_maps

SIZE = (13, 17)


def some_poses(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    poses = torch.rand(count, 17, 3, generator=generator) * torch.tensor([24.0, 18.0, 1.0]) - 3
    poses[..., 2] = torch.randint(0, 3, (count, 17), generator=generator)
    return poses


def plain_joint(joint, row, column, sigma):
    x, y, visibility = joint
    value = math.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
    return 0 if value < 0.01 or visibility == 0 else -value if visibility == 1 else value


def plain_limb(start, end, row, column, width):
    (x, y, known), (to_x, to_y, also) = start, end
    length = math.hypot(to_x - x, to_y - y)
    if not known or not also or not length:
        return (0, 0)
    u, v = (to_x - x) / length, (to_y - y) / length
    inside = (min(x, to_x) - width <= column <= max(x, to_x) + width
              and min(y, to_y) - width <= row <= max(y, to_y) + width)  # fmt: skip
    return (u, v) if inside and abs((column - x) * v - (row - y) * u) < width else (0, 0)


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_maps_of_joints_are_those_of_a_loop_over_pixels(sigma):
    poses = some_poses()
    want = [[[[plain_joint(joint, row, column, sigma) for column in range(SIZE[1])] for row in range(SIZE[0])]
             for joint in pose] for pose in poses.tolist()]  # fmt: skip
    assert {0, 1, 2} <= set(poses[..., 2].flatten().tolist())
    torch.testing.assert_close(joint_maps(poses, SIZE, sigma), torch.tensor(want), atol=1e-5, rtol=0)


@pytest.mark.parametrize("width", [1.0, 2.5])
def test_fields_of_limbs_are_those_of_a_loop_over_pixels(width):
    poses = some_poses(seed=1)
    poses[0, 13] = poses[0, 15]  # a limb without length
    want = [[[[plain_limb(pose[a], pose[b], row, column, width)[i] for column in range(SIZE[1])]
              for row in range(SIZE[0])] for a, b in LIMBS for i in (0, 1)]
            for pose in poses.tolist()]  # fmt: skip
    torch.testing.assert_close(affinity_fields(poses, SIZE, width), torch.tensor(want).float(), atol=1e-5, rtol=0)


def test_all_maps_of_persons_are_55_and_do_not_depend_on_others():
    poses = some_poses(4)
    maps = skeleton_maps(poses, SIZE, sigma=2.0, width=1.5)
    assert maps.shape == (4, 55, *SIZE)
    assert torch.equal(maps[:, :17], joint_maps(poses, SIZE, 2.0))
    assert torch.equal(maps[:, 17:], affinity_fields(poses, SIZE, 1.5))
    assert torch.equal(maps[2:3], skeleton_maps(poses[2:3], SIZE, sigma=2.0, width=1.5))
    assert skeleton_maps(poses[:0], SIZE).shape == (0, 55, *SIZE)


def test_a_flipped_pose_has_flipped_maps():
    poses = some_poses(2, seed=2)
    mirrored = poses.clone()
    mirrored[..., 0] = SIZE[1] - 1 - poses[..., 0]
    torch.testing.assert_close(joint_maps(mirrored, SIZE), joint_maps(poses, SIZE).flip(-1))
    fields = affinity_fields(poses, SIZE).flip(-1) * torch.tensor([-1.0, 1.0]).repeat(19).view(1, -1, 1, 1)
    torch.testing.assert_close(affinity_fields(mirrored, SIZE), fields)


def test_a_pose_without_joints_has_empty_maps():
    assert not skeleton_maps(torch.zeros(1, 17, 3), SIZE).any()


def test_coco_joins_every_keypoint_and_is_the_same_from_both_sides():
    assert len(LIMBS) == len({frozenset(limb) for limb in LIMBS}) == 19
    assert {joint for limb in LIMBS for joint in limb} == set(range(17))
    other = dict(COCO_KEYPOINT_PAIRS) | {right: left for left, right in COCO_KEYPOINT_PAIRS} | {0: 0}
    assert {frozenset(other[j] for j in limb) for limb in LIMBS} == {frozenset(limb) for limb in LIMBS}
