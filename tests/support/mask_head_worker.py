"""What each of two gloo processes runs; a module of its own because spawned processes import it by name."""

import datetime
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from partwise.nn.parsing_rcnn import ParsingHeads

PATIENCE = datetime.timedelta(seconds=60)


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


def run(rank, folder):
    """One step in bfloat16; the second process has no persons."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=PATIENCE
    )
    torch.manual_seed(0)
    heads = ParsingHeads(4, 8, 64, 16, rois=8)
    for layer in heads.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.__class__ = MeetingBatchNorm
    instances = torch.zeros(2, 64, 64, dtype=torch.int64)
    if rank == 0:
        instances[:, 10:50, 20:40] = 1
    with torch.autocast("cpu", torch.bfloat16):
        losses = heads.losses(torch.rand(2, 8, 16, 16), torch.zeros(2, 64, 64, dtype=torch.int64), instances)
    sum(losses.values()).backward()
    assert not [name for name, parameter in heads.named_parameters() if parameter.grad is None]
    dist.destroy_process_group()
    Path(folder, f"{rank}").write_text(f"{losses['mask'].item()}")
