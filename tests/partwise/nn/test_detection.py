"""Boxes in float32 whatever the convolutions run in, masks of clipped boxes, and a mask head without persons."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from commands import CLIPS, FRAMES, TINY
from composing import composed
from hydra.utils import instantiate
from torch import nn
from torchvision.models.detection.image_list import ImageList
from two_processes import in_both

from partwise.nn.detection import MaskHead
from partwise.nn.parsing_rcnn import ParsingHeads
from partwise.ops.resize import Letterbox
from partwise.run.build import make_task


def ready(root, *overrides):
    """Task, data and Trainer of one step of an experiment on CPU."""
    cfg = composed(*TINY, *overrides, f"data.root={root}")
    data = instantiate(cfg.data)
    run = instantiate(cfg.trainer, max_steps=1, limit_val_batches=0, logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    return make_task(cfg, data.label_set), data, run


def floats(value):
    """All floating-point tensors in nested containers."""
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() else []
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    return [x for v in values for x in floats(v)]


def record(monkeypatch, owner, name, seen):
    """Let a method add its arguments and results to `seen`."""
    method = getattr(owner, name)

    def recorded(*arguments):
        result = method(*arguments)
        seen.extend(floats([arguments, result]))
        return result

    monkeypatch.setattr(owner, name, recorded)


@pytest.mark.parametrize(
    "experiment",
    [FRAMES, CLIPS],
    ids=["frames", "clips"],
)  # fmt: skip
def test_a_step_in_bfloat16_has_boxes_and_losses_in_float32(experiment, vip_stand_in, monkeypatch):
    task, data, run = ready(vip_stand_in, *experiment, "trainer.precision=bf16-mixed")
    heads = task.network.heads
    seen, convolved = [], []
    for module in (heads.rpn, heads.rpn.anchor_generator, heads.roi_heads, heads.roi_heads.mask_head):
        module.register_forward_hook(lambda module, inputs, output: seen.extend(floats(output)))
    for owner, name in ((heads.rpn.box_coder, "encode"), (heads.rpn.box_coder, "decode"), (task, "losses"),
                        (heads.roi_heads.box_coder, "encode"), (heads.roi_heads, "select_training_samples"),
                        (heads.rpn, "compute_loss"), (heads.rpn, "filter_proposals")):  # fmt: skip
        record(monkeypatch, owner, name, seen)
    for layer in (heads.rpn.head.trunk, heads.roi_trunk, heads.roi_heads.box_head, heads.parsing):
        layer.register_forward_hook(lambda module, inputs, output: convolved.append(output.dtype))
    run.fit(task, data)
    assert run.global_step == 1
    assert len(seen) > 40
    assert {x.dtype for x in seen} == {torch.float32}
    assert convolved == [torch.bfloat16] * 4  # it was bfloat16


def test_true_boxes_and_decoded_ones_are_exact_in_bfloat16(monkeypatch):
    torch.manual_seed(0)
    heads = ParsingHeads(4, 8, 512, 16, rois=8)
    instances = torch.zeros(1, 512, 512, dtype=torch.int64)
    instances[0, 131:477, 301:467] = 1
    truth, decoded, deltas = [], [], []
    record(monkeypatch, heads.roi_heads.box_coder, "encode", truth)
    record(monkeypatch, heads.rpn.box_coder, "decode", decoded)
    heads.rpn.head.register_forward_hook(lambda module, inputs, output: deltas.extend(output[1]))
    feature = torch.randn(1, 8, 128, 128)
    with torch.autocast("cpu", torch.bfloat16):
        heads.losses(feature.bfloat16(), torch.zeros_like(instances), instances)
    person = torch.tensor([301.0, 131, 467, 477])
    assert any((boxes == person).all(-1).any() for boxes in truth if boxes.shape[-1:] == (4,))
    anchors = heads.rpn.anchor_generator(ImageList(torch.zeros(1, 1, 512, 512), [(512, 512)]), [feature])
    rows = deltas[0].unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).reshape(-1, 4)
    expected = heads.rpn.box_coder.decode_single(rows, anchors[0]).view(-1, 4)
    assert torch.equal(decoded[-1].view(-1, 4), expected)


def hand_set(heads):
    """Heads that call every proposal a person, whose mask is where the feature's channel 0 is above a half.

    The best proposal is the anchor of 256 pixels, twice as high as wide, where channel 1 is largest.
    """
    roi, rpn = heads.roi_heads, heads.rpn.head
    identities = [layer[0] for layer in (*heads.roi_trunk, *rpn.trunk, *roi.mask_head.convs)]
    with torch.no_grad():
        for layer in identities:
            nn.init.dirac_(layer.weight)
            layer.bias.zero_()
        for layer in (roi.box_predictor.cls_score, roi.box_predictor.bbox_pred, roi.mask_head.whole):
            layer.weight.zero_()
            layer.bias.zero_()
        roi.box_predictor.cls_score.bias[1] = 5.0
        for layer in (rpn.deltas, rpn.objectness):
            layer.weight.zero_()
            layer.bias.zero_()
        rpn.objectness.weight[3, 1] = 1.0
        upsample, local = roi.mask_head.upsample[0], roi.mask_head.local
        upsample.weight.copy_(torch.eye(upsample.weight.shape[0])[..., None, None].expand_as(upsample.weight))
        upsample.bias.zero_()
        local.weight.zero_()
        local.weight[1, 0] = 20.0
        local.bias.copy_(torch.tensor([0.0, -10.0]))
    return heads.eval()


def test_a_mask_is_not_squeezed_where_its_box_reaches_into_the_padding(vip_stand_in):
    task, _, _ = ready(vip_stand_in, *FRAMES, "image_size=512")
    heads = hand_set(task.network.heads)
    letterbox = Letterbox.fit((480, 854), 512)  # rows 112 to 400 of the canvas
    edge = 330  # of the native rows: nothing of the person below
    row = round((letterbox.top + edge * letterbox.height / 480) / 4)
    feature = torch.zeros(1, 16, 128, 128)
    feature[:, 0, :row] = 1.0
    feature[:, 1, 100, 64] = 1.0  # an anchor around row 400, of rows 219 to 581
    heads.rpn._post_nms_top_n["testing"] = 1
    with torch.no_grad():
        (parsing,) = heads.parse(feature, [letterbox])
    ((_, top, _, bottom),) = parsing["boxes"].tolist()
    assert (round(top), bottom) == (round((219 - letterbox.top) * 480 / letterbox.height), 480)
    last = int(parsing["persons"]["map"].nonzero()[:, 0].max()) + 1
    assert last == pytest.approx(edge, abs=(bottom - top) / 28 + 4)  # a cell of the mask


def test_boxes_lie_in_the_windows_of_their_images():
    torch.manual_seed(0)
    heads = hand_set(ParsingHeads(4, 8, 128, 16))
    letterboxes = [Letterbox.fit((100, 200), 128), Letterbox.fit((200, 100), 128)]
    found = []
    heads.roi_heads.register_forward_hook(lambda module, inputs, output: found.extend(output[0]))
    with torch.no_grad():
        heads.parse(torch.rand(2, 8, 32, 32), letterboxes)
    for detected, box in zip(found, letterboxes, strict=True):
        left, top, right, bottom = detected["boxes"].unbind(1)
        assert len(left) > 5
        assert left.min() >= box.left
        assert top.min() >= box.top
        assert right.max() <= box.left + box.width
        assert bottom.max() <= box.top + box.height


def test_no_roi_leaves_the_statistics_of_the_mask_head_as_they_were():
    head = MaskHead(8, 8).train()
    before = [layer.running_mean.clone() for layer in head.modules() if isinstance(layer, nn.BatchNorm2d)]
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(torch.zeros(0, 8, 14, 14))
    assert (logits.shape, logits.dtype) == ((0, 2, 28, 28), torch.float32)
    after = [layer.running_mean for layer in head.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    (logits.sum() * 0).backward()
    assert not [name for name, parameter in head.named_parameters() if parameter.grad is None]


class Meet(torch.autograd.Function):
    """The exchanges of torch's SyncBatchNorm, which refuses a CPU's tensors: one forward and one backward."""

    @staticmethod
    def forward(ctx, x):
        dist.all_reduce(torch.ones(1))
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        dist.all_reduce(torch.ones(1))
        return gradient


class MeetingBatchNorm(nn.BatchNorm2d):
    """A batch norm that waits for the other process, each way."""

    def forward(self, x):
        assert x.dtype == torch.float32 or len(x), "of an empty batch SyncBatchNorm exchanges the input's type"
        return super().forward(Meet.apply(x))


def mask_loss(persons, _):
    """The loss after one step in bfloat16, of images with or without persons."""
    torch.manual_seed(0)
    heads = ParsingHeads(4, 8, 64, 16, rois=8)
    for layer in heads.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.__class__ = MeetingBatchNorm
    instances = torch.zeros(2, 64, 64, dtype=torch.int64)
    instances[:, 10:50, 20:40] = persons
    with torch.autocast("cpu", torch.bfloat16):
        losses = heads.losses(torch.rand(2, 8, 16, 16), torch.zeros(2, 64, 64, dtype=torch.int64), instances)
    sum(losses.values()).backward()
    assert not [name for name, parameter in heads.named_parameters() if parameter.grad is None]
    return losses["mask"].item()


@pytest.mark.ddp
def test_a_process_without_persons_meets_the_others_in_every_batch_norm(tmp_path):
    first, second = in_both(mask_loss, {"step": (1, 0)}, tmp_path)
    assert first["step"] > 0
    assert second["step"] == 0


@pytest.mark.process
def test_compiling_reaches_the_layers_of_the_heads(vip_stand_in, monkeypatch):
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compiled(function, backend="eager"))
    task, data, run = ready(vip_stand_in, "experiment=parsing_rcnn_vip", "compile=true")
    heads, entered = task.network.heads, set()
    modules = dict(task.network.named_modules())
    inside = [name for name, module in modules.items() if module._compiled_call_impl is not None]
    for name in inside:
        modules[name].register_forward_pre_hook(lambda module, inputs, name=name: entered.add(name))
    loose = [n for n, _ in task.network.named_parameters() if not any(n.startswith(f"{name}.") for name in inside)]
    assert not loose
    assert heads._compiled_call_impl is None  # entered through `losses` and `parse`
    before = heads.rpn.head.objectness.weight.detach().clone()
    run.fit(task, data)
    assert entered == set(inside)
    assert not torch.equal(before, heads.rpn.head.objectness.weight)
    assert isinstance(run, pl.Trainer)
    assert np.isfinite(float(run.callback_metrics["train/loss"]))
