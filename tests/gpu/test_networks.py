"""Every experiment's network at demo size: the same weights and batch give the same numbers on both devices."""

from pathlib import Path

import pytest
import torch

from partwise.checkpoints.loading import start_from
from partwise.models.flow_task import FlowTask
from partwise.models.instance_crf.potentials import inside
from partwise.models.self_supervised.pose_module import PoseModule
from partwise.nn.detection import MaskHead
from partwise.run import cli

ROOT = Path(__file__).parents[2] / "experiments"
NAMES = sorted(cli.experiments(ROOT))
#: Largest difference as a share of the largest value. Layers add up rounding errors of 6e-8, and batch norm over two
#: pictures enlarges them.
FORWARD, LOSS = 4e-3, 1e-3
#: Of a parameter's gradient, as a share of its length, and of the whole gradient's.
GRADIENT, SHARE = 2e-2, 1e-3
DEPTH = 3  # of the modules whose results are compared


def outputs(network):
    """Fills with what the network's modules give, by name and call."""
    found, counts = {}, {}

    def keep(name):
        def hook(module, inputs, output):
            counts[name] = counts.get(name, -1) + 1
            # activations in place overwrite what was kept otherwise
            found[f"{name}, call {counts[name]}"] = [x.clone() for x in _leaves(output)]

        return hook

    for name, module in network.named_modules():
        if name and name.count(".") < DEPTH:
            module.register_forward_hook(keep(name))
    return found


def _leaves(value):
    if isinstance(value, torch.Tensor):
        return [value.detach().float()]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [leaf for part in parts for leaf in _leaves(part)]


@pytest.mark.parametrize("name", NAMES)
def test_features_losses_and_gradients(name, setup, both, draws, compare):
    # With channels last the CPU's batch norm rounds more: FCN-8s, of 10^5 pixels, is 0.5 % off double precision on the
    # CPU itself, and 3e-6 off when contiguous.
    made = setup(name, "channels_last=false")

    def work(device):
        task = made.task(device).train()
        found = outputs(task.network)
        with draws.of(task.network):
            losses = task.losses(made.to(made.train, device))
            torch.stack(list(losses.values())).sum().backward()
        gradients = {n: p.grad.cpu() for n, p in task.network.named_parameters() if p.grad is not None}
        return found, losses, gradients

    (found, losses, gradients), (found_too, losses_too, gradients_too) = both(work)
    assert losses
    assert all(loss.device != torch.device("meta") and torch.isfinite(loss) for loss in losses_too.values())
    assert compare.far(losses, losses_too, LOSS) == {}
    assert compare.far(found, found_too, FORWARD) == {}
    assert gradients.keys() == gradients_too.keys()
    whole = torch.stack([g.norm() for g in gradients.values()]).norm()
    wrong = {
        n: f"{gap:.2g} of {g.norm():.2g}, {whole:.2g} in all"
        for n, g in gradients.items()
        if (gap := (gradients_too[n] - g).norm()) > GRADIENT * g.norm() + SHARE * whole
    }
    assert wrong == {}


def find_some(network):
    """Make random heads sure of the three best proposals and their masks, and have poses found by trained weights."""
    if any(isinstance(part, PoseModule) for part in network.modules()):
        start_from(network, ["standin/pose_module_coco"])
    heads = getattr(getattr(network, "heads", network), "roi_heads", None)
    if heads is not None:
        heads.detections_per_img = 3
        with torch.no_grad():
            heads.box_predictor.cls_score.bias.copy_(torch.tensor([-2.0, 2.0]))
            if isinstance(heads.mask_head, MaskHead):
                heads.mask_head.local.bias.copy_(torch.tensor([0.0, 1.0]))


def pixels(persons):
    """Whose every pixel is: the map (H, W) of disjoint persons, or the masks (N, H, W) of others."""
    return persons.get("map", persons.get("masks")).cpu()


def check_persons(a, b, near):
    """The same persons, of whose pixels the `near` ones (H, W) are compared."""
    assert len(a["classes"]) > 0
    assert (pixels(a) == pixels(b))[..., near].float().mean() > 0.999
    for name, tolerance in {"scores": 1e-3, "keypoints": 0.05}.items():
        if name in a:
            torch.testing.assert_close(b[name].cpu(), a[name], atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_parses_alike(name, setup, both, draws, compare):
    made = setup(name)

    def work(device):
        task = made.task(device).eval()
        find_some(task.network)
        batch = made.to(made.evaluation, device)
        with torch.inference_mode(), draws.of(task.network):
            if isinstance(task, FlowTask):
                return task.estimate(task.pairs(batch)[0])
            if isinstance(batch["annotations"][0], list):  # a whole video; its last frames stand for the rest
                frames = batch["frames"][0][-2:]
                batch = {"images": frames, "annotations": batch["annotations"][0][-2:]}
                if made.cfg.data.get("around"):
                    clip = torch.stack([frames[:1].expand(4, -1, -1, -1), frames[[0, 0, 0, 1]]])
                    batch |= {"frames": clip, "offsets": torch.tensor([[-7, -4, -1, 0]] * 2, device=device)}
            return task.parse(batch)

    cpu, other = both(work)
    if isinstance(cpu, torch.Tensor):
        assert compare.far(cpu, other, FORWARD) == {}
        return
    assert len(cpu) == len(other) > 0
    for a, b in zip(cpu, other, strict=True):
        assert (a["parts"] == b["parts"].cpu()).float().mean() > 0.999
        if "persons" in a:
            near = torch.ones_like(a["parts"], dtype=torch.bool)
            if "detector" in made.cfg.model.network:  # in no box all persons are alike, and rounding decides
                near = inside(a["boxes"], *near.shape).any(0)
            check_persons(a["persons"], b["persons"], near)
        if "boxes" in a:
            torch.testing.assert_close(b["boxes"].cpu(), a["boxes"], atol=0.05, rtol=0)
