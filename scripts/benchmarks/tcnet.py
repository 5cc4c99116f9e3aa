"""TCNet's cost a frame as a stream beside the single-frame DeepLab's, and the correlation beside the shifted loop."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from benchmarks.timing import CPU, best_time, in_turn
from partwise.models.tcnet.model import TCNet
from partwise.nn.deeplab_v2 import DeepLabV2
from partwise.nn.flownet import CorrelationFlow
from partwise.ops.correlation import correlation
from partwise.run.process import keep_freed_memory

CLASSES, SIZE = 13, (241, 121)
#: C, H, W, displacement and step: FlowNet-C's, and TCNet's own.
CASES = ((256, 48, 64, 20, 2), (256, 64, 64, 20, 2), (256, 48, 64, 4, 1), (512, 31, 16, 10, 1))


def run(device: torch.device = CPU, rounds: int = 5) -> list[Table]:
    """Tables of both, with random weights."""
    torch.manual_seed(0)
    keep_freed_memory()  # as run.py does
    return [stream_table(3 * rounds, device), correlation_table(rounds, device)]  # a whole frame is seldom undisturbed


@torch.inference_mode()
def stream_table(rounds: int, device: torch.device) -> Table:
    """Milliseconds a frame at the paper's size, and TCNet's by stage."""
    single = DeepLabV2(CLASSES, SIZE, pretrained=False).to(device).eval()
    frame = DeepLabV2(CLASSES, SIZE, pretrained=False)
    network = TCNet(frame, CorrelationFlow(512, 256)).to(device).eval()
    image, memory = torch.rand(1, 3, *SIZE, device=device), network.memory()
    for _ in range(4):
        memory.add(image)
    now, earlier = memory.frames[-1], memory.frames[0]
    work: dict[str, Callable[[], object]] = {
        "DeepLab-v2": lambda: single.logits(image),
        "TCNet, stream": lambda: memory.add(image),
        "its frame parser": lambda: network.see(image),
        "its flow to two frames": lambda: network.estimate(now, [earlier, earlier]),
        "two correlations": lambda: correlation(now.conv5.repeat(2, 1, 1, 1), earlier.conv5.repeat(2, 1, 1, 1), 10, 1),
        "flow, warps and fusion": lambda: network.fuse([earlier, earlier], now),
    }
    times = in_turn(work, rounds, device)
    table = Table("", "ms", "of DeepLab-v2", title=f"one frame of {SIZE[0]}x{SIZE[1]}, VGG-16")
    for name, t in times.items():
        table.add_row(name, f"{1000 * t:.2f}", f"{t / times['DeepLab-v2']:.3f}")
    return table


def correlation_table(rounds: int, device: torch.device) -> Table:
    """Milliseconds of the forward pass, and of forward and backward."""
    table = Table("C, H, W, reach, step", "loop", "ours", "faster", "loop, f+b", "ours, f+b", "faster",
                  title="correlation, ms")  # fmt: skip
    for channels, height, width, reach, step in CASES:
        pair = [torch.rand(1, channels, height, width, device=device, requires_grad=True) for _ in range(2)]
        row = []
        for backward in (False, True):
            times = []
            for work in (shifted_loop, correlation):

                def once(work: Callable[..., Tensor] = work, backward: bool = backward) -> None:
                    with torch.set_grad_enabled(backward):
                        result = work(*pair, reach, step)  # noqa: B023 - called within the loop
                        if backward:
                            result.sum().backward()

                times.append(best_time(once, device, max(2, rounds // (1 + backward))))
            row += [*(f"{1000 * t:.1f}" for t in times), f"{times[0] / times[1]:.1f}x"]
        table.add_row(f"{channels}, {height}, {width}, {reach}, {step}", *row)
    return table


def shifted_loop(target: Tensor, source: Tensor, reach: int, step: int) -> Tensor:
    """The layer as it is commonly written: a product for each displacement."""
    height, width = target.shape[-2:]
    padded, shifts = F.pad(source, [reach] * 4), range(0, 2 * reach + 1, step)
    return torch.stack(
        [(target * padded[:, :, y : y + height, x : x + width]).mean(1) for y in shifts for x in shifts], 1
    )
