"""The modules together: what they learn from, Eq. 10's sum, and masks that follow the poses."""

import pytest
import torch

from partwise.batches import ImageBatch
from partwise.errors import InputError
from partwise.models.self_supervised.model import (
    SKELETON,
    Pose2SegModule,
    PosesToMasks,
    SelfSupervised,
    read_out,
    with_skeletons,
)
from partwise.models.self_supervised.pose_module import PoseModule, closed_pixels, joint_boxes
from partwise.nn.deeplab_v3_plus import DeepLabV3Plus
from partwise.ops.resize import Letterbox

SIZES = {"backbone": "resnet18", "pretrained": "none", "width": 8, "image_size": 64, "backbone_multiplier": 0.125}


def standing(x, y=8.0, height=40.0):
    """A pose (17, 3): all joints along a line of one height."""
    rows = torch.linspace(0, 1, 17)
    return torch.stack(
        [torch.full_like(rows, x) + 3 * (rows * 12).sin(), y + height * rows, torch.full_like(rows, 2)], 1
    )


def batch():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    instances = torch.zeros(2, 64, 64, dtype=torch.int64)
    instances[0, 5:52, 10:22], instances[0, 5:52, 40:52], instances[1, 5:52, 25:40] = 1, 2, 1
    keypoints = [torch.stack([standing(16.0), standing(46.0)]), standing(32.0)[None]]
    return ImageBatch(images=images, parts=(instances > 0).long(), instances=instances, keypoints=keypoints,
                      index=[0, 1], sample_ids=["a", "b"])  # fmt: skip


@pytest.fixture
def network():
    torch.manual_seed(0)
    pose = PoseModule(stacks=1, depth=2, channels=8, increase=4, stem=(4, 8))
    return SelfSupervised(DeepLabV3Plus(2, **SIZES), pose, Pose2SegModule(**SIZES))


def test_every_module_learns_and_shares_nothing(network):
    losses = network.losses(batch())
    assert set(losses) == {"parsing", "heatmap", "push", "pull", "pose2seg"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    with pytest.raises(InputError, match="keypoints"):
        network.losses({k: v for k, v in batch().items() if k != "keypoints"})


def test_a_persons_mask_is_the_sum_of_both_modules_logits(network):
    network.eval()
    image, poses = batch()["images"][0], batch()["keypoints"][0]
    a = network.seg.logits(image[None])[0]
    own = torch.cat([network.pose2seg.logits(with_skeletons(image[None], pose[None])) for pose in poses])
    torch.testing.assert_close(network.instances(image, a, poses), a + own, atol=1e-5, rtol=1e-5)
    (parsing,) = network.from_poses(image[None], [(poses, torch.tensor([0.5, 1.0]))], [Letterbox.fit((64, 64), 64)])
    foreground = (a + own).softmax(1)[:, 1]
    assert torch.equal(parsing["persons"]["masks"], foreground > 0.5)
    assert torch.equal(parsing["parts"], a.argmax(0))
    torch.testing.assert_close(parsing["persons"]["keypoints"], poses)


def test_scores_are_the_poses_times_the_masks_probability():
    poses = torch.stack([standing(16.0), standing(46.0)])
    logits = torch.zeros(2, 2, 64, 64)
    logits[0, 1, :, :10] = 2.0
    parsing = read_out(logits - torch.tensor([0.0, 1e-3]).view(1, 2, 1, 1), poses, torch.tensor([0.5, 1.0]),
                       Letterbox.fit((64, 64), 64), logits[0])  # fmt: skip
    persons = parsing["persons"]
    assert "masks" in persons
    assert persons["masks"].sum((1, 2)).tolist() == [640, 0]
    torch.testing.assert_close(persons["scores"], torch.tensor([0.5 * torch.tensor(2 - 1e-3).sigmoid(), 0.0]))


def test_skeletons_do_not_tell_scores_from_visibilities():
    image, pose = torch.rand(1, 3, 64, 64), standing(30.0)
    scored = pose.clone()
    scored[:, 2] = 0.4
    maps = with_skeletons(image, pose[None])
    assert maps.shape == (1, 3 + SKELETON, 64, 64)
    assert torch.equal(maps, with_skeletons(image, scored[None]))
    assert maps[0, 3:20].amin() >= 0


def test_skeletons_lose_joints_in_training_alone(network):
    module, poses = network.pose2seg, torch.stack([standing(20.0)] * 400)
    assert torch.equal(module.eval().spoilt(poses), poses)
    spoilt = module.train().spoilt(poses)
    lost = (spoilt[..., 2] == 0).float().mean()
    assert lost == pytest.approx(module.dropped * 2 / 3, abs=0.02)  # from a third of it on
    moved = (spoilt - poses)[..., :2][spoilt[..., 2] > 0]
    assert moved.std() == pytest.approx(module.jitter * 40, rel=0.1)


def test_the_pose2seg_module_learns_what_eq_10_adds_to_a_seg_module_that_stays(network):
    """In a network that trains, a is still what it is when masks are made, and learns nothing."""
    together, given = PosesToMasks(network.seg, network.pose2seg).train(), batch()
    given["images"] = given["images"][1:]
    given["instances"], given["parts"], given["keypoints"] = (
        given["instances"][1:],
        given["parts"][1:],
        given["keypoints"][1:],
    )
    for layer in network.pose2seg.modules():  # its logits do not depend on chance
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    network.pose2seg.dropped = network.pose2seg.jitter = 0.0
    before = {key: value.clone() for key, value in network.seg.state_dict().items()}
    loss = together.losses(given)["pose2seg"]
    loss.backward()
    assert network.seg.training
    assert all(torch.equal(value, before[key]) for key, value in network.seg.state_dict().items())
    assert all(p.grad is None for p in network.seg.parameters())
    a = network.seg.eval().logits(given["images"])
    own = network.pose2seg.logits(with_skeletons(given["images"], given["keypoints"][0]))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(a + own, given["instances"]))
    assert not torch.allclose(loss, torch.nn.functional.cross_entropy(own, given["instances"]))


def test_a_batch_without_persons_has_a_loss_of_nothing(network):
    empty = batch()
    empty["keypoints"] = [torch.zeros(0, 17, 3)] * 2
    loss = PosesToMasks(network.seg, network.pose2seg).losses(empty)["pose2seg"]
    assert loss == 0
    loss.backward()


def test_ignored_pixels_teach_the_pose2seg_module_nothing(network):
    module = PosesToMasks(network.seg, network.pose2seg).eval()
    first, other = batch(), batch()
    for each in (first, other):
        each["parts"][:, 30:] = 255
    other["instances"][:, 40:50] = 0
    losses = []
    for each in (first, other):
        torch.manual_seed(0)  # the same order of persons
        losses.append(module.losses(each)["pose2seg"])
    assert torch.equal(*losses)


def test_missing_joints_are_open_in_the_box_of_their_person_alone():
    pose = standing(30.0, y=8.0, height=40.0)
    pose[3] = 0
    closed = closed_pixels([pose[None], torch.zeros(0, 17, 3)], (16, 16))
    box = joint_boxes(torch.cat([pose[:, :2] / 4, pose[:, 2:]], 1)[None], (16, 16))[0]
    assert torch.equal(~closed[0, 3], box)
    assert closed[0, [j for j in range(17) if j != 3]].all()
    assert closed[1].all()
