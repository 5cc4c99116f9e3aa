"""ATEN's cost a frame beside the frame model's, by stage, beside its Equations 8 and 9."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.random_batches import PERSONS
from benchmarks.timing import CPU, in_turn
from partwise.models.aten.model import ATEN, Coarse, ScaledFlow
from partwise.models.baselines.fgfa import FGFA
from partwise.nn.conv_gru import ConvGRU, Mean
from partwise.nn.deeplab import DeepLabFeature
from partwise.nn.flownet import FlowNetS
from partwise.nn.parsing_rcnn import ParsingHeads, ParsingRCNN
from partwise.ops.flow import warp
from partwise.ops.resize import Letterbox

CLASSES, WIDTH = 20, 256


@torch.inference_mode()
def run(device: torch.device = CPU, size: int = 512, rounds: int = 4) -> list[Table]:
    """Tables of seconds a frame and of stages, with random weights at the paper's network (ResNet-50, 256 channels)."""
    torch.manual_seed(0)
    weights = frame(size).state_dict()
    here = partial(prepare, weights=weights, device=device)
    aten = here(ATEN(frame(size), ScaledFlow(WIDTH), ConvGRU(WIDTH)))
    # as experiments/experiment/aten_fast_vip
    fast = here(ATEN(frame(size, proposals=300), ScaledFlow(WIDTH, size=0.5), Coarse(ConvGRU(WIDTH), stride=4)))
    fast = fast.to(memory_format=torch.channels_last)
    dff = ATEN(frame(size), ScaledFlow(WIDTH, size=0.5), Mean(), key_interval=10, encoding_range=0, centred=False)
    networks = {
        "frame": here(frame(size)),
        "DFF, 10": here(dff),
        "FGFA, K = 5": here(FGFA(frame(size), FlowNetS())),
        "ATEN, l = 3": aten,
        "ATEN, l = 5": here(ATEN(frame(size), ScaledFlow(WIDTH), ConvGRU(WIDTH), key_interval=5)),
    }
    in_half = {
        "frame, bf16": here(frame(size)).to(memory_format=torch.channels_last),
        "ATEN fast, l = 3": fast,
    }
    intervals = {name: next_interval(network, size, device) for name, network in networks.items()}
    intervals |= {name: in_bfloat16(next_interval(network, size, device), device) for name, network in in_half.items()}
    stages = {"ATEN": stages_of(aten, size, device)}
    stages["ATEN fast"] = {name: in_bfloat16(work, device) for name, work in stages_of(fast, size, device).items()}

    # the first round of an interval reads ahead, the others are a video's steady state
    times = in_turn(intervals | {f"{n}, {s}": work for n, parts in stages.items() for s, work in parts.items()},
                    rounds, device)  # fmt: skip
    frames = {name: getattr(network, "key_interval", 1) for name, network in (networks | in_half).items()}
    per_frame = {name: times[name] / count for name, count in frames.items()}
    by_stage = {n: {s: times[f"{n}, {s}"] for s in parts} for n, parts in stages.items()}
    return [stage_table(by_stage), frame_table(per_frame, by_stage["ATEN"])]


def frame(size: int, proposals: int = 1000) -> ParsingRCNN:
    """Build the paper's frame-level model, without pre-trained weights."""
    feature = DeepLabFeature(pretrained=False, width=WIDTH, image_size=size)
    return ParsingRCNN(feature, ParsingHeads(CLASSES, WIDTH, size, proposals=proposals))


def prepare(network: Any, weights: Mapping[str, Tensor], device: torch.device) -> Any:
    """One feature and one set of heads for all, with as many proposals and persons: the heads' time depends on them.

    What random weights leave of the proposals is different on encoded and on bare features, so all are kept.
    """
    network.load_state_dict(weights, strict=False)
    network.heads.rpn.nms_thresh = 1.0
    heads = network.heads.roi_heads
    heads.detections_per_img = PERSONS
    heads.box_predictor.cls_score.bias.copy_(torch.tensor([-9.0, 9.0]))
    return network.to(device).eval()


def in_bfloat16(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """The same under autocast."""

    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            work()

    return run


def stages_of(network: Any, size: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """The functions of Equation 8, each for one frame."""
    image = torch.rand(1, 3, size, size, device=device)
    feature = network.feature(image)
    flow, scale = network.flow(image, image)
    box, encoded = [Letterbox.fit((size, size), size)], network.encode([feature] * 3, [image] * 3)
    return {
        "N_feat": lambda: network.feature(image),
        "F": lambda: network.flow(image, image),
        "W": lambda: warp(feature, flow) * scale,
        "GRU": lambda: network.encoder([feature] * (network.encoding_range + 1)),
        "N_parse": lambda: network.heads.parse(encoded, box),
    }


def next_interval(network: Any, size: int, device: torch.device) -> Callable[[], object]:
    """Parse the frames from one key frame to the next, of a video without end; the frame model's one by one."""
    interval = getattr(network, "key_interval", 1)
    frames = (torch.rand(1, 3, size, size, device=device) for _ in itertools.count())
    box = Letterbox.fit((size, size), size)
    videos = ([frame] for frame in frames) if isinstance(network, ParsingRCNN) else [frames]
    parsings = itertools.chain.from_iterable(network.stream(video, box) for video in videos)
    return lambda: [next(parsings) for _ in range(interval)]


def equation_8(stages: dict[str, float], interval: int, past: int, gru: bool = True) -> float:
    """Seconds a frame: (GRU + (l - 1 + p)(W + F) + l N_parse + N_feat) / l.

    The paper counts l + p warps; a key frame is not carried to itself.
    """
    s = stages
    total = (interval - 1 + past) * (s["W"] + s["F"]) + interval * s["N_parse"] + s["N_feat"]
    return (total + (s["GRU"] if gru else 0.0)) / interval


def stage_table(networks: dict[str, dict[str, float]]) -> Table:
    """The stages' milliseconds."""
    table = Table("", *next(iter(networks.values())), title="milliseconds of each stage, one frame")
    for name, stages in networks.items():
        table.add_row(name, *(f"{1000 * s:.1f}" for s in stages.values()))
    return table


def frame_table(per_frame: dict[str, float], stages: dict[str, float]) -> Table:
    """Seconds a frame, how many times faster than the frame model, and what Equation 8 says."""
    table = Table("", "s a frame", "speed-up", "Eq. 8, s", "measured / Eq. 8", "Eq. 8 without GRU, speed-up", "Eq. 9")
    frame = stages["N_feat"] + stages["N_parse"]
    settings = {"DFF, 10": (10, 0), "ATEN, l = 3": (3, 2), "ATEN, l = 5": (5, 2)}
    for name, s in per_frame.items():
        row = [name, f"{s:.4f}", f"{per_frame['frame'] / s:.2f}"]
        if name in settings:
            interval, past = settings[name]
            expected = equation_8(stages, interval, past, gru=past > 0)
            bare = frame / equation_8(stages, interval, past, gru=False)
            rough = interval * stages["N_feat"] / ((interval + past) * stages["F"] + stages["N_feat"])
            row += [f"{expected:.4f}", f"{s / expected:.2f}", f"{bare:.2f}", f"{rough:.2f}"]
        elif name == "frame":
            row += [f"{frame:.4f}", f"{s / frame:.2f}"]
        table.add_row(*row)
    return table
