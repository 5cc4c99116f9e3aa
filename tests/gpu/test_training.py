"""Every experiment trains and is scored by a Trainer on both devices."""

import math
import re
from collections import Counter
from pathlib import Path

import pytest
import small_networks
import torch

from partwise.metrics.coco import COCOMetrics
from partwise.metrics.davis import DAVISMetrics
from partwise.metrics.flow import EndPointError, Reconstruction
from partwise.run import cli

ROOT = Path(__file__).parents[2]
NAMES = sorted(cli.experiments(ROOT / "experiments"))
LOSS = 1e-3  # of the first step, as a share of the loss
SCORE = 1.0  # per cent: some pixels of an untrained network lie between two classes
INSTANCES = 5.0  # per cent: a batch has a few persons, and one whose IoU lies at a threshold moves the mean AP by some
FRACTIONS = COCOMetrics, DAVISMetrics, EndPointError, Reconstruction  # or pixels; the other metrics are per cent
#: Waits of the host in a training step, at most, by the network's class; those that find persons apart. Waits of
#: other classes have not been measured on CUDA with these batches: they are printed, and not bounded.
WAITS = {
    "ParsingRCNN": 0, "DeepLab": 0, "DeepLabV2": 0, "FCN8s": 0, "FlowNetS": 0, "TrunkFlow": 0, "ATEN": 0, "FGFA": 0,
    "TCNet": 0, "NetWarp": 0, "EMAdapt": 400, "PyramidParser": 0, "DeepLabV2ResNet": 0,
    "RefinementNetwork": 60,  # 11 for each picture and 2 for each person
}  # fmt: skip
PERSONS = 120  # what torchvision's matching and sampling need, two pictures
DIS = 12  # OpenCV's flow is computed on the CPU
LOVASZ = 12  # the labelled pixels are selected


def bound(name, cfg):
    """Waits of a step that are allowed: any number where it has not been measured."""
    network = cfg.model.network
    kind = network._target_.rsplit(".", 1)[-1]
    if kind not in WAITS:
        return math.inf
    if small_networks.has_persons(network):
        return WAITS[kind] + PERSONS
    return (
        WAITS[kind]
        + (DIS if str(network.get("flow", {}).get("_target_")).endswith("DIS") else 0)
        + (LOVASZ if network.get("lovasz") else 0)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_training_begins_as_on_the_cpu_and_seldom_waits(name, device, train, setup):
    cpu, _ = train(name, torch.device("cpu"), steps=1)
    other, moved = train(name, device, steps=2 if device.type == "cuda" else 1)
    assert other.losses[0].item() == pytest.approx(cpu.losses[0].item(), rel=LOSS)
    assert all(torch.isfinite(loss) for loss in other.losses)
    assert any(moved.values())
    waits = sum(other.waits[1:], Counter())
    print(f"\n{name}: {sum(waits.values())} waits of the host in a step")
    for place, count in waits.most_common():
        print(f"    {count:4d}  {place}")
    assert sum(waits.values()) <= bound(name, setup(name).cfg), dict(waits)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_trains(name, device, train):
    seen, moved = train(name, device, steps=2 if device.type == "cuda" else 1, precision="bf16-mixed")
    assert all(torch.isfinite(loss) for loss in seen.losses)
    assert any(moved.values())


@pytest.mark.parametrize("name", NAMES)
def test_validation_scores_alike(name, setup, both, few_batches, draws):
    made = setup(name)

    def work(device):
        task = made.task(torch.device("cpu"))
        trainer = few_batches(made, device, scorer=True, limit_val_batches=1)
        with draws.of(task.network):
            trainer.validate(task, made.fresh_data(), verbose=False)
        return {key: float(value) for key, value in trainer.callback_metrics.items()}

    cpu, other = both(work)
    assert cpu.keys() == other.keys()
    assert len(cpu) > 0
    scale = 0.01 if isinstance(made.task(torch.device("cpu")).val_metrics, FRACTIONS) else 1.0
    for key, value in cpu.items():
        allowed = scale * (INSTANCES if re.search(r"[/_](AP|AR|ap(_|$))", key) else SCORE)
        assert other[key] == pytest.approx(value, abs=allowed, rel=1e-3, nan_ok=True), key
