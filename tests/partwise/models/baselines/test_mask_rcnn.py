"""Mask R-CNN of persons: what it learns, and how its detections lie."""

import pytest
import torch
from small_baselines import overfit

from partwise.errors import InputError
from partwise.models.baselines.mask_rcnn import MaskRCNN
from partwise.models.contract import Network
from partwise.models.scoring import letterboxes
from partwise.nn.backbone import Stages
from partwise.nn.feature_pyramid import FeaturePyramid
from partwise.ops.resize import Letterbox


def tiny(**options):
    torch.manual_seed(0)
    sizes = {"image_size": 96, "box_width": 32, "mask_width": 16, "rois": 64, "proposals": 100}
    return MaskRCNN(FeaturePyramid(Stages("resnet18", "none", 0.25), 16), **{**sizes, **options})


def test_it_fulfils_the_contract():
    assert isinstance(tiny(), Network)


def test_it_overfits_a_batch_and_a_gradient_reaches_everything(training_batch):
    network = tiny().train()
    history, untouched = overfit(network, training_batch, 15, 3e-3)
    assert untouched == set()
    assert sum(history[-3:]) / 3 < 0.7 * history[0]


@pytest.fixture
def found(annotated_batch):
    """What an untrained network finds, with masks that fill their boxes."""
    network = tiny(least=0.0).eval()
    torch.nn.init.constant_(network.roi_heads.mask_predictor.mask_fcn_logits.bias, 9)
    with torch.inference_mode():
        return network, network.parse(annotated_batch, letterboxes(annotated_batch))


def test_detections_are_masks_at_native_size_that_may_overlap(annotated_batch, found):
    _, parsings = found
    for parsing, truth in zip(parsings, annotated_batch["annotations"], strict=True):
        persons, boxes = parsing["persons"], parsing["boxes"]
        height, width = truth["parts"].shape
        assert persons["masks"].shape == (len(boxes), height, width)
        assert 0 < len(boxes) <= 100
        assert persons["classes"].tolist() == [1] * len(boxes)
        assert persons["scores"].diff().max() <= 0
        assert torch.equal(parsing["parts"], persons["masks"].any(0).long())
        assert boxes.min() >= 0
        assert (boxes.amax(0)[2:] <= torch.tensor([width, height])).all()
        for mask, (left, top, right, bottom) in zip(persons["masks"], boxes.tolist(), strict=True):
            rows, columns = mask.nonzero().unbind(1)
            assert ((columns + 1 > left) & (columns < right) & (rows + 1 > top) & (rows < bottom)).all()
    assert max(int(p["persons"]["masks"].sum(0).max()) for p in parsings) > 1


def test_a_stream_says_what_the_batch_does(annotated_batch, found):
    network, parsings = found
    letterbox = letterboxes(annotated_batch)[0]
    with torch.inference_mode():
        streamed = list(network.stream((image[None] for image in annotated_batch["images"]), letterbox))
    for a, b in zip(parsings, streamed, strict=True):
        torch.testing.assert_close(a["boxes"], b["boxes"], atol=0.01, rtol=0)


def test_pictures_with_nobody_are_learned_from_too(training_batch):
    network = tiny().train()
    empty = {**training_batch, "instances": torch.zeros_like(training_batch["instances"])}
    losses = network.losses(empty)
    assert all(loss.isfinite() for loss in losses.values())
    assert losses["person"] > 0
    assert losses["mask"] == losses["box"] == 0
    with pytest.raises(InputError, match="learns from persons"):
        network.losses({"images": training_batch["images"]})


def test_levels_and_anchors_are_torchvision_s_for_images_of_its_size():
    network = tiny(image_size=[800, 1333])
    assert [side for (side,) in network.rpn.anchor_generator.sizes] == [32, 64, 128, 256, 512]
    pool = network.roi_heads.box_roi_pool
    boxes = torch.tensor([[0.0, 0, s, s] for s in (100, 113, 225, 449)])
    assert pool.map_levels([boxes]).tolist() == [0, 1, 2, 3]
    assert pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert tiny(image_size=1333 * 2).rpn.anchor_generator.sizes[0] == (64,)


def test_boxes_of_a_letterboxed_picture_do_not_reach_into_the_padding():
    network, letterbox = tiny(least=0.0).eval(), Letterbox.fit((30, 90), 96)
    with torch.inference_mode():
        features, canvas = network._features(torch.rand(1, 3, 96, 96))
        proposals, _ = network.rpn(canvas, features)
        found, _ = network.roi_heads(dict(list(features.items())[:-1]), proposals, [letterbox])
    assert found[0]["boxes"][:, 1].min() >= letterbox.top
    assert found[0]["boxes"][:, 3].max() <= letterbox.top + letterbox.height


def test_boxes_and_losses_stay_float32_in_mixed_precision(training_batch):
    with torch.autocast("cpu", torch.bfloat16):
        losses = tiny().train().losses(training_batch)
        with torch.inference_mode():
            parsing = tiny(least=0.0).eval().parse(training_batch, [Letterbox.fit((96, 96), 96)] * 4)[0]
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert parsing["boxes"].dtype == parsing["persons"]["scores"].dtype == torch.float32
    fine = parsing["boxes"][parsing["boxes"] > 64]
    assert (fine != fine.bfloat16().float()).any()
