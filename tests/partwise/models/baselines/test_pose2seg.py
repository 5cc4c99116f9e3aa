"""Pose2Seg: what it learns, how its crops and masks lie, and where its poses come from."""

import pytest
import torch
from small_baselines import batch_of, overfit
from torch import nn

from partwise.batches import masks_of
from partwise.errors import InputError
from partwise.labels import FOREGROUND, IGNORE
from partwise.metrics.coco import COCOMetrics
from partwise.models.baselines.pose2seg import Pose2Seg, Pose2SegTask, SegModule, people_of
from partwise.models.contract import Network
from partwise.models.scoring import letterboxes
from partwise.nn.backbone import Stages
from partwise.nn.feature_pyramid import FeaturePyramid
from partwise.ops.resize import Letterbox


def tiny(**options):
    torch.manual_seed(0)
    pyramid = FeaturePyramid(Stages("resnet18", "none", 0.25), 16, levels=1, upsampling="bilinear")
    return Pose2Seg(pyramid, **{"width": 16, "depth": 2, "crop_size": 32, **options})


class TruePoses(nn.Module):
    """Finds given poses, with scores of its own, and notes whether it was trained."""

    def __init__(self, keypoints):
        super().__init__()
        self.keypoints, self.norm = keypoints, nn.BatchNorm2d(3)

    def detect(self, images):
        assert not self.training
        self.norm(images)
        return [(poses, torch.linspace(0.9, 0.3, len(poses))) for poses in self.keypoints]


def ious(masks, others):
    """(N, M) IoU of every mask with every other one."""
    both = (masks[:, None] & others).sum((2, 3))
    return both / (masks[:, None] | others).sum((2, 3)).clamp(min=1)


def people_in(batch):
    """(image, id) of everybody with joints and pixels."""
    return {(row, n) for row, poses in enumerate(batch["keypoints"]) for n in range(1, len(poses) + 1)
            if poses[n - 1, :, 2].any() and (batch["instances"][row] == n).any()}  # fmt: skip


def test_it_fulfils_the_contract():
    assert isinstance(tiny(), Network)


@pytest.fixture(scope="module")
def trained(people):
    """A network that has seen a batch for some steps, its losses, what had no gradient, and the batch."""
    network, batch = tiny(), batch_of(people, "val")
    history, untouched = overfit(network.train(), batch, 40, 4e-3)
    with torch.no_grad():
        for _ in range(10):  # statistics of batch norm
            network.losses(batch)
    return network.eval(), history, untouched, batch


def test_it_overfits_a_batch_and_a_gradient_reaches_everything(trained):
    _, history, untouched, _ = trained
    assert untouched == set()
    assert sum(history[-5:]) / 5 < 0.6 * sum(history[:2]) / 2


def test_after_training_each_pose_gets_the_mask_of_its_person(trained):
    network, _, _, batch = trained
    with torch.inference_mode():
        parsings = network.parse(batch, letterboxes(batch))
    own, others = [], []
    for parsing, poses, truth in zip(parsings, batch["keypoints"], batch["annotations"], strict=True):
        persons = parsing["persons"]
        assert persons["masks"].shape == (len(poses), *truth["parts"].shape)
        assert persons["masks"].dtype == torch.bool
        assert persons["classes"].tolist() == persons["scores"].tolist() == [1] * len(poses)
        assert torch.equal(parsing["parts"], persons["masks"].any(0).long())
        overlap = ious(persons["masks"], masks_of(truth["persons"]))
        same = torch.eye(len(poses), dtype=torch.bool)
        own += overlap[same].tolist()
        others += overlap[~same].tolist()
    assert sum(own) / len(own) > max(0.4, 8 * sum(others) / len(others)), (own, others)


def test_keypoints_come_back_in_native_pixels(people, annotated_batch):
    network = tiny().eval()
    with torch.inference_mode():
        parsings = network.parse(annotated_batch, letterboxes(annotated_batch))
    index = people.dataset("val").index
    for name, parsing in zip(annotated_batch["sample_ids"], parsings, strict=True):
        size = parsing["parts"].shape
        want = torch.stack([torch.from_numpy(thing.keypoints) for thing in index.things(name, size)])
        torch.testing.assert_close(parsing["persons"]["keypoints"], want * (want[..., 2:] > 0), atol=1e-3, rtol=0)


def test_masks_may_overlap_and_poses_without_joints_have_none(annotated_batch):
    network = tiny(max_instances=2).eval()
    nn.init.zeros_(network.segment.score.weight)
    network.segment.score.bias.data = torch.tensor([0.0, 5.0])  # everything is foreground
    keypoints = [poses.clone() for poses in annotated_batch["keypoints"]]
    keypoints[0][0] = 0
    keypoints[1] = keypoints[1][:0]
    with torch.inference_mode():
        parsings = network.parse({**annotated_batch, "keypoints": keypoints}, letterboxes(annotated_batch))
    assert len(parsings[0]["persons"]["masks"]) == len(keypoints[0]) - 1
    assert len(parsings[1]["persons"]["masks"]) == 0
    assert not parsings[1]["parts"].any()
    masks = parsings[2]["persons"]["masks"]
    assert len(masks) == len(keypoints[2]) > 1
    assert (masks.sum(0) > 1).any()


@pytest.mark.parametrize("native", [(96, 96), (60, 120)])
def test_a_mask_drawn_in_a_crop_lies_in_the_picture_where_the_pose_is(native):
    """The segmentation module returns the crop's image of the true mask, which must come back to its place."""
    network, letterbox = tiny(crop_size=128).eval(), Letterbox.fit(native, 96)
    ys, xs = torch.meshgrid(*(torch.arange(float(side)) for side in native), indexing="ij")
    truth = (xs - 40).square() / 200 + (ys - 31).square() / 500 < 1
    canvas = letterbox.place(truth.numpy().astype("uint8"), labels=True)
    pose = network.templates[:1].clone()
    pose[..., :2] = letterbox.place_points(pose[..., :2] * 50 + torch.tensor([15.0, 6.0]))
    images = torch.zeros(1, 3, 96, 96)
    target = network._targets((canvas > 0)[None], torch.zeros(1, 96, 96), network._align(pose, images))
    network.segment.forward = lambda crops: 9 * torch.stack([(target == 0).float(), (target == 1).float()], 1)
    batch = {"images": images, "keypoints": [pose]}
    with torch.inference_mode():
        mask = network.parse(batch, [letterbox])[0]["persons"]["masks"][0]
    assert network._align(pose, images)[0, 0, 0] > 1.2 * 128 / 96  # a template was taken
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9


def test_targets_are_the_person_and_ignore_what_is_ignored_or_outside():
    network = tiny(crop_size=4)
    own, parts = torch.zeros(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.int64)
    own[0, :2, :2] = True
    parts[0, 0] = parts[0, 3] = IGNORE  # the upper row of the person is the person's all the same
    shifted = torch.tensor([[[1.0, 0, 1], [0, 1, 0]]])  # crop x = canvas x + 1
    want = [[IGNORE, 1, 1, IGNORE], [IGNORE, 1, 1, 0], [IGNORE, 0, 0, 0], [IGNORE] * 4]
    assert network._targets(own, parts, shifted)[0].tolist() == want


def test_at_most_so_many_persons_are_drawn_anew_each_time(training_batch):
    network, everybody = tiny(max_instances=3), people_in(training_batch)
    assert len(everybody) > 3
    seen = set()
    for _ in range(40):
        rows, ids, poses = network._draw(training_batch["instances"], training_batch["keypoints"])
        drawn = list(zip(rows.tolist(), ids.tolist(), strict=True))
        assert len(set(drawn)) == 3
        for (row, n), pose in zip(drawn, poses, strict=True):
            assert torch.equal(pose, training_batch["keypoints"][row][n - 1])
        seen |= set(drawn)
    assert seen == everybody


def test_crops_vary_in_training_alone(training_batch):
    network = tiny(max_instances=64)
    crops = []
    network.segment.register_forward_hook(lambda module, given, out: crops.append(given[0].detach()))
    for training in (True, True, False, False):
        torch.manual_seed(len(crops) if training else 0)
        network.pyramid.eval()
        network.training = training
        network.losses(training_batch)
    assert not torch.allclose(crops[0].sum((2, 3)), crops[1].sum((2, 3)))
    torch.testing.assert_close(crops[2], crops[3])
    assert crops[0].shape == (len(people_in(training_batch)), 16 + 55, 32, 32)


def test_a_batch_with_nobody_has_a_loss_of_0_and_gradients(training_batch):
    network = tiny().train()
    empty = {**training_batch, "instances": torch.zeros_like(training_batch["instances"])}
    loss = network.losses(empty)["mask"]
    loss.backward()
    assert loss == 0
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_found_poses_are_taken_with_their_scores_and_never_trained(annotated_batch):
    given = [poses.clone() for poses in annotated_batch["keypoints"]]
    for poses in given:
        poses[..., 2] = torch.where(poses[..., 2] > 0, 1.0, 0.0)  # a score, and no sign of occlusion
    network, plain = tiny(pose=TruePoses(given)), tiny()
    assert not network.train().pose.training
    assert {n for n, p in network.named_parameters() if not p.requires_grad} == {"pose.norm.weight", "pose.norm.bias"}
    visible = [torch.cat([poses[..., :2], 2 * poses[..., 2:]], -1) for poses in given]
    with torch.inference_mode():
        found = network.eval().parse(annotated_batch, letterboxes(annotated_batch))
        same = plain.eval().parse({**annotated_batch, "keypoints": visible}, letterboxes(annotated_batch))
        boxes = letterboxes(annotated_batch)
        streamed = list(network.stream((image[None] for image in annotated_batch["images"]), boxes[0]))
    for a, b, c in zip(found, same, streamed, strict=True):
        assert torch.equal(a["persons"]["masks"], b["persons"]["masks"])
        assert a["persons"]["scores"].tolist() == pytest.approx(torch.linspace(0.9, 0.3, len(a["persons"]["masks"])))
        assert torch.equal(a["persons"]["masks"], c["persons"]["masks"])


def test_missing_poses_and_persons_are_named(annotated_batch):
    network = tiny().eval()
    with pytest.raises(InputError, match="needs poses"):
        network.parse({"images": annotated_batch["images"]}, letterboxes(annotated_batch))
    with pytest.raises(InputError, match="needs poses"):
        list(network.stream([annotated_batch["images"][:1]], letterboxes(annotated_batch)[0]))
    with pytest.raises(InputError, match="persons with keypoints"):
        network.losses({"images": annotated_batch["images"]})


def test_templates_come_from_the_training_split_once_and_with_the_weights(people):
    task = Pose2SegTask(tiny(), FOREGROUND, COCOMetrics)
    before = task.network.templates.clone()
    task.trainer = type("Trainer", (), {"datamodule": people})()
    task.on_fit_start()
    fitted = task.network.templates.clone()
    assert not torch.equal(fitted, before)
    other = Pose2SegTask(tiny(), FOREGROUND, COCOMetrics)
    other.load_state_dict(task.state_dict())
    assert torch.equal(other.network.templates, fitted)
    other.on_fit_start()  # has no trainer, which it does not need


def test_too_few_people_leave_the_templates(people):
    network = tiny()
    before = network.templates.clone()
    poses, boxes = people_of(people)
    assert len(poses) == len(boxes) >= 6
    network.fit_templates(poses[:2], boxes[:2])
    assert torch.equal(network.templates, before)
    assert not network.fitted


def test_the_segmentation_module_has_the_release_s_layers():
    module = SegModule(256 + 55)
    shapes = [tuple(conv.weight.shape) for conv in module.modules() if isinstance(conv, nn.Conv2d)]
    assert shapes[0] == (256, 311, 7, 7)
    assert shapes[-1] == (2, 512, 1, 1)
    assert sum(shape[2:] == (3, 3) for shape in shapes) == 11
    assert SegModule(3, 4, 1)(torch.zeros(2, 3, 16, 16)).shape == (2, 2, 16, 16)
