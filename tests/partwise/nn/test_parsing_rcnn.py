import pytest
import small_networks
import torch
from torch import nn

from partwise.nn.deeplab import DeepLabFeature, ParsingBranch, dilations
from partwise.nn.detection import RoIPool
from partwise.nn.losses import parsing_loss
from partwise.nn.parsing_rcnn import ParsingHeads
from partwise.ops.resize import Letterbox


@pytest.fixture(scope="module")
def small():
    return small_networks.build(small_networks.parsing_rcnn(width=16, box_width=32, backbone_multiplier=1.0))


@pytest.fixture
def batch():
    torch.manual_seed(1)
    instances = torch.zeros(2, 64, 64, dtype=torch.int64)
    instances[0, 8:60, 10:30], instances[0, 12:60, 34:56] = 1, 2
    instances[1, 4:50, 20:44] = 5
    return {"images": torch.rand(2, 3, 64, 64), "parts": torch.randint(0, 20, (2, 64, 64)), "instances": instances}


def test_the_decoder_has_no_batch_norm():
    feature = DeepLabFeature("resnet18", pretrained=False, width=16)
    outside = [n for n, m in feature.named_modules() if isinstance(m, nn.BatchNorm2d) and not n.startswith("backbone")]
    assert not outside
    assert feature(torch.rand(2, 3, 64, 96)).shape == (2, 16, 16, 24)


def test_parsing_branch_sums_its_three_convolutions():
    branch = ParsingBranch(8, 5)
    x = torch.rand(1, 8, 12, 12)
    assert torch.allclose(branch(x), sum(b(x) for b in branch.branches))
    assert [b.dilation[0] for b in branch.branches] == [6, 12, 18]


def test_dilations_are_the_papers_and_less_for_smaller_inputs_only():
    assert dilations(512) == (6, 12, 18)
    assert dilations(1024) == dilations((512, 896)) == (6, 12, 18)
    assert dilations(128) == (2, 3, 4)
    assert dilations(16) == (1, 1, 1)


def test_parsing_loss_ignores_255_and_survives_a_batch_without_labels():
    logits = torch.randn(1, 4, 8, 8, requires_grad=True)
    parts = torch.randint(0, 4, (1, 8, 8))
    parts[0, :4] = 255
    labelled = torch.nn.functional.cross_entropy(logits[:, :, 4:], parts[:, 4:])
    assert torch.allclose(parsing_loss(logits, parts), labelled)
    loss = parsing_loss(logits, torch.full((1, 8, 8), 255))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(logits.grad).all()


def test_anchors_are_the_releases_at_512_px():
    heads = ParsingHeads(20, 8, 512, 16)
    (cells,) = heads.rpn.anchor_generator.cell_anchors
    width, height = cells[:, 2] - cells[:, 0], cells[:, 3] - cells[:, 1]
    assert len(cells) == 15
    assert torch.allclose(
        (width * height).sqrt().view(3, 5).mean(0), torch.tensor([32.0, 64, 128, 256, 384]), rtol=0.02
    )
    assert torch.allclose((width / height).view(3, 5).mean(1), torch.tensor([0.5, 0.75, 1.0]), rtol=0.03)
    assert heads.rpn._pre_nms_top_n == {"training": 12000, "testing": 6000}
    assert heads.rpn._post_nms_top_n == {"training": 2000, "testing": 1000}
    assert heads.rpn.box_coder.weights == heads.roi_heads.box_coder.weights == (10.0, 10.0, 5.0, 5.0)


def test_roi_pooling_of_a_ramp_reads_the_bin_centres():
    # feature cell i has its centre at input pixel 4i + 2 (aligned)
    ramp = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 1, 16, 16)
    pooled = RoIPool(4)({"0": ramp}, [torch.tensor([[16.0, 16.0, 48.0, 48.0]])], [(64, 64)])
    centres = torch.tensor([16 + 8 * (k + 0.5) for k in range(4)]) / 4 - 0.5
    assert torch.allclose(pooled[0, 0, 0], centres)


def test_losses_are_finite_and_reach_every_parameter(small, batch):
    small.train()
    losses = small.losses(batch)
    assert set(losses) == {"rpn_objectness", "rpn_box", "person", "box", "mask", "parsing"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    small.zero_grad()
    sum(losses.values()).backward()
    assert not [n for n, p in small.named_parameters() if p.grad is None]


def test_images_without_people_train_too(small, batch):
    small.train()
    losses = small.losses(batch | {"instances": torch.zeros_like(batch["instances"])})
    small.zero_grad()
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert not [n for n, p in small.named_parameters() if p.grad is None]  # DDP without find_unused_parameters


def test_results_come_at_native_size(small, batch):
    small.eval()
    sizes = [(100, 50), (30, 90)]
    with torch.no_grad():
        parsings = small.parse(batch, [Letterbox.fit(size, 64) for size in sizes])
    for parsing, size in zip(parsings, sizes, strict=True):
        assert (
            parsing["parts"].shape == parsing["persons"]["map"].shape == parsing["part_instances"]["map"].shape == size
        )
        assert len(parsing["boxes"]) == len(parsing["persons"]["scores"])
        assert parsing["part_instances"]["map"].max() == len(parsing["part_instances"]["classes"])
