from itertools import pairwise

import pytest
import torch

from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.checkpoints.loading import build_network, load
from partwise.errors import InputError
from partwise.labels import FOREGROUND
from partwise.models.self_supervised.pose_module import PoseModule, posed_pixels
from partwise.nn.hourglass import STRIDE
from partwise.ops.flip import hflip

STEPS = 400  # at most; some 220 are enough from this seed


def tiny(stacks=1, depth=1):
    torch.manual_seed(0)
    return PoseModule(stacks, depth, 64, 0, (16, 32), sigma=1.0)


def batch(images, keypoints, **more):
    rows = range(len(images))
    return {"images": images, "keypoints": keypoints, "index": [*rows], "sample_ids": [str(n) for n in rows], **more}


def two_people():
    """(2, 17, 3) beside each other, the second as the first; joints at least two pixels of the map apart."""
    generator = torch.Generator().manual_seed(3)
    first = torch.rand(17, 2, generator=generator) * torch.tensor([22.0, 50.0]) + torch.tensor([4.0, 6.0])
    second = first + torch.tensor([30.0, 0.0])
    return torch.cat([torch.stack([first, second]), torch.full((2, 17, 1), 2.0)], 2)


@pytest.mark.process
def test_it_learns_two_people_in_one_picture():
    model, people = tiny(), two_people()
    people[1, 4, 2] = 0  # never seen
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(4))
    other = hflip({"image": image, "keypoints": people}, FOREGROUND)
    learnt = batch(torch.stack([image, other["image"]]), [people, other["keypoints"]])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(STEPS):
        losses = model.losses(learnt)
        if losses["heatmap"] < 3e-4 and losses["push"] + losses["pull"] < 2.5e-5:
            break
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    poses = sure(model.detect(image[None])[0])
    expected = people[people[:, 5, 0].argsort()]
    known = expected[..., 2] > 0
    assert torch.equal(poses[..., 2] > 0, known)
    assert ((poses - expected)[known][:, :2].abs() <= 4).all()

    flipped = sure(model.detect(other["image"][None])[0]).flip(0)
    again = hflip({"image": image, "keypoints": flipped}, FOREGROUND)["keypoints"]
    torch.testing.assert_close(again, poses, atol=1e-3, rtol=1e-4)


def sure(found):
    """Two persons that are found with most of their joints, from left to right."""
    poses = found.poses[found.scores > 0.5]
    assert len(poses) == 2
    return poses[poses[:, 5, 0].argsort()]


@torch.no_grad()
def test_the_packages_module_tells_people_close_together_apart():
    module = build_network(load("standin/pose_module_coco"), "standin/pose_module_coco")
    within, between = [], []
    for seed in range(5000, 5012):
        frame = Renderer(draw_scene(seed, size=(192, 256), frames=1, severity=0.2, domain="touching")).frame(0)
        image = torch.from_numpy(frame.image).permute(2, 0, 1)[None] / 255
        tags = module.maps(image).tags[0].mean(-1)
        means = []
        for pose in torch.from_numpy(frame.keypoints):
            joints = (pose[:, 2] == 2).nonzero()[:, 0]
            x, y = ((pose[joints, :2] + 0.5) / STRIDE).long().unbind(1)
            own = tags[joints, y, x]
            within.append((own - own.median()).abs().median())
            means.append(own.median())
        between += [abs(a - b) for a, b in pairwise(means)]
    assert torch.stack(between).median() > 4 * torch.stack(within).median()
    assert torch.stack(between).median() > 0.5


def test_gradient_reaches_every_parameter_and_images_without_people_count():
    model = tiny(2, 2)
    losses = model.losses(batch(torch.rand(2, 3, 64, 48), [two_people(), torch.zeros(0, 17, 3)]))
    assert losses.keys() == {"heatmap", "push", "pull"}
    torch.stack(list(losses.values())).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_features_are_of_the_first_hourglass_on_the_images_as_they_are():
    model = tiny()
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.maps(images).features, model.network(images).first)


def test_detection_leaves_the_mode_and_takes_a_threshold():
    model = tiny().train()
    images = torch.rand(1, 3, 32, 32)
    assert not len(model.detect(images, threshold=1.0)[0].poses)
    assert model.training


def test_unknown_people_crowds_and_padding_are_left_out():
    joints = two_people()
    joints[1, :, 2] = 0
    parts, ids = torch.zeros(1, 64, 64, dtype=torch.long), torch.zeros(1, 64, 64, dtype=torch.long)
    ids[:, :32, :32], ids[:, 32:, 32:], parts[:, :8, 40:] = 1, 2, 255
    found = posed_pixels(batch(torch.rand(1, 3, 64, 64), [joints], parts=parts, instances=ids))
    expected = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    expected[..., 8:, 8:] = expected[..., :2, 10:] = False
    assert torch.equal(found, expected)
    model, images = tiny(), torch.rand(1, 3, 64, 64)
    masked = model.losses(batch(images, [joints], parts=parts, instances=ids))["heatmap"]
    assert masked == model.losses(batch(images, [joints]), expected)["heatmap"]
    assert masked < model.losses(batch(images, [joints]))["heatmap"]


def test_data_without_poses_are_refused():
    with pytest.raises(InputError, match="keypoints"):
        tiny().losses({"images": torch.rand(1, 3, 32, 32), "index": [0], "sample_ids": ["a"]})
