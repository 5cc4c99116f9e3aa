"""ATEN's cost a frame beside the frame model's, by stage, beside its Equations 8 and 9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table
from torch import nn

from benchmarks.timing import seconds
from partwise.models.aten.model import ATEN
from partwise.models.baselines.fgfa import FGFA
from partwise.nn.parsing_rcnn import ParsingRCNN
from partwise.ops.flow import warp
from partwise.ops.resize import Letterbox
from partwise.parsers import parse_video

CLASSES = 20
FAST: dict[str, Any] = {"encoder_stride": 4, "flow_size": 0.5, "proposals": 300}  # experiments/experiment/aten_fast_vip


@torch.inference_mode()
def run(size: int = 512, rounds: int = 2) -> list[Table]:
    """Tables of seconds a frame and of stages, with random weights at the paper's network (ResNet-50, 256 channels)."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_classes": CLASSES, "image_size": size, "pretrained": False}
    networks: dict[str, Callable[[], nn.Module]] = {
        "frame": lambda: ParsingRCNN(**options),
        "DFF, 10": lambda: ATEN(**options, key_interval=10, encoding_range=0, centred=False),
        "FGFA, K = 5": lambda: FGFA(**options),
        "ATEN, l = 3": lambda: ATEN(**options),
        "ATEN, l = 5": lambda: ATEN(**options, key_interval=5),
    }
    weights = ParsingRCNN(**options).state_dict()

    def with_weights(make: Callable[[], nn.Module]) -> nn.Module:
        """All have one feature and one set of heads: how long these take depends on what they find."""
        network = make()
        network.load_state_dict(weights, strict=False)
        return network.eval()

    per_frame = {name: seconds_a_frame(with_weights(make), size) for name, make in networks.items()}
    stages = {"ATEN": measure_stages(with_weights(lambda: ATEN(**options)), size, rounds)}
    with torch.autocast("cpu", torch.bfloat16):
        frame, fast = (
            with_weights(make).to(memory_format=torch.channels_last)
            for make in (lambda: ParsingRCNN(**options), lambda: ATEN(**options, **FAST))
        )
        stages["ATEN fast"] = measure_stages(fast, size, rounds)
        per_frame["frame, bf16"] = seconds_a_frame(frame, size)
        per_frame["ATEN fast, l = 3"] = seconds_a_frame(fast, size)
    return [stage_table(stages), frame_table(per_frame, stages["ATEN"])]


def measure_stages(network: Any, size: int, rounds: int) -> dict[str, float]:
    """Seconds of each function of Equation 8, for one frame."""
    image = torch.rand(1, 3, size, size)
    feature = network.feature(image)
    flow, scale = network.flow(image, image)
    box, encoded = [Letterbox.fit((size, size), size)], network.encode([feature] * 3, [image] * 3)
    work: dict[str, Callable[[], object]] = {
        "N_feat": lambda: network.feature(image),
        "F": lambda: network.flow(image, image),
        "W": lambda: warp(feature, flow) * scale,
        "GRU": lambda: network.encoder([feature] * (network.encoding_range + 1)),
        "N_parse": lambda: network.heads.parse(encoded, box),
    }
    return {name: seconds(stage, rounds) for name, stage in work.items()}


def seconds_a_frame(network: Any, size: int) -> float:
    """Of a video in its steady state: an interval after those that read ahead."""
    interval = getattr(network, "key_interval", 3)
    ahead = interval * (getattr(network, "encoding_range", 0) + 1) + 2 * getattr(network, "reach", 0)
    frames = (torch.rand(1, 3, size, size) for _ in range(100))

    def parse(parsings: Any, count: int) -> None:
        for _ in range(count):
            next(parsings)

    parsings = parse_video(network, frames, (size, size))
    parse(parsings, ahead)
    return seconds(lambda: parse(parsings, interval), 2) / interval


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
        table.add_row(name, *(f"{1000 * s:.0f}" for s in stages.values()))
    return table


def frame_table(per_frame: dict[str, float], stages: dict[str, float]) -> Table:
    """Seconds a frame, how many times faster than the frame model, and what Equation 8 says."""
    table = Table("", "s a frame", "speed-up", "Eq. 8, s", "measured / Eq. 8", "Eq. 8 without GRU, speed-up", "Eq. 9")
    frame = stages["N_feat"] + stages["N_parse"]
    settings = {"DFF, 10": (10, 0), "ATEN, l = 3": (3, 2), "ATEN, l = 5": (5, 2)}
    for name, s in per_frame.items():
        row = [name, f"{s:.2f}", f"{per_frame['frame'] / s:.2f}"]
        if name in settings:
            interval, past = settings[name]
            expected = equation_8(stages, interval, past, gru=past > 0)
            bare = frame / equation_8(stages, interval, past, gru=False)
            rough = interval * stages["N_feat"] / ((interval + past) * stages["F"] + stages["N_feat"])
            row += [f"{expected:.2f}", f"{s / expected:.2f}", f"{bare:.2f}", f"{rough:.2f}"]
        elif name == "frame":
            row += [f"{frame:.2f}", f"{s / frame:.2f}"]
        table.add_row(*row)
    return table
