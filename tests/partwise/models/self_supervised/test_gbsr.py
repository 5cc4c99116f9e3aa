"""Refinement of poses with planted faults, on rendered people whose joints and flow are known."""

import numpy as np
import pytest
import torch

from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.models.self_supervised.gbsr import (
    Map,
    Window,
    appearance,
    associate,
    box_sides,
    crops,
    refine,
    snap,
)
from partwise.ops.flip import COCO_KEYPOINT_PAIRS

SEEN, HIDDEN = 0.9, 0.5  # scores


def scene(seed):
    """Three frames: the frames themselves, poses (3, N, 17, 3) with scores, which joints all frames show, and flows."""
    renderer = Renderer(draw_scene(seed, frames=10, severity=0.2, size=(192, 256)))
    frames = [renderer.frame(t) for t in (4, 5, 6)]
    images = torch.from_numpy(np.stack([f.image for f in frames])).permute(0, 3, 1, 2).float() / 255
    poses = torch.stack([torch.from_numpy(f.keypoints) for f in frames])
    seen = (poses[..., 2] == 2).all(0)
    poses[..., 2] = torch.tensor([0.0, HIDDEN, SEEN])[poses[..., 2].long()]
    flows = tuple(torch.from_numpy(renderer.flow(t, 5)[0]) for t in (4, 6))
    return images, poses, seen, flows


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed) for seed in range(8)]


def damaged(poses, seen, seed=0):
    """Move a tenth of the seen joints of the middle frame by about a box, and lose another tenth."""
    generator = torch.Generator().manual_seed(seed)
    chance, angle = torch.rand(2, *seen.shape, generator=generator)
    moved, lost = (chance < 0.1) & seen, (chance > 0.9) & seen
    shift = torch.stack([(2 * torch.pi * angle).cos(), (2 * torch.pi * angle).sin()], -1)
    poses = poses.clone()
    poses[1, ..., :2] += shift * box_sides(poses)[:, None, None] * moved[..., None]
    poses[1][lost] = 0
    return poses, moved, lost


def errors(poses, truth):
    return (poses[..., :2] - truth[..., :2]).norm(dim=-1)


def test_planted_faults_come_back_within_pixels(scenes):
    before, after, good = [], [], []
    for seed, (images, truth, seen, flows) in enumerate(scenes):
        poses, moved, lost = damaged(truth, seen, seed)
        found = refine(Window(list(poses), [Map(images)], flows))
        before.append(errors(poses[1], truth[1])[moved | lost])
        after.append(errors(found.poses[: len(seen)], truth[1])[moved | lost])
        good.append(found.supervises[: len(seen)][moved | lost])
        fine = seen & ~moved & ~lost
        assert errors(found.poses[: len(seen)], truth[1])[fine].max() < 3
    errors_before, errors_after = torch.cat(before), torch.cat(after)
    assert len(errors_after) > 20
    assert torch.cat(good).float().mean() > 0.75
    assert (errors_after < 3).float().mean() > 0.75
    assert errors_after.mean() < 0.3 * errors_before.mean()


def test_poses_that_are_fine_stay_bit_by_bit(scenes):
    for images, truth, seen, flows in scenes:
        found = refine(Window(list(truth), [Map(images)], flows))
        count = len(seen)
        assert not found.inserted.any()
        assert torch.equal(found.poses[:count][seen], truth[1][seen])
        assert torch.equal(found.poses[~found.replaced], truth[1][~found.replaced])
    assert torch.cat([refine(Window(list(p), [Map(i)], f)).supervises[s] for i, p, s, f in scenes]).float().mean() > 0.9


def test_a_leg_taken_for_the_other_is_put_right():
    """Two colours of legs: only appearance can tell; structure and max_o v_mo cannot."""
    images = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(images, (240, 200), mode="bilinear").repeat(3, 1, 1, 1)
    pose = standing()
    poses = torch.stack([pose, pose, pose])[:, None]
    order = torch.arange(17)
    for left, right in COCO_KEYPOINT_PAIRS[6:]:
        order[left], order[right] = right, left
    poses[1] = poses[1][:, order]
    found = refine(Window(list(poses), [Map(images)], (torch.zeros(2, 240, 200),) * 2))
    torch.testing.assert_close(found.poses[0], pose)
    assert found.replaced[0].nonzero()[:, 0].tolist() == [13, 14, 15, 16]


def standing():
    """A person of 200 pixels' height."""
    x = [100, 106, 94, 112, 88, 130, 70, 145, 55, 150, 50, 120, 80, 125, 75, 128, 72]
    y = [40, 34, 34, 38, 38, 70, 70, 105, 105, 140, 140, 135, 135, 180, 180, 225, 225]
    return torch.stack([torch.tensor(x).float(), torch.tensor(y).float(), torch.full((17,), 0.9)], 1)


def textured():
    """A picture in which no two places look alike, moving by (3, -2) a frame; poses and flows to the middle frame."""
    wide = torch.rand(1, 3, 30, 26, generator=torch.Generator().manual_seed(1))
    wide = torch.nn.functional.interpolate(wide, (300, 260), mode="bilinear")
    images = torch.cat([wide[..., 20 + 2 * t : 260 + 2 * t, 30 - 3 * t : 230 - 3 * t] for t in range(3)])
    poses = torch.stack([standing() + torch.tensor([3.0 * t - 3, 2 - 2.0 * t, 0]) for t in range(3)])[:, None]
    step = torch.tensor([3.0, -2.0])[:, None, None].expand(2, 240, 200)
    return images, poses, (step, -step)


def test_a_person_whom_the_middle_frame_lacks_is_inserted():
    images, poses, flows = textured()
    found = refine(Window([poses[0], poses[1, :0], poses[2]], [Map(images)], flows))
    assert found.inserted.tolist() == [True]
    torch.testing.assert_close(found.poses, poses[1])
    assert found.supervises.all()


def test_a_person_whom_one_neighbour_alone_has_is_not_inserted():
    images, poses, flows = textured()
    found = refine(Window([poses[0], poses[1, :0], poses[2, :0]], [Map(images)], flows))
    assert found.poses.shape == (0, 17, 3)
    assert refine(Window([poses[0, :0]] * 3, [Map(images)], flows)).supervises.shape == (0, 17)


def test_a_joint_that_all_frames_get_wrong_does_not_supervise():
    images, poses, flows = textured()
    poses[:, 0, 9, :2] += torch.tensor([[20.0, 30], [-30, -40], [-60, 20]])
    found = refine(Window(list(poses), [Map(images)], flows))
    assert (~found.supervises).nonzero().tolist() == [[0, 9]]
    assert torch.equal(found.poses, poses[1])
    assert found.agreement[0, 9] < 0.1 < 0.9 < found.agreement[0, torch.arange(17) != 9].min()


def test_at_an_end_of_a_video_one_neighbour_is_enough_for_good_joints():
    images, poses, flows = textured()
    poses[1, 0, 9, 0] += 40
    found = refine(Window([poses[0, :0], poses[1], poses[2]], [Map(images)], flows))
    assert (~found.supervises).nonzero().tolist() == [[0, 9]]
    assert torch.equal(found.poses, poses[1])


def test_persons_are_found_again_in_any_order():
    images, poses, flows = textured()
    two = torch.cat([poses, poses + torch.tensor([8.0, 0, 0])], 1)
    found, inserted = associate(Window([two[0].flip(0), two[1], two[2]], [Map(images)], flows))
    torch.testing.assert_close(found, two)
    assert not inserted.any()


def test_joints_snap_to_the_heatmap_within_reach():
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(50.0), indexing="ij")
    peak = torch.tensor([100.0, 80.0])
    heat = torch.exp(-((4 * x + 1.5 - peak[0]) ** 2 + (4 * y + 1.5 - peak[1]) ** 2) / 200)
    heatmaps = Map(heat.expand(17, 1, -1, -1), stride=4)
    pose = torch.cat([peak.expand(17, 2), torch.ones(17, 1)], 1)[None]
    pose[0, 0, :2] += torch.tensor([6.0, 3.0])  # within reach
    pose[0, 1, :2] += torch.tensor([40.0, 0.0])  # not
    found = snap(pose, torch.tensor([10.0]), heatmaps)
    assert (found[0, 0, :2] - peak).norm() < 2.5
    torch.testing.assert_close(found[0, 1, :2], peak + torch.tensor([30.0, 0.0]), atol=0.2, rtol=0)
    flat = snap(pose, torch.tensor([10.0]), Map(torch.ones(17, 1, 60, 50), 4))
    torch.testing.assert_close(flat, pose)


def test_crops_are_what_moves_with_the_joint_whatever_the_light():
    images, poses, _ = textured()
    maps = [Map(images * torch.tensor([1, 0.6, 1]).view(3, 1, 1, 1) + 0.1), Map(images[:, :1])]
    looks = [crops(maps, poses[t], torch.tensor([t]), torch.full((1, 17), 24.0)) for t in (0, 1)]
    distances = appearance(*looks)[0]
    assert distances.diagonal().max() < 0.05
    others = distances[~torch.eye(17, dtype=torch.bool)]
    assert others.min() > 0.3
    plain = torch.stack([(looks[0][0, m] - looks[1][0, 4]).abs().sum() for m in range(17)])
    torch.testing.assert_close(distances[:, 4], plain)


def test_boxes_are_twice_as_wide_as_nose_and_neck_are_apart():
    pose = standing()
    assert box_sides(pose[None, None]).item() == 60
    without = pose.clone()
    without[0] = 0
    assert box_sides(without[None, None]).item() == pytest.approx(2 * (225 - 34) / 10)
    wrong = pose.clone()
    wrong[0, :2] = 0
    assert box_sides(torch.stack([pose, wrong, pose])[:, None]).item() == 60  # the median
    assert box_sides(torch.stack([pose, 0 * pose, 0 * pose])[:, None]).item() == 60
    assert box_sides(torch.zeros(3, 1, 17, 3)).item() == 2
